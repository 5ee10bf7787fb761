use serde::{Deserialize, Serialize};

/// A channel as it stands: `artifact channel set` prints one, `artifact channel list` a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Channel {
    /// Of which repository.
    pub repository: String,
    /// `package` or `descriptor`.
    pub kind: String,
    /// What it is called.
    pub name: String,
    /// How often it was moved.
    pub revision: u64,
    /// The version that it leads to; null if it is closed.
    pub version: Option<String>,
    /// The artifact that this version is.
    pub digest: Option<String>,
    /// When it was last moved.
    pub moved_at: String,
    /// By whom.
    pub moved_by: String,
    /// Why; empty if nobody said.
    pub reason: String,
}

/// One move of a channel: `artifact channel history` prints a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChannelMove {
    /// Which move it was; the first is 1.
    pub revision: u64,
    /// The version that the channel led to before; null if it led nowhere.
    pub from: Option<String>,
    /// The version that it leads to since; null if that closed it.
    pub to: Option<String>,
    /// The artifact that this version is.
    pub digest: Option<String>,
    /// When.
    pub moved_at: String,
    /// By whom.
    pub moved_by: String,
    /// Why; empty if nobody said.
    pub reason: String,
}

/// Where a channel is to lead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChannelSpec {
    /// To which version of its repository and kind; null closes it.
    pub version: Option<String>,
    /// Why.
    #[serde(default)]
    pub reason: String,
}
