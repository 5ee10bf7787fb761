//! Wave expressions.
use serde::{Deserialize, Serialize};

/// One expression of a wave list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaveSize {}

/// A list of wave expressions; the last repeats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waves(Vec<WaveSize>);

/// Why a list is not one of wave expressions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not waves")]
pub struct ParseWavesError {}
