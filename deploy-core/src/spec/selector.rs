//! Label expressions over hosts.
use serde::{Deserialize, Serialize};

/// A label expression over hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Selector(String);

/// Why a string is not a selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a selector")]
pub struct ParseSelectorError {}
