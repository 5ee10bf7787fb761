//! Tokens: how they are written, what is kept of them, and what one may be used for.
//!
//! Of a token the platform keeps the id and the hash of the secret. Whoever reads the database, a backup or a log finds nothing
//! that could be presented.
use crate::{
    access::{Action, Resource},
    digest::{Digest, parse_hex, to_hex},
    host::Host,
    id::{ServiceName, TokenId},
    spec::Selector,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// The secret half of a token: 256 bits that the caller draws at random.
///
/// `Debug` tells nothing of them, and there is no `Display`.
#[derive(Clone)]
pub struct TokenSecret([u8; 32]);

impl TokenSecret {
    /// The secret `bits`. They have to come from a generator that is fit for keys.
    #[must_use]
    pub const fn from_bytes(bits: [u8; 32]) -> Self {
        Self(bits)
    }

    /// What is kept of it.
    ///
    /// One round of SHA-256 is enough: nobody can try 256 random bits, however fast.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(*Digest::of(&self.0).as_bytes())
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret(…)")
    }
}

/// The SHA-256 hash of a [`TokenSecret`]: what a store keeps, and compares.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// A hash that was kept.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, to be kept.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `other` is the same. Takes as long whichever bytes differ; there is no `PartialEq` that would not.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        let different = self.0.iter().zip(other.0).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(different) == 0
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// An API token as people and programs present it: `dpl_`, an id, `_`, and the secret as 64 hexadecimal digits.
///
/// ```
/// use deploy_core::{id::TokenId, token::{ApiToken, TokenSecret}};
///
/// let token = ApiToken::new(TokenId::from_bits(7), TokenSecret::from_bytes([1; 32]));
/// let text = token.reveal();
/// assert!(text.starts_with("dpl_0000000000000007_0101"));
/// let parsed: ApiToken = text.parse()?;
/// assert!(parsed.secret.hash().matches(&token.secret.hash()));
/// assert_eq!(format!("{parsed:?}"), "ApiToken { id: \"0000000000000007\", secret: TokenSecret(…) }");
/// # Ok::<(), deploy_core::token::ParseTokenError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApiToken {
    /// The public half.
    pub id: TokenId,
    /// The secret half.
    pub secret: TokenSecret,
}

impl ApiToken {
    /// The token of these halves.
    #[must_use]
    pub const fn new(id: TokenId, secret: TokenSecret) -> Self {
        Self { id, secret }
    }

    /// The text to present, secret and all: to be shown once, to whom it is for.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{API}{}_{}", self.id, to_hex(&self.secret.0))
    }
}

/// A join token as it is pasted on a host: `dplj_`, an id, `_`, the secret, `_`, and the fingerprint of the control plane's
/// certificate authority, so that the host gives the secret to nobody else.
///
/// ```
/// use deploy_core::{digest::Digest, id::TokenId, token::{JoinToken, TokenSecret}};
///
/// let authority = Digest::of(b"the certificate of an authority");
/// let token = JoinToken::new(TokenId::from_bits(7), TokenSecret::from_bytes([1; 32]), authority);
/// assert_eq!(token.reveal().parse::<JoinToken>()?.authority, authority);
/// # Ok::<(), deploy_core::token::ParseTokenError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JoinToken {
    /// The public half.
    pub id: TokenId,
    /// The secret half.
    pub secret: TokenSecret,
    /// The SHA-256 digest of the authority's certificate (DER).
    pub authority: Digest,
}

impl JoinToken {
    /// The token of these parts.
    #[must_use]
    pub const fn new(id: TokenId, secret: TokenSecret, authority: Digest) -> Self {
        Self { id, secret, authority }
    }

    /// The text to present, secret and all: to be shown once, to whom it is for.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{JOIN}{}_{}_{}", self.id, to_hex(&self.secret.0), self.authority.hex())
    }
}

const API: &str = "dpl_";
const JOIN: &str = "dplj_";

