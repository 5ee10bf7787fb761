use super::{
    CollectRequest, ConfirmRequest, Confirmation, Delivery, Piece, Revert, StageReport,
    StageRequest, Transfer,
};
use crate::{
    access::Permit,
    error::BackendResult,
    host::Host,
    id::{AccountName, ReleaseId, RolloutId, Seq, ServiceName},
    plan::{DiskRoom, PlannedRelease},
    spec::{AbsolutePath, Direction, Health as HealthPolicy, StepName},
};
use async_trait::async_trait;
use std::{fmt, time::Duration};

/// Which service on which host: what every request to an executor begins with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostRequest {
    /// The host.
    pub host: Host,
    /// The service; an ad-hoc run has one of its own.
    pub service: ServiceName,
    /// Where the service lies on the host.
    pub deploy_path: AbsolutePath,
    /// The account its steps run as; `None` is the account that logs in.
    pub account: Option<AccountName>,
}

impl HostRequest {
    /// `service` at `deploy_path` on `host`.
    #[must_use]
    pub const fn new(host: Host, service: ServiceName, deploy_path: AbsolutePath) -> Self {
        Self { host, service, deploy_path, account: None }
    }

    /// With steps run as `account`.
    #[must_use]
    pub fn with_account(mut self, account: Option<AccountName>) -> Self {
        self.account = account;
        self
    }
}

/// One attempt: the steps of a release from `first_step` on, on one host, under one generation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AttemptRequest {
    /// Which service on which host.
    pub on: HostRequest,
    /// Of which rollout.
    pub rollout: RolloutId,
    /// The fencing number: the journal position of the record that started the attempt.
    pub generation: Seq,
    /// 32 hexadecimal digits that the result has to come back with.
    pub token: String,
    /// Which way.
    pub direction: Direction,
    /// The release whose descriptor is run.
    pub release: PlannedRelease,
    /// Whether the host is to run `release` afterwards; `false` takes the service off the host.
    pub keeps_release: bool,
    /// What the host ran before.
    pub previous: Option<PlannedRelease>,
    /// The first step to run: those before it are done.
    pub first_step: StepName,
    /// What counts as healthy.
    pub health: HealthPolicy,
    /// What the host does by itself unless it is told in time to keep the release; `None`: it keeps it.
    pub revert: Option<Box<Revert>>,
    /// How much of the attempt's log is stored already: the first byte to deliver.
    pub log_offset: u64,
}

impl AttemptRequest {
    /// An attempt at all of `release`'s forward steps, with the default idea of health.
    #[must_use]
    pub fn new(
        on: HostRequest,
        rollout: RolloutId,
        generation: Seq,
        token: String,
        release: PlannedRelease,
    ) -> Self {
        Self {
            on,
            rollout,
            generation,
            token,
            direction: Direction::Forward,
            release,
            keeps_release: true,
            previous: None,
            first_step: StepName::Fetch,
            health: HealthPolicy::default(),
            revert: None,
            log_offset: 0,
        }
    }

    /// The steps this attempt runs, in order.
    pub fn steps(&self) -> impl Iterator<Item = &crate::spec::Step> {
        let (direction, first) = (self.direction, self.first_step);
        let stays = self.keeps_release;
        self.release.steps.iter().filter(move |step| {
            let needed = stays || step.name <= StepName::Rollback;
            step.name >= first && step.name.runs_in(direction) && needed
        })
    }
}

/// How an attempt ended. There is no third way: what is neither is an error of kind `OutcomeUnknown`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AttemptReport {
    /// Its steps have ended with 0, and the host waits for [`Executor::confirm`]: the one report that is not the end. `run` it
    /// again to follow it further.
    AwaitsConfirm,
    /// A step ended with another code than 0.
    Failed {
        /// Which.
        step: StepName,
        /// Its exit code; 128 and the signal's number if a signal ended it.
        code: i32,
        /// What is worth knowing beyond the code.
        reason: String,
    },
    /// It was started, and has ended, but nobody can tell how far the step got.
    Lost {
        /// The step that was under way; `None` if not even that is known.
        step: Option<StepName>,
        /// Why nobody knows.
        reason: String,
    },
    /// Somebody killed it, and nothing of it is left.
    Killed,
    /// Somebody killed it, or its time was up, and something of it is left.
    KillFailed {
        /// The processes left, as `PID:NAME`.
        survivors: Vec<String>,
    },
    /// It was not confirmed in time, and the host could not go back: what it runs now nobody knows.
    RevertFailed {
        /// The step of the way back that did not end well; `None` if not even that is known.
        step: Option<StepName>,
        /// Its exit code, where it has one.
        code: Option<i32>,
        /// What is worth knowing beyond the code.
        reason: String,
    },
    /// It was not confirmed in time, and the host runs again what it ran before.
    SelfReverted {
        /// Why the host went back.
        reason: String,
    },
    /// Every step ended with 0, and if the attempt had to be confirmed, it was.
    Succeeded,
    /// A step took longer than it may, or the host did not get healthy in time; its process tree is gone.
    TimedOut {
        /// Which.
        step: StepName,
    },
}

