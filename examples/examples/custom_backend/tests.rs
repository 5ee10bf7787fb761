//! The conformance kit on all of them, and the example itself.
use crate::{
    access::{Grant, GrantList},
    artifacts::FolderArtifactStore,
    clock::SteadyClock,
    executor::{DeviceExecutor, Devices, Firmware, Run},
    inventory::MapInventory,
    journal::ListJournal,
    leases::MapLeases,
    logs::ListLogs,
    notifier::MailFolder,
    registry::MapRegistry,
    scheduler::FewestFirst,
    support::{lock, names},
};
use async_trait::async_trait;
use deploy_core::{
    backend::{
        ArtifactStore, Authorizer, Clock, Executor, HostInventory, HostRequest, Journal,
        LeaseStore, LogStore, Notification, Notifier, Resolution, Scheduler, ServiceRegistry,
    },
    conformance::{
        ConcurrentHarness, DurableHarness, Harness,
        artifact_store::ArtifactStoreHarness,
        authorizer::{AuthorizerHarness, GivenRule},
        clock::ClockHarness,
        executor::{Act, ExecutorHarness, ScriptedStep},
        journal::JournalHarness,
        lease_store::LeaseStoreHarness,
        notifier::NotifierHarness,
        sample,
    },
    digest::Digest,
    id::ReleaseId,
    memory::ManualClock,
    plan::PlannedRelease,
    spec::StepName,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{fs, sync::watch};

/// Makes our backends.
struct Ours;

/// What needs nothing but a value of its own.
macro_rules! in_memory {
    ($($Trait:ident: $make:expr;)+) => { $(
        impl Harness<dyn $Trait> for Ours {
            type Guard = ();

            async fn fresh(&self) -> (Arc<dyn $Trait>, ()) {
                (Arc::new($make), ())
            }
        }
    )+ };
}

in_memory! {
    Clock: SteadyClock::new();
    HostInventory: MapInventory::default();
    Journal: ListJournal::default();
    LogStore: ListLogs::default();
    Scheduler: FewestFirst;
    ServiceRegistry: MapRegistry::default();
}

impl JournalHarness for Ours {}

impl ClockHarness for Ours {
    async fn pass(&self, (): &(), by: Duration) {
        let clock = SteadyClock::new();
        clock.sleep_until(clock.now().after(by)).await;
    }
}

impl AuthorizerHarness for Ours {
    type Guard = ();

    async fn with_rules(&self, rules: &[GivenRule]) -> (Arc<dyn Authorizer>, ()) {
        let grants = rules.iter().map(|it| Grant {
            is_ban: it.denies,
            who: it.principal.clone(),
            action: it.action,
            on: it.resource.clone(),
        });
        (Arc::new(GrantList { grants: grants.collect() }), ())
    }
}

impl Harness<dyn LeaseStore> for Ours {
    type Guard = Arc<ManualClock>;

    async fn fresh(&self) -> (Arc<dyn LeaseStore>, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at(sample::at(1_000)));
        (Arc::new(MapLeases::new(Arc::<ManualClock>::clone(&clock))), clock)
    }
}

impl LeaseStoreHarness for Ours {
    async fn pass(&self, clock: &Arc<ManualClock>, by: Duration) {
        clock.advance(by);
    }
}

async fn store_in(folder: &TempDir) -> FolderArtifactStore {
    FolderArtifactStore::open(folder.path().to_owned()).await.unwrap()
}

impl Harness<dyn ArtifactStore> for Ours {
    type Guard = TempDir;

    async fn fresh(&self) -> (Arc<dyn ArtifactStore>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(store_in(&folder).await), folder)
    }
}

impl DurableHarness<dyn ArtifactStore> for Ours {
    async fn reopen(
        &self,
        store: Arc<dyn ArtifactStore>,
        folder: &TempDir,
    ) -> Arc<dyn ArtifactStore> {
        drop(store);
        Arc::new(store_in(folder).await)
    }
}

impl ArtifactStoreHarness for Ours {
    async fn rot(&self, folder: &TempDir, digest: &Digest) {
        let path = store_in(folder).await.path_of(digest);
        let mut bytes = fs::read(&path).await.unwrap();
        bytes[0] ^= 1;
        fs::write(&path, bytes).await.unwrap();
    }
}

impl Harness<dyn Notifier> for Ours {
    type Guard = TempDir;

    async fn fresh(&self) -> (Arc<dyn Notifier>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Arc::new(MailFolder::open(folder.path().to_owned()).await.unwrap()), folder)
    }
}

impl NotifierHarness for Ours {
    async fn delivered(&self, folder: &TempDir) -> Vec<Notification> {
        let mut mails = Vec::new();
        for name in names(folder.path()).await.unwrap() {
            let mail = fs::read_to_string(folder.path().join(name)).await.unwrap();
            let (head, body) = mail.split_once("\n\n").unwrap();
            let (key, subject) = head.split_once("\nSubject: ").unwrap();
            let key = key.strip_prefix("Message-ID: ").unwrap();
            mails.push(Notification::new(key, subject, body));
        }
        mails
    }
}

