//! What publishers have said of a release.
//!
//! Nothing here is verified: hosts do that, by keys that this server does not give them.
use serde::{Deserialize, Serialize};

/// A statement about a release, and the signatures on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Signed {
    /// The statement, byte for byte as it was signed: a JSON document.
    pub statement: String,
    /// Signatures on it, each as minisign writes them.
    pub signatures: Vec<String>,
    /// Lists of keys by which hosts that still believe earlier ones get to know the signers, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_lists: Vec<SignedKeys>,
}

/// A list of keys, and the signatures on it of those that went before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SignedKeys {
    /// The list, byte for byte as it was signed: a JSON document.
    pub list: String,
    /// Signatures on it, each as minisign writes them.
    pub signatures: Vec<String>,
}

impl Signed {
    /// `statement`, with these signatures.
    #[must_use]
    pub const fn new(statement: String, signatures: Vec<String>) -> Self {
        Self { statement, signatures, key_lists: Vec::new() }
    }

    /// Together with lists of keys.
    #[must_use]
    pub fn with_key_lists(mut self, key_lists: Vec<SignedKeys>) -> Self {
        self.key_lists = key_lists;
        self
    }
}

impl SignedKeys {
    /// `list`, with these signatures.
    #[must_use]
    pub const fn new(list: String, signatures: Vec<String>) -> Self {
        Self { list, signatures }
    }
}
