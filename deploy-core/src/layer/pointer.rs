//! A shared or boxed backend is a backend.
use crate::{
    access::{AccessRequest, Decision, Permit},
    agent::{Agent, AgentFacts, AgentState, KeyFingerprint},
    backend::{
        AcquireLease, AgentRegistry, Answer, AnswerClaim, AnswerStore, AppendError, ArtifactEntry,
        ArtifactMeta, ArtifactReader, ArtifactStore, ArtifactStoreCapabilities, AttemptLog,
        AttemptReport, AttemptRequest, Authorizer, BeginAnswer, Begun, Build, BuildLog,
        BuildOutput, BuildRequest, Builder, CertifyAgent, ChannelKey, ChannelMove, CheckRequest,
        Clock, CollectRequest, ConfirmRequest, Confirmation, CreateJoinToken, CreateToken,
        CredentialStore, Delivery, EnrollAgent, Executor, ExecutorCapabilities, Expect, Health,
        Holder, HostInventory, HostRequest, JoinGrant, Journal, KillReport, KillRequest, Lease,
        LeaseStore, ListArtifacts, ListBuilds, LogChunk, LogPosition, LogQuery, LogStore,
        Notification, Notifier, Observed, Piece, Placement, PlacementRequest, ProbeReport,
        ProbeRequest, PutArtifact, Resolution, ResolveRequest, Revision, RolloutRef, Scheduler,
        ServiceRegistry, StageReport, StageRequest, Token, Transfer, Versioned,
    },
    digest::Digest,
    error::BackendResult,
    host::{Host, Installed},
    id::{BootId, BuildId, HostName, ReleaseId, RolloutId, Seq, ServiceName, StreamId, TokenId},
    plan::DiskRoom,
    rollout::Record,
    spec::{Release, Service},
    time::Timestamp,
    token::SecretHash,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::io::AsyncRead;

/// Implements a trait for `Arc` and `Box`. A method that is forgotten does not build.
macro_rules! forward {
    ($Trait:ident { $($methods:tt)+ }) => {
        forward!(@ Arc $Trait { $($methods)+ });
        forward!(@ Box $Trait { $($methods)+ });
    };
    (@ $Pointer:ident $Trait:ident {
        $(fn $plain:ident(&self $(, $about:ident: $sort:ty)*) -> $given:ty;)*
        $(async fn $method:ident(&self $(, $argument:ident: $kind:ty)*) $(-> $result:ty)?;)*
    }) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: $Trait + ?Sized> $Trait for $Pointer<T> {
            $(fn $plain(&self $(, $about: $sort)*) -> $given {
                (**self).$plain($($about),*)
            })*

            $(async fn $method(&self $(, $argument: $kind)*) $(-> $result)? {
                (**self).$method($($argument),*).await
            })*
        }
    };
}

forward!(AgentRegistry {
    async fn create_join_token(
        &self,
        permit: &Permit,
        request: &CreateJoinToken
    ) -> BackendResult<JoinGrant>;
    async fn join_tokens(
        &self,
        after: Option<&TokenId>,
        limit: usize
    ) -> BackendResult<Vec<JoinGrant>>;
    async fn revoke_join_token(
        &self,
        permit: &Permit,
        id: &TokenId,
        now: Timestamp
    ) -> BackendResult<()>;
    async fn enroll(&self, request: &EnrollAgent) -> BackendResult<Agent>;
    async fn identify(&self, key: &KeyFingerprint) -> BackendResult<Agent>;
    async fn certify(&self, request: &CertifyAgent) -> BackendResult<Agent>;
    async fn arrive(&self, host: &HostName, boot: &BootId, now: Timestamp) -> BackendResult<Agent>;
    async fn hear(&self, host: &HostName, now: Timestamp) -> BackendResult<()>;
    async fn describe(&self, host: &HostName, facts: &AgentFacts) -> BackendResult<()>;
    async fn agent(&self, host: &HostName) -> BackendResult<Agent>;
    async fn agents(&self, after: Option<&HostName>, limit: usize) -> BackendResult<Vec<Agent>>;
    async fn kept_out(&self) -> BackendResult<Vec<HostName>>;
    async fn decide(
        &self,
        permit: &Permit,
        host: &HostName,
        state: AgentState,
        reason: &str
    ) -> BackendResult<Agent>;
    async fn remove(&self, permit: &Permit, host: &HostName) -> BackendResult<()>;
});

forward!(AnswerStore {
    async fn begin(&self, request: &BeginAnswer) -> BackendResult<Begun>;
    async fn finish(
        &self,
        claim: &AnswerClaim,
        answer: &Answer,
        now: Timestamp
    ) -> BackendResult<()>;
    async fn release(&self, claim: &AnswerClaim) -> BackendResult<()>;
    async fn forget(&self, before: Timestamp) -> BackendResult<u64>;
});

forward!(ArtifactStore {
    fn capabilities(&self) -> ArtifactStoreCapabilities;
    async fn put(
        &self,
        permit: &Permit,
        request: PutArtifact,
        body: &mut (dyn AsyncRead + Send + Unpin)
    ) -> BackendResult<ArtifactMeta>;
    async fn partial(&self, digest: &Digest) -> BackendResult<u64>;
    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta>;
    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader>;
    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>>;
    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()>;
    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()>;
    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>>;
    async fn delete(&self, permit: &Permit, digest: &Digest) -> BackendResult<()>;
    async fn verify(&self, digest: &Digest) -> BackendResult<()>;
});

forward!(Authorizer {
    async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision>;
});

