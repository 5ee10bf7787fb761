//! What a publisher signs.
use super::NotPublished;
use crate::PackageError;
use deploy_core::{
    digest::Digest,
    id::{ServiceName, Version},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The longest that anything that is signed may be, in bytes.
const LONGEST: usize = 64 << 10;

const FORMAT: u32 = 1;

/// That these bytes are this version of this service.
///
/// What it says of a package is said of its archive, and so of the tree in it. Parameters are no part of it: they are the operator's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Statement {
    /// Keeps it from being taken for anything else that the same key signs.
    kind: Kind,
    format: u32,
    /// Of which service.
    pub service: ServiceName,
    /// Which version.
    pub version: Version,
    /// The archive of its descriptor.
    pub descriptor: Digest,
    /// The archive of its package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub package: Option<Digest>,
    /// The package's manifest, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// When it was made, in seconds since 1970: what is older is a downgrade.
    pub issued: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "deploy release")]
    Release,
}

impl Statement {
    /// Of a version that brings no package; made `issued` seconds after the beginning of 1970.
    #[must_use]
    pub const fn new(
        service: ServiceName,
        version: Version,
        descriptor: Digest,
        issued: u64,
    ) -> Self {
        let (kind, format) = (Kind::Release, FORMAT);
        Self { kind, format, service, version, descriptor, package: None, manifest: None, issued }
    }

    /// That brings this package.
    #[must_use]
    pub const fn with_package(mut self, package: Digest) -> Self {
        self.package = Some(package);
        self
    }

    /// Whose package has this manifest.
    #[must_use]
    pub const fn with_manifest(mut self, manifest: Digest) -> Self {
        self.manifest = Some(manifest);
        self
    }

    /// The bytes that are signed: the same on every machine.
    ///
    /// # Errors
    /// If memory ends.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackageError> {
        serde_json::to_vec(self).map_err(PackageError::unwritable)
    }

    /// Reads a statement whose signatures somebody else will look at.
    ///
    /// # Errors
    /// If it is none, or of another format.
    pub fn read_unverified(bytes: &[u8]) -> Result<Self, NotPublished> {
        Self::parse(bytes)
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, NotPublished> {
        let statement: Self = parse("statement about a release", bytes)?;
        of_format("statement about a release", statement.format, FORMAT)?;
        Ok(statement)
    }
}

pub(super) fn parse<T: DeserializeOwned>(
    what: &'static str,
    bytes: &[u8],
) -> Result<T, NotPublished> {
    if bytes.len() > LONGEST {
        let why = format!("it has {} bytes, and at most {LONGEST} are read", bytes.len());
        return Err(NotPublished::Malformed { what, why });
    }
    serde_json::from_slice(bytes)
        .map_err(|err| NotPublished::Malformed { what, why: err.to_string() })
}

pub(super) fn of_format(what: &'static str, got: u32, known: u32) -> Result<(), NotPublished> {
    if got == known {
        return Ok(());
    }
    let why = format!("its format is {got}, and this program knows {known} only");
    Err(NotPublished::Malformed { what, why })
}