/// Why a text is not a token. It does not say what the text was: that may be a secret with a slip in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not {what}: it must be `{form}`, copied whole")]
pub struct ParseTokenError {
    what: &'static str,
    form: &'static str,
}

impl FromStr for ApiToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let parts = text.strip_prefix(API).and_then(|it| it.split_once('_'));
        let token = parts.and_then(|(id, secret)| {
            Some(Self::new(id.parse().ok()?, TokenSecret(parse_hex(secret)?)))
        });
        token.ok_or(ParseTokenError { what: "an API token", form: "dpl_ID_SECRET" })
    }
}

impl FromStr for JoinToken {
    type Err = ParseTokenError;

    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let parts = text.strip_prefix(JOIN).and_then(|it| it.split_once('_'));
        let token = parts.and_then(|(id, rest)| {
            let (secret, authority) = rest.split_once('_')?;
            let authority = Digest::from_bytes(parse_hex(authority)?);
            Some(Self::new(id.parse().ok()?, TokenSecret(parse_hex(secret)?), authority))
        });
        token.ok_or(ParseTokenError { what: "a join token", form: "dplj_ID_SECRET_FINGERPRINT" })
    }
}

/// What a token may be used for, at the most: whom it speaks for may still not do more than the rules allow.
///
/// ```
/// use deploy_core::{access::{Action, Resource}, token::TokenScope};
///
/// let scope = TokenScope::new([Action::RolloutControl]).with_services(["web".parse()?]);
/// assert!(scope.allows(Action::RolloutControl, &Resource::Service("web".parse()?), None));
/// assert!(!scope.allows(Action::RolloutControl, &Resource::Service("db".parse()?), None));
/// assert!(!scope.allows(Action::RolloutControl, &Resource::System, None));
/// # Ok::<(), deploy_core::id::ParseNameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenScope {
    /// What may be done; with none of them, a token is for reading.
    pub actions: BTreeSet<Action>,
    /// The services that it may be done to; `None` for all that there is, services or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<BTreeSet<ServiceName>>,
    /// The hosts that it may be done to; `None` for all that there is, hosts or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Selector>,
}

impl TokenScope {
    /// `actions` on everything.
    pub fn new(actions: impl IntoIterator<Item = Action>) -> Self {
        Self { actions: actions.into_iter().collect(), services: None, hosts: None }
    }

    /// Only on these services: on the services themselves, on the repositories of their names, and on every host for them.
    #[must_use]
    pub fn with_services(mut self, services: impl IntoIterator<Item = ServiceName>) -> Self {
        self.services = Some(services.into_iter().collect());
        self
    }

    /// Only on the hosts that `selector` selects.
    #[must_use]
    pub fn with_hosts(mut self, selector: Selector) -> Self {
        self.hosts = Some(selector);
        self
    }

    /// Whether `action` on all of `resource` is within it. `host` is the record of the host that `resource` is about; a host
    /// that nobody knows is within no selector.
    #[must_use]
    pub fn allows(&self, action: Action, resource: &Resource, host: Option<&Host>) -> bool {
        let fits_service = |mine: &BTreeSet<ServiceName>| match resource {
            Resource::Service(name) | Resource::Host(_, Some(name)) => mine.contains(name),
            // A service's artifacts are in the repository of its name.
            Resource::Repository(name) => mine.iter().any(|it| it.as_str() == name.as_str()),
            Resource::Host(_, None) | Resource::System => false,
        };
        let selects = |mine: &Selector| match resource {
            Resource::Host(name, _) => {
                host.is_some_and(|host| host.name == *name && mine.matches(host))
            }
            Resource::Repository(_) | Resource::Service(_) | Resource::System => false,
        };
        self.actions.contains(&action)
            && self.services.as_ref().is_none_or(fits_service)
            && self.hosts.as_ref().is_none_or(selects)
    }
}
