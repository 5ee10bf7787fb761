//! Descriptors: how a release is put on a host.
//!
//! A descriptor is a folder, kept as a `tar.gz` archive, with `descriptor.toml` and the scripts that it names. `docs/descriptor.md` describes
//! it for those who write one.
mod bundle;
mod default;
mod error;
mod parameter;
mod raw;
mod resolve;
mod steps;
mod template;

pub use bundle::{Bundle, pack, read, read_dir};
pub use default::default_descriptor;
pub use error::{DescriptorError, Problem};
pub use parameter::{Parameter, ParameterProblem, ParameterType, UnusableParameters};
pub use steps::{DescribedStep, Script};
pub use template::{Template, Values};

use deploy_core::spec::{ParameterName, Step, StepName};
use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

/// The file that describes; all paths in it are relative to its folder.
pub const FILE_NAME: &str = "descriptor.toml";

/// The newest format of descriptors that this program reads.
pub const FORMAT: u32 = 1;

/// A descriptor that was read and holds together.
///
/// ```
/// use deploy_host::descriptor::Descriptor;
///
/// let descriptor = Descriptor::parse(
///     r#"
///     format = 1
///     [start]
///     command = 'exec ./server --port "$P_PORT"'
///     [verify]
///     tcp = "127.0.0.1:$P_PORT"
///     [parameters.PORT]
///     type = "integer"
///     min = 1
///     max = 65535
///     default = 8080
///     "#,
/// )?;
/// let steps: Vec<_> = descriptor.steps().into_iter().map(|it| it.name.as_str()).collect();
/// assert_eq!(steps, ["fetch", "stop", "install", "rollback", "start", "verify"]);
/// # Ok::<(), deploy_host::descriptor::DescriptorError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Descriptor {
    /// The steps, in the order in which they run.
    pub steps: Vec<DescribedStep>,
    /// What the default `start` starts.
    pub start: Option<Start>,
    /// How the default `stop` stops it.
    pub stop: Stop,
    /// What the default `verify` looks at.
    pub verify: Verify,
    /// How many releases the default `install` leaves on a host.
    pub keep_releases: NonZeroU32,
    /// The parameters that scripts and the texts above may use.
    pub parameters: BTreeMap<ParameterName, Parameter>,
}

impl Descriptor {
    /// Reads the text of a `descriptor.toml`. Whether the scripts it names are there is seen when the whole descriptor is [`read`].
    ///
    /// # Errors
    /// All that is wrong with it, each with line and column.
    pub fn parse(text: &str) -> Result<Self, DescriptorError> {
        resolve::parse(text)
    }

    /// The steps as plans and releases hold them.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.steps.iter().map(|it| it.step.clone()).collect()
    }

    /// What is said of the step `name`.
    #[must_use]
    pub fn step(&self, name: StepName) -> Option<&DescribedStep> {
        self.steps.iter().find(|it| it.step.name == name)
    }

    /// Whether it is for ad-hoc runs.
    #[must_use]
    pub fn is_run(&self) -> bool {
        self.step(StepName::Run).is_some()
    }

    /// The values of all parameters, where `given` was given: checked, and with defaults filled in.
    ///
    /// # Errors
    /// All that is wrong with what was given.
    pub fn resolve(
        &self,
        given: &BTreeMap<ParameterName, String>,
    ) -> Result<BTreeMap<ParameterName, String>, UnusableParameters> {
        parameter::resolve(&self.parameters, given)
    }
}

/// What the default `start` starts.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// A command line for `sh`, run in the release's folder, that stays in the foreground.
    Command(String),
    /// A unit of the host's service manager.
    Unit(Template),
}

/// How the default `stop` stops.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stop {
    /// How long the service has to end by itself.
    pub timeout: Duration,
    /// A command line for `sh` that asks it to; `None` is TERM, or the unit's own way.
    pub command: Option<String>,
}

/// What the default `verify` looks at: all that is declared has to hold. With nothing declared, what `start` started has to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verify {
    /// A URL that has to answer.
    pub http: Option<HttpCheck>,
    /// An `ADDRESS:PORT` that has to take connections.
    pub tcp: Option<Template>,
    /// A command line for `sh` that has to end with 0.
    pub command: Option<String>,
    /// A unit that has to be active.
    pub unit: Option<Template>,
}

/// What a URL has to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpCheck {
    /// The URL.
    pub url: Template,
    /// The status it has to answer with.
    pub status: u16,
    /// What the answer has to contain.
    pub contains: Option<Template>,
}

#[cfg(test)]
mod tests;
