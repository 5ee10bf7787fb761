use serde::{Deserialize, Serialize};

/// What `doctor` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DoctorReport {
    /// Whether nothing is wrong.
    pub healthy: bool,
    /// What was looked at.
    pub checks: Vec<DoctorCheck>,
}

/// What a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ServerInfo {
    /// Of which version.
    pub version: String,
    /// How many rollouts it drives.
    pub driven: u64,
    /// What time it is there.
    pub now: String,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct DoctorCheck {
    /// What.
    pub name: String,
    /// `ok`, `warning` or `failed`.
    pub result: String,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}
