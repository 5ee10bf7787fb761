//! Why an archive is refused.
use std::{error::Error as StdError, fmt, io};

/// The rule that an archive breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A path begins with `/`.
    AbsolutePath,
    /// Two entries have the same path, or one lies under another that is not a folder.
    Duplicate,
    /// A path is longer or deeper than allowed, or one name in it is longer than 255 bytes.
    PathTooLong,
    /// It is wrapped in something that is not accepted here.
    Encoding,
    /// A path or link leads out of the archive.
    Escape,
    /// A hard link names something else than an earlier file.
    HardLink,
    /// A header that different programs read differently.
    Header,
    /// It is not gzip, or damaged.
    NotGzip,
    /// It is not a tar archive, or damaged.
    NotTar,
    /// It is not zstd, or damaged.
    NotZstd,
    /// Permission bits that must not or cannot be put on a host.
    Mode,
    /// A name that is not UTF-8, or empty, or holds a control character.
    Name,
    /// It grows too much when it is unpacked.
    Ratio,
    /// Two places of the archive say different sizes.
    SizeMismatch,
    /// A link target that is absolute or leads through `..` after a name.
    SymbolicLink,
    /// It is too large when it is unpacked.
    TooLarge,
    /// It has too many entries.
    TooManyEntries,
    /// Something follows the end of the archive.
    TrailingData,
    /// It ends early.
    Truncated,
    /// A device, a pipe, a sparse file or another type that is neither file, folder nor link.
    Type,
}

impl Rule {
    /// A stable, lower-case code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AbsolutePath => "absolute_path",
            Self::Duplicate => "duplicate",
            Self::Encoding => "encoding",
            Self::Escape => "escape",
            Self::HardLink => "hard_link",
            Self::Header => "header",
            Self::Mode => "mode",
            Self::Name => "name",
            Self::NotGzip => "not_gzip",
            Self::NotTar => "not_tar",
            Self::NotZstd => "not_zstd",
            Self::PathTooLong => "path_too_long",
            Self::Ratio => "ratio",
            Self::SizeMismatch => "size_mismatch",
            Self::SymbolicLink => "symbolic_link",
            Self::TooLarge => "too_large",
            Self::TooManyEntries => "too_many_entries",
            Self::TrailingData => "trailing_data",
            Self::Truncated => "truncated",
            Self::Type => "type",
        }
    }

    /// What whoever made the archive can do about it.
    const fn advice(self) -> &'static str {
        match self {
            Self::AbsolutePath => "pack with paths relative to the folder (`tar -C DIR .`)",
            Self::Duplicate => "pack each path once",
            Self::Escape => "keep every path and link inside the archive",
            Self::HardLink => "pack with `tar --hard-dereference`",
            Self::Header => "pack with `tar --format=gnu`",
            Self::Mode => "change the permissions and pack again",
            Self::Name => "rename it and pack again",
            Self::Encoding | Self::NotGzip | Self::NotTar | Self::NotZstd | Self::Truncated => {
                "make it with `tar -czf` and upload all of it"
            }
            Self::PathTooLong => "shorten the path",
            Self::Ratio | Self::TooLarge | Self::TooManyEntries => "pack less, or raise the limit",
            Self::SizeMismatch | Self::TrailingData => "make it anew with one `tar` and one `gzip`",
            Self::SymbolicLink => "link to a path relative to the link's own folder",
            Self::Type => "leave it out: only files, folders and links can be deployed",
        }
    }
}

/// Which entry of an archive breaks which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    rule: Rule,
    entry: Option<String>,
    detail: String,
}

impl Refusal {
    pub(crate) fn new(rule: Rule, detail: impl Into<String>) -> Self {
        Self { rule, entry: None, detail: detail.into() }
    }

    pub(crate) fn at(mut self, entry: &[u8]) -> Self {
        if self.entry.is_none() {
            let text = String::from_utf8_lossy(entry);
            self.entry = Some(text.chars().take(200).flat_map(char::escape_debug).collect());
        }
        self
    }

    /// The rule.
    #[must_use]
    pub const fn rule(&self) -> Rule {
        self.rule
    }

    /// The entry, with unprintable characters escaped; `None` if it is the archive as a whole.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        self.entry.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.entry {
            Some(entry) => write!(f, "archive entry `{entry}`: ")?,
            None => f.write_str("archive: ")?,
        }
        write!(f, "{} [{}]; {}", self.detail, self.rule.code(), self.rule.advice())
    }
}

impl StdError for Refusal {}

/// Why an archive could not be accepted.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "whoever reads archives must tell the two apart")]
pub enum ArchiveError {
    /// It could not be read or written; nothing is said about the archive.
    Io(io::Error),
    /// It breaks a rule.
    Refused(Refusal),
}

impl ArchiveError {
    /// The refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Io(_) => None,
            Self::Refused(refusal) => Some(refusal),
        }
    }
}

impl From<Refusal> for ArchiveError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<io::Error> for ArchiveError {
    fn from(err: io::Error) -> Self {
        Self::Io(err)
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("the archive could not be read or written"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl StdError for ArchiveError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io(err) => Some(err),
            Self::Refused(_) => None,
        }
    }
}