forward!(Builder {
    async fn submit(&self, permit: &Permit, request: &BuildRequest) -> BackendResult<Build>;
    async fn build(&self, id: &BuildId) -> BackendResult<Build>;
    async fn builds(&self, request: &ListBuilds) -> BackendResult<Vec<Build>>;
    async fn cancel(&self, permit: &Permit, id: &BuildId) -> BackendResult<Build>;
    async fn log(&self, id: &BuildId, offset: u64, limit: usize) -> BackendResult<BuildLog>;
    async fn open(&self, id: &BuildId, output: BuildOutput) -> BackendResult<ArtifactReader>;
});

forward!(Clock {
    fn now(&self) -> Timestamp;
    async fn sleep_until(&self, at: Timestamp);
});

forward!(CredentialStore {
    async fn create(&self, permit: &Permit, request: &CreateToken) -> BackendResult<Token>;
    async fn authenticate(
        &self,
        id: &TokenId,
        secret: &SecretHash,
        now: Timestamp
    ) -> BackendResult<Token>;
    async fn tokens(&self, after: Option<&TokenId>, limit: usize) -> BackendResult<Vec<Token>>;
    async fn revoke(&self, permit: &Permit, id: &TokenId, now: Timestamp) -> BackendResult<()>;
});

forward!(Executor {
    fn capabilities(&self) -> ExecutorCapabilities;
    fn capabilities_on(&self, host: &Host) -> ExecutorCapabilities;
    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog
    ) -> BackendResult<AttemptReport>;
    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport>;
    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport>;
    async fn confirm(&self, permit: &Permit, request: &ConfirmRequest) -> BackendResult<Confirmation>;
    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport>;
    async fn room(&self, permit: &Permit, attempt: &AttemptRequest) -> BackendResult<Vec<DiskRoom>>;
    async fn transfer(&self, host: &Host, delivery: &Delivery) -> BackendResult<Transfer>;
    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece>;
    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health>;
    async fn resolve(&self, permit: &Permit, request: &ResolveRequest) -> BackendResult<Resolution>;
    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed>;
});

forward!(HostInventory {
    async fn put(&self, permit: &Permit, host: Host, expect: Expect) -> BackendResult<Revision>;
    async fn host(&self, name: &HostName) -> BackendResult<Versioned<Host>>;
    async fn hosts(
        &self,
        after: Option<&HostName>,
        limit: usize
    ) -> BackendResult<Vec<Versioned<Host>>>;
    async fn remove(&self, permit: &Permit, name: &HostName) -> BackendResult<()>;
    async fn record(
        &self,
        permit: &Permit,
        name: &HostName,
        service: &ServiceName,
        seen: Installed
    ) -> BackendResult<()>;
    async fn installed(&self, service: &ServiceName) -> BackendResult<BTreeMap<HostName, Installed>>;
});

forward!(Journal {
    async fn append(
        &self,
        permit: &Permit,
        stream: &StreamId,
        expected: Seq,
        records: &[Record]
    ) -> Result<Seq, AppendError>;
    async fn read(&self, stream: &StreamId, after: Seq, limit: usize) -> BackendResult<Vec<Record>>;
    async fn head(&self, stream: &StreamId) -> BackendResult<Seq>;
    async fn rollouts(
        &self,
        stream: Option<&StreamId>,
        limit: usize
    ) -> BackendResult<Vec<RolloutRef>>;
    async fn rollout(&self, id: &RolloutId) -> BackendResult<RolloutRef>;
    async fn raise_floor(&self, permit: &Permit, floor: Seq) -> BackendResult<()>;
});

forward!(LeaseStore {
    async fn acquire(&self, request: &AcquireLease) -> BackendResult<Lease>;
    async fn release(&self, lease: &Lease) -> BackendResult<()>;
    async fn current(&self, name: &str) -> BackendResult<Option<Lease>>;
});

forward!(LogStore {
    async fn append(&self, chunks: &[LogChunk]) -> BackendResult<()>;
    async fn length(
        &self,
        rollout: &RolloutId,
        host: &HostName,
        generation: Seq
    ) -> BackendResult<u64>;
    async fn read(&self, query: &LogQuery) -> BackendResult<Vec<(LogPosition, LogChunk)>>;
});

forward!(Notifier {
    async fn notify(&self, notification: &Notification) -> BackendResult<()>;
});

forward!(Scheduler {
    async fn place(&self, request: &PlacementRequest) -> BackendResult<Placement>;
});

forward!(ServiceRegistry {
    async fn put_service(
        &self,
        permit: &Permit,
        service: Service,
        expect: Expect
    ) -> BackendResult<Revision>;
    async fn service(&self, name: &ServiceName) -> BackendResult<Versioned<Service>>;
    async fn services(
        &self,
        after: Option<&ServiceName>,
        limit: usize
    ) -> BackendResult<Vec<Versioned<Service>>>;
    async fn history(
        &self,
        name: &ServiceName,
        limit: usize
    ) -> BackendResult<Vec<Versioned<Service>>>;
    async fn create_release(&self, permit: &Permit, release: Release) -> BackendResult<()>;
    async fn release(&self, id: &ReleaseId) -> BackendResult<Release>;
    async fn releases(&self, service: &ServiceName, limit: usize) -> BackendResult<Vec<Release>>;
    async fn move_channel(
        &self,
        permit: &Permit,
        moved: ChannelMove,
        expect: Expect
    ) -> BackendResult<Revision>;
    async fn channel(&self, key: &ChannelKey) -> BackendResult<Versioned<ChannelMove>>;
    async fn channels(
        &self,
        after: Option<&ChannelKey>,
        limit: usize
    ) -> BackendResult<Vec<Versioned<ChannelMove>>>;
    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize
    ) -> BackendResult<Vec<Versioned<ChannelMove>>>;
});