/// A device that does what a case wants.
#[derive(Debug)]
struct Scripted {
    steps: Mutex<BTreeMap<(ReleaseId, StepName), ScriptedStep>>,
    runs: Mutex<BTreeMap<StepName, u32>>,
    busy: AtomicUsize,
    gate: watch::Sender<bool>,
}

/// Counts a step as under way until it is dropped.
struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Firmware for Scripted {
    async fn perform(&self, step: StepName, at: &Run<'_>) -> i32 {
        self.busy.fetch_add(1, Ordering::SeqCst);
        let _busy = Busy(&self.busy);
        *lock(&self.runs).entry(step).or_default() += 1;
        let script = lock(&self.steps)[&(at.release().clone(), step)].clone();
        for act in &script.acts {
            match act {
                Act::Activate => at.activate(),
                Act::Block => drop(self.gate.subscribe().wait_for(|open| *open).await),
                Act::Exit(code) => return *code,
                Act::Print(bytes) => at.print(bytes),
                Act::IgnoreTerm | Act::LeaveDaemon => panic!("this executor kills nothing"),
                Act::Output(..) => panic!("this executor collects nothing"),
            }
        }
        0
    }

    fn resolve(&self, step: StepName, release: &ReleaseId) -> Resolution {
        let found = lock(&self.steps).get(&(release.clone(), step)).and_then(|it| it.check);
        found.unwrap_or(Resolution::CannotTell)
    }
}

/// The devices, and what they do.
struct Fleet {
    devices: Arc<Devices>,
    firmware: Arc<Scripted>,
}

impl Harness<dyn Executor> for Ours {
    type Guard = Fleet;

    async fn fresh(&self) -> (Arc<dyn Executor>, Fleet) {
        let firmware = Arc::new(Scripted {
            steps: Mutex::default(),
            runs: Mutex::default(),
            busy: AtomicUsize::new(0),
            gate: watch::Sender::new(false),
        });
        let clock = Arc::new(SteadyClock::new());
        let devices = Arc::new(Devices::new(clock, Arc::<Scripted>::clone(&firmware)));
        (Arc::new(DeviceExecutor::new(Arc::clone(&devices))), Fleet { devices, firmware })
    }
}

impl DurableHarness<dyn Executor> for Ours {
    async fn reopen(&self, executor: Arc<dyn Executor>, fleet: &Fleet) -> Arc<dyn Executor> {
        drop(executor);
        self.another(fleet).await
    }
}

impl ConcurrentHarness<dyn Executor> for Ours {
    async fn another(&self, fleet: &Fleet) -> Arc<dyn Executor> {
        Arc::new(DeviceExecutor::new(Arc::clone(&fleet.devices)))
    }
}

impl ExecutorHarness for Ours {
    fn on(&self, _: &Fleet) -> HostRequest {
        HostRequest::new(sample::host("h1"), sample::name("web"), sample::name("/srv/web"))
    }

    async fn release(&self, fleet: &Fleet, id: &str, steps: &[ScriptedStep]) -> PlannedRelease {
        let mut release = sample::release("web", id, sample::at(1));
        release.steps = steps.iter().map(|it| it.step.clone()).collect();
        let scripts = steps.iter().map(|it| ((release.id.clone(), it.step.name), it.clone()));
        lock(&fleet.firmware.steps).extend(scripts);
        PlannedRelease::from(&release)
    }

    async fn runs(&self, fleet: &Fleet, step: StepName) -> u32 {
        lock(&fleet.firmware.runs).get(&step).copied().unwrap_or(0)
    }

    async fn unblock(&self, fleet: &Fleet) {
        fleet.firmware.gate.send_replace(true);
    }

    async fn processes(&self, fleet: &Fleet) -> usize {
        fleet.firmware.busy.load(Ordering::SeqCst)
    }
}

/// One module a trait, because cases of different traits share names.
macro_rules! prove {
    ($($module:ident: $suite:ident($($tier:ident),+);)+) => { $(
        mod $module {
            deploy_core::$suite!(super::Ours, $($tier),+);
        }
    )+ };
}

prove! {
    artifact_store: artifact_store_conformance(core, durable);
    authorizer: authorizer_conformance(core);
    clock: clock_conformance(core);
    executor: executor_conformance(core, durable, concurrent);
    host_inventory: host_inventory_conformance(core);
    journal: journal_conformance(core);
    lease_store: lease_store_conformance(core);
    log_store: log_store_conformance(core);
    notifier: notifier_conformance(core);
    scheduler: scheduler_conformance(core);
    service_registry: service_registry_conformance(core);
}

#[tokio::test]
async fn the_example_deploys() {
    let folder = tempfile::tempdir().unwrap();
    let said = crate::deploy(folder.path()).await.unwrap();
    assert!(said.ends_with("Over(Succeeded) after 3 waves"), "{said}");
    assert_eq!(names(&folder.path().join("mail")).await.unwrap().len(), 1);
}
