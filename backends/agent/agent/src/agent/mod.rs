//! The agent proper: orders become records of the journal, and these become shims.
mod answers;
mod collect;
mod confirm;
mod delivery;
mod follow;
mod holdings;
mod launch;
mod prepare;
mod questions;
mod room;
mod stage;
mod start;
mod supervise;

use crate::{
    FetchArtifact, Following, HostSide, Policy,
    attempt::{AttemptKey, State},
    cache::Cache,
    folder::{Folder, make},
    journal::{Journal, record::Record},
    peers::Peers,
    pins::Pins,
    process::{cgroup::Cgroups, proc_fs::boot_id},
    publishers::Trust,
    rates::Rates,
    reload::{lock, unlock},
};
use async_trait::async_trait;
use deploy_agent_protocol::v1;
use deploy_core::memory::SystemClock;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use thiserror::Error;
use tokio::{sync::watch, task::JoinSet};

/// Why a host side cannot be opened.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct OpenError {
    message: String,
    source: Option<io::Error>,
}

impl OpenError {
    #[expect(clippy::needless_pass_by_value, reason = "it stands at the end of `map_err`")]
    fn new(message: impl ToString) -> Self {
        Self { message: message.to_string(), source: None }
    }

    fn io(path: &Path, source: io::Error) -> Self {
        Self { message: format!("{} cannot be used", path.display()), source: Some(source) }
    }
}

/// What a host side is opened with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostOptions {
    /// What the host is called.
    pub name: String,
    /// Where the journal, the attempts and the artifacts are.
    pub state: PathBuf,
    /// What the host lets be done to it.
    pub policy: Policy,
    /// This agent's program, which supervises attempts as well.
    pub program: PathBuf,
    /// Whom it fetches blocks from, and gives them to; nobody unless it is said.
    pub peers: Option<Arc<Peers>>,
}

impl HostOptions {
    /// The host `name` with its state in `state`. Attempts are supervised by the program that runs now.
    #[must_use]
    pub fn new(name: impl Into<String>, state: impl Into<PathBuf>, policy: Policy) -> Self {
        let program = PathBuf::from("/proc/self/exe");
        Self { name: name.into(), state: state.into(), policy, program, peers: None }
    }

    /// With others that have blocks.
    #[must_use]
    pub fn with_peers(mut self, peers: Arc<Peers>) -> Self {
        self.peers = Some(peers);
        self
    }

    /// With another program to supervise attempts: one that hands its arguments to [`run_helper`](crate::run_helper).
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }
}

/// A host whose promises are in a journal, and whose attempts run on this machine.
#[derive(Debug)]
pub struct JournaledHost {
    host: Arc<Host>,
}

/// What all that goes on at a host shares.
#[derive(Debug)]
struct Host {
    options: HostOptions,
    journal: Journal,
    cache: Cache,
    rates: Arc<Rates>,
    cgroups: Cgroups,
    trust: Option<Trust>,
    boot_id: String,
    live: Mutex<BTreeMap<AttemptKey, watch::Sender<u64>>>,
    /// What looks after attempts.
    tasks: Mutex<JoinSet<()>>,
    closing: AtomicBool,
    /// Tells apart what is being prepared.
    prepared: AtomicU64,
    /// Nobody else works in the state folder while this is open.
    lock: File,
}

impl JournaledHost {
    /// Opens the state folder, and goes on with what is under way there. It has to be called where tasks can be spawned.
    ///
    /// # Errors
    /// If the folder cannot be used, another agent uses it, or the journal in it is damaged.
    pub async fn open(options: HostOptions) -> Result<Self, OpenError> {
        let opened = tokio::task::spawn_blocking(move || Host::open(options)).await;
        let host = Arc::new(opened.map_err(OpenError::new)??);
        host.recover();
        Ok(Self { host })
    }

    /// Waits until this host can promise nothing any more, and says why: then the agent has to be started anew, once its disk works.
    pub async fn failed(&self) -> String {
        self.host.journal.failed().await
    }
}

impl Host {
    fn open(options: HostOptions) -> Result<Self, OpenError> {
        let state = &options.state;
        let failed = |err| OpenError::io(state, err);
        // The steps' accounts pass through, and see nothing.
        for (folder, mode) in [
            ("", 0o711),
            ("attempts", 0o711),
            ("incoming", 0o711),
            ("journal", 0o700),
            ("artifacts", 0o700),
            ("pins", 0o700),
            ("publishers", 0o700),
        ] {
            make(&state.join(folder), mode).map_err(failed)?;
        }
        let lock = lock(state).map_err(failed)?.ok_or_else(|| {
            OpenError::new(format_args!("another agent works in {}", state.display()))
        })?;
        let pins = Pins::new(state.join("pins"));
        let journal = Journal::open(&state.join("journal")).map_err(OpenError::new)?;
        for unfinished in fs::read_dir(state.join("incoming")).map_err(failed)?.flatten() {
            fs::remove_dir_all(unfinished.path()).map_err(failed)?;
        }
        let cache = Cache::new(
            state.join("artifacts"),
            options.policy.cache_limit(),
            pins,
            options.peers.clone(),
        );
        cache.sweep().map_err(failed)?;
        let alone = || Rates::new(options.policy.peers(), Arc::new(SystemClock::new()));
        let rates = options.peers.as_ref().map_or_else(alone, |it| it.rates());
        Ok(Self {
            journal,
            rates,
            cache,
            cgroups: Cgroups::find(options.policy.cgroups()),
            trust: Trust::of(&options.policy, state.join("publishers")),
            boot_id: boot_id().map_err(failed)?,
            live: Mutex::default(),
            tasks: Mutex::default(),
            closing: AtomicBool::new(false),
            prepared: AtomicU64::new(0),
            lock,
            options,
        })
    }

