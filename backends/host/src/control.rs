//! The lines by which the launcher speaks: `deploy:WORD key=value …` on standard error, among noise.
//!
//! The other side may be anything: a line is read in bounded memory, and what is not exactly as agreed is an error.
use deploy_core::spec::StepName;

/// The longest line; what is longer is noise, and is cut.
const LONGEST_LINE: usize = 16 << 10;
/// How much of the noise is kept, to be shown when something fails.
const NOISE_KEPT: usize = 1 << 10;

/// What the launcher says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    Attached,
    Busy { generation: u64 },
    Died { cause: DeathCause, step: Option<StepName>, survivors: Vec<String> },
    Error { code: String, message: String },
    Exit(ExitRecord),
    Fenced { seen: u64 },
    Have { bytes: u64, way: Way },
    Healthy,
    Killed,
    KillFailed { survivors: Vec<String> },
    Missing,
    NeverStarted,
    Observed { fence: u64, release: Option<String>, running: Option<u64> },
    Output { size: u64 },
    Resolved { result: String },
    Running,
    Started,
    Step { name: StepName },
    Unhealthy { code: i32 },
    Unsupported,
}

/// What a host wants of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// What makes it of the package before it.
    Patch,
    /// Nothing: the tar in it is there.
    Tree,
    /// The package itself.
    Whole,
}

/// Why an attempt left no exit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeathCause {
    Rebooted,
    SupervisorLost,
}

impl DeathCause {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Rebooted => "the host was restarted while the step ran",
            Self::SupervisorLost => "the supervisor of the attempt was killed",
        }
    }
}

/// How an attempt ended, in the host's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExitRecord {
    pub(crate) token: String,
    pub(crate) generation: u64,
    pub(crate) outcome: Outcome,
    pub(crate) step: Option<StepName>,
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) log_length: u64,
    pub(crate) survivors: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Failed,
    KillFailed,
    Killed,
    Succeeded,
    TimedOut,
}

/// A line that begins like a control line and is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the host said `{}`: {reason}", .line.escape_debug())]
pub(crate) struct BadControl {
    line: String,
    reason: &'static str,
}

/// Cuts standard error into lines, and tells control lines from noise.
#[derive(Debug, Default)]
pub(crate) struct ControlReader {
    line: Vec<u8>,
    /// The line under way is longer than the longest: its rest is dropped.
    overlong: bool,
    noise: Vec<u8>,
    heard: bool,
}

impl ControlReader {
    /// Takes in bytes; gives the control lines that they complete.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Control>, BadControl> {
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let (text, complete) =
                piece.strip_suffix(b"\n").map_or((piece, false), |it| (it, true));
            let room = LONGEST_LINE.saturating_sub(self.line.len());
            self.overlong |= text.len() > room;
            self.line.extend_from_slice(text.get(..room.min(text.len())).unwrap_or_default());
            if complete {
                found.extend(self.end_line()?);
            }
        }
        Ok(found)
    }

    fn end_line(&mut self) -> Result<Option<Control>, BadControl> {
        let line = std::mem::take(&mut self.line);
        let overlong = std::mem::take(&mut self.overlong);
        let Some(body) = line.strip_prefix(b"deploy:") else {
            self.keep_noise(&line);
            return Ok(None);
        };
        self.heard = true;
        let shown = || String::from_utf8_lossy(&line).chars().take(200).collect();
        if overlong {
            return Err(BadControl { line: shown(), reason: "the line is too long" });
        }
        let parsed = std::str::from_utf8(body).map_err(|_| "it is not UTF-8").and_then(parse);
        parsed.map(Some).map_err(|reason| BadControl { line: shown(), reason })
    }

    fn keep_noise(&mut self, line: &[u8]) {
        let room = NOISE_KEPT.saturating_sub(self.noise.len());
        self.noise.extend(line.iter().chain(b"\n").take(room));
    }

    /// Whether any control line was seen, good or bad.
    pub(crate) const fn heard(&self) -> bool {
        self.heard
    }

    /// What else was said, for people.
    pub(crate) fn noise(&self) -> String {
        let rest = self.line.iter().take(NOISE_KEPT);
        let all: Vec<u8> = self.noise.iter().chain(rest).copied().collect();
        let text = String::from_utf8_lossy(&all);
        text.trim().chars().map(|it| if it.is_control() { ' ' } else { it }).collect()
    }
}

