//! From an order to its exit record.
use super::{
    Launch, Question, descriptors,
    mask::Masker,
    output::{Output, Sink},
    runner::{How, Run, Runner},
    spool::Spool,
    tell_news,
};
use crate::{
    account::Account,
    folder::{Folder, Supervisor, nonblocking, sync_folder},
    process::proc_fs::{Process, boot_id},
    spec::{Spec, StepSpec},
    time::{millis, timespec, uptime},
};
use deploy_agent_protocol::v1::{Ended, Outcome};
use deploy_core::spec::StepName;
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{WaitOptions, getpid, set_child_subreaper, setsid, wait},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    time::Duration,
};

/// Runs of `verify` begin so long after each other, whatever they take.
const VERIFY_EVERY: Duration = Duration::from_secs(1);
/// Of the output of a question so much is told.
const ANSWER: usize = 2_000;
/// A shim that only stays for what still holds the log open looks after its children so often.
const LINGER: Duration = Duration::from_secs(60);
/// The code of a question that took too long.
const TOO_LONG: i32 = 124;

/// How an attempt ended, and where it is not a success, by which step.
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) code: i32,
    pub(super) survivors: Vec<String>,
}

/// Runs the steps of an attempt.
pub(super) struct Shim {
    pub(super) runner: Runner,
    progress: File,
    began: Duration,
    /// The last step that began.
    last: Option<StepName>,
}

/// Owns an attempt to its end. What fails here has started nothing, and never will: but where the attempt waits to be confirmed already, this goes on
/// for one that was lost meanwhile.
pub(crate) fn supervise(launch: Launch, place: u32) -> io::Result<()> {
    detach()?;
    let folder = launch.folder.clone();
    let mut bell = OpenOptions::new();
    let bell = bell.read(true).write(true).custom_flags(nonblocking()).open(folder.bell())?;
    let cap = launch.host.log_cap;
    let this = getpid().as_raw_pid();
    let start = Process::of(this).map_or(0, |it| it.start);
    let this = Supervisor { pid: this, start, boot_id: boot_id()? };
    let resumed = place > 0;
    if resumed {
        // From here on nobody else is in its log.
        folder.write_started(place, &this)?;
    }
    let spool = |folder: &Folder| {
        let open = if resumed { Spool::reopen } else { Spool::create };
        Ok(Sink::Spool(Box::new(open(folder, cap, uptime())?)))
    };
    let runner = runner(launch, spool, Some(bell))?;
    let mut progress = OpenOptions::new();
    let progress = progress.create_new(!resumed).append(true).mode(0o600);
    let progress = progress.open(folder.path().join("progress"))?;
    if resumed {
        let last = folder.last_begun();
        let last =
            last.and_then(|(_, name)| StepName::ALL.into_iter().find(|it| it.as_str() == name));
        return Shim { runner, progress, began: uptime(), last }.settle_again();
    }
    folder.write_started(place, &this)?;
    Shim { runner, progress, began: uptime(), last: None }.run()
}

/// Runs one read-only script of an attempt that is there already, and writes its code and the end of what it printed to standard output.
pub(crate) fn ask(launch: Launch, question: &Question) -> io::Result<()> {
    detach()?;
    let mut runner = runner(launch, |_| Ok(Sink::Last(Vec::new(), ANSWER)), None)?;
    let index = format!("ask-{}", getpid().as_raw_pid());
    let limit = Duration::from_secs(question.seconds.max(1));
    let Run { how, code, .. } = runner.run(&index, &question.step, &question.path, limit);
    runner.host.cgroups.group(&index).remove();
    let code = if how == How::TimedOut { TOO_LONG } else { code };
    let Sink::Last(said, _) = &runner.output.sink else { return Ok(()) };
    let mut answer = format!("{code}\n").into_bytes();
    answer.extend_from_slice(said);
    let mut out = File::from(rustix::io::dup(rustix::stdio::stdout())?);
    out.write_all(&answer)
}

/// Nothing that happens to the agent or its terminal happens to this process, and it becomes the parent of all orphans of the steps.
fn detach() -> io::Result<()> {
    descriptors::close_inherited()?;
    // Fails only where this is a session's first process already.
    _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    Ok(())
}

