//! Harnesses over the in-memory reference.
use deploy_core::{
    access::{Action, Resource},
    backend::{
        AgentRegistry, AnswerStore, ArtifactStore, AttemptLog, Authorizer, BackendResult, Builder,
        Clock, CredentialStore, Executor, HostInventory, Journal, LeaseStore, LogStore,
        Notification, Notifier, Scheduler, ServiceRegistry,
    },
    conformance::{
        ConcurrentHarness, DurableHarness, Harness,
        artifact_store::ArtifactStoreHarness,
        authorizer::{AuthorizerHarness, GivenRule},
        builder::BuilderHarness,
        clock::ClockHarness,
        executor::SimulatedHosts,
        journal::JournalHarness,
        lease_store::LeaseStoreHarness,
        notifier::NotifierHarness,
        sample,
    },
    digest::Digest,
    memory::{
        ManualClock, MemoryAgentRegistry, MemoryAnswerStore, MemoryArtifactStore, MemoryAuthorizer,
        MemoryBuilder, MemoryCredentialStore, MemoryExecutor, MemoryHostInventory, MemoryJournal,
        MemoryLeaseStore, MemoryLogStore, MemoryNotifier, MemoryServiceRegistry, PrincipalPattern,
        Rule, SpreadScheduler, SystemClock,
    },
    spec::{Source, StepName},
};
use std::{sync::Arc, time::Duration};

/// The in-memory reference of `T`, as seen through something around it.
pub(crate) struct Through<T: ?Sized>(pub(crate) fn(Arc<T>) -> Arc<T>);

/// What a trait's plain reference is, where it has no state but its own.
macro_rules! plain_harness {
    ($($Trait:ident: $Memory:ident;)+) => { $(
        impl Harness<dyn $Trait> for Through<dyn $Trait> {
            type Guard = Arc<$Memory>;

            async fn fresh(&self) -> (Arc<dyn $Trait>, Self::Guard) {
                let plain = Arc::new($Memory::new());
                ((self.0)(plain.clone()), plain)
            }
        }

        impl ConcurrentHarness<dyn $Trait> for Through<dyn $Trait> {
            async fn another(&self, plain: &Self::Guard) -> Arc<dyn $Trait> {
                (self.0)(plain.clone())
            }
        }
    )+ };
}

plain_harness! {
    AgentRegistry: MemoryAgentRegistry;
    AnswerStore: MemoryAnswerStore;
    ArtifactStore: MemoryArtifactStore;
    CredentialStore: MemoryCredentialStore;
    HostInventory: MemoryHostInventory;
    Journal: MemoryJournal;
    LogStore: MemoryLogStore;
    Notifier: MemoryNotifier;
    Scheduler: SpreadScheduler;
    ServiceRegistry: MemoryServiceRegistry;
}

impl ArtifactStoreHarness for Through<dyn ArtifactStore> {
    async fn rot(&self, plain: &Self::Guard, digest: &Digest) {
        plain.rot(digest);
    }
}

impl JournalHarness for Through<dyn Journal> {}

impl NotifierHarness for Through<dyn Notifier> {
    async fn delivered(&self, plain: &Self::Guard) -> Vec<Notification> {
        plain.delivered()
    }
}

impl AuthorizerHarness for Through<dyn Authorizer> {
    type Guard = ();

    async fn with_rules(&self, rules: &[GivenRule]) -> (Arc<dyn Authorizer>, ()) {
        let rules = rules.iter().map(|given| {
            let principal = PrincipalPattern::Exactly(given.principal.clone());
            let make: fn(PrincipalPattern, [Action; 1]) -> Rule =
                if given.denies { Rule::deny } else { Rule::allow };
            let rule = make(principal, [given.action]);
            match &given.resource {
                Resource::Service(service) => rule.on_service(service.clone()),
                Resource::System => rule,
                other => panic!("no rule is about {other}"),
            }
        });
        ((self.0)(Arc::new(MemoryAuthorizer::new(rules.collect()))), ())
    }
}

