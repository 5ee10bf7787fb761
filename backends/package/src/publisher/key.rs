//! The keys of publishers.
use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A public key of minisign, as its tools print it: 56 characters that begin with `RW`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublisherKey(Box<str>);

/// Why a string is no key of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a publisher's key is the line of a minisign public key that begins with `RW`, of 56 characters"
)]
pub struct ParsePublisherKeyError;

impl PublisherKey {
    /// The key without what names it: of 42 bytes in base64, the last 30 of the 32 that are the key.
    pub(super) fn material(&self) -> &str {
        self.0.get(16..).unwrap_or_default()
    }

    /// Whether `signature` is this key's under `bytes`. Signatures of the old kind, which are not over a hash, are none.
    pub(super) fn has_signed(&self, bytes: &[u8], signature: &Signature) -> bool {
        // It was read when it was made.
        PublicKey::from_base64(&self.0).is_ok_and(|key| key.verify(bytes, signature, false).is_ok())
    }
}

impl FromStr for PublisherKey {
    type Err = ParsePublisherKeyError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        match PublicKey::from_base64(input) {
            Ok(_) if input.len() == 56 => Ok(Self(input.into())),
            _ => Err(ParsePublisherKeyError),
        }
    }
}

impl TryFrom<String> for PublisherKey {
    type Error = ParsePublisherKeyError;

    fn try_from(input: String) -> Result<Self, Self::Error> {
        input.parse()
    }
}

impl From<PublisherKey> for String {
    fn from(key: PublisherKey) -> Self {
        key.0.into()
    }
}

impl fmt::Display for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
