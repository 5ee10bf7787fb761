use std::io;

/// Why a parcel cannot be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParcelError {
    /// It is one, and not as it was made.
    #[error("it is damaged: {what}")]
    Damaged {
        /// What is wrong, and with what.
        what: String,
    },
    /// It is something else.
    #[error("it is no export of artifacts: {what}")]
    Foreign {
        /// What is there instead.
        what: String,
    },
    /// It could not be read or written.
    #[error("it cannot be read or written")]
    Io(#[from] io::Error),
    /// It ends before it should.
    #[error("it is cut off: {what}")]
    Short {
        /// What is missing.
        what: String,
    },
    /// It holds more than one may.
    #[error("{what}")]
    TooLarge {
        /// What is too large, and how large it may be.
        what: String,
    },
    /// A newer program made it.
    #[error("its format is {found}, and this program knows {known} only")]
    TooNew {
        /// Its format.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
}

impl ParcelError {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "damaged",
            Self::Foreign { .. } => "foreign",
            Self::Io(_) => "io",
            Self::Short { .. } => "short",
            Self::TooLarge { .. } => "too_large",
            Self::TooNew { .. } => "too_new",
        }
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged { what: what.into() }
    }

    pub(super) fn foreign(what: impl Into<String>) -> Self {
        Self::Foreign { what: what.into() }
    }
}