fn parse(body: &str) -> Result<Control, &'static str> {
    let mut words = body.split(' ');
    let word = words.next().unwrap_or_default();
    let fields = Fields(
        words
            .map(|it| it.split_once('=').ok_or("a field without `=`"))
            .collect::<Result<_, _>>()?,
    );
    Ok(match word {
        "attached" => Control::Attached,
        "busy" => Control::Busy { generation: fields.number("generation")? },
        "died" => Control::Died {
            cause: death_cause(&fields.text("reason")?)?,
            step: fields.step("name")?,
            survivors: fields.list("survivors")?,
        },
        "error" => {
            Control::Error { code: fields.text("code")?, message: fields.text_or_empty("message")? }
        }
        "exit" => Control::Exit(exit_record(&fields)?),
        "fenced" => Control::Fenced { seen: fields.number("seen")? },
        "have" => Control::Have {
            bytes: fields.number("bytes")?,
            way: way(fields.text_or_none("way")?.as_deref())?,
        },
        "healthy" => Control::Healthy,
        "kill_failed" => Control::KillFailed { survivors: fields.list("survivors")? },
        "killed" => Control::Killed,
        "missing" => Control::Missing,
        "never_started" => Control::NeverStarted,
        "observed" => Control::Observed {
            fence: fields.number_or_none("fence")?.unwrap_or(0),
            release: fields.text_or_none("release")?,
            running: fields.number_or_none("running")?.filter(|it| *it != 0),
        },
        "output" => Control::Output { size: fields.number("size")? },
        "resolved" => Control::Resolved { result: fields.text("result")? },
        "running" => Control::Running,
        "started" => Control::Started,
        "step" => Control::Step { name: fields.step("name")?.ok_or("a step without a name")? },
        "unhealthy" => Control::Unhealthy { code: fields.code("code")? },
        "unsupported" => Control::Unsupported,
        _ => return Err("an unknown word"),
    })
}

fn exit_record(fields: &Fields<'_>) -> Result<ExitRecord, &'static str> {
    let outcome = match fields.text("outcome")?.as_str() {
        "failed" => Outcome::Failed,
        "kill_failed" => Outcome::KillFailed,
        "killed" => Outcome::Killed,
        "succeeded" => Outcome::Succeeded,
        "timed_out" => Outcome::TimedOut,
        _ => return Err("an unknown outcome"),
    };
    let step = fields.step("name")?;
    if step.is_none() && matches!(outcome, Outcome::Failed | Outcome::TimedOut) {
        return Err("a failure without the name of its step");
    }
    Ok(ExitRecord {
        token: fields.text("token")?,
        generation: fields.number("generation")?,
        outcome,
        step,
        code: if fields.text_or_none("code")?.is_some() { fields.code("code")? } else { 0 },
        reason: fields.text_or_empty("reason")?,
        log_length: fields.number("log_length")?,
        survivors: fields.list("survivors")?,
    })
}

fn way(text: Option<&str>) -> Result<Way, &'static str> {
    match text {
        None => Ok(Way::Whole),
        Some("patch") => Ok(Way::Patch),
        Some("tree") => Ok(Way::Tree),
        Some(_) => Err("an unknown way"),
    }
}

fn death_cause(text: &str) -> Result<DeathCause, &'static str> {
    match text {
        "rebooted" => Ok(DeathCause::Rebooted),
        "supervisor_lost" => Ok(DeathCause::SupervisorLost),
        _ => Err("an unknown reason"),
    }
}

struct Fields<'a>(Vec<(&'a str, &'a str)>);

impl Fields<'_> {
    /// The value of `key`; `None` if it is not there or `-`, which stands for nothing.
    fn text_or_none(&self, key: &str) -> Result<Option<String>, &'static str> {
        let mut values = self.0.iter().filter(|(it, _)| *it == key).map(|(_, value)| *value);
        match (values.next(), values.next()) {
            (Some(_), Some(_)) => Err("a field that is there twice"),
            (Some("-" | "") | None, None) => Ok(None),
            (Some(value), None) => decode(value).map(Some),
            (None, Some(_)) => Err("a field out of nowhere"),
        }
    }

    fn text_or_empty(&self, key: &str) -> Result<String, &'static str> {
        self.text_or_none(key).map(Option::unwrap_or_default)
    }

    fn text(&self, key: &str) -> Result<String, &'static str> {
        self.text_or_none(key)?.ok_or("a field is missing")
    }

    fn number_or_none(&self, key: &str) -> Result<Option<u64>, &'static str> {
        let text = self.text_or_none(key)?;
        text.map(|it| it.parse().map_err(|_| "a field that is no number")).transpose()
    }

    fn number(&self, key: &str) -> Result<u64, &'static str> {
        self.number_or_none(key)?.ok_or("a field is missing")
    }

    fn code(&self, key: &str) -> Result<i32, &'static str> {
        let code = self.text(key)?.parse().map_err(|_| "a field that is no number")?;
        if (-255..=255).contains(&code) { Ok(code) } else { Err("an exit code that cannot be") }
    }

    fn step(&self, key: &str) -> Result<Option<StepName>, &'static str> {
        let Some(text) = self.text_or_none(key)? else {
            return Ok(None);
        };
        let known = StepName::ALL.into_iter().find(|it| it.as_str() == text);
        known.map(Some).ok_or("an unknown step")
    }

    fn list(&self, key: &str) -> Result<Vec<String>, &'static str> {
        let text = self.text_or_empty(key)?;
        Ok(text.split(',').filter(|it| !it.is_empty()).map(str::to_owned).collect())
    }
}

/// Undoes percent-encoding.
fn decode(value: &str) -> Result<String, &'static str> {
    const BAD: &str = "a bad percent-encoding";
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|it| char::from(it).to_digit(16)).ok_or(BAD);
        let (high, low) = (digit()?, digit()?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| BAD)?);
    }
    // Names and messages of the host need not be UTF-8; they are for people.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
