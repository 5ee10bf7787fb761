use super::{HostFaults, Script, attempt::Attempt, stage::Caches};
use crate::{
    backend::{AttemptRequest, Clock, HostRequest, Observed},
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, ReleaseId, Seq, ServiceName},
    memory::lock,
    spec::StepName,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// All simulated hosts.
#[derive(Debug)]
pub(super) struct World {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) state: Mutex<State>,
    /// Whether [`Act::Block`](super::Act::Block) lets pass.
    gate: watch::Sender<bool>,
    /// How often the connections to each host were cut.
    cuts: watch::Sender<BTreeMap<HostName, u64>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    places: BTreeMap<(HostName, ServiceName), Place>,
    pub(super) faults: BTreeMap<HostName, HostFaults>,
    scripts: Vec<Script>,
    runs: BTreeMap<(HostName, StepName), u32>,
    pub(super) caches: Caches,
}

/// A service on a host.
#[derive(Debug, Default)]
struct Place {
    fence: Seq,
    current: Option<ReleaseId>,
    attempts: BTreeMap<Seq, Arc<Attempt>>,
}

/// What came of a start.
pub(super) enum Start {
    Attached(Arc<Attempt>),
    New(Arc<Attempt>),
}

/// The way back from a host.
pub(super) struct Reply {
    operation: &'static str,
    lost: bool,
}

impl Reply {
    /// The host's answer, unless it is lost.
    pub(super) fn deliver<T>(self, answer: BackendResult<T>) -> BackendResult<T> {
        if self.lost {
            return Err(BackendError::new(ErrorKind::OutcomeUnknown, self.operation)
                .with("reason", "the reply was lost"));
        }
        answer
    }
}