impl Harness<dyn Builder> for Through<dyn Builder> {
    type Guard = MemoryBuilder;

    async fn fresh(&self) -> (Arc<dyn Builder>, MemoryBuilder) {
        let plain = MemoryBuilder::new(Arc::new(SystemClock::new()));
        ((self.0)(Arc::new(plain.clone())), plain)
    }
}

impl BuilderHarness for Through<dyn Builder> {
    async fn commit(&self, plain: &MemoryBuilder, input: &str) -> Source {
        let remote = sample::name("https://git.example.com/web");
        plain.commit(&remote, [("input".to_owned(), input.to_owned())].into());
        Source::new(remote)
    }
}

impl Harness<dyn Clock> for Through<dyn Clock> {
    type Guard = Arc<ManualClock>;

    async fn fresh(&self) -> (Arc<dyn Clock>, Arc<ManualClock>) {
        let plain = Arc::new(ManualClock::at(sample::at(1_000)));
        ((self.0)(plain.clone()), plain)
    }
}

impl ClockHarness for Through<dyn Clock> {
    async fn pass(&self, plain: &Arc<ManualClock>, by: Duration) {
        plain.advance(by);
        tokio::task::yield_now().await;
    }
}

/// The clock of the machine.
pub(crate) struct Real;

impl Harness<dyn Clock> for Real {
    type Guard = ();

    async fn fresh(&self) -> (Arc<dyn Clock>, ()) {
        (Arc::new(SystemClock::new()), ())
    }
}

impl ClockHarness for Real {
    async fn pass(&self, (): &(), by: Duration) {
        let clock = SystemClock::new();
        clock.sleep_until(clock.now().after(by)).await;
    }
}

impl Harness<dyn LeaseStore> for Through<dyn LeaseStore> {
    type Guard = (Arc<MemoryLeaseStore>, Arc<ManualClock>);

    async fn fresh(&self) -> (Arc<dyn LeaseStore>, Self::Guard) {
        let clock = Arc::new(ManualClock::at(sample::at(1_000)));
        let plain = Arc::new(MemoryLeaseStore::new(clock.clone()));
        ((self.0)(plain.clone()), (plain, clock))
    }
}

impl ConcurrentHarness<dyn LeaseStore> for Through<dyn LeaseStore> {
    async fn another(&self, (plain, _): &Self::Guard) -> Arc<dyn LeaseStore> {
        (self.0)(plain.clone())
    }
}

impl LeaseStoreHarness for Through<dyn LeaseStore> {
    async fn pass(&self, (_, clock): &Self::Guard, by: Duration) {
        clock.advance(by);
    }
}

impl Harness<dyn Executor> for Through<dyn Executor> {
    type Guard = MemoryExecutor;

    async fn fresh(&self) -> (Arc<dyn Executor>, MemoryExecutor) {
        let hosts = MemoryExecutor::new(Arc::new(SystemClock::new()));
        ((self.0)(Arc::new(hosts.clone())), hosts)
    }
}

impl DurableHarness<dyn Executor> for Through<dyn Executor> {
    async fn reopen(
        &self,
        executor: Arc<dyn Executor>,
        hosts: &MemoryExecutor,
    ) -> Arc<dyn Executor> {
        drop(executor);
        (self.0)(Arc::new(hosts.clone()))
    }
}

impl ConcurrentHarness<dyn Executor> for Through<dyn Executor> {
    async fn another(&self, hosts: &MemoryExecutor) -> Arc<dyn Executor> {
        (self.0)(Arc::new(hosts.clone()))
    }
}

impl SimulatedHosts for Through<dyn Executor> {}

/// Takes output, and drops it.
#[derive(Debug)]
pub(crate) struct Nowhere;

#[async_trait::async_trait]
impl AttemptLog for Nowhere {
    async fn write(&self, _: u64, _: &[u8]) -> BackendResult<()> {
        Ok(())
    }

    fn step(&self, _: StepName) {}
}
