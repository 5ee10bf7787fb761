use deploy_core::limit;
use serde::{Deserialize, Serialize};

/// How fast bytes may travel to hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Limit {
    /// Of what: `origin` (what the server gives), `zone=NAME`, `host=NAME` or `rollout=ID`.
    pub scope: String,
    /// Megabits a second.
    pub mbit: u32,
    /// How many a host gives to others; null where that is the same, or where nothing is given.
    pub upload_mbit: Option<u32>,
    /// Who has set it; null if the server's configuration says so.
    pub set_by: Option<String>,
    /// When; null if the server's configuration says so.
    pub set_at: Option<String>,
    /// Why it limits nothing, or less than it says; only where it was set just now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Limit {
    /// What somebody has set.
    #[must_use]
    pub fn new(scope: &limit::LimitScope, limit: &limit::Limit) -> Self {
        Self {
            scope: scope.to_string(),
            mbit: limit.mbit.get(),
            upload_mbit: limit.upload_mbit.map(Into::into),
            set_by: Some(limit.set_by.to_string()),
            set_at: Some(limit.set_at.to_string()),
            warnings: Vec::new(),
        }
    }
}
