use crate::{
    backend::{AttemptLog, AttemptReport, AttemptRequest, CollectRequest, Piece},
    error::{BackendError, BackendResult, ErrorKind},
    id::OutputName,
    spec::StepName,
};
use std::collections::BTreeMap;
use tokio::sync::watch;

/// An attempt on a simulated host.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) request: AttemptRequest,
    state: watch::Sender<AttemptState>,
}

#[derive(Debug, Default)]
struct AttemptState {
    log: Vec<u8>,
    outputs: BTreeMap<OutputName, Vec<u8>>,
    begun: Vec<StepName>,
    signal: Option<Signal>,
    ignores_term: bool,
    daemons: usize,
    /// Whether its steps are done, and it has to be told to keep what they did.
    waits: bool,
    verdict: Option<Verdict>,
    report: Option<AttemptReport>,
}

/// What becomes of an attempt that waited to be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep,
    Revert(&'static str),
}

/// What a follower has not heard yet.
struct News {
    steps: Vec<StepName>,
    bytes: Vec<u8>,
    /// Its end, or that it waits to be confirmed.
    report: Option<AttemptReport>,
}

/// What an attempt was told to die by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Signal {
    Term,
    Kill,
}

impl Attempt {
    pub(super) fn new(request: AttemptRequest) -> Self {
        Self { request, state: watch::Sender::default() }
    }

    pub(super) fn report(&self) -> Option<AttemptReport> {
        self.state.borrow().report.clone()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.state.borrow().report.is_none()
    }

    pub(super) fn processes(&self) -> usize {
        let state = self.state.borrow();
        usize::from(state.report.is_none()) + state.daemons
    }

    pub(super) fn begin(&self, step: StepName) {
        self.state.send_modify(|it| it.begun.push(step));
    }

    pub(super) fn last_step(&self) -> Option<StepName> {
        self.state.borrow().begun.last().copied()
    }

    pub(super) fn print(&self, bytes: &[u8]) {
        self.state.send_modify(|it| it.log.extend_from_slice(bytes));
    }

    pub(super) fn leave(&self, name: OutputName, bytes: Vec<u8>) {
        self.state.send_modify(|it| drop(it.outputs.insert(name, bytes)));
    }

    /// A piece of what it has left; `None` if it has left no such file.
    pub(super) fn left(&self, request: &CollectRequest) -> Option<Piece> {
        let state = self.state.borrow();
        let whole = state.outputs.get(&request.output)?;
        let begin = usize::try_from(request.offset).unwrap_or(usize::MAX);
        let limit = request.limit.min(CollectRequest::LARGEST_PIECE);
        let bytes = whole.iter().skip(begin).take(limit).copied().collect();
        Some(Piece::new(bytes, u64::try_from(whole.len()).unwrap_or(u64::MAX)))
    }

    pub(super) fn ignore_term(&self) {
        self.state.send_modify(|it| it.ignores_term = true);
    }

    pub(super) fn leave_daemon(&self) {
        self.state.send_modify(|it| it.daemons += 1);
    }

    pub(super) fn send(&self, signal: Signal) {
        self.state.send_modify(|it| it.signal = it.signal.max(Some(signal)));
    }

    /// Ends the attempt, unless it has ended. What it has left running lives on only where it was not ended by force.
    pub(super) fn end(&self, report: AttemptReport) {
        self.state.send_modify(|it| {
            if it.report.is_some() {
                return;
            }
            if !leaves_daemons(&report) {
                it.daemons = 0;
            }
            it.report = Some(report);
        });
    }

    /// From here on it has to be told to keep what it did.
    pub(super) fn wait_to_be_confirmed(&self) {
        self.state.send_modify(|it| it.waits = true);
    }

    /// Takes the verdict, unless there is one; gives the one there is. `None`: nobody has to be told anything.
    pub(super) fn decide(&self, verdict: Verdict) -> Option<Verdict> {
        let mut taken = None;
        self.state.send_modify(|it| {
            if it.waits {
                taken = Some(*it.verdict.get_or_insert(verdict));
            }
        });
        taken
    }

