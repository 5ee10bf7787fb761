//! Attempts that count their runs, and what has to be true of each.
use crate::support::Fixture;
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, ConfirmRequest, Confirmation, Executor,
        HostRequest, KillReport, KillRequest, ProbeReport, ProbeRequest,
    },
    conformance::{permit, sample},
    error::{BackendResult, ErrorKind},
    id::Seq,
    plan::PlannedRelease,
    spec::StepName,
};
use deploy_test_support::releases::release;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::timeout;

/// How long anything may take, on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

const DESCRIPTOR: &str = "format = 1
[parameters.DIR]
[steps.install]
script = 'step.sh'
[steps.start]
script = 'step.sh'
[steps.fetch]
enabled = false
[steps.rollback]
enabled = false
";
/// Counts itself where nothing else writes, and prints three lines; before them 100 MB, if it is told to.
const STEP: &str = r#"echo "$DEPLOY_GENERATION $DEPLOY_STEP" >>"$P_DIR/ran"
[ ! -e "$P_DIR/flood" ] || head -c 100000000 /dev/zero
while [ -e "$P_DIR/wait" ]; do sleep 0.02; done
for line in 1 2 3; do echo "$DEPLOY_GENERATION $DEPLOY_STEP $line"; done
"#;

/// A service on a host that has one attempt after another.
pub(crate) struct Subject {
    pub(crate) fixture: Fixture,
    pub(crate) executor: Arc<dyn Executor>,
    on: HostRequest,
    release: PlannedRelease,
    permit: Permit,
    generation: u64,
}

/// An attempt, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    NeverStarted,
    Reported(AttemptReport),
}

/// What is asked of an attempt, and by whom.
#[derive(Clone)]
pub(crate) struct Asking {
    executor: Arc<dyn Executor>,
    permit: Permit,
    pub(crate) request: AttemptRequest,
    log: Arc<Kept>,
}

impl Subject {
    pub(crate) async fn new(
        fixture: Fixture,
        executor: Arc<dyn Executor>,
        on: HostRequest,
    ) -> Self {
        let files = [("descriptor.toml", DESCRIPTOR.as_bytes()), ("step.sh", STEP.as_bytes())];
        let folder = fixture.dir.path().display().to_string();
        let release = release(&*fixture.store, "one", &files, &[("DIR", &folder)]).await.unwrap();
        let resource = Resource::Host(on.host.name.clone(), Some(on.service.clone()));
        let permit = permit(Action::HostExecute, resource).await;
        let release = PlannedRelease::from(&release);
        Self { fixture, executor, on, release, permit, generation: 0 }
    }

    /// The next attempt.
    pub(crate) fn next(&mut self) -> Asking {
        self.generation += 1;
        let token = format!("{:016x}{:016x}", self.fixture.number, self.generation);
        let generation = Seq::new(self.generation);
        let on = self.on.clone();
        let release = self.release.clone();
        let request = AttemptRequest::new(on, sample::name("r1"), generation, token, release);
        let (executor, permit) = (Arc::clone(&self.executor), self.permit.clone());
        Asking { executor, permit, request, log: Arc::default() }
    }

    /// The newest attempt, asked by somebody else who knows nothing of its output.
    pub(crate) fn again(&mut self) -> Asking {
        self.generation -= 1;
        self.next()
    }

