//! What a shim does with an attempt that has to be confirmed: it waits, and goes back if nobody says in time that the attempt is to stay.
use super::{
    supervise::{End, Shim},
    tell_news,
};
use crate::{
    process::proc_fs::boot_id,
    spec::RevertSpec,
    time::{timespec, uptime},
    verdict::{Verdict, Waiting, Why},
};
use deploy_agent_protocol::v1::Outcome;
use rustix::event::{PollFd, PollFlags, poll};
use std::{
    io::{self, Read as _},
    time::Duration,
};

/// The kernel counts no time to wait while the host sleeps: so the clock is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Shim {
    /// All steps have succeeded.
    pub(super) fn settle(mut self) -> io::Result<()> {
        let Some(revert) = self.runner.spec.revert.clone() else {
            return self.finish(End::plain(Outcome::Succeeded, "", 0));
        };
        // What the steps have said is there before anybody hears that they are done.
        drop(self.runner.output.drain(uptime()));
        let waiting = Waiting { until: uptime() + revert.after, boot_id: boot_id()? };
        let verdict = match self.runner.folder.begin_to_wait(&waiting) {
            Ok(()) => {
                tell_news();
                self.wait_for_verdict(&waiting)?
            }
            Err(_) => self.runner.folder.take_verdict(Verdict::Revert(Why::NotDurable))?,
        };
        self.carry_out(verdict, *revert)
    }

    /// Goes on for a shim that was lost while it waited, perhaps with the host.
    pub(super) fn settle_again(mut self) -> io::Result<()> {
        let folder = &self.runner.folder;
        let revert = self.runner.spec.revert.clone();
        let revert = revert.ok_or_else(|| io::Error::other("there is nothing to go back to"))?;
        let verdict = match (folder.waiting(), folder.verdict()) {
            (Some(waiting), _) => self.wait_for_verdict(&waiting)?,
            (None, Some(verdict)) => folder.take_verdict(verdict)?,
            (None, None) => return Err(io::Error::other("it waits for nothing")),
        };
        self.carry_out(verdict, *revert)
    }

    fn wait_for_verdict(&mut self, waiting: &Waiting) -> io::Result<Verdict> {
        let boot_id = boot_id()?;
        loop {
            let now = uptime();
            let killed = self.runner.kill().map(|_grace| Verdict::Revert(Why::Kill));
            let decided = self.runner.folder.verdict().or(killed);
            if let Some(verdict) = decided.or_else(|| waiting.overdue(now, &boot_id)) {
                return self.runner.folder.take_verdict(verdict);
            }
            self.doze(waiting.until.saturating_sub(now).min(LOOK_EVERY))?;
        }
    }

    /// Waits until the bell rings, and takes what steps have left running may print.
    fn doze(&mut self, most: Duration) -> io::Result<()> {
        let runner = &mut self.runner;
        let mut waited = vec![PollFd::new(runner.output.source(), PollFlags::IN)];
        waited.extend(runner.bell.as_ref().map(|it| PollFd::new(it, PollFlags::IN)));
        _ = poll(&mut waited, Some(&timespec(most)));
        let now = uptime();
        if runner.output.read(now)? {
            tell_news();
        }
        runner.output.sync_if_due(now);
        if let Some(bell) = &mut runner.bell {
            // What it rings for stands in the folder.
            drop(bell.read(&mut [0; 64]));
        }
        Ok(())
    }

    fn carry_out(mut self, verdict: Verdict, revert: RevertSpec) -> io::Result<()> {
        let Verdict::Revert(why) = verdict else {
            return self.finish(End::plain(Outcome::Succeeded, "", 0));
        };
        tell_news();
        let first = self.runner.spec.steps.len();
        let steps = revert.back.steps.clone();
        self.runner.spec = revert.back;
        self.runner.work = self.runner.folder.back().work();
        self.runner.heeds_kill = false;
        let end = match self.run_steps(&steps, first) {
            Ok(Ok(())) => End::plain(Outcome::SelfReverted, why.as_str(), 0),
            Ok(Err(failure)) => End { outcome: Outcome::RevertFailed, ..failure },
            Err(_) => End::plain(Outcome::RevertFailed, "not_durable", 0),
        };
        self.finish(end)
    }
}
