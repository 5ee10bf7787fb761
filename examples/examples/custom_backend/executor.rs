use crate::support::lock;
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, BackendError, BackendResult, CheckRequest,
        Clock, CollectRequest, ConfirmRequest, Confirmation, ErrorKind, Executor,
        ExecutorCapabilities, Health, HostRequest, KillReport, KillRequest, Observed, Piece,
        ProbeReport, ProbeRequest, Resolution, ResolveRequest, StageReport, StageRequest,
    },
    id::{HostName, ReleaseId, Seq, ServiceName},
    plan::DiskRoom,
    spec::{Step, StepName},
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// Reaches devices without a shell, whose firmware knows the steps. The devices keep what they were told and how it ended, and
/// this program stands for them; only [`Devices::start`] and [`Devices::fence_off`] would be calls over a network.
#[derive(Debug)]
pub(crate) struct DeviceExecutor {
    devices: Arc<Devices>,
}

/// What a device does in a step.
#[async_trait]
pub(crate) trait Firmware: fmt::Debug + Send + Sync {
    /// Does it; gives its exit code. Dropping the future ends it.
    async fn perform(&self, step: StepName, at: &Run<'_>) -> i32;

    /// Says whether a step took effect.
    fn resolve(&self, step: StepName, release: &ReleaseId) -> Resolution;
}

/// What firmware may do to the device while it performs a step.
pub(crate) struct Run<'a> {
    request: &'a AttemptRequest,
    attempt: &'a Attempt,
    devices: &'a Devices,
}

impl Run<'_> {
    pub(crate) fn release(&self) -> &ReleaseId {
        &self.request.release.id
    }

    pub(crate) fn print(&self, bytes: &[u8]) {
        self.attempt.progress.send_modify(|it| it.log.extend_from_slice(bytes));
    }

    /// Makes the attempt's release the current one, or takes the service off the device.
    pub(crate) fn activate(&self) {
        let release = self.request.keeps_release.then(|| self.release().clone());
        self.devices.with_place(&self.request.on, |it| it.current = release);
    }
}

/// All devices there are.
#[derive(Debug)]
pub(crate) struct Devices {
    clock: Arc<dyn Clock>,
    firmware: Arc<dyn Firmware>,
    places: Mutex<BTreeMap<(HostName, ServiceName), Place>>,
}

/// A service on a device.
#[derive(Debug, Default)]
struct Place {
    fence: Seq,
    current: Option<ReleaseId>,
    attempts: BTreeMap<Seq, Arc<Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    token: String,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    steps: Vec<StepName>,
    log: Vec<u8>,
    report: Option<AttemptReport>,
}

impl DeviceExecutor {
    pub(crate) const fn new(devices: Arc<Devices>) -> Self {
        Self { devices }
    }
}

const RUN: &str = "executor.run";
const PROBE: &str = "executor.probe";

