//! A host that is a folder, releases for it, and connections that can be cut.
#![expect(dead_code, reason = "no test uses all of it")]
mod cut;

pub(crate) use cut::{CutTransport, Scissors};

use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{ArtifactKind, ArtifactStore, AttemptLog, AttemptRequest, HostRequest},
    conformance::{permit, sample},
    error::BackendResult,
    host::{Connection, Host},
    id::Seq,
    memory::{MemoryArtifactStore, SystemClock},
    plan::PlannedRelease,
    spec::{ArtifactRef, Health, StepName},
};
use deploy_host::executor::ShellExecutor;
use deploy_local::LocalTransport;
use deploy_test_support::{
    releases::{pack, put, release},
    scripted::Traces,
};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;

pub(crate) type LocalShell = ShellExecutor<CutTransport<LocalTransport>>;

/// A host, its executor and what both need.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Arc<MemoryArtifactStore>,
    pub(crate) scissors: Arc<Scissors>,
    pub(crate) executor: Arc<LocalShell>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let store = Arc::new(MemoryArtifactStore::new());
        let scissors = Arc::new(Scissors::default());
        let executor = Arc::new(executor(&store, &scissors, Duration::from_secs(20)));
        Self { dir: tempfile::tempdir().unwrap(), store, scissors, executor }
    }

    pub(crate) fn with_reconnect_for(mut self, patience: Duration) -> Self {
        self.executor = Arc::new(self.new_executor(patience));
        self
    }

    /// Another executor for the same host.
    pub(crate) fn new_executor(&self, patience: Duration) -> LocalShell {
        executor(&self.store, &self.scissors, patience)
    }

    pub(crate) fn on(&self) -> HostRequest {
        let root = self.dir.path().join("host's root").to_str().unwrap().to_owned();
        let host = Host::new(sample::name("h1"), Connection::Local { root });
        HostRequest::new(host, sample::name("web"), "/srv/web".parse().unwrap())
    }

    /// A path of the host.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("host's root/srv/web").join(path)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    pub(crate) async fn permit(&self, action: Action) -> Permit {
        let on = self.on();
        permit(action, Resource::Host(on.host.name, Some(on.service))).await
    }

    /// Where steps leave their traces.
    pub(crate) fn traces(&self) -> Traces {
        Traces::of(self.dir.path())
    }

    async fn put(&self, kind: ArtifactKind, bytes: &[u8]) -> ArtifactRef {
        put(&*self.store, kind, bytes).await.unwrap()
    }

    /// A release with this descriptor, these scripts, and a package of these files.
    pub(crate) async fn release(
        &self,
        id: &str,
        toml: &str,
        scripts: &[(&str, &str)],
        package: Option<&[(&str, &[u8])]>,
        given: &[(&str, &str)],
    ) -> PlannedRelease {
        let files = [("descriptor.toml", toml)].into_iter().chain(scripts.iter().copied());
        let files: Vec<_> = files.map(|(path, text)| (path, text.as_bytes())).collect();
        let mut release = release(&*self.store, id, &files, given).await.unwrap();
        if let Some(files) = package {
            release =
                release.with_package(self.put(ArtifactKind::Package, &pack(files).unwrap()).await);
        }
        PlannedRelease::from(&release)
    }

    /// The release with a package of any bytes.
    pub(crate) async fn with_package_bytes(
        &self,
        mut release: PlannedRelease,
        bytes: &[u8],
    ) -> PlannedRelease {
        release.package = Some(self.put(ArtifactKind::Package, bytes).await);
        release
    }

    pub(crate) fn attempt(&self, generation: u64, release: &PlannedRelease) -> AttemptRequest {
        let mut request = AttemptRequest::new(
            self.on(),
            sample::name("r1"),
            Seq::new(generation),
            token(generation),
            release.clone(),
        );
        request.health = Health::default();
        request.health.min_healthy_time = Duration::ZERO;
        request.health.healthy_deadline = Duration::from_secs(10);
        request
    }
}

fn executor(
    store: &Arc<MemoryArtifactStore>,
    scissors: &Arc<Scissors>,
    patience: Duration,
) -> LocalShell {
    let transport = CutTransport::new(LocalTransport::new(), Arc::clone(scissors));
    let store: Arc<dyn ArtifactStore> = Arc::<MemoryArtifactStore>::clone(store);
    ShellExecutor::new(transport, store, Arc::new(SystemClock::new())).with_reconnect_for(patience)
}

pub(crate) fn token(generation: u64) -> String {
    format!("{generation:032x}")
}

/// Keeps a log, and checks that its bytes come in order.
#[derive(Debug, Default)]
pub(crate) struct Log {
    first: u64,
    bytes: Mutex<Vec<u8>>,
    steps: Mutex<Vec<StepName>>,
}

impl Log {
    pub(crate) fn from(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    pub(crate) fn steps(&self) -> Vec<StepName> {
        self.steps.lock().unwrap().clone()
    }
}

#[async_trait]
impl AttemptLog for Log {
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        let mut all = self.bytes.lock().unwrap();
        assert_eq!(offset, self.first + all.len() as u64, "a byte was lost or came twice");
        all.extend_from_slice(bytes);
        Ok(())
    }

    fn step(&self, step: StepName) {
        self.steps.lock().unwrap().push(step);
    }
}

/// Waits until `done` holds.
#[expect(clippy::disallowed_methods, reason = "this waits on real processes")]
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("this did not come: {what}");
}

pub(crate) fn run(case: impl Future<Output = ()>) {
    deploy_core::conformance::run(case);
}
