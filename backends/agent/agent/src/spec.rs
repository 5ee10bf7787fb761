//! What an attempt consists of, checked once: an order may come from a server that somebody else has taken over.
use crate::attempt::AttemptKey;
use deploy_agent_protocol::v1;
use deploy_core::{
    digest::Digest,
    id::{AccountName, ReleaseId, ServiceName},
    spec::{AbsolutePath, StepName},
};
use deploy_package::Part;
use std::{fmt, path::PathBuf, time::Duration};
use thiserror::Error;

/// The longest value of an environment variable: the kernel takes no longer ones.
const LONGEST_VALUE: usize = 127 << 10;

/// Why an order makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub(crate) struct BadOrder(String);

impl BadOrder {
    #[expect(clippy::needless_pass_by_value, reason = "it stands at the end of `map_err`")]
    fn new(what: impl ToString) -> Self {
        Self(what.to_string())
    }
}

/// A service on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) service: ServiceName,
    pub(crate) deploy_path: AbsolutePath,
    /// `None`: the account of the agent itself.
    pub(crate) account: Option<AccountName>,
}

impl Place {
    pub(crate) fn parse(place: Option<&v1::Place>) -> Result<Self, BadOrder> {
        let place = place.ok_or_else(|| BadOrder::new("it does not say which service"))?;
        let account = Some(&place.account).filter(|it| !it.is_empty());
        Ok(Self {
            service: place.service.parse().map_err(BadOrder::new)?,
            deploy_path: place.deploy_path.parse().map_err(BadOrder::new)?,
            account: account.map(|it| it.parse()).transpose().map_err(BadOrder::new)?,
        })
    }

    /// Where the releases of the service lie.
    pub(crate) fn releases(&self) -> PathBuf {
        PathBuf::from(format!("{}/releases", self.deploy_path))
    }

    pub(crate) fn attempt(&self, generation: u64) -> Result<AttemptKey, BadOrder> {
        if generation == 0 {
            return Err(BadOrder::new("a generation is at least 1"));
        }
        Ok(AttemptKey { service: self.service.clone(), generation })
    }
}

/// Bytes that are fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Artifact {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

impl Artifact {
    pub(crate) fn parse(artifact: &v1::Artifact) -> Result<Self, BadOrder> {
        Ok(Self { digest: digest(&artifact.digest)?, size: artifact.size })
    }
}

impl From<Part> for Artifact {
    fn from(part: Part) -> Self {
        Self { digest: part.digest, size: part.size }
    }
}

/// By which ways a package may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliverySpec {
    /// Which package.
    pub(crate) package: Digest,
    /// The digest of the manifest of the tree in it.
    pub(crate) manifest: Digest,
    /// The list of its parts.
    pub(crate) publication: Artifact,
}

impl DeliverySpec {
    pub(crate) fn parse(delivery: &v1::Delivery) -> Result<Self, BadOrder> {
        let list = delivery.publication.as_ref();
        let list = list.ok_or_else(|| BadOrder::new("a delivery names no list of parts"))?;
        Ok(Self {
            package: digest(&delivery.package)?,
            manifest: digest(&delivery.manifest)?,
            publication: Artifact::parse(list)?,
        })
    }
}

fn digest(bytes: &[u8]) -> Result<Digest, BadOrder> {
    let bytes = bytes.try_into().map_err(|_length| BadOrder::new("a digest has 32 bytes"))?;
    Ok(Digest::from_bytes(bytes))
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepSpec {
    pub(crate) name: StepName,
    pub(crate) timeout: Duration,
    /// In the descriptor; `None`: the default of that name.
    pub(crate) script: Option<String>,
    pub(crate) check: Option<String>,
    pub(crate) rerunnable: bool,
}

impl StepSpec {
    /// What runs it, below the folder that the account may read.
    pub(crate) fn path(&self) -> String {
        match &self.script {
            Some(script) => format!("descriptor/{script}"),
            None => format!("steps/{}.sh", self.name),
        }
    }
}

/// What the host does by itself unless it is told in time to keep what the steps did.
#[derive(Clone, PartialEq)]
pub(crate) struct RevertSpec {
    pub(crate) after: Duration,
    pub(crate) back: Spec,
}

/// An attempt that makes sense.
#[derive(Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) key: AttemptKey,
    pub(crate) place: Place,
    pub(crate) release: Option<ReleaseId>,
    pub(crate) steps: Vec<StepSpec>,
    pub(crate) descriptor: Artifact,
    pub(crate) package: Option<Artifact>,
    pub(crate) delivery: Option<DeliverySpec>,
    pub(crate) revert: Option<Box<RevertSpec>>,
    /// All of it, as it came.
    pub(crate) order: v1::Attempt,
}

