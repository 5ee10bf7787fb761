use serde::{Deserialize, Serialize};

/// What `artifact export` wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The file.
    pub file: String,
    /// The versions in it, as `REPOSITORY/KIND/VERSION`.
    pub versions: Vec<String>,
    /// The releases in it.
    pub releases: Vec<String>,
    /// How many bytes its artifacts have.
    pub bytes: u64,
}

/// What `artifact import` brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The file.
    pub file: String,
    /// The versions that are new, as `REPOSITORY/KIND/VERSION`.
    pub added: Vec<String>,
    /// The versions that were there already.
    pub unchanged: Vec<String>,
    /// The releases in it, which are there now.
    pub releases: Vec<String>,
    /// Whether nothing of this was done.
    pub dry_run: bool,
}
