//! How a source becomes a package.
use super::text::checked_text;
use crate::{
    digest::{Digest, digest_of},
    id::SecretName,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, num::NonZeroU64, str::FromStr, time::Duration};

/// A path below a folder, without `..`, empty parts or control characters, at most 1,024 bytes; `.` is the folder itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(Box<str>);

/// The name of an environment variable: letters, digits and `_`, not beginning with a digit, at most 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariableName(Box<str>);

/// Why a string is no part of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a usable {what}: {reason}", .input.escape_debug())]
pub struct ParseRecipeError {
    what: &'static str,
    input: String,
    reason: &'static str,
}

impl RelativePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the folder itself.
    #[must_use]
    pub fn is_top(&self) -> bool {
        &*self.0 == "."
    }

    fn check(input: &str) -> Result<(), &'static str> {
        if input == "." {
            return Ok(());
        }
        if input.len() > 1024 {
            return Err("it is longer than 1,024 bytes");
        }
        if input.starts_with('/') {
            return Err("it must not begin with `/`");
        }
        if input.chars().any(char::is_control) {
            return Err("it holds a control character");
        }
        if input.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("it holds an empty part, `.` or `..`");
        }
        Ok(())
    }
}

impl VariableName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(input: &str) -> Result<(), &'static str> {
        let plain = |it: u8| it.is_ascii_alphanumeric() || it == b'_';
        let begins = input.bytes().next().is_some_and(|it| !it.is_ascii_digit());
        if begins && input.len() <= 64 && input.bytes().all(plain) {
            return Ok(());
        }
        Err(
            "it may hold only letters, 0-9 and `_`, at most 64 of them, and does not begin with a digit",
        )
    }
}

checked_text! {
    ParseRecipeError, shown up to 200;
    RelativePath, "path below the source";
    VariableName, "name of a variable";
}

/// How an archive is written.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[non_exhaustive]
pub enum ArchiveFormat {
    /// As `tar.gz`, which every host unpacks.
    #[default]
    #[serde(rename = "tar.gz")]
    TarGz,
    /// As `tar.zst`: smaller, and faster to unpack.
    #[serde(rename = "tar.zst")]
    TarZst,
}

impl ArchiveFormat {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::TarZst => "tar.zst",
        }
    }
}

/// How much a build may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuildLimits {
    /// How long all commands together may run.
    pub time: Duration,
    /// How many bytes of memory; `None` is as much as there is.
    pub memory: Option<NonZeroU64>,
    /// How many processes at a time.
    pub processes: NonZeroU64,
    /// How many bytes of output are kept.
    pub log: NonZeroU64,
    /// How many bytes of the disk may be filled by what is fetched for it, and as many again by its commands, with what they add to the cache.
    #[serde(default = "disk")]
    pub disk: NonZeroU64,
}

/// 16 GiB: more than most builds take, and less than most disks have.
const fn disk() -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add((16 << 30) - 1)
}

impl Default for BuildLimits {
    /// Half an hour, no limit of memory, 4,096 processes, 16 MiB of log, 16 GiB of disk.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(30 * 60),
            memory: None,
            processes: NonZeroU64::MIN.saturating_add(4_095),
            log: NonZeroU64::MIN.saturating_add((16 << 20) - 1),
            disk: disk(),
        }
    }
}

/// How a source becomes a package.
///
/// What it says is all that a build depends on beside the source: its [`digest`](Self::digest) is part of a build's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recipe {
    /// What is run, in order, each by `sh -e -c` in the top folder of the source; the first that does not end with 0 ends the build.
    pub commands: Vec<String>,
    /// The environment of the commands, beside what every build has. Not for secrets.
    pub environment: BTreeMap<VariableName, String>,
    /// The secrets that commands may read, by the name of the file under `$DEPLOY_SECRETS`.
    pub secrets: BTreeMap<VariableName, SecretName>,
    /// What is packed: paths in the package, and what stands there, a file or a folder of the source.
    pub outputs: BTreeMap<RelativePath, RelativePath>,
    /// The folder of the source that is the descriptor; `None` if that is kept elsewhere.
    pub descriptor: Option<RelativePath>,
    /// How the package is written.
    pub archive: ArchiveFormat,
    /// How much it may take.
    pub limits: BuildLimits,
    /// Whether commands may speak to the network.
    pub network: bool,
}

impl Recipe {
    /// A recipe of these commands, whose package is `outputs`, without a network.
    #[must_use]
    pub fn new(commands: Vec<String>, outputs: BTreeMap<RelativePath, RelativePath>) -> Self {
        Self {
            commands,
            environment: BTreeMap::new(),
            secrets: BTreeMap::new(),
            outputs,
            descriptor: None,
            archive: ArchiveFormat::default(),
            limits: BuildLimits::default(),
            network: false,
        }
    }

    /// With this environment.
    #[must_use]
    pub fn with_environment(mut self, environment: BTreeMap<VariableName, String>) -> Self {
        self.environment = environment;
        self
    }

    /// With these secrets.
    #[must_use]
    pub fn with_secrets(mut self, secrets: BTreeMap<VariableName, SecretName>) -> Self {
        self.secrets = secrets;
        self
    }

    /// Whose descriptor is the folder `descriptor`.
    #[must_use]
    pub fn with_descriptor(mut self, descriptor: RelativePath) -> Self {
        self.descriptor = Some(descriptor);
        self
    }

    /// Whose package is written as `archive`.
    #[must_use]
    pub const fn with_archive(mut self, archive: ArchiveFormat) -> Self {
        self.archive = archive;
        self
    }

    /// Within these limits.
    #[must_use]
    pub const fn with_limits(mut self, limits: BuildLimits) -> Self {
        self.limits = limits;
        self
    }

    /// With or without a network.
    #[must_use]
    pub const fn with_network(mut self, network: bool) -> Self {
        self.network = network;
        self
    }

    /// Whether it can be carried out at all.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), &'static str> {
        let texts = || self.commands.iter().chain(self.environment.values());
        if self.outputs.is_empty() {
            return Err("it has no outputs, so nothing would be packed");
        }
        if self.limits.time.is_zero() {
            return Err("its commands have no time to run");
        }
        if self.commands.iter().any(|it| it.trim().is_empty()) {
            return Err("one of its commands is empty");
        }
        if texts().any(|it| it.contains('\0')) {
            return Err("a command or a value of its environment holds a NUL character");
        }
        if texts().map(String::len).sum::<usize>() > 64 << 10 {
            return Err("its commands and environment have more than 64 KiB");
        }
        Ok(())
    }

    /// The digest of all that it says.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest_of(self)
    }
}