fn runner(
    launch: Launch,
    sink: impl FnOnce(&Folder) -> io::Result<Sink>,
    bell: Option<File>,
) -> io::Result<Runner> {
    let Launch { host, folder } = launch;
    let spec = Spec::parse(folder.order()?).map_err(io::Error::other)?;
    let account = Account::find(spec.place.account.as_ref())?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such account"))?;
    let masker = Masker::new(spec.order.masked.iter().map(String::as_str));
    let masker = masker.map_err(io::Error::other)?;
    let owner = (!account.is_own()).then_some(account.uid);
    let output = Output::new(masker, sink(&folder)?, owner)?;
    let work = folder.work();
    Ok(Runner { spec, host, account, folder, work, output, bell, heeds_kill: true })
}

impl Shim {
    fn run(mut self) -> io::Result<()> {
        let steps = self.runner.spec.steps.clone();
        match self.run_steps(&steps, 0)? {
            Err(failure) => self.finish(failure),
            Ok(()) => self.settle(),
        }
    }

    /// Runs `steps`, the first of them as number `first` of the attempt. Fails only if nothing has begun, and nothing is to begin.
    pub(super) fn run_steps(
        &mut self,
        steps: &[StepSpec],
        first: usize,
    ) -> io::Result<Result<(), End>> {
        let mut before = None::<&StepSpec>;
        for (index, step) in (first..).zip(steps) {
            if self.runner.kill().is_some() {
                if before.is_none() {
                    return Err(io::Error::other("it was ended before anything began"));
                }
                return Ok(Err(End::plain(Outcome::Killed, "kill_request", 0)));
            }
            if let Err(err) = self.begin(index, step, before) {
                if before.is_none() {
                    // Nothing has begun: whoever looks finds an attempt that never started.
                    return Err(err);
                }
                return Ok(Err(End::plain(Outcome::Failed, "not_durable", 0)));
            }
            let done = match step.name {
                StepName::Verify => self.verify(index, step),
                _ => self.run_step(index, step),
            };
            let code = done.as_ref().err().map_or(0, |it| it.code);
            let line = format!("end {index} {} {code} {}\n", step.name, millis(uptime()));
            // What ended is seen by what comes next, too.
            drop(self.progress.write_all(line.as_bytes()));
            if done.is_err() {
                return Ok(done);
            }
            before = Some(step);
        }
        Ok(Ok(()))
    }

    /// Says that a step begins: durably, unless both it and the one before may simply be run again. The first time this is the exec mark.
    fn begin(
        &mut self,
        index: usize,
        step: &StepSpec,
        before: Option<&StepSpec>,
    ) -> io::Result<()> {
        let line = format!("begin {index} {} {}\n", step.name, millis(uptime()));
        self.progress.write_all(line.as_bytes())?;
        match before {
            None => self.sync_mark()?,
            Some(before) if before.rerunnable && step.rerunnable => {}
            Some(_) => self.progress.sync_data()?,
        }
        self.last = Some(step.name);
        tell_news();
        Ok(())
    }

    /// The exec mark, and the names that lead to it.
    fn sync_mark(&self) -> io::Result<()> {
        self.progress.sync_all()?;
        self.runner.folder.path().ancestors().take(2).try_for_each(sync_folder)
    }

    fn run_step(&mut self, index: usize, step: &StepSpec) -> Result<(), End> {
        let run =
            self.runner.run(&index.to_string(), step.name.as_str(), &step.path(), step.timeout);
        let how = run.how;
        let failure = match how {
            How::Ended if run.code == 0 => return Ok(()),
            How::Ended => {
                let lacking = self.runner.lacking(step.name.as_str(), run.code);
                End::of(run, Outcome::Failed, lacking.as_deref().unwrap_or("exit_code"))
            }
            How::Killed => End::of(run, Outcome::Killed, "kill_request"),
            How::LogLimit => End::of(run, Outcome::Failed, "log_limit"),
            How::TimedOut => End::of(run, Outcome::TimedOut, "step_timeout"),
        };
        Err(failure)
    }

