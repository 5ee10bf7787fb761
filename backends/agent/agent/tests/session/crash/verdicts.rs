//! The agent's program and its shims, killed at their N-th system call while a host waits to be told to keep what it did, or goes back: there is one
//! verdict, and it stays.
use super::{
    Site,
    agents::AgentSite,
    everywhere,
    subject::{Asking, PATIENCE},
};
use crate::support::scripts::eventually;
use deploy_core::{
    backend::{AttemptReport, Confirmation, Revert},
    error::ErrorKind,
    plan::PlannedRelease,
};
use deploy_test_support::{
    releases::release,
    strace::{self, Point},
};
use std::{collections::BTreeMap, fs, future::pending, time::Duration};
use tokio::time::timeout;

/// What a host runs that goes back.
const BACK: &str = "format = 1
[parameters.DIR]
[steps.rollback]
script = 'back.sh'
[steps.start]
script = 'back.sh'
[steps.fetch]
enabled = false
";
/// Counts itself apart from what goes forward.
const STEP_BACK: &str = "echo \"$DEPLOY_GENERATION $DEPLOY_STEP\" >>\"$P_DIR/back\"\n";
/// Nobody waits for the end of this.
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_one_and_stays_whatever_is_killed() {
    if strace::is_there("the crash points of verdicts") {
        let wanted = strace::asked_for("CRASH_POINTS", 90).unwrap();
        everywhere::<VerdictSite>("verdicts", wanted).await;
    }
}

/// What the server does about an attempt that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    /// Tells the host at once to keep it.
    Confirms,
    /// Says nothing: the host has to go back.
    IsSilent,
    /// Tells the host to keep it, so long after it began to wait: the timer may have ended.
    IsLate(Duration),
}

impl Server {
    /// What it does about the attempt `generation`: of three, one each.
    fn of(generation: u64) -> Self {
        match generation % 3 {
            0 => Self::Confirms,
            1 => Self::IsSilent,
            _ => Self::IsLate(SHORT + Duration::from_millis(generation * 7 % 60)),
        }
    }

    /// How long the host waits.
    const fn timer(self) -> Duration {
        match self {
            Self::Confirms => LONG,
            Self::IsSilent | Self::IsLate(_) => SHORT,
        }
    }
}

/// What was said of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    /// `None` if it never started.
    report: Option<AttemptReport>,
    /// Whether the host has ever said that it keeps it.
    kept: bool,
}

/// One attempt, whoever is killed meanwhile.
#[derive(Clone)]
struct Trial {
    asking: Asking,
    server: Server,
}

impl Trial {
    async fn verdict(self) -> Verdict {
        let verdict = timeout(PATIENCE, self.decided()).await;
        verdict.unwrap_or_else(|_| panic!("there is no verdict"))
    }

    /// Runs the attempt, and does what the server does, as long as nobody can tell what has become of it.
    async fn decided(self) -> Verdict {
        let mut kept = false;
        let report = loop {
            match self.asking.run_once().await {
                Ok(AttemptReport::AwaitsConfirm) => match self.answer().await {
                    Some(Confirmation::Confirmed) => kept = true,
                    Some(Confirmation::Ended(report)) => break Some(report),
                    _ => {}
                },
                Ok(report) => break Some(report),
                Err(err) if err.kind() == ErrorKind::Corrupt => panic!("{}", err.chain()),
                Err(_) if self.asking.never_started().await => break None,
                Err(_) => {}
            }
        };
        Verdict { report, kept }
    }

    /// What the server does once the attempt waits.
    async fn answer(&self) -> Option<Confirmation> {
        let wait = match self.server {
            Server::Confirms => Duration::ZERO,
            Server::IsLate(wait) => wait,
            Server::IsSilent => {
                pause(SHORT / 4).await;
                return None;
            }
        };
        pause(wait).await;
        // Whoever has no answer asks again.
        self.asking.confirm().await.ok()
    }

    /// What is said later, and by another agent: the same.
    async fn again(self) -> (Verdict, Option<Confirmation>) {
        let confirmation = self.asking.confirm().await.ok();
        (self.verdict().await, confirmation)
    }
}

async fn pause(how_long: Duration) {
    // What is waited for is the end of its time.
    let _elapsed = timeout(how_long, pending::<()>()).await;
}

/// A host whose attempts are to be confirmed.
struct VerdictSite {
    site: AgentSite,
    back: PlannedRelease,
}

impl VerdictSite {
    /// The next attempt, and what it came to with the agent behind `before` at first. Says whether anything was killed.
    async fn decide(&mut self, before: &[String]) -> (Trial, Verdict, bool) {
        let mut asking = self.site.subject.next();
        let server = Server::of(asking.request.generation.get());
        let revert = Revert::new(server.timer(), self.back.clone());
        asking.request = asking.request.with_revert(revert);
        let trial = Trial { asking, server };
        let (verdict, gone) = self.site.served(before, trial.clone().verdict()).await;
        let resumed = self.was_resumed(&trial);
        (trial, verdict, gone > 0 || resumed)
    }