#[async_trait]
impl Executor for DeviceExecutor {
    fn capabilities(&self) -> ExecutorCapabilities {
        ExecutorCapabilities::default()
    }

    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        permit.demand(Action::HostExecute, &resource(&request.on), RUN)?;
        check_token(&request.token, RUN)?;
        if request.revert.is_some() {
            return Err(BackendError::new(ErrorKind::Unsupported, RUN));
        }
        let (attempt, is_new) = self.devices.start(request)?;
        if is_new {
            // Whoever asked may go; the device goes on.
            let (devices, attempt) = (Arc::clone(&self.devices), Arc::clone(&attempt));
            let request = request.clone();
            tokio::spawn(async move {
                let report = devices.run_steps(&request, &attempt).await;
                attempt.progress.send_modify(|it| it.report = Some(report));
            });
        }
        attempt.follow(request.log_offset, log).await
    }

    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        permit.demand(Action::HostExecute, &resource(&request.on), PROBE)?;
        check_token(&request.token, PROBE)?;
        let found = self.devices.fence_off(&request.on, request.generation, &request.token)?;
        Ok(found.map_or(ProbeReport::NeverStarted, |attempt| {
            attempt.report().map_or(ProbeReport::Running, ProbeReport::Ended)
        }))
    }

    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport> {
        const KILL: &str = "executor.kill";
        permit.demand(Action::HostExecute, &resource(&request.on), KILL)?;
        Err(BackendError::new(ErrorKind::Unsupported, KILL))
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        const CONFIRM: &str = "executor.confirm";
        permit.demand(Action::HostExecute, &resource(&request.on), CONFIRM)?;
        Err(BackendError::new(ErrorKind::Unsupported, CONFIRM))
    }

    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport> {
        const STAGE: &str = "executor.stage";
        permit.demand(Action::HostExecute, &resource(&request.on), STAGE)?;
        Err(BackendError::new(ErrorKind::Unsupported, STAGE))
    }

    async fn room(
        &self,
        permit: &Permit,
        attempt: &AttemptRequest,
    ) -> BackendResult<Vec<DiskRoom>> {
        const ROOM: &str = "executor.room";
        permit.demand(Action::HostObserve, &resource(&attempt.on), ROOM)?;
        Err(BackendError::new(ErrorKind::Unsupported, ROOM))
    }

    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece> {
        const COLLECT: &str = "executor.collect";
        permit.demand(Action::HostExecute, &resource(&request.on), COLLECT)?;
        Err(BackendError::new(ErrorKind::Unsupported, COLLECT))
    }

    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health> {
        const CHECK: &str = "executor.check";
        permit.demand(Action::HostExecute, &resource(&request.on), CHECK)?;
        Err(BackendError::new(ErrorKind::Unsupported, CHECK))
    }

    async fn resolve(
        &self,
        permit: &Permit,
        request: &ResolveRequest,
    ) -> BackendResult<Resolution> {
        let attempt = &request.attempt;
        permit.demand(Action::HostExecute, &resource(&attempt.on), "executor.resolve")?;
        Ok(self.devices.firmware.resolve(request.step, &attempt.release.id))
    }

    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed> {
        permit.demand(Action::HostObserve, &resource(request), "executor.observe")?;
        Ok(self
            .devices
            .with_place(request, |it| Observed::new(it.current.clone(), it.fence, it.running())))
    }
}

impl Devices {
    pub(crate) fn new(clock: Arc<dyn Clock>, firmware: Arc<dyn Firmware>) -> Self {
        Self { clock, firmware, places: Mutex::default() }
    }

    fn with_place<T>(&self, on: &HostRequest, act: impl FnOnce(&mut Place) -> T) -> T {
        let mut places = lock(&self.places);
        act(places.entry((on.host.name.clone(), on.service.clone())).or_default())
    }

    /// Compares the generation, sets it, and records the attempt: one act, under one lock.
    fn start(&self, request: &AttemptRequest) -> BackendResult<(Arc<Attempt>, bool)> {
        let generation = request.generation;
        let error = |kind| BackendError::new(kind, RUN).with("generation", generation);
        self.with_place(&request.on, |place| {
            if let Some(there) = place.attempts.get(&generation) {
                return there.of(&request.token, RUN).map(|it| (it, false));
            }
            if let Some(running) = place.running() {
                return Err(error(ErrorKind::Conflict).with("running", running));
            }
            if generation <= place.fence {
                return Err(error(ErrorKind::Fenced).with("seen", place.fence));
            }
            let (token, progress) = (request.token.clone(), watch::Sender::default());
            let attempt = Arc::new(Attempt { token, progress });
            place.fence = generation;
            place.attempts.insert(generation, Arc::clone(&attempt));
            Ok((attempt, true))
        })
    }

    /// Makes sure that the attempt starts now or never; finds it if it has started.
    fn fence_off(
        &self,
        on: &HostRequest,
        generation: Seq,
        token: &str,
    ) -> BackendResult<Option<Arc<Attempt>>> {
        self.with_place(on, |place| {
            place.fence = place.fence.max(generation);
            place.attempts.get(&generation).map(|it| it.of(token, PROBE)).transpose()
        })
    }

