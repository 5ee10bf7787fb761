//! What people declare: services, releases, and how a rollout is to go.
mod budget;
mod build;
mod release;
mod repair;
mod selector;
mod service;
mod signed;
mod step;
mod strategy;
mod waves;
mod window;

pub use budget::{Budget, FailureBudget, Limit, ParseLimitError};
pub use build::{
    ArchiveFormat, BuildLimits, BuildSpec, CommitId, GitRemote, GitRevision, GitTransport,
    ParseRecipeError, ParseSourceError, Recipe, RelativePath, Source, VariableName,
};
pub use release::{ArtifactRef, ParameterName, ParseParameterNameError, Release};
pub use repair::{OnDrift, Repair};
pub use selector::{ParseSelectorError, Selector};
pub use service::{AbsolutePath, ParsePathError, Service};
pub use signed::{Signed, SignedKeys};
pub use step::{Direction, Effect, Step, StepName};
pub use strategy::{Confirm, Health, OnFailure, Order, Retries, Stagger, Staging, Strategy};
pub use waves::{ParseWavesError, WaveSize, Waves};
pub use window::{Freeze, ParseWindowError, Schedule, Window};
