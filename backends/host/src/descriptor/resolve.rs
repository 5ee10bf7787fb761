//! From what is written to what is meant.
use super::{
    Descriptor, DescriptorError, FORMAT, HttpCheck, Parameter, ParameterType, Start, Stop,
    Template, Verify,
    error::Problems,
    parameter::LONGEST_VALUE,
    raw::{RawDescriptor, RawInstall, RawParameter, RawStart, RawStop, RawType, RawVerify},
    steps::{self, Declared},
};
use deploy_core::spec::ParameterName;
use std::{collections::BTreeMap, num::NonZeroU32, ops::Range, time::Duration};
use toml::{Spanned, Value};

const KEEP_RELEASES: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);
const MOST_PARAMETERS: usize = 200;
/// Texts for `sh` and for checks travel in the environment of every step.
const LONGEST_TEXT: usize = 16 << 10;

pub(super) fn parse(text: &str) -> Result<Descriptor, DescriptorError> {
    let mut problems = Problems::new(text);
    let raw: RawDescriptor = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(err) => {
            problems.add(&err.span().unwrap_or(0..0), err.message());
            return problems.finish(()).and_then(|()| unread());
        }
    };
    if *raw.format.get_ref() != FORMAT {
        let message = format!("this program reads descriptors of `format = {FORMAT}`");
        problems.add(&raw.format.span(), message);
    }
    if raw.steps.run.is_some() {
        run_stands_alone(&raw, &mut problems);
    }
    let descriptor = resolve(raw, &mut problems);
    problems.finish(descriptor)
}

fn unread() -> Result<Descriptor, DescriptorError> {
    Err(DescriptorError::of_file(super::FILE_NAME, "it cannot be read"))
}

fn run_stands_alone(raw: &RawDescriptor, problems: &mut Problems<'_>) {
    let sections = [
        ("start", raw.start.as_ref().map(Spanned::span)),
        ("stop", raw.stop.as_ref().map(Spanned::span)),
        ("verify", raw.verify.as_ref().map(Spanned::span)),
        ("install", raw.install.as_ref().map(Spanned::span)),
    ];
    for (name, span) in sections {
        if let Some(span) = span {
            problems.add(&span, format!("`run` stands alone: remove [{name}] or [steps.run]"));
        }
    }
}

fn resolve(raw: RawDescriptor, problems: &mut Problems<'_>) -> Descriptor {
    let mut texts = Texts { problems, used: Vec::new() };
    let stop_span = raw.stop.is_some();
    let start = raw.start.and_then(|it| start(it, &mut texts));
    let verify_declared = raw.verify.is_some();
    let verify = raw.verify.map(|it| verify(it, &mut texts)).unwrap_or_default();
    let stop = stop(raw.stop.map(Spanned::into_inner), &mut texts);
    let used = texts.used;
    let declared = Declared {
        start: start.is_some(),
        stop: stop_span.then_some(stop.timeout),
        verify: verify_declared,
    };
    let parameters = parameters(raw.parameters, problems);
    for (name, span) in used {
        if !parameters.contains_key(&name) {
            problems.add(&span, format!("`$P_{name}` is not declared: add [parameters.{name}]"));
        }
    }
    Descriptor {
        steps: steps::steps(raw.steps, declared, problems),
        start,
        stop,
        verify,
        keep_releases: keep_releases(raw.install, problems),
        parameters,
    }
}

/// Reads texts, and notes which parameters they name.
struct Texts<'a, 'b> {
    problems: &'a mut Problems<'b>,
    used: Vec<(ParameterName, Range<usize>)>,
}

impl Texts<'_, '_> {
    /// A text that may name parameters and is one word.
    fn word(&mut self, raw: &Spanned<String>) -> Option<Template> {
        if raw.get_ref().contains(char::is_whitespace) {
            self.problems.add(&raw.span(), "this must not hold spaces");
            return None;
        }
        self.line(raw)
    }

    fn line(&mut self, raw: &Spanned<String>) -> Option<Template> {
        if raw.get_ref().len() > LONGEST_TEXT {
            self.problems.add(&raw.span(), format!("this is longer than {LONGEST_TEXT} bytes"));
            return None;
        }
        match Template::parse(raw.get_ref()) {
            Ok(template) => {
                self.used.extend(template.parameters().map(|it| (it.clone(), raw.span())));
                Some(template)
            }
            Err(message) => {
                self.problems.add(&raw.span(), message);
                None
            }
        }
    }

