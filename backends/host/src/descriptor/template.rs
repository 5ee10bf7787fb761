//! Texts that may name parameters. What they name is put in as data, once, and never read again.
use deploy_core::spec::ParameterName;
use std::{collections::BTreeMap, fmt};

/// What a text may name beside parameters.
const FACTS: [&str; 4] = ["DEPLOY_HOST", "DEPLOY_RELEASE", "DEPLOY_SERVICE", "DEPLOY_VERSION"];

/// A text in which `$P_NAME` (or `${P_NAME}`) stands for the parameter `NAME`, and `$$` for `$`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Fact(&'static str),
    Parameter(ParameterName),
    Text(String),
}

impl Template {
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        if source.is_empty() || source.chars().any(char::is_control) {
            return Err("this must be a text of one line, and not empty".to_owned());
        }
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some((text, after)) = rest.split_once('$') {
            parts.push(Part::Text(text.to_owned()));
            if let Some(after) = after.strip_prefix('$') {
                parts.push(Part::Text("$".to_owned()));
                rest = after;
                continue;
            }
            let (name, after) =
                name(after).ok_or("a `$` must be followed by a name; write `$$` for `$` itself")?;
            parts.push(part(name)?);
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self { source: source.to_owned(), parts })
    }

    /// The parameters it names.
    pub fn parameters(&self) -> impl Iterator<Item = &ParameterName> {
        self.parts.iter().filter_map(|it| match it {
            Part::Parameter(name) => Some(name),
            Part::Fact(_) | Part::Text(_) => None,
        })
    }

    /// The text with everything put in; a parameter without a value is empty.
    #[must_use]
    pub fn fill(&self, values: &Values<'_>) -> String {
        self.parts
            .iter()
            .map(|it| match it {
                Part::Fact(name) => values.fact(name),
                Part::Parameter(name) => values.parameters.get(name).map_or("", String::as_str),
                Part::Text(text) => text,
            })
            .collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// What is put into a [`Template`].
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// The values of the release's parameters.
    pub parameters: &'a BTreeMap<ParameterName, String>,
    /// `DEPLOY_HOST`.
    pub host: &'a str,
    /// `DEPLOY_RELEASE`.
    pub release: &'a str,
    /// `DEPLOY_SERVICE`.
    pub service: &'a str,
    /// `DEPLOY_VERSION`.
    pub version: &'a str,
}

impl<'a> Values<'a> {
    fn fact(&self, name: &str) -> &'a str {
        match name {
            "DEPLOY_HOST" => self.host,
            "DEPLOY_RELEASE" => self.release,
            "DEPLOY_SERVICE" => self.service,
            "DEPLOY_VERSION" => self.version,
            _ => "",
        }
    }
}

/// The name at the beginning of `text`, in braces or not, and what follows it.
fn name(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}')?,
        None => {
            let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
            text.split_at_checked(text.bytes().take_while(word).count())?
        }
    };
    (!name.is_empty()).then_some((name, rest))
}

fn part(name: &str) -> Result<Part, String> {
    if let Some(fact) = FACTS.into_iter().find(|it| *it == name) {
        return Ok(Part::Fact(fact));
    }
    let parameter = name.strip_prefix("P_").and_then(|it| it.parse().ok());
    parameter.map(Part::Parameter).ok_or_else(|| {
        format!(
            "`${name}` is not known here: use `$P_<PARAMETER>` or one of ${}",
            FACTS.join(", $")
        )
    })
}
