use serde::{Deserialize, Serialize};

/// A listed artifact: `artifact push` prints one, `artifact list` a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Where it is listed.
    pub repository: String,
    /// `package` or `descriptor`.
    pub kind: String,
    /// Which version.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// How many bytes.
    pub size: u64,
    /// When it was put.
    pub put_at: String,
}

/// What `artifact verify` found: a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Which artifact.
    pub digest: String,
    /// Whether its bytes are those that were put.
    pub intact: bool,
    /// What is wrong otherwise.
    pub reason: Option<String>,
}

/// What a command removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The names or digests of what is gone.
    pub removed: Vec<String>,
    /// How many bytes that frees; null where that is not known.
    pub bytes: Option<u64>,
}