    async fn run_steps(&self, request: &AttemptRequest, attempt: &Attempt) -> AttemptReport {
        let at = Run { request, attempt, devices: self };
        for step in request.steps() {
            attempt.progress.send_modify(|it| it.steps.push(step.name));
            let ended = match step.name {
                StepName::Verify => self.verify(step, &at).await,
                _ => self.perform(step, &at).await,
            };
            match ended {
                Some(0) => {}
                Some(code) => {
                    let reason = String::new();
                    return AttemptReport::Failed { step: step.name, code, reason };
                }
                None => return AttemptReport::TimedOut { step: step.name },
            }
        }
        AttemptReport::Succeeded
    }

    /// The step's exit code; `None` if its time was up.
    async fn perform(&self, step: &Step, at: &Run<'_>) -> Option<i32> {
        let end = self.clock.now().after(step.timeout);
        tokio::select! {
            biased;
            code = self.firmware.perform(step.name, at) => Some(code),
            () = self.clock.sleep_until(end) => None,
        }
    }

    /// Asks once a second whether the device is well, until it was for long enough, or the time for that is up.
    async fn verify(&self, step: &Step, at: &Run<'_>) -> Option<i32> {
        let health = at.request.health;
        let begun = self.clock.now();
        let mut well_since = None;
        loop {
            let is_well = self.perform(step, at).await == Some(0);
            let now = self.clock.now();
            well_since = if is_well { well_since.or(Some(now)) } else { None };
            if well_since.is_some_and(|since| now.since(since) >= health.min_healthy_time) {
                return Some(0);
            }
            if now.since(begun) >= health.healthy_deadline {
                return None;
            }
            self.clock.sleep_until(now.after(Duration::from_secs(1))).await;
        }
    }
}

impl Place {
    fn running(&self) -> Option<Seq> {
        self.attempts.iter().rfind(|it| it.1.report().is_none()).map(|it| *it.0)
    }
}

impl Attempt {
    fn report(&self) -> Option<AttemptReport> {
        self.progress.borrow().report.clone()
    }

    /// Itself, if it is the one that carries `token`.
    fn of(self: &Arc<Self>, token: &str, operation: &'static str) -> BackendResult<Arc<Self>> {
        if self.token == token {
            return Ok(Arc::clone(self));
        }
        Err(BackendError::new(ErrorKind::Corrupt, operation)
            .with("reason", "the attempt on the device is somebody else's"))
    }

    /// Delivers the log from `offset` on until the attempt has ended and all of it is delivered.
    async fn follow(&self, mut offset: u64, log: &dyn AttemptLog) -> BackendResult<AttemptReport> {
        let unknown = || BackendError::new(ErrorKind::OutcomeUnknown, RUN);
        let mut news = self.progress.subscribe();
        let mut told = 0;
        loop {
            let (steps, bytes, report) = {
                let progress = news.borrow_and_update();
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let steps = progress.steps.get(told..).unwrap_or_default().to_vec();
                let bytes = progress.log.get(start..).unwrap_or_default().to_vec();
                (steps, bytes, progress.report.clone())
            };
            told += steps.len();
            steps.into_iter().for_each(|it| log.step(it));
            if !bytes.is_empty() {
                // The log cannot take it, but the attempt goes on.
                log.write(offset, &bytes).await.map_err(|err| unknown().because(err))?;
                offset += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            } else if let Some(report) = report {
                return Ok(report);
            } else {
                news.changed().await.map_err(|closed| unknown().because(closed))?;
            }
        }
    }
}

fn resource(on: &HostRequest) -> Resource {
    Resource::Host(on.host.name.clone(), Some(on.service.clone()))
}

fn check_token(token: &str, operation: &'static str) -> BackendResult<()> {
    let digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    if token.len() == 32 && token.bytes().all(digit) {
        return Ok(());
    }
    Err(BackendError::new(ErrorKind::InvalidInput, operation).with("reason", "bad token"))
}
