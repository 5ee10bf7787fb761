//! What may stand behind `?`.
use serde::Deserialize;
use utoipa::IntoParams;

/// Which artifacts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ArtifactsQuery {
    /// Only of this repository, or (`web-*`) of those that begin like that.
    pub(super) repository: Option<String>,
    /// Only `package`, `descriptor` or `provenance`.
    pub(super) kind: Option<String>,
    /// Only versions that begin with this.
    pub(super) version: Option<String>,
    /// Only digests that begin with this: `sha256:` and at least 6 digits.
    pub(super) digest: Option<String>,
    /// Only what a channel of this name leads to.
    pub(super) channel: Option<String>,
    /// Only what was put within this many seconds.
    pub(super) since_s: Option<u64>,
    /// How many at the most: 1 to 1000, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The key of the last one that was seen; pages say it themselves, in `next`.
    pub(super) after: Option<String>,
}

/// Which channels.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ChannelsQuery {
    /// Only of this repository.
    pub(super) repository: Option<String>,
    /// How many at the most: 1 to 1000, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The key of the last one that was seen; pages say it themselves, in `next`.
    pub(super) after: Option<String>,
}

/// Which artifact is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ResolveQuery {
    /// A digest or its beginning, a version, or `REPOSITORY@NAME`, where the name is a channel or a version.
    pub(super) name: String,
    /// `package`, `descriptor` or `provenance`.
    pub(super) kind: String,
    /// Where versions and channels are looked for if the name says no repository.
    pub(super) repository: Option<String>,
}

/// What an upload is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadQuery {
    /// Where it is to be listed.
    pub(super) repository: String,
    /// `package` or `descriptor`.
    pub(super) kind: String,
    /// Which version it is.
    pub(super) version: String,
    /// How many bytes the whole artifact has.
    pub(super) size: u64,
}

/// Which builds.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BuildsQuery {
    /// Only of this service.
    pub(super) service: Option<String>,
    /// How many at the most: 1 to 1000, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The key of the last one that was seen; pages say it themselves, in `next`.
    pub(super) after: Option<String>,
}

/// From where, and how long.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StreamQuery {
    /// Only what comes after this event; `Last-Event-ID` goes before it.
    pub(super) after: Option<u64>,
    /// Whether to go on until it is over; otherwise the stream ends with what there is now.
    pub(super) follow: Option<bool>,
}

/// From where, how long, and of which host.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogsQuery {
    /// Only of this host.
    pub(super) host: Option<String>,
    /// Only what comes after this event; `Last-Event-ID` goes before it.
    pub(super) after: Option<u64>,
    /// Whether to go on until it is over; otherwise the stream ends with what there is now.
    pub(super) follow: Option<bool>,
}

/// Which hosts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HostsQuery {
    /// Only those that it selects, such as `role=web,zone!=b`.
    pub(super) selector: Option<String>,
    /// How many at the most: 1 to 1000, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The key of the last one that was seen; pages say it themselves, in `next`.
    pub(super) after: Option<String>,
}

/// Which rollouts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RolloutsQuery {
    /// Only of this service.
    pub(super) service: Option<String>,
    /// How many at the most: 1 to 1000, 100 if it is not said.
    #[param(minimum = 1, maximum = 1000)]
    pub(super) limit: Option<usize>,
    /// The key of the last one that was seen; pages say it themselves, in `next`.
    pub(super) after: Option<String>,
}

/// How much of a rollout.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RolloutQuery {
    /// Whether every host of it is shown.
    #[serde(default)]
    pub(super) hosts: bool,
}