    /// Looks at what has become of an attempt. Says whether it came to its end without being disturbed.
    #[track_caller]
    pub(crate) fn check(&self, asked: &Asking, end: &End, what: &str) -> bool {
        let generation = asked.request.generation.get();
        let what = format!("{what}, attempt {generation} that came to {end:?}");
        let ran = self.fixture.trace("ran");
        let ran: Vec<_> =
            ran.lines().filter_map(|it| it.strip_prefix(&format!("{generation} "))).collect();
        let steps = ["install", "start"];
        let lines = steps
            .map(|step| [1, 2, 3].map(|line| format!("{generation} {step} {line}\n")).concat());
        let (printed, log) = (lines.concat(), asked.log.text());
        match end {
            End::NeverStarted => assert_eq!((ran, &*log), (vec![], ""), "{what}"),
            End::Reported(AttemptReport::Succeeded) => {
                assert_eq!((ran, log), (steps.to_vec(), printed), "{what}");
                return true;
            }
            End::Reported(AttemptReport::Lost { reason, .. }) if !is_of_shim(reason) => {
                panic!("{what}: no shim was killed: {log}")
            }
            // The shim was killed, or the script.
            End::Reported(
                AttemptReport::Lost { .. } | AttemptReport::Failed { code: 126 | 137, .. },
            ) => {
                assert!(steps.starts_with(&ran), "{what}: {ran:?}");
                assert!(printed.starts_with(&log) || log.starts_with("error: "), "{what}: {log}");
            }
            End::Reported(_) => panic!("{what}: {log}"),
        }
        false
    }
}

impl Asking {
    /// Runs the attempt, asks again as long as nobody can tell what has become of it, and gives what everybody is told from now on.
    pub(crate) async fn settle(self) -> End {
        timeout(PATIENCE, self.settled())
            .await
            .unwrap_or_else(|_| panic!("an attempt does not come to an end"))
    }

    /// Runs the attempt, or follows it further, and gives what is said of it at first.
    pub(crate) async fn run_once(&self) -> BackendResult<AttemptReport> {
        let mut request = self.request.clone();
        request.log_offset = self.log.length();
        self.executor.run(&self.permit, &request, &*self.log).await
    }

    async fn settled(self) -> End {
        loop {
            match self.run_once().await {
                Ok(report) => return End::Reported(report),
                Err(err) if err.kind() == ErrorKind::Corrupt => panic!("{}", err.chain()),
                Err(_) => {}
            }
            if let Some(end) = self.probe().await {
                return end;
            }
        }
    }

    /// How many bytes have come of what it printed.
    pub(crate) fn printed(&self) -> u64 {
        self.log.length()
    }

    /// Kills the attempt.
    pub(crate) async fn kill(&self) -> BackendResult<KillReport> {
        let AttemptRequest { on, generation, token, .. } = self.request.clone();
        let mut request = KillRequest::new(on, generation, token);
        request.grace = Duration::from_secs(1);
        self.executor.kill(&self.permit, &request).await
    }

    /// Tells the host to keep what the attempt did.
    pub(crate) async fn confirm(&self) -> BackendResult<Confirmation> {
        let AttemptRequest { on, generation, token, .. } = self.request.clone();
        self.executor.confirm(&self.permit, &ConfirmRequest::new(on, generation, token)).await
    }

    /// Whether the host is sure that the attempt never started.
    pub(crate) async fn never_started(&self) -> bool {
        self.probe().await == Some(End::NeverStarted)
    }

    /// How the attempt has ended, if it has and somebody answers.
    pub(crate) async fn probe(&self) -> Option<End> {
        let AttemptRequest { on, generation, token, .. } = self.request.clone();
        let probe = ProbeRequest::new(on, generation, token);
        match self.executor.probe(&self.permit, &probe).await {
            Ok(ProbeReport::Ended(report)) => Some(End::Reported(report)),
            Ok(ProbeReport::NeverStarted) => Some(End::NeverStarted),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Whether an attempt was lost with its shim, in the words of the agent or of its gateway.
fn is_of_shim(reason: &str) -> bool {
    reason == "shim_lost" || reason == "the process that watched over it was killed"
}

/// Keeps a log, and fails if it is not in order.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<u8>>);

impl Kept {
    fn length(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[async_trait]
impl AttemptLog for Kept {
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        let mut kept = self.0.lock().unwrap();
        assert_eq!(offset, kept.len() as u64, "a gap or a repeat in the log");
        kept.extend_from_slice(bytes);
        Ok(())
    }

    fn step(&self, _step: StepName) {}
}