    fn folder(&self, key: &AttemptKey) -> Folder {
        Folder::of(&self.options.state.join("attempts"), key)
    }

    /// Changes to it are single moves.
    fn live(&self) -> MutexGuard<'_, BTreeMap<AttemptKey, watch::Sender<u64>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks after something until it is over, or the host side is shut down.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if self.closing.load(Ordering::SeqCst) {
            return;
        }
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

#[async_trait]
impl HostSide for JournaledHost {
    async fn start(
        &self,
        attempt: v1::Attempt,
        artifacts: &dyn FetchArtifact,
    ) -> Result<v1::Accepted, v1::Refused> {
        let artifacts = self.host.rates.paced(artifacts, &attempt.rollout);
        Arc::clone(&self.host).start(attempt, &artifacts).await
    }

    async fn follow(&self, follow: v1::Follow) -> Result<Following, v1::Refused> {
        Arc::clone(&self.host).follow(&follow).await
    }

    async fn probe(&self, probe: v1::Probe) -> v1::answer::Kind {
        answers::or_refused(self.host.probe(&probe).await)
    }

    async fn kill(&self, kill: v1::Kill) -> v1::answer::Kind {
        answers::or_refused(self.host.kill(&kill).await)
    }

    async fn confirm(&self, confirm: v1::Confirm) -> v1::answer::Kind {
        answers::or_refused(self.host.confirm(&confirm).await)
    }

    async fn stage(&self, stage: v1::Stage, artifacts: &dyn FetchArtifact) -> v1::answer::Kind {
        let artifacts = self.host.rates.paced(artifacts, &stage.rollout);
        answers::or_refused(self.host.stage(&stage, &artifacts).await)
    }

    async fn room(&self, room: v1::Room, artifacts: &dyn FetchArtifact) -> v1::answer::Kind {
        let artifacts = self.host.rates.paced(artifacts, "");
        answers::or_refused(self.host.room(room, &artifacts).await)
    }

    async fn collect(&self, collect: v1::Collect) -> v1::answer::Kind {
        answers::or_refused(self.host.collect(&collect).await)
    }

    async fn check(&self, check: v1::Check) -> v1::answer::Kind {
        answers::or_refused(self.host.check(&check).await)
    }

    async fn resolve(&self, resolve: v1::Resolve) -> v1::answer::Kind {
        answers::or_refused(self.host.resolve(&resolve).await)
    }

    async fn observe(&self, observe: v1::Observe) -> v1::answer::Kind {
        answers::or_refused(self.host.observe(&observe).await)
    }

    fn open(&self) -> Vec<v1::AttemptId> {
        let (open, _) = self.host.journal.look(|attempts| {
            let unconfirmed = attempts
                .all()
                .filter(|(_, it)| !matches!(it.state, State::Exited { closed: true, .. }));
            unconfirmed.map(|(key, _)| key.id()).collect()
        });
        open
    }

    async fn holdings(&self) -> Vec<v1::Holding> {
        Arc::clone(&self.host).holdings().await
    }

    fn running(&self) -> u32 {
        u32::try_from(self.host.live().len()).unwrap_or(u32::MAX)
    }

    async fn confirm_end(&self, attempt: &v1::AttemptId) {
        let Some(attempt) = AttemptKey::of(attempt) else { return };
        self.host.note(|attempts| match &attempts.attempt(&attempt)?.state {
            State::Exited { closed: false, .. } => {
                Some(Record::Closed { attempt: attempt.clone() })
            }
            State::Accepted { .. } | State::Exited { .. } | State::Starting { .. } => None,
        });
    }

    async fn log_durable(&self, attempt: &v1::AttemptId, offset: u64) {
        let Some(attempt) = AttemptKey::of(attempt) else { return };
        let length = self.host.log_length(&attempt).await;
        self.host.note(|attempts| match &attempts.attempt(&attempt)?.state {
            State::Exited { log_stored: false, .. } if length.is_some_and(|it| offset >= it) => {
                Some(Record::LogStored { attempt: attempt.clone() })
            }
            State::Accepted { .. } | State::Exited { .. } | State::Starting { .. } => None,
        });
    }

    async fn limit(&self, limits: v1::Limits) {
        self.host.rates.tell(limits);
    }

    async fn shutdown(&self) {
        self.host.closing.store(true, Ordering::SeqCst);
        let mut tasks =
            std::mem::take(&mut *self.host.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        tasks.shutdown().await;
        self.host.live().clear();
        let host = Arc::clone(&self.host);
        // A panic there has been shown.
        let closed = tokio::task::spawn_blocking(move || {
            host.journal.close();
            unlock(&host.lock)
        });
        drop(closed.await);
    }
}
