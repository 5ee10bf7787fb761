//! Names and ids. Each is parsed once, at the edge, and valid from then on.
use serde::{Deserialize, Serialize};
use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

/// Why a string is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a valid {what}: {reason}", .input.escape_debug())]
pub struct ParseNameError {
    what: &'static str,
    input: String,
    reason: &'static str,
}

/// Which characters a kind of name may hold, and where.
struct Alphabet {
    longest: usize,
    upper: bool,
    inner: &'static [u8],
    reason: &'static str,
}

impl Alphabet {
    fn check(&self, input: &str) -> Result<(), &'static str> {
        let plain = |b: &u8| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || (self.upper && b.is_ascii_uppercase())
        };
        if input.len() > self.longest {
            return Err("it is too long");
        }
        let bytes = input.as_bytes();
        match (bytes.first(), bytes.last()) {
            (Some(first), Some(last)) if plain(first) && (plain(last) || *last == b'_') => {}
            (None, _) => return Err("it is empty"),
            _ => return Err("it must begin and end with a letter or a digit"),
        }
        if bytes.iter().all(|b| plain(b) || self.inner.contains(b)) {
            Ok(())
        } else {
            Err(self.reason)
        }
    }
}

const NAME: Alphabet =
    Alphabet { longest: 63, upper: false, inner: b"-", reason: "only a-z, 0-9 and `-` may appear" };
const HOST: Alphabet = Alphabet {
    longest: 253,
    upper: true,
    inner: b"-._:@",
    reason: "only letters, 0-9, `-`, `.`, `_`, `:` and `@` may appear",
};
const ID: Alphabet = Alphabet {
    longest: 127,
    upper: true,
    inner: b"-._+",
    reason: "only letters, 0-9, `-`, `.`, `_` and `+` may appear",
};
const ACCOUNT: Alphabet = Alphabet {
    longest: 32,
    upper: true,
    inner: b"-._",
    reason: "only letters, 0-9, `-`, `.` and `_` may appear",
};
const TOKEN: Alphabet =
    Alphabet { longest: 32, upper: false, inner: b"", reason: "only a-z and 0-9 may appear" };
const OUTPUT: Alphabet = Alphabet {
    longest: 63,
    upper: false,
    inner: b"-._",
    reason: "only a-z, 0-9, `-`, `.` and `_` may appear",
};
const LABEL: Alphabet = Alphabet {
    longest: 63,
    upper: true,
    inner: b"-._/",
    reason: "only letters, 0-9, `-`, `.`, `_` and `/` may appear",
};

macro_rules! name {
    ($(#[$meta:meta])* $Name:ident, $what:literal, $alphabet:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $Name(Arc<str>);

        impl $Name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $Name {
            type Err = ParseNameError;

            fn from_str(input: &str) -> Result<Self, ParseNameError> {
                $alphabet.check(input).map_err(|reason| ParseNameError {
                    what: $what,
                    input: input.chars().take(80).collect(),
                    reason,
                })?;
                Ok(Self(input.into()))
            }
        }

        impl TryFrom<String> for $Name {
            type Error = ParseNameError;

            fn try_from(input: String) -> Result<Self, ParseNameError> {
                input.parse()
            }
        }

        impl From<$Name> for String {
            fn from(name: $Name) -> Self {
                name.0.as_ref().into()
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $Name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// An operating system account on a host.
    AccountName, "account name", ACCOUNT
);
name!(
    /// One run of a host's kernel, as `/proc/sys/kernel/random/boot_id` names it.
    BootId, "boot id", ID
);
name!(
    /// One run of the builder.
    BuildId, "build id", ID
);
name!(
    /// What leads to a version of a repository, such as `stable`.
    ChannelName, "channel name", NAME
);
name!(
    /// The name of a host, unique in the inventory.
    HostName, "host name", HOST
);
name!(
    /// The key of a label, such as `zone` or `example.com/rack`.
    LabelKey, "label key", LABEL
);
name!(
    /// The value of a label.
    LabelValue, "label value", LABEL
);
name!(
    /// A part of what names a machine for its provider, such as a region or the id of an instance.
    MachineName, "machine name", ID
);
name!(
    /// A file that an attempt leaves to be collected, such as `report.json`.
    OutputName, "name of an output", OUTPUT
);
name!(
    /// A reason to keep an artifact, such as `audit-2026`.
    PinName, "pin name", NAME
);
name!(
    /// Who asks: a person, a program, or the engine itself.
    Principal, "principal", HOST
);
name!(
    /// An immutable release of a service, such as `web-1.4.2`; also a folder name on hosts.
    ReleaseId, "release id", ID
);
name!(
    /// Where artifacts of one kind are listed together, such as `web`.
    RepositoryName, "repository name", NAME
);
name!(
    /// One execution of a plan.
    RolloutId, "rollout id", ID
);
name!(
    /// A secret that whoever runs the builder keeps, by name.
    SecretName, "name of a secret", NAME
);
name!(
    /// A deployable service; globally unique.
    ServiceName, "service name", NAME
);
name!(
    /// The public half of a token, under which it is kept and revoked.
    TokenId, "token id", TOKEN
);
name!(
    /// A version, as people write it, such as `1.4.2`.
    Version, "version", ID
);

/// One journal stream: one a service, one an ad-hoc run.
///
/// Holding all rollouts of a service in one stream makes the positions in it grow for good, which is what lets
/// them fence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a third kind of stream must break every backend")]
pub enum StreamId {
    /// The ad-hoc run of this id.
    Run(RolloutId),
    /// The rollouts of this service.
    Service(ServiceName),
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(id) => write!(f, "run/{id}"),
            Self::Service(name) => write!(f, "service/{name}"),
        }
    }
}

impl FromStr for StreamId {
    type Err = ParseNameError;

    fn from_str(input: &str) -> Result<Self, ParseNameError> {
        match input.split_once('/') {
            Some(("run", id)) => id.parse().map(Self::Run),
            Some(("service", name)) => name.parse().map(Self::Service),
            _ => Err(ParseNameError {
                what: "stream id",
                input: input.chars().take(80).collect(),
                reason: "it must be `service/NAME` or `run/ID`",
            }),
        }
    }
}

/// Position of a record in its stream; the first is 1. No position is used twice, also where records were lost and a backup was
/// restored (`Journal::raise_floor`).
///
/// The position of the record that started an attempt is also that attempt's fencing **generation**.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The position `number`.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The position before this one; 0 before the first.
    #[must_use]
    pub const fn before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// As a plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TokenId {
    /// The id that says `bits`, which the caller draws at random, as sixteen hexadecimal digits.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(format!("{bits:016x}").into())
    }
}

impl From<ServiceName> for RolloutId {
    /// Every service name is a valid rollout id: an ad-hoc run is a service of its own.
    fn from(name: ServiceName) -> Self {
        Self(name.0)
    }
}