    /// Runs `verify` again and again until it has passed for long enough on end.
    fn verify(&mut self, index: usize, step: &StepSpec) -> Result<(), End> {
        let order = &self.runner.spec.order;
        let min_healthy = Duration::from_secs(order.min_healthy_s.into());
        let deadline = uptime() + Duration::from_secs(order.healthy_deadline_s.into());
        let mut since = None;
        loop {
            let began = uptime();
            let left = deadline.saturating_sub(began).max(VERIFY_EVERY);
            let limit = step.timeout.min(left);
            let run = self.runner.run(&index.to_string(), "verify", &step.path(), limit);
            let (how, code, now) = (run.how, run.code, uptime());
            match how {
                How::Killed => return Err(End::of(run, Outcome::Killed, "kill_request")),
                How::LogLimit => return Err(End::of(run, Outcome::Failed, "log_limit")),
                How::Ended | How::TimedOut if !run.survivors.is_empty() => {
                    return Err(End::of(run, Outcome::KillFailed, "unhealthy"));
                }
                How::Ended if code == 0 => {
                    if now.saturating_sub(*since.get_or_insert(now)) >= min_healthy {
                        return Ok(());
                    }
                }
                How::Ended | How::TimedOut => since = None,
            }
            if now >= deadline {
                return Err(End::plain(Outcome::TimedOut, "healthy_deadline", code));
            }
            self.pause(began + VERIFY_EVERY);
            if self.runner.kill().is_some() {
                return Err(End::plain(Outcome::Killed, "kill_request", code));
            }
        }
    }

    /// Waits, or until somebody wants the attempt to end.
    fn pause(&self, until: Duration) {
        let mut bell: Vec<_> =
            self.runner.bell.iter().map(|it| PollFd::new(it, PollFlags::IN)).collect();
        _ = poll(&mut bell, Some(&timespec(until.saturating_sub(uptime()))));
    }

    pub(super) fn finish(mut self, end: End) -> io::Result<()> {
        let End { outcome, reason, code, survivors } = end;
        drop(self.runner.output.drain(uptime()));
        let Runner { spec, host, folder, mut output, .. } = self.runner;
        let sink = std::mem::replace(&mut output.sink, Sink::Last(Vec::new(), 0));
        let log = match sink {
            Sink::Spool(spool) => spool.finish().ok(),
            Sink::Last(..) => None,
        };
        // The log of an attempt is not worth its result.
        let (log_length, digest) = log.map_or((0, None), |it| (it.0, Some(it.1)));
        folder.write_exit(&Ended {
            token: spec.order.token.clone(),
            generation: spec.key.generation,
            outcome: outcome.into(),
            step: self.last.map(|it| it.to_string()).unwrap_or_default(),
            code,
            reason,
            log_length,
            duration_ms: millis(uptime().saturating_sub(self.began)),
            survivors,
            log_digest: digest.map(|it| it.as_bytes().to_vec()).unwrap_or_default(),
        })?;
        host.cgroups.remove();
        linger(output)
    }
}

impl End {
    pub(super) fn plain(outcome: Outcome, reason: &str, code: i32) -> Self {
        Self { outcome, reason: reason.to_owned(), code, survivors: Vec::new() }
    }

    /// Of a run: whatever it was, what cannot be ended is worse.
    fn of(run: Run, outcome: Outcome, reason: &str) -> Self {
        let outcome = if run.survivors.is_empty() { outcome } else { Outcome::KillFailed };
        Self { outcome, reason: reason.to_owned(), code: run.code, survivors: run.survivors }
    }
}

/// Stays while something that a step has left running may print: it would be ended by its own words if nobody took them.
fn linger(mut output: Output) -> io::Result<()> {
    // The agent hears that the attempt has ended.
    rustix::stdio::dup2_stdout(File::open("/dev/null")?)?;
    output.close();
    loop {
        let mut waited = [PollFd::new(output.source(), PollFlags::IN)];
        let ready = poll(&mut waited, Some(&timespec(LINGER)));
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        if ready.is_ok_and(|it| it > 0) && !output.discard() {
            return Ok(());
        }
    }
}
