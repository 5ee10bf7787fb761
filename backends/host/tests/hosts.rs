//! The executor against hosts that say what they like, and against many of them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use async_trait::async_trait;
use bytes::Bytes;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactEntry, ArtifactKind, ArtifactMeta, ArtifactReader, ArtifactStore,
        ArtifactStoreCapabilities, AttemptLog, AttemptReport, AttemptRequest, Executor as _,
        Holder, HostRequest, ListArtifacts, ProbeRequest, PutArtifact,
    },
    conformance::{permit, run, sample},
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    host::{Connection, Host},
    id::Seq,
    memory::{MemoryArtifactStore, SystemClock},
    plan::PlannedRelease,
    spec::{ArtifactRef, Release, StepName},
};
use deploy_host::{
    archive::{Limits, PackedFile, pack_files},
    descriptor,
    executor::ShellExecutor,
    transport::{HostCommand, HostOutput, HostProcess, Transport},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeSet, VecDeque},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{io::AsyncWrite, task::JoinSet};

const TOKEN: &str = "00000000000000000000000000000007";

/// What a host does: it says these things one after another, and then ends or is lost.
#[derive(Clone, Debug)]
struct Script {
    says: Vec<Says>,
    lost: bool,
}

#[derive(Clone, Debug)]
enum Says {
    Control(String),
    Junk(Vec<u8>),
    Log(Vec<u8>),
}

/// Connections to hosts that follow scripts, whatever they are sent.
#[derive(Debug, Default)]
struct Scripted {
    scripts: Mutex<VecDeque<Script>>,
    /// What every connection does when there is no script left.
    last: Option<Script>,
    opened: AtomicUsize,
    sent: Arc<AtomicU64>,
}

#[async_trait]
impl Transport for Scripted {
    async fn open(&self, _: &Host, _: &HostCommand) -> BackendResult<Box<dyn HostProcess>> {
        self.opened.fetch_add(1, Ordering::SeqCst);
        let script = self.scripts.lock().unwrap().pop_front().or_else(|| self.last.clone());
        let Some(script) = script else {
            return Err(BackendError::new(ErrorKind::Unavailable, "scripted.open"));
        };
        let process = ScriptedProcess {
            says: script.says.into(),
            lost: script.lost,
            sent: Arc::clone(&self.sent),
        };
        Ok(Box::new(process))
    }
}

#[derive(Debug)]
struct ScriptedProcess {
    says: VecDeque<Says>,
    lost: bool,
    sent: Arc<AtomicU64>,
}

#[async_trait]
impl HostProcess for ScriptedProcess {
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        Some(Box::new(Counter(Arc::clone(&self.sent))))
    }

    async fn next(&mut self) -> BackendResult<Option<HostOutput>> {
        // Lets the upload go on.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        match self.says.pop_front() {
            Some(Says::Control(line)) => {
                Ok(Some(HostOutput::Stderr(format!("deploy:{line}\n").into())))
            }
            Some(Says::Junk(bytes)) => Ok(Some(HostOutput::Stderr(bytes.into()))),
            Some(Says::Log(bytes)) => Ok(Some(HostOutput::Stdout(Bytes::from(bytes)))),
            None if self.lost => Err(BackendError::new(ErrorKind::OutcomeUnknown, "scripted.next")),
            None => Ok(None),
        }
    }
}

/// Takes everything, and counts it.
#[derive(Debug)]
struct Counter(Arc<AtomicU64>);

impl AsyncWrite for Counter {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts how often artifacts are opened.
#[derive(Debug, Default)]
struct Opens {
    inner: MemoryArtifactStore,
    opened: Mutex<Vec<Digest>>,
}

#[async_trait]
impl ArtifactStore for Opens {
    fn capabilities(&self) -> ArtifactStoreCapabilities {
        self.inner.capabilities()
    }

    async fn put(
        &self,
        permit: &Permit,
        request: PutArtifact,
        body: &mut (dyn tokio::io::AsyncRead + Send + Unpin),
    ) -> BackendResult<ArtifactMeta> {
        self.inner.put(permit, request, body).await
    }

    async fn partial(&self, digest: &Digest) -> BackendResult<u64> {
        self.inner.partial(digest).await
    }

    async fn head(&self, digest: &Digest) -> BackendResult<ArtifactMeta> {
        self.inner.head(digest).await
    }

    async fn open(&self, digest: &Digest, offset: u64) -> BackendResult<ArtifactReader> {
        self.opened.lock().unwrap().push(*digest);
        self.inner.open(digest, offset).await
    }

    async fn list(&self, request: &ListArtifacts) -> BackendResult<Vec<ArtifactEntry>> {
        self.inner.list(request).await
    }

    async fn hold(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        self.inner.hold(permit, digest, holder).await
    }