    /// A text for `sh`, to which parameters are variables.
    fn command(&mut self, raw: Spanned<String>) -> Option<String> {
        let span = raw.span();
        let text = raw.into_inner();
        if text.trim().is_empty() || text.contains('\0') || text.len() > LONGEST_TEXT {
            let message = format!(
                "a command is not empty, without NUL, and at most {LONGEST_TEXT} bytes long"
            );
            self.problems.add(&span, message);
            return None;
        }
        Some(text)
    }
}

fn start(raw: Spanned<RawStart>, texts: &mut Texts<'_, '_>) -> Option<Start> {
    let span = raw.span();
    match raw.into_inner() {
        RawStart { unit: Some(unit), command: None } => texts.word(&unit).map(Start::Unit),
        RawStart { unit: None, command: Some(command) } => {
            texts.command(command).map(Start::Command)
        }
        RawStart { unit: Some(_), command: Some(_) } | RawStart { unit: None, command: None } => {
            texts.problems.add(&span, "[start] has either `unit` or `command`");
            None
        }
    }
}

fn stop(raw: Option<RawStop>, texts: &mut Texts<'_, '_>) -> Stop {
    let default = Duration::from_secs(10);
    let Some(raw) = raw else {
        return Stop { timeout: default, command: None };
    };
    let timeout = raw.timeout.as_ref().and_then(|it| steps::timeout(it, texts.problems));
    let command = raw.command.and_then(|it| texts.command(it));
    Stop { timeout: timeout.unwrap_or(default), command }
}

fn verify(raw: Spanned<RawVerify>, texts: &mut Texts<'_, '_>) -> Verify {
    let span = raw.span();
    let raw = raw.into_inner();
    if raw.http.is_none() {
        let spans =
            [raw.status.as_ref().map(Spanned::span), raw.contains.as_ref().map(Spanned::span)];
        for span in spans.into_iter().flatten() {
            texts.problems.add(&span, "this goes with `http`");
        }
    }
    if raw.http.is_none() && raw.tcp.is_none() && raw.command.is_none() && raw.unit.is_none() {
        texts
            .problems
            .add(&span, "[verify] needs at least one of `http`, `tcp`, `command` and `unit`");
    }
    Verify {
        http: raw.http.and_then(|url| http(&url, raw.status, raw.contains, texts)),
        tcp: raw.tcp.and_then(|it| tcp(&it, texts)),
        command: raw.command.and_then(|it| texts.command(it)),
        unit: raw.unit.and_then(|it| texts.word(&it)),
    }
}

fn http(
    url: &Spanned<String>,
    status: Option<Spanned<u16>>,
    contains: Option<Spanned<String>>,
    texts: &mut Texts<'_, '_>,
) -> Option<HttpCheck> {
    if !url.get_ref().starts_with("http://") && !url.get_ref().starts_with("https://") {
        texts.problems.add(&url.span(), "a URL must begin with `http://` or `https://`");
    }
    if let Some(status) = status.as_ref().filter(|it| !(100..600).contains(it.get_ref())) {
        texts.problems.add(&status.span(), "an HTTP status is from 100 to 599");
    }
    Some(HttpCheck {
        url: texts.word(url)?,
        status: status.map_or(200, Spanned::into_inner),
        contains: match contains {
            Some(contains) => Some(texts.line(&contains)?),
            None => None,
        },
    })
}

fn tcp(raw: &Spanned<String>, texts: &mut Texts<'_, '_>) -> Option<Template> {
    if !raw
        .get_ref()
        .rsplit_once(':')
        .is_some_and(|(address, port)| !address.is_empty() && !port.is_empty())
    {
        texts.problems.add(&raw.span(), "write `ADDRESS:PORT`, such as `127.0.0.1:$P_PORT`");
    }
    texts.word(raw)
}

fn keep_releases(raw: Option<Spanned<RawInstall>>, problems: &mut Problems<'_>) -> NonZeroU32 {
    let Some(raw) = raw else { return KEEP_RELEASES };
    let said = &raw.get_ref().keep_releases;
    match NonZeroU32::new(*said.get_ref()).filter(|it| it.get() <= 1_000) {
        Some(kept) => kept,
        None => {
            problems.add(&said.span(), "`keep_releases` is from 1 to 1000");
            KEEP_RELEASES
        }
    }
}

