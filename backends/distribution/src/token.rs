//! Who may have which blobs, and until when.
use crate::block::{Blob, BlobId};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use deploy_core::{id::HostName, time::Timestamp};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::{fmt, time::Duration};

/// How long a token is good for, unless said otherwise. A host that is not to have anything any more is out after that.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// The most blobs that one token names.
pub const MOST_BLOBS: usize = 64;

/// Goes before what is signed, so that a signature under anything else is none under a token.
const CONTEXT: &[u8] = b"deploy peer token v1\0";
const SIGNATURE: usize = 64;
const ROOT: usize = 32;
const SIZE: usize = 8;

/// What a token says: this host may have these blobs until then.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// Who may have them.
    pub host: HostName,
    /// What it may have: [`MOST_BLOBS`] at most. Each with its size: a root alone does not say how long a blob is, and whoever
    /// believed another length would keep another blob under the same root.
    pub blobs: Vec<Blob>,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token.
    #[error("the token cannot be read")]
    Malformed,
    /// Nobody whose tokens count has signed it.
    #[error("nobody whose tokens are accepted here has signed the token")]
    BadSignature,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It was given to somebody else.
    #[error("the token was given to another host")]
    OtherHost,
    /// It names other blobs.
    #[error("the token does not name the blob")]
    OtherBlob,
}

impl TokenError {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "token_malformed",
            Self::BadSignature => "token_bad_signature",
            Self::Expired => "token_expired",
            Self::OtherHost => "token_other_host",
            Self::OtherBlob => "token_other_blob",
        }
    }
}

impl Grant {
    /// For `host`, for these blobs, until then.
    #[must_use]
    pub const fn new(host: HostName, blobs: Vec<Blob>, expires_at: Timestamp) -> Self {
        Self { host, blobs, expires_at }
    }

