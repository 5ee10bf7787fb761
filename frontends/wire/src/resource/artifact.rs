use serde::{Deserialize, Serialize};

/// A listed artifact: `artifact push` prints one, `artifact list` a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Artifact {
    /// Where it is listed.
    pub repository: String,
    /// `package`, `descriptor` or `provenance`.
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

/// What `artifact pull` wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The file.
    pub file: String,
    /// Where the artifact is listed.
    pub repository: String,
    /// `package`, `descriptor` or `provenance`.
    pub kind: String,
    /// Which version it is.
    pub version: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// How many bytes.
    pub size: u64,
}

/// What `artifact verify` found: a list of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Verification {
    /// Which artifact.
    pub digest: String,
    /// Whether its bytes are those that were put.
    pub intact: bool,
    /// What is wrong otherwise.
    pub reason: Option<String>,
}

/// Who keeps an artifact from being removed: `artifact pin`, `artifact unpin` and `artifact holders` print it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Holders {
    /// Which artifact.
    pub digest: String,
    /// The releases that consist of it.
    pub releases: Vec<String>,
    /// The channels that lead to it, as `REPOSITORY/KIND/NAME`.
    #[serde(default)]
    pub channels: Vec<String>,
    /// The pins that people have put on it.
    pub pins: Vec<String>,
}

/// What `artifact gc` removed, or would remove.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Garbage {
    /// The versions that are no longer listed.
    pub entries: Vec<Artifact>,
    /// Releases that nothing uses, whose packages and descriptors are held by them no more.
    #[serde(default)]
    pub retired: Vec<String>,
    /// Old versions that stay because releases need them.
    pub held: Vec<Artifact>,
    /// The digests whose bytes are gone.
    pub removed: Vec<String>,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many uploads were dropped that had been cut off.
    pub interrupted: u64,
    /// Whether nothing of this was done.
    pub dry_run: bool,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Upload {
    /// How many bytes are there: where to go on.
    pub offset: u64,
    /// Whether that is all of them.
    pub complete: bool,
}
