//! Builds to start, and what becomes of them.
use crate::Signed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A build to start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewBuild {
    /// Of which service.
    pub service: String,
    /// Which tag, branch or commit of its source.
    pub revision: String,
    /// What becomes of it once it has succeeded; null leaves that to whoever asks. Nobody has to wait for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Publication>,
    /// On which hosts, such as `role=builder`; null: where the server builds by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// The parameters of the release that whoever asks will make of it, so that they are judged before anything is built; null judges none. Those in `then`
    /// are judged anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, String>>,
}

/// What becomes of a build that has succeeded: its artifacts are put into the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Publication {
    /// As which version; null is that of the tag, else the commit.
    #[serde(default)]
    pub version: Option<String>,
    /// Whether the release is made of it as well.
    #[serde(default)]
    pub release: bool,
    /// What scripts of the release see as `P_<NAME>`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// What the publishers of the release have said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}
