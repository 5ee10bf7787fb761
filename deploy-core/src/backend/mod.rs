//! What a backend implements. One trait a file; every trait is object safe and carries its contract.
//!
//! Each bullet of a contract has a case in `conformance`; run the kit on your own backend.
mod access;
mod agent;
mod answer;
mod artifact;
mod builder;
mod channel;
mod clock;
mod collect;
mod confirm;
mod credential;
mod executor;
mod inventory;
mod journal;
mod lease;
mod log;
mod notifier;
mod obsolete;
mod registry;
mod scheduler;
mod stage;

pub use crate::error::{BackendError, BackendResult, ErrorKind};
pub use access::{AccessError, Authorizer, authorize};
pub use agent::{AgentRegistry, CertifyAgent, CreateJoinToken, EnrollAgent, JoinGrant};
pub use answer::{
    Answer, AnswerClaim, AnswerStore, BeginAnswer, Begun, IdempotencyKey, ParseIdempotencyKeyError,
};
pub use artifact::{
    ArtifactEntry, ArtifactKind, ArtifactMeta, ArtifactReader, ArtifactStore,
    ArtifactStoreCapabilities, ArtifactStoreExt, Holder, ListArtifacts, PutArtifact,
};
pub use builder::{
    Build, BuildFailure, BuildFault, BuildLog, BuildOutput, BuildReport, BuildRequest, BuildState,
    Builder, Isolation, ListBuilds,
};
pub use channel::{ChannelKey, ChannelMove, ChannelTarget};
pub use clock::Clock;
pub use collect::{CollectRequest, Piece};
pub use confirm::{ConfirmRequest, Confirmation, Revert};
pub use credential::{CreateToken, CredentialStore, Token};
pub use executor::{
    AttemptLog, AttemptReport, AttemptRequest, CheckRequest, Executor, ExecutorCapabilities,
    Health, HostRequest, KillReport, KillRequest, Observed, ProbeReport, ProbeRequest, Resolution,
    ResolveRequest,
};
pub use inventory::{HostInventory, HostInventoryExt};
pub use journal::{AppendError, Journal, JournalExt, RolloutRef, check_previous, head_after};
pub use lease::{AcquireLease, Lease, LeaseStore};
pub use log::{LogChunk, LogPosition, LogQuery, LogStore};
pub use notifier::{Notification, Notifier};
pub use obsolete::ObsoleteHolds;
pub use registry::{Expect, Revision, ServiceRegistry, ServiceRegistryExt, Versioned};
pub use scheduler::{Placement, PlacementRequest, Scheduler};
pub use stage::{Delivery, StageReport, StageRequest, Transfer};