/// Takes the output of an attempt as it comes.
///
/// ```
/// use deploy_core::{backend::AttemptLog, error::BackendResult, spec::StepName};
/// use std::sync::Mutex;
///
/// /// Keeps it in memory.
/// #[derive(Debug, Default)]
/// struct Kept(Mutex<Vec<u8>>);
///
/// #[async_trait::async_trait]
/// impl AttemptLog for Kept {
///     async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
///         let mut kept = self.0.lock().unwrap();
///         assert_eq!(kept.len() as u64, offset);
///         kept.extend_from_slice(bytes);
///         Ok(())
///     }
///
///     fn step(&self, _step: StepName) {}
/// }
/// ```
#[async_trait]
pub trait AttemptLog: fmt::Debug + Send + Sync {
    /// Bytes of the log, the first of them at `offset`. Offsets follow on without a gap from the request's `log_offset`.
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()>;

    /// A step has begun. For people to watch; nothing depends on it.
    fn step(&self, step: StepName);
}

/// What to ask of an attempt.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProbeRequest {
    /// Which service on which host.
    pub on: HostRequest,
    /// Which attempt.
    pub generation: Seq,
    /// The attempt's token.
    pub token: String,
}

impl ProbeRequest {
    /// The attempt `generation` with `token`.
    #[must_use]
    pub const fn new(on: HostRequest, generation: Seq, token: String) -> Self {
        Self { on, generation, token }
    }
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeReport {
    /// Its steps have ended with 0, and the host waits for [`Executor::confirm`].
    AwaitsConfirm,
    /// It has ended like this.
    Ended(AttemptReport),
    /// It never started, and from now on never will.
    NeverStarted,
    /// It is under way, or the host goes back from it: run it again under the same generation to follow it to its end.
    Running,
}

/// What to kill.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KillRequest {
    /// Which service on which host.
    pub on: HostRequest,
    /// Which attempt.
    pub generation: Seq,
    /// The attempt's token.
    pub token: String,
    /// How long its processes have between TERM and KILL.
    pub grace: Duration,
}

impl KillRequest {
    /// Kills the attempt `generation`, with ten seconds of grace.
    #[must_use]
    pub const fn new(on: HostRequest, generation: Seq, token: String) -> Self {
        Self { on, generation, token, grace: Duration::from_secs(10) }
    }
}

/// What came of a kill.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KillReport {
    /// It had ended already, like this.
    Ended(AttemptReport),
    /// Nothing of it is left.
    Killed,
    /// These processes are left, as `PID:NAME`.
    KillFailed {
        /// The processes.
        survivors: Vec<String>,
    },
    /// It never started, and from now on never will.
    NeverStarted,
    /// It was not confirmed: the host goes back. Run the attempt again under the same generation to follow that to its end.
    Reverting,
}

/// What to check.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CheckRequest {
    /// Which service on which host.
    pub on: HostRequest,
    /// The attempt that put the release there.
    pub generation: Seq,
    /// How long the check may take.
    pub timeout: Duration,
}

impl CheckRequest {
    /// Whether what the attempt `generation` put there works.
    #[must_use]
    pub const fn new(on: HostRequest, generation: Seq, timeout: Duration) -> Self {
        Self { on, generation, timeout }
    }
}

/// Whether a service works on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// `verify` passes, or there is no such step.
    Healthy,
    /// `verify` does not pass.
    Unhealthy {
        /// What it said.
        reason: String,
    },
}

/// Which step nobody knows the outcome of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResolveRequest {
    /// The attempt.
    pub attempt: AttemptRequest,
    /// The step.
    pub step: StepName,
}

