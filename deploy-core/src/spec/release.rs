//! Releases: what runs, how it is put there, and with which parameters.
use super::{Signed, Step};
use crate::{
    digest::Digest,
    id::{Principal, ReleaseId, ServiceName, Version},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// The name of a parameter: upper-case letters, digits and `_`, beginning with a letter, at most 64 bytes.
///
/// Scripts find it in the environment as `P_<NAME>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ParameterName(Box<str>);

/// Why a string is not a parameter name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is not a valid parameter name: it must begin with A-Z and hold only A-Z, 0-9 and `_`, at most 64 of them",
    .input.escape_debug()
)]
pub struct ParseParameterNameError {
    input: String,
}

impl ParameterName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ParameterName {
    type Err = ParseParameterNameError;

    fn from_str(input: &str) -> Result<Self, Self::Err> {
        let body = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let valid = input.len() <= 64
            && input.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
            && input.bytes().all(body);
        if valid {
            Ok(Self(input.into()))
        } else {
            Err(ParseParameterNameError { input: input.chars().take(80).collect() })
        }
    }
}

impl TryFrom<String> for ParameterName {
    type Error = ParseParameterNameError;

    fn try_from(input: String) -> Result<Self, Self::Error> {
        input.parse()
    }
}

impl From<ParameterName> for String {
    fn from(name: ParameterName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for ParameterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An artifact, and how large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArtifactRef {
    /// The SHA-256 of its bytes.
    pub digest: Digest,
    /// How many bytes it has.
    pub size: u64,
}

impl ArtifactRef {
    /// The artifact `digest` of `size` bytes.
    #[must_use]
    pub const fn new(digest: Digest, size: u64) -> Self {
        Self { digest, size }
    }
}

/// A named, immutable combination of package, descriptor and parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Release {
    /// Its name; also that of its folder on hosts.
    pub id: ReleaseId,
    /// Of which service.
    pub service: ServiceName,
    /// The version people know it by.
    pub version: Version,
    /// What runs. `None` for an ad-hoc run.
    pub package: Option<ArtifactRef>,
    /// How it is put there: an archive of `descriptor.toml` and scripts.
    pub descriptor: ArtifactRef,
    /// The steps of the descriptor, in order.
    pub steps: Vec<Step>,
    /// What scripts see as `P_<NAME>`. Not for secrets: parameters are part of plans and of the journal.
    pub parameters: BTreeMap<ParameterName, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// By whom.
    pub created_by: Principal,
    /// Where it came from: a commit, a build, a note.
    pub provenance: String,
    /// What its publishers have said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<Signed>,
}

impl Release {
    /// A release without parameters or provenance.
    #[must_use]
    pub const fn new(
        id: ReleaseId,
        service: ServiceName,
        version: Version,
        descriptor: ArtifactRef,
        steps: Vec<Step>,
        created_at: Timestamp,
        created_by: Principal,
    ) -> Self {
        Self {
            id,
            service,
            version,
            package: None,
            descriptor,
            steps,
            parameters: BTreeMap::new(),
            created_at,
            created_by,
            provenance: String::new(),
            signed: None,
        }
    }

    /// That brings `package`.
    #[must_use]
    pub const fn with_package(mut self, package: ArtifactRef) -> Self {
        self.package = Some(package);
        self
    }

    /// With these parameters.
    #[must_use]
    pub fn with_parameters(mut self, parameters: BTreeMap<ParameterName, String>) -> Self {
        self.parameters = parameters;
        self
    }

    /// Of which publishers have said this.
    #[must_use]
    pub fn with_signed(mut self, signed: Option<Signed>) -> Self {
        self.signed = signed;
        self
    }

    /// That came from `provenance`.
    #[must_use]
    pub fn with_provenance(mut self, provenance: impl Into<String>) -> Self {
        self.provenance = provenance.into();
        self
    }
}
