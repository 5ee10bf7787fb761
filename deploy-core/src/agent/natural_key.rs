use crate::id::{MachineName, ParseNameError};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What a machine is called by others than itself: it is the same after the machine was installed anew.
///
/// The best that there is counts: the id that its provider gives it, else its private address there, else the machine id of its
/// operating system.
///
/// ```
/// use deploy_core::agent::NaturalKey;
///
/// let key: NaturalKey = "instance/aws/eu-central-1/i-0abc".parse()?;
/// assert_eq!(key.to_string(), "instance/aws/eu-central-1/i-0abc");
/// assert!("address/hetzner/10.0.0.5".parse::<NaturalKey>().is_ok());
/// assert!("machine/0123456789abcdef".parse::<NaturalKey>().is_ok());
/// assert!("machine/../passwd".parse::<NaturalKey>().is_err());
/// # Ok::<(), deploy_core::agent::ParseNaturalKeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum NaturalKey {
    /// The private address that a provider gives.
    Address {
        /// Who gives it.
        provider: MachineName,
        /// The address.
        address: IpAddr,
    },
    /// The id that a provider gives.
    Instance {
        /// Who gives it.
        provider: MachineName,
        /// Where.
        region: MachineName,
        /// The id.
        instance: MachineName,
    },
    /// What the operating system calls the machine: `/etc/machine-id`.
    Machine(MachineName),
}

/// Why a text is not a natural key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseNaturalKeyError {
    /// It has none of the forms.
    #[error("it must be `instance/PROVIDER/REGION/ID`, `address/PROVIDER/IP` or `machine/ID`")]
    Form,
    /// One of its parts is no name.
    #[error(transparent)]
    Name(#[from] ParseNameError),
}

impl FromStr for NaturalKey {
    type Err = ParseNaturalKeyError;

    fn from_str(text: &str) -> Result<Self, ParseNaturalKeyError> {
        let mut parts = text.split('/');
        let mut part = || parts.next().ok_or(ParseNaturalKeyError::Form);
        let key = match part()? {
            "address" => Self::Address {
                provider: part()?.parse()?,
                address: part()?.parse().map_err(|_| ParseNaturalKeyError::Form)?,
            },
            "instance" => Self::Instance {
                provider: part()?.parse()?,
                region: part()?.parse()?,
                instance: part()?.parse()?,
            },
            "machine" => Self::Machine(part()?.parse()?),
            _ => return Err(ParseNaturalKeyError::Form),
        };
        // One machine has one key, however its address is written.
        if key.to_string() == text { Ok(key) } else { Err(ParseNaturalKeyError::Form) }
    }
}

impl NaturalKey {
    /// As what a relay comes, and the value of the label `role` that makes it one.
    pub(crate) const RELAY: &str = "relay";

    /// Whether a machine that is called so comes as a relay: that alone makes it none, for anybody can say so.
    #[must_use]
    pub fn is_relays(&self) -> bool {
        matches!(self, Self::Instance { provider, .. } if provider.as_str() == Self::RELAY)
    }
}

impl fmt::Display for NaturalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { provider, address } => write!(f, "address/{provider}/{address}"),
            Self::Instance { provider, region, instance } => {
                write!(f, "instance/{provider}/{region}/{instance}")
            }
            Self::Machine(id) => write!(f, "machine/{id}"),
        }
    }
}

impl TryFrom<String> for NaturalKey {
    type Error = ParseNaturalKeyError;

    fn try_from(text: String) -> Result<Self, ParseNaturalKeyError> {
        text.parse()
    }
}

impl From<NaturalKey> for String {
    fn from(key: NaturalKey) -> Self {
        key.to_string()
    }
}