fn parameters(
    raw: BTreeMap<Spanned<String>, Spanned<RawParameter>>,
    problems: &mut Problems<'_>,
) -> BTreeMap<ParameterName, Parameter> {
    let mut found = BTreeMap::new();
    if let Some((name, _)) = raw.iter().nth(MOST_PARAMETERS) {
        problems.add(&name.span(), format!("more than {MOST_PARAMETERS} parameters"));
    }
    for (name, raw) in raw {
        match name.get_ref().parse::<ParameterName>() {
            Ok(parsed) => _ = found.insert(parsed.clone(), parameter(&parsed, &raw, problems)),
            Err(err) => problems.add(&name.span(), err.to_string()),
        }
    }
    found
}

fn parameter(
    name: &ParameterName,
    raw: &Spanned<RawParameter>,
    problems: &mut Problems<'_>,
) -> Parameter {
    let span = raw.span();
    let raw = raw.get_ref();
    let required = raw.required.as_ref().map(|it| *it.get_ref());
    let mut parameter = Parameter {
        kind: kind(raw, &span, problems),
        allowed: Vec::new(),
        default: None,
        required: required.unwrap_or_else(|| raw.default.is_none()),
        description: raw.description.clone(),
    };
    if let Some(allowed) = &raw.allowed {
        if allowed.get_ref().is_empty() {
            problems.add(&allowed.span(), "`allowed` must name at least one value");
        }
        let values =
            allowed.get_ref().iter().filter_map(|it| typed(name, &parameter, it, problems));
        let values = values.collect();
        parameter.allowed = values;
    }
    if let Some(default) = &raw.default {
        if required == Some(true) {
            problems.add(&default.span(), "a required parameter has no `default`");
        }
        parameter.default = typed(name, &parameter, default, problems);
    }
    parameter
}

fn kind(raw: &RawParameter, span: &Range<usize>, problems: &mut Problems<'_>) -> ParameterType {
    let mut only = |spans: [Option<Range<usize>>; 2], what: &str| {
        for span in spans.into_iter().flatten() {
            problems.add(&span, format!("this goes with `type = \"{what}\"`"));
        }
    };
    if raw.kind != RawType::Integer {
        only([raw.min.as_ref().map(Spanned::span), raw.max.as_ref().map(Spanned::span)], "integer");
    }
    if raw.kind != RawType::String {
        only(
            [raw.max_length.as_ref().map(Spanned::span), raw.multiline.as_ref().map(Spanned::span)],
            "string",
        );
    }
    match raw.kind {
        RawType::Boolean => ParameterType::Boolean,
        RawType::Integer => {
            let min = raw.min.as_ref().map_or(i64::MIN, |it| *it.get_ref());
            let max = raw.max.as_ref().map_or(i64::MAX, |it| *it.get_ref());
            if min > max {
                problems.add(span, "`min` is larger than `max`");
            }
            ParameterType::Integer { min, max }
        }
        RawType::String => {
            let max_length = raw.max_length.as_ref().map_or(LONGEST_VALUE, |it| *it.get_ref());
            if let Some(said) = raw.max_length.as_ref().filter(|it| *it.get_ref() > LONGEST_VALUE) {
                problems
                    .add(&said.span(), format!("a value is at most {LONGEST_VALUE} bytes long"));
            }
            let multiline = raw.multiline.as_ref().is_some_and(|it| *it.get_ref());
            ParameterType::Text { max_length, multiline }
        }
    }
}

/// A value as it is written in the file, which has to be of the parameter's own type.
fn typed(
    name: &ParameterName,
    parameter: &Parameter,
    raw: &Spanned<Value>,
    problems: &mut Problems<'_>,
) -> Option<String> {
    let text = match (parameter.kind, raw.get_ref()) {
        (ParameterType::Boolean, Value::Boolean(value)) => value.to_string(),
        (ParameterType::Integer { .. }, Value::Integer(value)) => value.to_string(),
        (ParameterType::Text { .. }, Value::String(value)) => value.clone(),
        _ => {
            problems.add(&raw.span(), "this is not a value of the parameter's `type`");
            return None;
        }
    };
    match parameter.check(name, &text) {
        Ok(value) => Some(value),
        Err(problem) => {
            problems.add(&raw.span(), problem.to_string());
            None
        }
    }
}
