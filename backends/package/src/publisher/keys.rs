//! Whose signatures are believed, and how that changes.
use super::{
    NotPublished, PublisherKey, Statement,
    statement::{of_format, parse},
};
use crate::PackageError;
use minisign_verify::Signature;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

const WHAT: &str = "list of keys";
const FORMAT: u32 = 1;

/// How many signatures of one statement are looked at.
const MOST: usize = 32;

/// The keys that a host believes, and how many of them have to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publishers {
    keys: BTreeSet<PublisherKey>,
    needed: usize,
}

impl Publishers {
    /// `needed` of these `keys` have to sign.
    ///
    /// # Errors
    /// [`NotPublished::Threshold`] if that is none of them, or more than there are, or one is there twice.
    pub fn new(
        keys: impl IntoIterator<Item = PublisherKey>,
        needed: usize,
    ) -> Result<Self, NotPublished> {
        let keys: Vec<_> = keys.into_iter().collect();
        // One key under two names would sign for two.
        let different = keys.iter().map(PublisherKey::material).collect::<BTreeSet<_>>().len();
        if needed == 0 || needed > different || different < keys.len() {
            return Err(NotPublished::Threshold { needed, keys: different });
        }
        Ok(Self { keys: keys.into_iter().collect(), needed })
    }

    /// The statement in `bytes`, if enough publishers have signed it. Each key counts once, however often it has signed.
    ///
    /// # Errors
    /// [`NotPublished::TooFew`] if they have not, and what else it says.
    pub fn verify(
        &self,
        bytes: &[u8],
        signatures: &[impl AsRef<str>],
    ) -> Result<Statement, NotPublished> {
        self.believe(bytes, signatures)?;
        Statement::parse(bytes)
    }

    /// The publishers after these, if enough of these have signed the list in `bytes`, and it is newer than the one with the serial number
    /// `held`, 0 if none has been followed yet.
    ///
    /// # Errors
    /// As [`verify`](Self::verify); [`NotPublished::Old`] keeps somebody from bringing a list back whose keys are lost.
    pub fn succeed(
        &self,
        bytes: &[u8],
        signatures: &[impl AsRef<str>],
        held: u64,
    ) -> Result<KeyList, NotPublished> {
        self.believe(bytes, signatures)?;
        let list = KeyList::read_unverified(bytes)?;
        if list.serial <= held {
            return Err(NotPublished::Old { got: list.serial, held });
        }
        list.publishers()?;
        Ok(list)
    }

    fn believe(&self, bytes: &[u8], signatures: &[impl AsRef<str>]) -> Result<(), NotPublished> {
        if signatures.len() > MOST {
            return Err(NotPublished::TooMany { found: signatures.len(), most: MOST });
        }
        let mut signed = BTreeSet::new();
        for (number, signature) in (1..).zip(signatures) {
            let signature = Signature::decode(signature.as_ref())
                .map_err(|_unreadable| NotPublished::Signature { number })?;
            signed.extend(self.keys.iter().find(|it| it.has_signed(bytes, &signature)));
        }
        if signed.len() < self.needed {
            return Err(NotPublished::TooFew { found: signed.len(), needed: self.needed });
        }
        Ok(())
    }
}

/// The publishers from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct KeyList {
    /// Keeps it from being taken for anything else that the same key signs.
    kind: Kind,
    format: u32,
    /// Greater than that of the list before.
    pub serial: u64,
    /// How many have to sign.
    pub needed: usize,
    /// Their keys.
    pub keys: Vec<PublisherKey>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "deploy publishers")]
    Publishers,
}

impl KeyList {
    /// `needed` of `keys`, after the list with a smaller number than `serial`.
    #[must_use]
    pub const fn new(serial: u64, needed: usize, keys: Vec<PublisherKey>) -> Self {
        Self { kind: Kind::Publishers, format: FORMAT, serial, needed, keys }
    }

    /// The bytes that are signed.
    ///
    /// # Errors
    /// If memory ends.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PackageError> {
        serde_json::to_vec(self).map_err(PackageError::unwritable)
    }

    /// Reads a list whose signatures somebody else will look at.
    ///
    /// # Errors
    /// If it is none, or of another format.
    pub fn read_unverified(bytes: &[u8]) -> Result<Self, NotPublished> {
        let list: Self = parse(WHAT, bytes)?;
        of_format(WHAT, list.format, FORMAT)?;
        Ok(list)
    }

    /// Whom it names.
    ///
    /// # Errors
    /// [`NotPublished::Threshold`] if nothing could be published by it.
    pub fn publishers(&self) -> Result<Publishers, NotPublished> {
        Publishers::new(self.keys.iter().cloned(), self.needed)
    }
}