impl ResolveRequest {
    /// The `step` of `attempt`.
    #[must_use]
    pub const fn new(attempt: AttemptRequest, step: StepName) -> Self {
        Self { attempt, step }
    }
}

/// What the read-only check of a step says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the machine must handle each")]
pub enum Resolution {
    /// It cannot tell.
    CannotTell,
    /// The step took effect.
    Done,
    /// It did not.
    NotDone,
}

/// What a host runs of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observed {
    /// The release that is current; `None` if the service is not there.
    pub release: Option<ReleaseId>,
    /// The newest generation the host has seen.
    pub fence: Seq,
    /// The attempt that is under way.
    pub running: Option<Seq>,
}

impl Observed {
    /// `release`, under `fence`.
    #[must_use]
    pub const fn new(release: Option<ReleaseId>, fence: Seq, running: Option<Seq>) -> Self {
        Self { release, fence, running }
    }
}

/// What an executor offers beyond the required.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExecutorCapabilities {
    /// [`Executor::check`] works.
    pub check: bool,
    /// [`Executor::collect`] works.
    pub collect: bool,
    /// Hosts go back by themselves where an attempt has a [`Revert`], unless [`Executor::confirm`] comes in time.
    pub confirm: bool,
    /// [`Executor::kill`] works.
    pub kill: bool,
    /// [`Executor::room`] works.
    pub room: bool,
    /// [`Executor::stage`] works.
    pub stage: bool,
}

impl ExecutorCapabilities {
    /// With or without [`Executor::check`].
    #[must_use]
    pub const fn with_check(mut self, check: bool) -> Self {
        self.check = check;
        self
    }

    /// With or without [`Executor::collect`].
    #[must_use]
    pub const fn with_collect(mut self, collect: bool) -> Self {
        self.collect = collect;
        self
    }

    /// With or without [`Executor::confirm`], and hosts that go back by themselves.
    #[must_use]
    pub const fn with_confirm(mut self, confirm: bool) -> Self {
        self.confirm = confirm;
        self
    }

    /// With or without [`Executor::kill`].
    #[must_use]
    pub const fn with_kill(mut self, kill: bool) -> Self {
        self.kill = kill;
        self
    }

    /// With or without [`Executor::room`].
    #[must_use]
    pub const fn with_room(mut self, room: bool) -> Self {
        self.room = room;
        self
    }

    /// With or without [`Executor::stage`].
    #[must_use]
    pub const fn with_stage(mut self, stage: bool) -> Self {
        self.stage = stage;
        self
    }
}