impl World {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            gate: watch::Sender::new(false),
            cuts: watch::Sender::default(),
        }
    }

    pub(super) fn script(&self, script: Script) {
        lock(&self.state).scripts.push(script);
    }

    pub(super) fn script_of(&self, step: StepName, host: &HostName, release: &ReleaseId) -> Script {
        let state = lock(&self.state);
        let newest = state.scripts.iter().rfind(|it| it.is_for(step, host, release));
        newest.cloned().unwrap_or_else(|| Script::standard(step))
    }

    pub(super) fn set_faults(&self, host: &HostName, faults: HostFaults) {
        lock(&self.state).faults.insert(host.clone(), faults);
    }

    pub(super) fn activate(
        &self,
        host: &HostName,
        service: &ServiceName,
        release: Option<ReleaseId>,
    ) {
        let mut state = lock(&self.state);
        state.places.entry((host.clone(), service.clone())).or_default().current = release;
    }

    pub(super) fn unblock(&self) {
        self.gate.send_replace(true);
    }

    pub(super) fn cut(&self, host: &HostName) {
        self.cuts.send_modify(|it| *it.entry(host.clone()).or_default() += 1);
    }

    /// Waits until the connections to `host` that are open now are cut.
    pub(super) fn cut_off(&self, host: &HostName) -> impl Future<Output = ()> + Send + use<> {
        let mut cuts = self.cuts.subscribe();
        let before = cuts.borrow().get(host).copied();
        let host = host.clone();
        async move {
            // It fails only once the executor is gone, and then nobody waits.
            drop(cuts.wait_for(|it| it.get(&host).copied() != before).await);
        }
    }

    pub(super) fn reboot(&self, host: &HostName) {
        for attempt in self.attempts_on(host) {
            attempt.reboot();
        }
        self.cut(host);
    }

    pub(super) fn count_run(&self, host: &HostName, step: StepName) {
        *lock(&self.state).runs.entry((host.clone(), step)).or_default() += 1;
    }

    /// The processes on `host` that no kill can end.
    pub(super) fn survivors(&self, host: &HostName) -> Vec<String> {
        lock(&self.state).faults.get(host).map(|it| it.survivors.clone()).unwrap_or_default()
    }

    /// Waits until [`unblock`](Self::unblock).
    pub(super) async fn gate(&self) {
        let mut gate = self.gate.subscribe();
        // It fails only once the sender is gone, and `self` holds that.
        drop(gate.wait_for(|open| *open).await);
    }

    pub(super) fn runs(&self, host: &HostName, step: StepName) -> u32 {
        lock(&self.state).runs.get(&(host.clone(), step)).copied().unwrap_or(0)
    }

    pub(super) fn attempts(&self, host: &HostName, service: &ServiceName) -> Vec<Seq> {
        let state = lock(&self.state);
        let place = state.places.get(&(host.clone(), service.clone()));
        place.map(|it| it.attempts.keys().copied().collect()).unwrap_or_default()
    }

    pub(super) fn processes(&self, host: &HostName) -> usize {
        self.attempts_on(host).iter().map(|it| it.processes()).sum()
    }

    fn attempts_on(&self, host: &HostName) -> Vec<Arc<Attempt>> {
        let state = lock(&self.state);
        let places = state.places.iter().filter(|((name, _), _)| name == host);
        places.flat_map(|(_, place)| place.attempts.values().cloned()).collect()
    }

    /// The way to `host`, with all that is wrong with it.
    pub(super) async fn reach(
        &self,
        host: &HostName,
        operation: &'static str,
    ) -> BackendResult<Reply> {
        let delay = lock(&self.state).faults.get(host).map_or(Duration::ZERO, |it| it.delay);
        if !delay.is_zero() {
            self.clock.sleep_until(self.clock.now().after(delay)).await;
        }
        let mut state = lock(&self.state);
        let Some(faults) = state.faults.get_mut(host) else {
            return Ok(Reply { operation, lost: false });
        };
        let error = |kind| BackendError::new(kind, operation).with("host", host);
        if faults.unreachable {
            return Err(error(ErrorKind::Unavailable));
        }
        if take_one(&mut faults.lost_requests) {
            return Err(error(ErrorKind::OutcomeUnknown).with("reason", "the request was lost"));
        }
        Ok(Reply { operation, lost: take_one(&mut faults.lost_replies) })
    }

    /// Compares and sets the fence, and records the attempt, in one act.
    pub(super) fn start(&self, request: &AttemptRequest) -> BackendResult<Start> {
        let mut state = lock(&self.state);
        if !state.place(&request.on).attempts.contains_key(&request.generation) {
            state.fetch(&request.on.host.name, &request.artifacts(), "executor.run")?;
        }
        let place = state.place(&request.on);
        if let Some(there) = place.attempts.get(&request.generation) {
            check_same(there, &request.token, "executor.run")?;
            return Ok(Start::Attached(Arc::clone(there)));
        }
        let error = |kind| {
            BackendError::new(kind, "executor.run")
                .with("host", &request.on.host.name)
                .with("generation", request.generation)
        };
        if let Some(running) = place.running() {
            return Err(error(ErrorKind::Conflict).with("running", running));
        }
        if request.generation <= place.fence {
            return Err(error(ErrorKind::Fenced).with("seen", place.fence));
        }
        place.fence = request.generation;
        let attempt = Arc::new(Attempt::new(request.clone()));
        place.attempts.insert(request.generation, Arc::clone(&attempt));
        Ok(Start::New(attempt))
    }

    /// Raises the fence to `generation`, and finds the attempt if it was started by then.
    pub(super) fn fence_off(
        &self,
        on: &HostRequest,
        generation: Seq,
        token: &str,
        operation: &'static str,
    ) -> BackendResult<Option<Arc<Attempt>>> {
        let mut state = lock(&self.state);
        let place = state.place(on);
        place.fence = place.fence.max(generation);
        let found = place.attempts.get(&generation).cloned();
        if let Some(attempt) = &found {
            check_same(attempt, token, operation)?;
        }
        Ok(found)
    }

    /// The attempt, if it was started.
    pub(super) fn find(
        &self,
        on: &HostRequest,
        generation: Seq,
        token: &str,
        operation: &'static str,
    ) -> BackendResult<Option<Arc<Attempt>>> {
        let found = self.attempt(on, generation);
        if let Some(attempt) = &found {
            check_same(attempt, token, operation)?;
        }
        Ok(found)
    }

    pub(super) fn attempt(&self, on: &HostRequest, generation: Seq) -> Option<Arc<Attempt>> {
        let state = lock(&self.state);
        let place = state.places.get(&(on.host.name.clone(), on.service.clone()))?;
        place.attempts.get(&generation).cloned()
    }

    pub(super) fn observe(&self, on: &HostRequest) -> Observed {
        let state = lock(&self.state);
        let place = state.places.get(&(on.host.name.clone(), on.service.clone()));
        place.map_or_else(
            || Observed::new(None, Seq::ZERO, None),
            |it| Observed::new(it.current.clone(), it.fence, it.running()),
        )
    }
}

impl State {
    fn place(&mut self, on: &HostRequest) -> &mut Place {
        self.places.entry((on.host.name.clone(), on.service.clone())).or_default()
    }
}

impl Place {
    fn running(&self) -> Option<Seq> {
        self.attempts.values().rfind(|it| it.is_alive()).map(|it| it.request.generation)
    }
}

fn take_one(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}

/// Refuses an answer about an attempt that somebody else has made.
fn check_same(attempt: &Attempt, token: &str, operation: &'static str) -> BackendResult<()> {
    if attempt.request.token == token {
        return Ok(());
    }
    Err(BackendError::new(ErrorKind::Corrupt, operation)
        .with("generation", attempt.request.generation)
        .with("reason", "the attempt on the host has another token"))
}
