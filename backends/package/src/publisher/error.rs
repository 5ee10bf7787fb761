//! Why a host does not take something for published.

/// Why something is not what publishers have said.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPublished {
    /// A file of a signature cannot be read.
    #[error("signature {number} of it is none of minisign")]
    Signature {
        /// Which one, from 1 on.
        number: usize,
    },
    /// There are more signatures than anybody needs.
    #[error("it has {found} signatures, and at most {most} are looked at")]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many are looked at.
        most: usize,
    },
    /// Too few of the keys that are believed have signed it.
    #[error(
        "{found} of the publishers that this host believes have signed it, and it takes {needed}"
    )]
    TooFew {
        /// How many have.
        found: usize,
        /// How many have to.
        needed: usize,
    },
    /// It is signed, and not what it has to be.
    #[error("it is signed, and no {what} that can be read: {why}")]
    Malformed {
        /// What it has to be.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A list of keys is not newer than the one that is followed.
    #[error("the list of keys has the serial number {got}, and {held} is followed already")]
    Old {
        /// The list's.
        got: u64,
        /// The one that is followed.
        held: u64,
    },
    /// A list of keys by which nothing could be published.
    #[error(
        "{needed} of {keys} keys cannot sign: it takes at least 1, no more than there are, and no key twice"
    )]
    Threshold {
        /// How many have to sign.
        needed: usize,
        /// How many keys there are, each counted once.
        keys: usize,
    },
}

impl NotPublished {
    /// A stable name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Signature { .. } => "bad_signature",
            Self::TooMany { .. } => "too_many_signatures",
            Self::TooFew { .. } => "not_signed",
            Self::Malformed { .. } => "malformed",
            Self::Old { .. } => "old_keys",
            Self::Threshold { .. } => "bad_threshold",
        }
    }
}