    /// Waits until there is a verdict.
    pub(super) async fn decided(&self) {
        self.wait_for(|it| it.verdict.is_some()).await;
    }

    pub(super) fn waits(&self) -> bool {
        self.state.borrow().waits()
    }

    /// Ends all that is left of it, because the host was restarted. A host that waited to be told something goes back.
    pub(super) fn reboot(&self) {
        const REASON: &str = "the host was restarted";
        if self.waits() && self.decide(Verdict::Revert(REASON)).is_some() {
            return;
        }
        let (step, reason) = (self.last_step(), REASON.to_owned());
        let verdict = self.state.borrow().verdict;
        self.end(match verdict {
            Some(Verdict::Keep) => AttemptReport::Succeeded,
            Some(Verdict::Revert(_)) => AttemptReport::RevertFailed { step, code: None, reason },
            None => AttemptReport::Lost { step, reason },
        });
        self.state.send_modify(|it| it.daemons = 0);
    }

    /// Waits until a signal has ended the attempt.
    pub(super) async fn killed(&self) {
        self.wait_for(|it| match it.signal {
            Some(Signal::Kill) => true,
            Some(Signal::Term) => !it.ignores_term,
            None => false,
        })
        .await;
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        self.wait_for(|it| it.report.is_some()).await;
    }

    async fn wait_for(&self, predicate: impl FnMut(&AttemptState) -> bool + Send) {
        let mut state = self.state.subscribe();
        // It fails only once the sender is gone, and `self` holds that.
        drop(state.wait_for(predicate).await);
    }

    /// Delivers the log from `offset` on, until the attempt has ended and all of it is delivered.
    pub(super) async fn follow(
        &self,
        mut offset: usize,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        let mut told = 0;
        loop {
            let News { steps, bytes, report } = self.news(told, offset)?;
            told += steps.len();
            steps.into_iter().for_each(|step| log.step(step));
            if !bytes.is_empty() {
                let at = u64::try_from(offset).unwrap_or(u64::MAX);
                log.write(at, &bytes).await.map_err(unknown)?;
                offset += bytes.len();
            } else if let Some(report) = report {
                return Ok(report);
            } else {
                self.wait_for(|it| {
                    it.report.is_some()
                        || it.waits()
                        || it.begun.len() > told
                        || it.log.len() > offset
                })
                .await;
            }
        }
    }

    fn news(&self, told: usize, offset: usize) -> BackendResult<News> {
        const PIECE: usize = 64 * 1024;
        let state = self.state.borrow();
        if state.report.is_some() && offset > state.log.len() {
            return Err(BackendError::new(ErrorKind::InvalidInput, "executor.run")
                .with("log_offset", offset)
                .with("length", state.log.len()));
        }
        let steps = state.begun.iter().skip(told).copied().collect();
        let bytes = state.log.iter().skip(offset).take(PIECE).copied().collect();
        let report =
            if state.waits() { Some(AttemptReport::AwaitsConfirm) } else { state.report.clone() };
        Ok(News { steps, bytes, report })
    }
}

/// Whether what steps have left running lives on.
const fn leaves_daemons(report: &AttemptReport) -> bool {
    matches!(
        report,
        AttemptReport::Failed { .. }
            | AttemptReport::RevertFailed { .. }
            | AttemptReport::SelfReverted { .. }
            | AttemptReport::Succeeded
    )
}

impl AttemptState {
    const fn waits(&self) -> bool {
        self.waits && self.verdict.is_none()
    }
}

/// The log could not be delivered. The attempt goes on, so the caller must not read the error as a promise that it does not.
fn unknown(err: BackendError) -> BackendError {
    BackendError::new(ErrorKind::OutcomeUnknown, "executor.run").because(err)
}
