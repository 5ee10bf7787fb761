use super::{
    Act,
    attempt::{Attempt, Signal, Verdict},
    host::World,
};
use crate::{
    backend::{AttemptReport, AttemptRequest, Confirmation, Health, KillReport},
    spec::{Step, StepName},
};
use std::{sync::Arc, time::Duration};

impl World {
    /// Runs an attempt to its end, whoever follows it.
    pub(super) async fn supervise(self: Arc<Self>, attempt: Arc<Attempt>) {
        let report = tokio::select! {
            biased;
            () = attempt.ended() => return,
            () = attempt.killed() => self.after_kill(&attempt, AttemptReport::Killed),
            report = self.run_all(&attempt) => report,
        };
        attempt.end(report);
    }

    /// What a forced end comes to: `gone` if nothing is left.
    fn after_kill(&self, attempt: &Attempt, gone: AttemptReport) -> AttemptReport {
        let survivors = self.survivors(&attempt.request.on.host.name);
        if survivors.is_empty() { gone } else { AttemptReport::KillFailed { survivors } }
    }

    async fn run_all(&self, attempt: &Attempt) -> AttemptReport {
        let done = self.run_steps(attempt, &attempt.request).await;
        match (done, &attempt.request.revert) {
            (AttemptReport::Succeeded, Some(revert)) => self.settle(attempt, revert.after).await,
            (done, _) => done,
        }
    }

    /// Waits to be told to keep what the attempt did, and goes back if nobody says so in time.
    async fn settle(&self, attempt: &Attempt, wait: Duration) -> AttemptReport {
        let until = self.clock.now().after(wait);
        attempt.wait_to_be_confirmed();
        tokio::select! {
            biased;
            () = attempt.decided() => {}
            () = self.clock.sleep_until(until) => {}
        }
        let verdict = attempt.decide(Verdict::Revert("nobody confirmed it in time"));
        let (Some(Verdict::Revert(reason)), Some(back)) = (verdict, attempt.request.way_back())
        else {
            return AttemptReport::Succeeded;
        };
        match self.run_steps(attempt, &back).await {
            AttemptReport::Failed { step, code, reason } => {
                AttemptReport::RevertFailed { step: Some(step), code: Some(code), reason }
            }
            AttemptReport::Succeeded => AttemptReport::SelfReverted { reason: reason.to_owned() },
            _ => {
                let (step, reason) = (attempt.last_step(), "it took too long".to_owned());
                AttemptReport::RevertFailed { step, code: None, reason }
            }
        }
    }

    async fn run_steps(&self, attempt: &Attempt, request: &AttemptRequest) -> AttemptReport {
        for step in request.steps() {
            attempt.begin(step.name);
            let ended = match step.name {
                StepName::Verify => self.verify(attempt, request, step).await,
                _ => self.run_step(attempt, request, step).await,
            };
            match ended {
                Some(0) => {}
                Some(code) => {
                    return AttemptReport::Failed { step: step.name, code, reason: String::new() };
                }
                None => {
                    return self.after_kill(attempt, AttemptReport::TimedOut { step: step.name });
                }
            }
        }
        AttemptReport::Succeeded
    }

    /// Runs a step once; gives its exit code, or `None` if its time was up.
    async fn run_step(
        &self,
        attempt: &Attempt,
        request: &AttemptRequest,
        step: &Step,
    ) -> Option<i32> {
        self.count_run(&request.on.host.name, step.name);
        let end = self.clock.now().after(step.timeout);
        tokio::select! {
            biased;
            code = self.play(attempt, request, step.name) => Some(code),
            () = self.clock.sleep_until(end) => None,
        }
    }

    /// Repeats `verify` once a second until it has passed for long enough on end, or the time for that is up.
    async fn verify(
        &self,
        attempt: &Attempt,
        request: &AttemptRequest,
        step: &Step,
    ) -> Option<i32> {
        let health = request.health;
        let begun = self.clock.now();
        let mut healthy_since = None;
        loop {
            let code = self.run_step(attempt, request, step).await;
            let now = self.clock.now();
            healthy_since = if code == Some(0) { healthy_since.or(Some(now)) } else { None };
            if healthy_since.is_some_and(|since| now.since(since) >= health.min_healthy_time) {
                return Some(0);
            }
            if now.since(begun) >= health.healthy_deadline {
                return None;
            }
            self.clock.sleep_until(now.after(Duration::from_secs(1))).await;
        }
    }