    async fn let_go(&self, permit: &Permit, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        self.inner.let_go(permit, digest, holder).await
    }

    async fn holders(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>> {
        self.inner.holders(digest).await
    }

    async fn delete(&self, permit: &Permit, digest: &Digest) -> BackendResult<()> {
        self.inner.delete(permit, digest).await
    }

    async fn verify(&self, digest: &Digest) -> BackendResult<()> {
        self.inner.verify(digest).await
    }
}

async fn put(store: &Opens, kind: ArtifactKind, bytes: &[u8]) -> ArtifactRef {
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    let version = sample::name(&digest.short());
    let request = PutArtifact::new(digest, size, sample::name("web"), kind, version, sample::at(0));
    let permit = permit(Action::ArtifactWrite, Resource::System).await;
    store.put(&permit, request, &mut &*bytes).await.unwrap();
    ArtifactRef::new(digest, size)
}

async fn release(store: &Opens, package: Option<&[u8]>) -> PlannedRelease {
    let file = PackedFile { path: "descriptor.toml", executable: false, bytes: b"format = 1\n" };
    let packed = pack_files([file], Limits::DESCRIPTOR, Vec::new()).unwrap();
    let steps = descriptor::read(&packed).unwrap().descriptor.steps();
    let descriptor = put(store, ArtifactKind::Descriptor, &packed).await;
    let (id, service, version) = (sample::name("web-1"), sample::name("web"), sample::name("1"));
    let by = sample::principal("kit");
    let mut release = Release::new(id, service, version, descriptor, steps, sample::at(0), by);
    if let Some(bytes) = package {
        let file = PackedFile { path: "data", executable: false, bytes };
        let packed = pack_files([file], Limits::PACKAGE, Vec::new()).unwrap();
        release = release.with_package(put(store, ArtifactKind::Package, &packed).await);
    }
    PlannedRelease::from(&release)
}

fn on(host: &str) -> HostRequest {
    let host = Host::new(sample::name(host), Connection::Local { root: "/".to_owned() });
    HostRequest::new(host, sample::name("web"), "/srv/web".parse().unwrap())
}

fn attempt(on: HostRequest, release: &PlannedRelease) -> AttemptRequest {
    AttemptRequest::new(on, sample::name("r1"), Seq::new(7), TOKEN.to_owned(), release.clone())
}

/// A log whose bytes have to come in order.
#[derive(Debug, Default)]
struct Log(AtomicU64);

#[async_trait]
impl AttemptLog for Log {
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        assert_eq!(self.0.fetch_add(bytes.len() as u64, Ordering::SeqCst), offset);
        Ok(())
    }