impl Spec {
    pub(crate) fn parse(order: v1::Attempt) -> Result<Self, BadOrder> {
        let place = Place::parse(order.place.as_ref())?;
        check_token(&order.token)?;
        check_texts(&order)?;
        check_environment(&order)?;
        let release = Some(&order.release).filter(|it| !it.is_empty());
        let release = release.map(|it| it.parse()).transpose().map_err(BadOrder::new)?;
        let descriptor = order.descriptor.as_ref();
        let descriptor = descriptor.ok_or_else(|| BadOrder::new("it has no descriptor"))?;
        let steps = order.steps.iter().map(step).collect::<Result<Vec<_>, _>>()?;
        if steps.is_empty() {
            return Err(BadOrder::new("it has no steps"));
        }
        let revert = order.revert.as_deref().map(|it| revert(it, &order)).transpose()?;
        Ok(Self {
            key: place.attempt(order.generation)?,
            place,
            release,
            revert: revert.map(Box::new),
            steps,
            descriptor: Artifact::parse(descriptor)?,
            package: order.package.as_ref().map(Artifact::parse).transpose()?,
            delivery: order.delivery.as_ref().map(DeliverySpec::parse).transpose()?,
            order,
        })
    }

    pub(crate) fn step(&self, name: &str) -> Option<(usize, &StepSpec)> {
        self.steps.iter().enumerate().find(|(_, it)| it.name.as_str() == name)
    }

    /// By what the processes of a step are marked, and found.
    pub(crate) fn mark(&self, index: &str) -> String {
        format!("{}.{index}", self.order.token)
    }

    /// The name of its control group.
    pub(crate) fn group(&self) -> String {
        format!("{}.{}.{}", self.key.service, self.key.generation, self.order.token)
    }

    pub(crate) const fn grace(&self) -> Duration {
        Duration::from_secs(self.order.kill_grace_s as u64)
    }
}

/// Parameters may be secrets: what came is not shown.
impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spec").field("key", &self.key).finish_non_exhaustive()
    }
}

/// The way back belongs to the very attempt that it leads back from, and ends there.
fn revert(revert: &v1::Revert, order: &v1::Attempt) -> Result<RevertSpec, BadOrder> {
    let back = revert.back.as_deref();
    let back = back.ok_or_else(|| BadOrder::new("it does not say how to go back"))?;
    let same = back.place == order.place
        && back.generation == order.generation
        && back.token == order.token
        && back.masked == order.masked;
    if !same || back.direction != "back" || order.direction == "back" || back.revert.is_some() {
        return Err(BadOrder::new("its way back is that of another attempt"));
    }
    if revert.after_ms == 0 {
        return Err(BadOrder::new("it leaves no time to be told to stay"));
    }
    Ok(RevertSpec {
        after: Duration::from_millis(revert.after_ms),
        back: Spec::parse(back.clone())?,
    })
}

/// A token stands in the environment of every step.
pub(crate) fn check_token(token: &str) -> Result<(), BadOrder> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    if token.len() == 32 && token.bytes().all(hex) {
        return Ok(());
    }
    Err(BadOrder::new("a token must be 32 lower-case hexadecimal digits"))
}

fn check_texts(order: &v1::Attempt) -> Result<(), BadOrder> {
    let texts = [
        &order.version,
        &order.previous_release,
        &order.previous_version,
        &order.step_key_prefix,
        &order.rollout,
    ];
    if texts.iter().any(|it| it.len() > 1_000 || it.chars().any(char::is_control)) {
        return Err(BadOrder::new("a name is too long, or holds a control character"));
    }
    if matches!(&*order.direction, "forward" | "back") {
        return Ok(());
    }
    Err(BadOrder::new("the direction is neither `forward` nor `back`"))
}

/// Whatever else stood in the environment of a step could make programs do something else: `LD_PRELOAD`, `BASH_ENV`, `PATH`.
fn check_environment(order: &v1::Attempt) -> Result<(), BadOrder> {
    for (name, value) in &order.environment {
        let rest = name.strip_prefix("P_").or_else(|| name.strip_prefix("D_")).unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if rest.is_empty() || !rest.bytes().all(plain) {
            return Err(BadOrder::new(format_args!("`{}` is no parameter", name.escape_debug())));
        }
        if value.contains('\0') || name.len() + value.len() > LONGEST_VALUE {
            return Err(BadOrder::new(format_args!(
                "the value of `{name}` is too long, or holds a NUL"
            )));
        }
    }
    Ok(())
}

fn step(step: &v1::Step) -> Result<StepSpec, BadOrder> {
    let name = StepName::ALL.into_iter().find(|it| it.as_str() == step.name);
    let name = name
        .ok_or_else(|| BadOrder::new(format_args!("`{}` is no step", step.name.escape_debug())))?;
    let script = Some(&step.script).filter(|it| !it.is_empty()).cloned();
    let check = Some(&step.check).filter(|it| !it.is_empty()).cloned();
    script.iter().chain(&check).try_for_each(|it| check_path(it))?;
    if script.is_none() && deploy_host::shell::default_step(name).is_none() {
        return Err(BadOrder::new(format_args!("the step `{name}` has no default script")));
    }
    let timeout = Duration::from_secs(u64::from(step.timeout_s.max(1)));
    Ok(StepSpec { name, timeout, script, check, rerunnable: step.rerunnable })
}

/// A file of the descriptor: the archive is judged by itself, this keeps a path from leading out of it.
fn check_path(path: &str) -> Result<(), BadOrder> {
    let bad = path.len() > 200
        || path.chars().any(char::is_control)
        || path.split('/').any(|it| matches!(it, "" | "." | ".."));
    if bad {
        let shown = path.chars().take(200).collect::<String>();
        return Err(BadOrder::new(format_args!(
            "`{}` is no file of a descriptor",
            shown.escape_debug()
        )));
    }
    Ok(())
}

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;
