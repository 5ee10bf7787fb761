use serde::{Deserialize, Serialize};

/// What `backup` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// Where the copy is.
    pub folder: String,
    /// How many files it has.
    pub files: u64,
    /// How large they are together, in bytes.
    pub bytes: u64,
    /// Whether the database is among them.
    pub database: bool,
    /// What the restored database was told; none where there is no database, or it was not restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
}

/// What `backup declare-restored` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Records and attempts from now on have positions and generations above this one.
    pub floor: u64,
    /// The rollouts that were under way, and are paused until somebody has looked; newest first.
    pub paused: Vec<String>,
}