    /// Whether `host` may have `blob` now.
    ///
    /// # Errors
    /// If not, and why.
    pub fn allows(&self, host: &HostName, blob: Blob, now: Timestamp) -> Result<(), TokenError> {
        if self.host != *host {
            return Err(TokenError::OtherHost);
        }
        if self.expires_at <= now {
            return Err(TokenError::Expired);
        }
        if self.blobs.contains(&blob) { Ok(()) } else { Err(TokenError::OtherBlob) }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.expires_at.as_millis().to_le_bytes().to_vec();
        let host = self.host.as_str().as_bytes();
        bytes.push(u8::try_from(host.len()).unwrap_or(u8::MAX));
        bytes.extend(host);
        for blob in &self.blobs {
            bytes.extend(blob.root().as_bytes());
            bytes.extend(blob.size().to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (expires_at, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (host, blobs) = rest.split_at_checked(usize::from(*length))?;
        let (blobs, rest) = blobs.as_chunks::<{ ROOT + SIZE }>();
        if !rest.is_empty() || blobs.len() > MOST_BLOBS {
            return None;
        }
        let host = std::str::from_utf8(host).ok()?.parse().ok()?;
        let blobs = blobs.iter().map(blob_of).collect::<Option<_>>()?;
        Some(Self::new(host, blobs, Timestamp::from_millis(u64::from_le_bytes(*expires_at))))
    }
}

/// Signs tokens: the control plane does, and nobody else.
pub struct TokenSigner(SigningKey);

impl TokenSigner {
    /// With this secret key: 32 random bytes.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// The key that its tokens are checked with.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The token that says so, as it goes into a header. More blobs than [`MOST_BLOBS`] nobody accepts.
    #[must_use]
    pub fn sign(&self, grant: &Grant) -> String {
        let body = grant.to_bytes();
        let signature = self.0.sign(&signed(&body)).to_bytes();
        URL_SAFE_NO_PAD.encode([body.as_slice(), &signature].concat())
    }
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner").finish_non_exhaustive()
    }
}

/// Reads tokens of those that it trusts.
#[derive(Clone, Debug)]
pub struct TokenVerifier(Vec<VerifyingKey>);

impl TokenVerifier {
    /// Trusts tokens that one of these keys has signed.
    ///
    /// # Errors
    /// If one of them is no key.
    pub fn new(keys: impl IntoIterator<Item = [u8; 32]>) -> Result<Self, TokenError> {
        let keys = keys.into_iter().map(|it| VerifyingKey::from_bytes(&it));
        keys.collect::<Result<_, _>>().map(Self).map_err(|_no_key| TokenError::Malformed)
    }

    /// What a token says. Whether that is enough, [`Grant::allows`] tells.
    ///
    /// # Errors
    /// If it is none, or of nobody that is trusted.
    pub fn read(&self, token: &str) -> Result<Grant, TokenError> {
        const LONGEST: usize = (8 + 1 + 255 + MOST_BLOBS * (ROOT + SIZE) + SIGNATURE) * 4 / 3 + 4;
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Malformed)?;
        let (body, signature) =
            bytes.split_last_chunk::<SIGNATURE>().ok_or(TokenError::Malformed)?;
        let signature = Signature::from_bytes(signature);
        let (body_signed, keys) = (signed(body), &self.0);
        if !keys.iter().any(|it| it.verify_strict(&body_signed, &signature).is_ok()) {
            return Err(TokenError::BadSignature);
        }
        Grant::from_bytes(body).ok_or(TokenError::Malformed)
    }
}

fn blob_of(bytes: &[u8; ROOT + SIZE]) -> Option<Blob> {
    let (root, size) = bytes.split_first_chunk()?;
    let size = u64::from_le_bytes(size.try_into().ok()?);
    Blob::new(BlobId::from_bytes(*root), size).ok()
}

fn signed(body: &[u8]) -> Vec<u8> {
    [CONTEXT, body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn blob(content: &[u8], size: u64) -> Blob {
        Blob::new(BlobId::of(content), size).unwrap()
    }

    fn grant() -> Grant {
        let blobs = vec![blob(b"a", 1), blob(b"b", 1 << 40)];
        Grant::new("h1".parse().unwrap(), blobs, NOW.after(TOKEN_LIFETIME))
    }

    fn verifier(signer: &TokenSigner) -> TokenVerifier {
        TokenVerifier::new([signer.public_key()]).unwrap()
    }

    #[test]
    fn a_token_says_who_what_and_until_when() {
        let signer = TokenSigner::from_secret(&[7; 32]);
        let read = verifier(&signer).read(&signer.sign(&grant())).unwrap();
        assert_eq!(read, grant());
        let (h1, h2) = ("h1".parse().unwrap(), "h2".parse().unwrap());
        let (a, c) = (blob(b"a", 1), blob(b"c", 1));
        let over = NOW.after(TOKEN_LIFETIME);
        assert_eq!(read.allows(&h1, a, NOW), Ok(()));
        assert_eq!(read.allows(&h2, a, NOW), Err(TokenError::OtherHost));
        assert_eq!(read.allows(&h1, c, NOW), Err(TokenError::OtherBlob));
        assert_eq!(read.allows(&h1, blob(b"a", 2), NOW), Err(TokenError::OtherBlob));
        assert_eq!(read.allows(&h1, a, over), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_of_somebody_else_is_none() {
        let (ours, other) =
            (TokenSigner::from_secret(&[7; 32]), TokenSigner::from_secret(&[8; 32]));
        let token = other.sign(&grant());
        assert_eq!(verifier(&ours).read(&token), Err(TokenError::BadSignature));
        let none = TokenVerifier::new([]).unwrap();
        assert_eq!(none.read(&token), Err(TokenError::BadSignature));
    }

    #[test]
    fn a_token_for_too_much_is_none() {
        let signer = TokenSigner::from_secret(&[7; 32]);
        let many = Grant { blobs: vec![blob(b"", 0); MOST_BLOBS + 1], ..grant() };
        assert_eq!(verifier(&signer).read(&signer.sign(&many)), Err(TokenError::Malformed));
    }

    proptest! {
        #[test]
        fn a_changed_token_is_none(at: prop::sample::Index, bit in 0..8_u32) {
            let signer = TokenSigner::from_secret(&[7; 32]);
            let mut bytes = URL_SAFE_NO_PAD.decode(signer.sign(&grant())).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let read = verifier(&signer).read(&URL_SAFE_NO_PAD.encode(bytes));
            prop_assert_eq!(read, Err(TokenError::BadSignature));
        }

        #[test]
        fn no_text_is_too_much(text: String, bytes: Vec<u8>) {
            let signer = TokenSigner::from_secret(&[7; 32]);
            prop_assert!(verifier(&signer).read(&text).is_err());
            let _read = Grant::from_bytes(&bytes);
        }
    }
}
