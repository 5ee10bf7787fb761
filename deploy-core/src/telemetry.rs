//! The names under which the library traces, for filters and dashboards to rely on.
//!
//! Messages are constant and in lower case; what varies is in fields. The journal is the audit trail; traces are not.

/// The target of events about calls of backends.
pub const TARGET_BACKEND: &str = "deploy::backend";
/// The target of events about what is done on hosts.
pub const TARGET_EFFECT: &str = "deploy::effect";
/// The target of events about records appended and read.
pub const TARGET_JOURNAL: &str = "deploy::journal";

/// Field: which backend was called, as its layer was told.
pub const BACKEND: &str = "deploy.backend";
/// Field: how long something took, in seconds.
pub const ELAPSED_SECS: &str = "elapsed_secs";
/// Field: the [`ErrorKind`](crate::error::ErrorKind) of what went wrong.
pub const ERROR_KIND: &str = "error.kind";
/// Field: the attempt's generation.
pub const GENERATION: &str = "deploy.generation";
/// Field: the host's name.
pub const HOST: &str = "deploy.host";
/// Field: what was asked of a backend, such as `journal.append`.
pub const OPERATION: &str = "deploy.operation";
/// Field: the rollout's id.
pub const ROLLOUT_ID: &str = "deploy.rollout.id";
/// Field: the service's name.
pub const SERVICE: &str = "deploy.service";
/// Field: the step of a descriptor.
pub const STEP: &str = "deploy.step";
/// Field: the stream that the rollout is journaled in: its service, or an ad-hoc run.
pub const STREAM: &str = "deploy.stream";
