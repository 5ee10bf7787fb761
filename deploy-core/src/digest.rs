//! SHA-256 digests, and the digest of any serialisable value.
mod canonical;

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A SHA-256 digest, written `sha256:` and 64 hexadecimal digits.
///
/// ```
/// use deploy_core::digest::Digest;
///
/// let digest = Digest::of(b"hello");
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// assert!(digest.hex().starts_with("2cf24dba"));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a string is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a digest: it must be `sha256:` and 64 hexadecimal digits", .input.escape_debug())]
pub struct ParseDigestError {
    input: String,
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(hmac_sha256::Hash::hash(bytes))
    }

    /// A digest that was computed elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal digits alone, in lower case.
    #[must_use]
    pub fn hex(&self) -> String {
        to_hex(&self.0)
    }

    /// The first twelve hexadecimal digits: enough for a person to tell digests apart.
    #[must_use]
    pub fn short(&self) -> String {
        self.hex().chars().take(12).collect()
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(input: &str) -> Result<Self, ParseDigestError> {
        let parsed = input.strip_prefix("sha256:").and_then(parse_hex);
        parsed.map(Self).ok_or_else(|| ParseDigestError { input: input.chars().take(80).collect() })
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.extend(
            [byte >> 4, byte & 15].map(|it| char::from_digit(it.into(), 16).unwrap_or('0')),
        );
    }
    text
}

/// As [`to_hex`] wrote it: in lower case, and whole.
pub(crate) fn parse_hex(hex: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if hex.len() != 64 || hex.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let mut value = 0;
        for digit in pair {
            value = value * 16 + char::from(*digit).to_digit(16)?;
        }
        *byte = u8::try_from(value).ok()?;
    }
    Some(bytes)
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(input: String) -> Result<Self, ParseDigestError> {
        input.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

/// Computes a [`Digest`] piece by piece.
#[derive(Clone, Default)]
pub struct Hasher(hmac_sha256::Hash);

impl Hasher {
    /// Nothing hashed yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in `bytes`.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").finish_non_exhaustive()
    }
}

/// The digest of what `value` says, whatever it is written as.
///
/// Two values have the same digest if and only if they say the same: the names of their fields and variants and all that
/// these hold. The width of an integer does not matter, nor do fields that `value` skips when serialised. Maps count in the
/// order in which they are walked, so use sorted ones. A float counts by its bits.
///
/// ```
/// use deploy_core::digest::digest_of;
///
/// assert_eq!(digest_of(&[1_u8, 2]), digest_of(&[1_u64, 2]));
/// assert_ne!(digest_of(&["ab", "c"]), digest_of(&["a", "bc"]));
/// ```
#[must_use]
pub fn digest_of<T: Serialize + ?Sized>(value: &T) -> Digest {
    canonical::Canonical::digest(value)
}