    fn step(&self, _: StepName) {}
}

fn exit_line(log_length: usize) -> String {
    format!(
        "exit token={TOKEN} generation=7 outcome=succeeded step=2 name=install code=0 reason=- log_length={log_length} duration_ms=1"
    )
}

/// 500 attempts at a release: its descriptor is read once, its package is judged once, and what a host costs beyond its package is small.
#[test]
fn a_wave_of_500_shares_all_that_can_be_shared() {
    run(async {
        let store = Arc::new(Opens::default());
        let package: Vec<u8> =
            (0..100_000_u32).flat_map(|it| it.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let release = release(&store, Some(&package)).await;
        let size = release.package.unwrap().size;
        let says =
            [Says::Control("have bytes=0".into()), Says::Control("started pid=1 boot=b".into())];
        // The upload takes as many turns as it takes; the host waits for it by saying something in between.
        let busy = std::iter::repeat_n(Says::Junk(b"busy\n".to_vec()), 100);
        let says = says[..1].iter().cloned().chain(busy).chain(says[1..].iter().cloned());
        let says = says.chain([Says::Control(exit_line(0))]).collect();
        let transport =
            Scripted { last: Some(Script { says, lost: false }), ..Scripted::default() };
        let executor = Arc::new(ShellExecutor::new(
            transport,
            Arc::clone(&store) as _,
            Arc::new(SystemClock::new()),
        ));
        let permit = permit(Action::HostExecute, Resource::System).await;
        let mut wave = JoinSet::new();
        for at in 0..500 {
            let (executor, permit) = (Arc::clone(&executor), permit.clone());
            let request = attempt(on(&format!("h{at}")), &release);
            wave.spawn(
                async move { executor.run(&permit, &request, &Log::default()).await.unwrap() },
            );
        }
        assert!(wave.join_all().await.iter().all(|it| *it == AttemptReport::Succeeded));
        let opened = store.opened.lock().unwrap().clone();
        let of = |digest| opened.iter().filter(|it| **it == digest).count();
        assert_eq!(of(release.descriptor.digest), 1);
        assert_eq!(of(release.package.unwrap().digest), 501);
        let own = executor.transport().sent.load(Ordering::SeqCst) / 500 - size;
        assert!(own < 100_000, "{own} bytes for each host beside its package");
    });
}

#[test]
fn an_answer_to_another_question_is_no_answer() {
    run(async {
        let store: Arc<dyn ArtifactStore> = Arc::new(Opens::default());
        let permit = permit(Action::HostExecute, Resource::System).await;
        for line in ["healthy", "killed", "have bytes=1", "observed fence=1 release= running=0"] {
            let says = vec![Says::Control(line.to_owned())];
            let transport =
                Scripted { last: Some(Script { says, lost: false }), ..Scripted::default() };
            let executor =
                ShellExecutor::new(transport, Arc::clone(&store), Arc::new(SystemClock::new()));
            let probe = ProbeRequest::new(on("h1"), Seq::new(7), TOKEN.to_owned());
            let err = executor.probe(&permit, &probe).await.unwrap_err();
            assert_eq!(err.kind(), ErrorKind::Corrupt, "{line}: {}", err.chain());
        }
    });
}

fn any_control() -> impl Strategy<Value = Says> {
    let token = prop_oneof![4 => Just(TOKEN.to_owned()), 1 => "[0-9a-f]{32}"];
    let outcome = prop_oneof![
        Just("succeeded"),
        Just("failed"),
        Just("killed"),
        Just("timed_out"),
        Just("kill_failed")
    ];
    let exit = (token, 6u64..9, outcome, 0u64..40).prop_map(|(token, generation, outcome, length)| {
        format!("exit token={token} generation={generation} outcome={outcome} step=0 name=install code=1 reason=- log_length={length} duration_ms=1")
    });
    let plain = prop_oneof![
        Just("started pid=1 boot=b"),
        Just("attached state=running"),
        Just("never_started"),
        Just("died reason=rebooted step=0 name=install"),
        Just("fenced seen=9"),
        Just("busy generation=8"),
        Just("error code=no_space message=full"),
        Just("error code=bad_stream message="),
        Just("error code=bad_digest message="),
        Just("error code=bad_patch message=no"),
        Just("error code=corrupt message="),
        Just("step index=0 name=install"),
        Just("healthy"),
        Just("no such word"),
    ];
    let way = prop_oneof![Just(""), Just(" way=patch"), Just(" way=tree"), Just(" way=up")];
    let have = (0u64..500_000, way).prop_map(|(it, way)| format!("have bytes={it}{way}"));
    prop_oneof![3 => plain.prop_map(str::to_owned), 2 => have, 2 => exit].prop_map(Says::Control)
}

fn any_script() -> impl Strategy<Value = Script> {
    let log = proptest::collection::vec(any::<u8>(), 0..20).prop_map(Says::Log);
    let junk = proptest::collection::vec(any::<u8>(), 0..40).prop_map(Says::Junk);
    let says = prop_oneof![5 => any_control(), 2 => log, 1 => junk];
    (proptest::collection::vec(says, 0..8), any::<bool>())
        .prop_map(|(says, lost)| Script { says, lost })
}

/// Whether a host ever said, in so many words, that this attempt ended like that.
fn said(scripts: &[Script], outcome: &str) -> bool {
    let want = [format!("exit token={TOKEN} generation=7 "), format!(" outcome={outcome} ")];
    let lines = scripts.iter().flat_map(|it| &it.says);
    lines
        .into_iter()
        .any(|it| matches!(it, Says::Control(line) if want.iter().all(|it| line.contains(it))))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever hosts say: nothing panics or hangs, the log stays in order, and no result is believed that was not in the right record.
    #[test]
    fn no_host_can_forge_a_result(scripts in proptest::collection::vec(any_script(), 1..3), package: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let result = runtime.block_on(async {
            let store = Arc::new(Opens::default());
            let release = release(&store, package.then_some(&b"data"[..])).await;
            let transport = Scripted { scripts: Mutex::new(scripts.clone().into()), ..Scripted::default() };
            let executor = ShellExecutor::new(transport, store as _, Arc::new(SystemClock::new()))
                .with_reconnect_for(Duration::from_millis(1));
            let permit = permit(Action::HostExecute, Resource::System).await;
            executor.run(&permit, &attempt(on("h1"), &release), &Log::default()).await
        });
        match result {
            Ok(AttemptReport::Succeeded) => prop_assert!(said(&scripts, "succeeded")),
            Ok(AttemptReport::Failed { .. }) => prop_assert!(said(&scripts, "failed")),
            Ok(AttemptReport::TimedOut { .. }) => prop_assert!(said(&scripts, "timed_out")),
            Ok(AttemptReport::Killed) => prop_assert!(said(&scripts, "killed")),
            Ok(AttemptReport::KillFailed { .. }) => prop_assert!(said(&scripts, "kill_failed")),
            Ok(_) | Err(_) => {}
        }
    }
}
