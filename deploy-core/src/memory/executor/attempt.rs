use crate::{
    backend::{AttemptLog, AttemptReport, AttemptRequest},
    error::{BackendError, BackendResult, ErrorKind},
    spec::StepName,
};
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
    begun: Vec<StepName>,
    signal: Option<Signal>,
    ignores_term: bool,
    daemons: usize,
    report: Option<AttemptReport>,
}

/// What a follower has not heard yet.
struct News {
    steps: Vec<StepName>,
    bytes: Vec<u8>,
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
            if !matches!(report, AttemptReport::Failed { .. } | AttemptReport::Succeeded) {
                it.daemons = 0;
            }
            it.report = Some(report);
        });
    }

    /// Ends all that is left of it, because the host was restarted.
    pub(super) fn reboot(&self, lost: AttemptReport) {
        self.end(lost);
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
                    it.report.is_some() || it.begun.len() > told || it.log.len() > offset
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
        Ok(News { steps, bytes, report: state.report.clone() })
    }
}

/// The log could not be delivered. The attempt goes on, so the caller must not read the error as a promise that it does not.
fn unknown(err: BackendError) -> BackendError {
    BackendError::new(ErrorKind::OutcomeUnknown, "executor.run").because(err)
}
