//! When a start is allowed.
use serde::{Deserialize, Serialize};

/// A recurring window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {}
/// A freeze.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {}
/// Why a string is not a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a window")]
pub struct ParseWindowError {}

/// When a start is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Allowed in any of these; always if there is none.
    pub windows: Vec<Window>,
    /// Never in any of these.
    pub freezes: Vec<Freeze>,
}