/// Runs attempts on hosts.
///
/// # Contract
/// * `run` starts an attempt **at most once**: a second `run` under the same generation attaches to the first, delivers its
///   log from the offset asked for, and gives its result, however many callers there are and whatever became of them.
/// * `run` under a generation older than the newest that the host has seen for the service is `Fenced`, and starts nothing.
///   Comparing and setting the generation is one atomic act with the start.
/// * `run` while another attempt of the service is alive on the host is `Conflict`, and starts nothing.
/// * Steps run in order; the first that does not end with 0 ends the attempt. Steps before `first_step` are not run.
/// * The log arrives byte for byte: no byte is lost or delivered twice, whatever was cut in between.
/// * `Unavailable`, `Unauthenticated`, `NoSpace`, `InvalidInput`, `NotFound`, `PermissionDenied`, `Fenced` and `Conflict`
///   promise that nothing was started. `OutcomeUnknown` promises nothing.
/// * Dropping the future of `run` does not end the attempt.
/// * `probe` raises the host's fence to at least the attempt's generation before it answers `NeverStarted`: an attempt that was not
///   started by then never will be. It changes nothing else, and gives the result of an attempt that has ended.
/// * `kill` ends all processes of an attempt and looks: `Killed` means that none is left. It raises the fence as `probe` does.
/// * An attempt with a [`Revert`] does not end with its last step: its host waits, and `run` and `probe` say `AwaitsConfirm`.
/// * The verdict is the host's, durable, and **one**: `confirm` in time makes it `Succeeded`; else the host goes back by itself, and
///   the attempt ends as `SelfReverted` or `RevertFailed`. A host that is restarted while it waits goes back.
/// * `confirm` answers `Confirmed` only once the verdict is durable on the host. While steps are still under way, or the host goes
///   back already, it answers `Running` and changes nothing.
/// * `kill` of an attempt that waits to be confirmed makes the host go back at once; the way back itself is not ended.
/// * `stage` has the host fetch and verify what it will need, and answers once it has all of it. It starts nothing, raises no fence, and
///   asked again fetches only what is missing. `run` works without it.
/// * `room` says what an attempt that was not started would take of each file system of its host, and what is free there. What is there
///   already is not counted. It starts nothing, raises no fence, and looks neither at the attempt's generation nor at its token.
/// * What `room` finds to be missing makes `run` of the attempt `NoSpace`, before anything of it is fetched.
/// * `collect` gives the files that the steps of an attempt have put into the folder `$DEPLOY_OUTPUT`: a piece of one, from an offset on and
///   no more than asked for, and how large it is. At its end the piece is empty. They are there for as long as the attempt's result.
/// * To collect what is not there is `NotFound`, whether the file is missing, is something else than a file, or the attempt never started.
/// * `check`, `collect` and `observe` change nothing on the host.
/// * An attempt's result is kept on the host: `probe` and `run` give the same answer for it later.
/// * What the capabilities leave out is `Unsupported`.
/// * A permit for another action or host is `PermissionDenied`: `observe` and `room` take `HostObserve`, the others
///   `HostExecute`.
///
/// ```
/// use deploy_core::{
///     access::{Action, Resource},
///     backend::{Executor, HostRequest, ProbeReport, ProbeRequest, authorize},
///     host::{Connection, Host},
///     id::Seq,
///     memory::{MemoryAuthorizer, MemoryExecutor, Rule, SystemClock},
/// };
/// use std::sync::Arc;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rules = vec![Rule::allow("ann".parse()?, [Action::HostExecute, Action::HostObserve])];
/// let rules = MemoryAuthorizer::new(rules);
/// let execute = authorize(&rules, "ann".parse()?, Action::HostExecute, Resource::System).await?;
/// let observe = authorize(&rules, "ann".parse()?, Action::HostObserve, Resource::System).await?;
/// let host = Host::new("h1".parse()?, Connection::Local { root: "/srv/h1".to_owned() });
/// let on = HostRequest::new(host, "web".parse()?, "/srv/web".parse()?);
///
/// let executor = MemoryExecutor::new(Arc::new(SystemClock::new()));
/// let probe = ProbeRequest::new(on.clone(), Seq::new(7), "0".repeat(32));
/// assert_eq!(executor.probe(&execute, &probe).await?, ProbeReport::NeverStarted);
/// assert_eq!(executor.observe(&observe, &on).await?.fence, Seq::new(7));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Executor: fmt::Debug + Send + Sync + 'static {
    /// What this executor offers.
    fn capabilities(&self) -> ExecutorCapabilities;

    /// What it offers on `host`: less than all of it, where it reaches hosts in several ways.
    fn capabilities_on(&self, _host: &Host) -> ExecutorCapabilities {
        self.capabilities()
    }

    /// Runs an attempt to its end, or follows one that runs.
    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport>;

    /// Says what became of an attempt, and keeps it from starting later.
    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport>;

    /// Ends an attempt.
    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport>;

    /// Tells the host of an attempt that waits for it to keep what the attempt did, and says what the host's verdict is.
    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation>;

    /// Has the host fetch what it will need, ahead of the attempt that needs it.
    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport>;

    /// Says whether the host has room for an attempt, ahead of it.
    async fn room(&self, permit: &Permit, attempt: &AttemptRequest)
    -> BackendResult<Vec<DiskRoom>>;

    /// What it would take to get a package to a host: for people, before they let a plan go. Nobody is asked on the host, so what it
    /// really takes may be more. All of the package, unless the executor knows better.
    async fn transfer(&self, host: &Host, delivery: &Delivery) -> BackendResult<Transfer> {
        let _anywhere = host;
        Ok(Transfer::whole(delivery.package))
    }

    /// Gives a piece of a file that an attempt has left to be collected.
    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece>;

    /// Asks the service's own `verify` once.
    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health>;

    /// Asks the read-only check of a step whose outcome nobody knows; `CannotTell` where there is none.
    async fn resolve(&self, permit: &Permit, request: &ResolveRequest)
    -> BackendResult<Resolution>;

    /// Looks what the host runs.
    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed>;
}