    async fn play(&self, attempt: &Attempt, request: &AttemptRequest, step: StepName) -> i32 {
        let script = self.script_of(step, &request.on.host.name, &request.release.id);
        if !script.takes.is_zero() {
            self.clock.sleep_until(self.clock.now().after(script.takes)).await;
        }
        for act in &script.acts {
            match act {
                Act::Activate => {
                    let release = request.keeps_release.then(|| request.release.id.clone());
                    self.activate(&request.on.host.name, &request.on.service, release);
                }
                Act::Block => self.pass_gate().await,
                Act::Exit(code) => return *code,
                Act::IgnoreTerm => attempt.ignore_term(),
                Act::LeaveDaemon => attempt.leave_daemon(),
                Act::Output(name, bytes) => attempt.leave(name.clone(), bytes.clone()),
                Act::Print(bytes) => attempt.print(bytes),
            }
        }
        0
    }

    async fn pass_gate(&self) {
        let end = self.clock.now().after(Duration::from_secs(60));
        tokio::select! {
            biased;
            () = self.gate() => {}
            () = self.clock.sleep_until(end) => {}
        }
    }

    /// TERM, and after `grace` KILL.
    pub(super) async fn kill(&self, attempt: &Attempt, grace: Duration) -> KillReport {
        if let Some(report) = attempt.report() {
            return KillReport::Ended(report);
        }
        match attempt.decide(Verdict::Revert("somebody killed it")) {
            Some(Verdict::Keep) => {
                attempt.ended().await;
                return KillReport::Ended(AttemptReport::Succeeded);
            }
            Some(Verdict::Revert(_)) => return KillReport::Reverting,
            None => attempt.send(Signal::Term),
        }
        let end = self.clock.now().after(grace);
        tokio::select! {
            biased;
            () = attempt.ended() => {}
            () = self.clock.sleep_until(end) => attempt.send(Signal::Kill),
        }
        attempt.ended().await;
        match attempt.report() {
            Some(AttemptReport::KillFailed { survivors }) => KillReport::KillFailed { survivors },
            Some(AttemptReport::Killed) | None => KillReport::Killed,
            Some(report) => KillReport::Ended(report),
        }
    }

    /// Tells the host to keep what an attempt did.
    pub(super) async fn confirm(&self, attempt: &Attempt) -> Confirmation {
        if attempt.report().is_none() && attempt.decide(Verdict::Keep) != Some(Verdict::Keep) {
            return Confirmation::Running;
        }
        attempt.ended().await;
        match attempt.report() {
            Some(AttemptReport::Succeeded) | None => Confirmation::Confirmed,
            Some(report) => Confirmation::Ended(report),
        }
    }

    /// Plays `verify` for its exit code alone: nothing it does may change the host.
    pub(super) async fn check(&self, attempt: &Attempt, timeout: Duration) -> Health {
        let request = &attempt.request;
        if !request.release.steps.iter().any(|it| it.name == StepName::Verify) {
            return Health::Healthy;
        }
        let script = self.script_of(StepName::Verify, &request.on.host.name, &request.release.id);
        let end = self.clock.now().after(timeout);
        for act in &script.acts {
            match act {
                Act::Exit(0) => return Health::Healthy,
                Act::Exit(code) => {
                    return Health::Unhealthy { reason: format!("`verify` ended with {code}") };
                }
                Act::Block => tokio::select! {
                    biased;
                    () = self.pass_gate() => {}
                    () = self.clock.sleep_until(end) => {
                        return Health::Unhealthy { reason: "`verify` took too long".to_owned() };
                    }
                },
                Act::Activate
                | Act::IgnoreTerm
                | Act::LeaveDaemon
                | Act::Output(..)
                | Act::Print(_) => {}
            }
        }
        Health::Healthy
    }
}
