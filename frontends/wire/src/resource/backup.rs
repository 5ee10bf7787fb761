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
}
