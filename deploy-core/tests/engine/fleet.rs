//! A platform over memory backends, a service, and hosts.
use deploy_core::{
    access::Action,
    backend::{ArtifactKind, ErrorKind, HostInventory as _, LogQuery, LogStore as _},
    engine::{
        Command, DriveEnd, DriveOptions, NoObserver, Parts, PlanRelease, Platform, PlatformError,
    },
    host::{Connection, Host},
    id::{HostName, Principal, ReleaseId, RolloutId},
    memory::{
        MemoryArtifactStore, MemoryAuthorizer, MemoryExecutor, MemoryHostInventory, MemoryJournal,
        MemoryLeaseStore, MemoryLogStore, MemoryNotifier, MemoryServiceRegistry, Rule,
        SpreadScheduler, TokioClock,
    },
    plan::Plan,
    rollout::{Rollout, TaskState},
    spec::{ArtifactRef, Effect, Release, Service, Step, StepName, Strategy},
    time::Timestamp,
};
use std::{fmt::Debug, str::FromStr, sync::Arc, time::Duration};

pub(crate) fn parse<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) struct Fleet {
    pub(crate) platform: Platform,
    pub(crate) executor: MemoryExecutor,
    pub(crate) notifier: Arc<MemoryNotifier>,
    pub(crate) me: Principal,
    pub(crate) effect: Effect,
}

impl Fleet {
    /// `hosts` hosts, and the service `web` on all of them.
    pub(crate) async fn new(hosts: usize, strategy: Strategy) -> Self {
        let clock = Arc::new(TokioClock::at(Timestamp::from_millis(1_800_000_000_000)));
        let executor = MemoryExecutor::new(clock.clone());
        let notifier = Arc::new(MemoryNotifier::new());
        let rules = vec![Rule::allow(parse("ann"), Action::ALL)];
        let platform = Platform::new(Parts {
            artifacts: Arc::new(MemoryArtifactStore::new()),
            authorizer: Arc::new(MemoryAuthorizer::new(rules)),
            clock: clock.clone(),
            executor: Arc::new(executor.clone()),
            inventory: Arc::new(MemoryHostInventory::new()),
            journal: Arc::new(MemoryJournal::new()),
            leases: Arc::new(MemoryLeaseStore::new(clock)),
            logs: Arc::new(MemoryLogStore::new()),
            notifier: notifier.clone(),
            registry: Arc::new(MemoryServiceRegistry::new()),
            scheduler: Arc::new(SpreadScheduler::default()),
        });
        let me = parse("ann");
        let fleet = Self { platform, executor, notifier, me, effect: Effect::Once };
        for number in 0..hosts {
            let root = format!("/srv/hosts/{number}");
            let host = Host::new(host(number), Connection::Local { root });
            fleet.platform.apply_host(&fleet.me, host).await.unwrap();
        }
        fleet.set_strategy(strategy).await;
        fleet
    }

    pub(crate) fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    pub(crate) async fn set_strategy(&self, strategy: Strategy) {
        let mut service =
            Service::new(parse("web"), self.me.clone(), parse("/srv/web"), parse("*"));
        service.strategy = strategy;
        self.platform.apply_service(&self.me, service).await.unwrap();
    }

    pub(crate) async fn release(&self, version: &str) -> ReleaseId {
        self.create(version, None).await
    }

    /// A release with a package.
    pub(crate) async fn packed(&self, version: &str) -> ReleaseId {
        let package = format!("package of {version}");
        let put = self.platform.put_bytes(
            &self.me,
            parse("web"),
            ArtifactKind::Package,
            parse(version),
            package.as_bytes(),
        );
        let package = put.await.unwrap();
        self.create(version, Some(package)).await
    }

    async fn create(&self, version: &str, package: Option<ArtifactRef>) -> ReleaseId {
        let (repository, kind) = (parse("web"), ArtifactKind::Descriptor);
        let bytes = format!("descriptor of {version}");
        let put =
            self.platform.put_bytes(&self.me, repository, kind, parse(version), bytes.as_bytes());
        let descriptor = put.await.unwrap();
        let steps = [
            StepName::Fetch,
            StepName::Stop,
            StepName::Install,
            StepName::Rollback,
            StepName::Start,
            StepName::Verify,
        ];
        let steps = steps.map(|it| Step::new(it).with_effect(self.effect)).to_vec();
        let id: ReleaseId = parse(&format!("web-{version}"));
        let at = Timestamp::from_millis(1_800_000_000_000);
        let mut release = Release::new(
            id.clone(),
            parse("web"),
            parse(version),
            descriptor,
            steps,
            at,
            self.me.clone(),
        );
        release.package = package;
        self.platform.create_release(&self.me, release).await.unwrap();
        id
    }

    pub(crate) async fn plan(&self, version: &str) -> Plan {
        let release = self.release(version).await;
        let request = PlanRelease::new(parse("web"), release, 7);
        let (plan, _report) = self.platform.plan(&self.me, request).await.unwrap();
        plan
    }

    pub(crate) async fn start(&self, version: &str) -> RolloutId {
        let plan = self.plan(version).await;
        self.platform.start(&self.me, plan).await.unwrap()
    }

    pub(crate) async fn drive(&self, rollout: &RolloutId) -> DriveEnd {
        self.try_drive(rollout, "driver").await.unwrap()
    }

    pub(crate) async fn try_drive(
        &self,
        rollout: &RolloutId,
        holder: &str,
    ) -> Result<DriveEnd, PlatformError> {
        let options = DriveOptions::new(holder);
        let driven = self.platform.drive(&self.me, rollout, options, &NoObserver);
        let Ok(end) = tokio::time::timeout(Duration::from_secs(36_000), driven).await else {
            let loaded = self.platform.load(rollout).await.unwrap();
            panic!("the rollout does not end: {:#?} {:#?}", loaded.view(), loaded.agenda());
        };
        end
    }

    pub(crate) async fn command(&self, rollout: &RolloutId, command: Command) -> Rollout {
        self.platform.command(&self.me, rollout, command).await.unwrap()
    }

    /// What the inventory believes that each host runs.
    pub(crate) async fn runs(&self) -> Vec<Option<ReleaseId>> {
        let installed = self.platform.parts().inventory.installed(&parse("web")).await.unwrap();
        installed.into_values().map(|it| it.release).collect()
    }

    /// Where the newest task of a host is.
    pub(crate) async fn state(&self, rollout: &RolloutId, number: usize) -> TaskState {
        let loaded = self.platform.load(rollout).await.unwrap();
        loaded.task_of(&host(number)).unwrap().state
    }

    pub(crate) async fn log(&self, rollout: &RolloutId, host: &HostName) -> Vec<u8> {
        let query = LogQuery::new(rollout.clone()).with_host(host.clone());
        let chunks = self.platform.parts().logs.read(&query).await.unwrap();
        chunks.into_iter().flat_map(|(_, chunk)| chunk.bytes).collect()
    }
}

pub(crate) fn host(number: usize) -> HostName {
    parse(&format!("host-{number:03}"))
}

/// Waves of these sizes, and no wait for health.
pub(crate) fn waves(sizes: &str) -> Strategy {
    let mut strategy = Strategy::new();
    strategy.waves = parse(sizes);
    strategy.health.min_healthy_time = Duration::ZERO;
    strategy
}

#[track_caller]
pub(crate) fn refused(err: &PlatformError, code: &str) {
    assert_eq!(err.code(), code, "{err}");
}

pub(crate) const fn is_conflict(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Conflict)
}