    /// Whether a shim was lost while the attempt waited, and another has gone on for it.
    fn was_resumed(&self, trial: &Trial) -> bool {
        let generation = trial.asking.request.generation.to_string();
        let place = self.site.state().join("attempts/web").join(generation).join("started.1");
        fs::read_to_string(place).is_ok_and(|it| !it.starts_with("nobody"))
    }

    /// The steps of an attempt that a file counts.
    fn steps(&self, file: &str, trial: &Trial) -> Vec<String> {
        let of = format!("{} ", trial.asking.request.generation);
        let ran = self.site.subject.fixture.trace(file);
        ran.lines().filter_map(|it| it.strip_prefix(&of)).map(ToOwned::to_owned).collect()
    }

    /// Looks at what the host did. Says whether the attempt came to a verdict without being disturbed.
    #[track_caller]
    fn check(&self, trial: &Trial, verdict: &Verdict, what: &str) -> bool {
        let (forward, back) = (self.steps("ran", trial), self.steps("back", trial));
        let what = format!("{what}: {:?}, {verdict:?}, {forward:?}, {back:?}", trial.server);
        let all_forward = forward == ["install", "start"];
        let all_back = back == ["rollback", "start"];
        let kept = matches!(verdict.report, Some(AttemptReport::Succeeded));
        assert!(kept || !verdict.kept, "what was confirmed is undone: {what}");
        match &verdict.report {
            None => assert!(forward.is_empty() && back.is_empty(), "{what}"),
            Some(AttemptReport::Succeeded) => {
                assert!(all_forward && back.is_empty(), "{what}");
                assert_ne!(trial.server, Server::IsSilent, "nobody has confirmed it: {what}");
                return true;
            }
            Some(AttemptReport::SelfReverted { reason }) => {
                assert!(all_forward && all_back, "{what}");
                let in_time = trial.server == Server::Confirms;
                assert_eq!(reason != "nobody confirmed it in time", in_time, "{what}");
                return !in_time;
            }
            // The shim was killed on the way back, or the script.
            Some(AttemptReport::RevertFailed { .. }) => {
                assert!(all_forward && ["rollback", "start"].starts_with(&as_str(&back)), "{what}");
            }
            // They were killed before there was anything to be confirmed.
            Some(AttemptReport::Lost { .. } | AttemptReport::Failed { code: 126 | 137, .. }) => {
                assert!(["install", "start"].starts_with(&as_str(&forward)), "{what}");
                assert!(back.is_empty(), "{what}");
            }
            Some(_) => panic!("{what}"),
        }
        false
    }

    /// Asks another agent: what was said is said again.
    async fn ask_again(&mut self, trial: Trial, verdict: &Verdict, what: &str) {
        let ((again, confirmation), _) = self.site.served(&[], trial.again()).await;
        let what = format!("{what}: {verdict:?}, and now {again:?} and {confirmation:?}");
        assert_eq!(again.report, verdict.report, "{what}");
        let keeps = confirmation == Some(Confirmation::Confirmed);
        assert_eq!(keeps, verdict.report == Some(AttemptReport::Succeeded), "{what}");
    }
}

fn as_str(steps: &[String]) -> Vec<&str> {
    steps.iter().map(String::as_str).collect()
}

impl Site for VerdictSite {
    async fn open() -> Self {
        let site = AgentSite::open().await;
        let fixture = &site.subject.fixture;
        let folder = fixture.dir.path().display().to_string();
        let files = [("descriptor.toml", BACK.as_bytes()), ("back.sh", STEP_BACK.as_bytes())];
        let back = release(&*fixture.store, "zero", &files, &[("DIR", &folder)]).await.unwrap();
        let back = PlannedRelease::from(&back);
        Self { site, back }
    }

    async fn count(&mut self) -> BTreeMap<String, usize> {
        // The first one is not confirmed: that takes the most calls.
        let file = self.site.subject.fixture.dir.path().join("calls");
        let (trial, verdict, killed) = self.decide(&strace::counting(&file)).await;
        assert!(self.check(&trial, &verdict, "uninterrupted") && !killed, "{verdict:?}");
        strace::counted(&file).unwrap()
    }

    async fn crash(&mut self, point: &Point) -> bool {
        let (trial, verdict, killed) = self.decide(&strace::killing(point)).await;
        let what = format!("{point:?}");
        let undisturbed = self.check(&trial, &verdict, &what);
        self.ask_again(trial.clone(), &verdict, &what).await;
        self.check(&trial, &verdict, &what);
        let fixture = &self.site.subject.fixture;
        eventually("nothing is left", || fixture.processes().is_empty()).await;
        killed || !undisturbed
    }
}
