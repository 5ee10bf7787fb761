//! How a service is built: where its source is, and what makes a package of it.
mod recipe;
mod source;
mod text;

pub use recipe::{
    ArchiveFormat, BuildLimits, ParseRecipeError, Recipe, RelativePath, VariableName,
};
pub use source::{CommitId, GitRemote, GitRevision, GitTransport, ParseSourceError, Source};

use serde::{Deserialize, Serialize};

/// How a service is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BuildSpec {
    /// Where its source is.
    pub source: Source,
    /// What makes a package of it.
    pub recipe: Recipe,
}

impl BuildSpec {
    /// Built of `source` by `recipe`.
    #[must_use]
    pub const fn new(source: Source, recipe: Recipe) -> Self {
        Self { source, recipe }
    }
}
