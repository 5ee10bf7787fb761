//! How a remote build comes to a host: its turn, and what follows when a host does not take it.
use super::{
    attempt::token,
    handover::Handover,
    place::{Placement, choose},
    work::{End, RETRY, Work, unusable},
};
use crate::{
    ended::Ended,
    queue::{Turn, turn},
};
use deploy_core::{
    backend::{
        BackendError, BackendResult, BuildFailure, BuildFault, BuildState, ErrorKind, HostRequest,
    },
    error::Retry,
    host::Host,
    id::{HostName, Seq},
    time::Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

/// Between two looks whether it is this build's turn.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a host is asked that knows a newer generation each time.
const MOST_FENCED: u32 = 3;

/// What a build knows of hosts that did not take it.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Hosts that could not take it, and why.
    avoided: BTreeMap<HostName, BackendError>,
    /// Since when none was seen that is there.
    missing_since: Option<Timestamp>,
    /// Since when the chosen one is busy with another build of this service.
    busy_since: Option<Timestamp>,
    /// How often the chosen one knew a newer generation.
    fenced: u32,
}

impl Refusals {
    /// A host is there, whatever it is about to do.
    pub(super) const fn seen(&mut self) {
        self.missing_since = None;
    }
}

impl Work {
    pub(super) async fn wait_for_turn(&mut self) -> Result<Placement, End> {
        loop {
            self.halt.check()?;
            let mut hosts = self.candidates().await?;
            hosts.retain(|it| !self.refusals.avoided.contains_key(&it.name));
            if hosts.is_empty() {
                self.wait_for_hosts().await?;
                continue;
            }
            if let Some(placement) = self.take_turn(&hosts).map_err(unusable)? {
                return Ok(placement);
            }
            // They are busy, and so they are there.
            self.refusals.seen();
            self.shared.clock.sleep_until(self.shared.clock.now().after(PAUSE)).await;
        }
    }

    /// The hosts that may build it. An inventory that cannot be asked is asked again for as long as the builder is patient.
    async fn candidates(&self) -> Result<Vec<Host>, End> {
        let (shared, request) = (&*self.shared, &self.build.request);
        let until = shared.clock.now().after(shared.patience);
        loop {
            self.halt.check()?;
            let selector = request.on.as_ref().unwrap_or(&self.terms.on);
            match shared.hosts.candidates(&self.build.by, request, selector).await {
                Ok(hosts) => return Ok(hosts),
                Err(err) if is_passing(&err) && shared.clock.now() < until => {}
                Err(err) => return Err(no_host(&err.chain().to_string()).into()),
            }
            shared.clock.sleep_until(shared.clock.now().after(RETRY)).await;
        }
    }

    /// Begins on one of `hosts`, if it is this build's turn. Builds of a service go in the order in which they came; among services the first that finds a host with room takes
    /// it, so that none waits for a host that it could not use.
    fn take_turn(&mut self, hosts: &[Host]) -> BackendResult<Option<Placement>> {
        let records = self.shared.records.clone();
        let _queue = records.lock_queue()?;
        let now = self.shared.clock.now();
        let mut builds = records.all(now)?;
        let chosen = choose(&builds, &self.build, hosts, self.terms.at_a_time.get());
        builds.reverse();
        let is_turn = turn(&builds, &self.build.id, usize::MAX, now) == Turn::Now;
        let Some(host) = chosen.filter(|_| is_turn) else { return Ok(None) };
        let placement = self.place(&host.name, Seq::ZERO)?;
        self.enter_place(&placement, now)?;
        (self.refusals.busy_since, self.refusals.fenced) = (None, 0);
        Ok(Some(placement))
    }

    /// Writes down that the build is where it was placed.
    pub(super) fn enter_place(
        &mut self,
        placement: &Placement,
        now: Timestamp,
    ) -> BackendResult<()> {
        self.build.started_at.get_or_insert(now);
        self.build.state = BuildState::Fetching;
        self.build.host = Some(placement.host.clone());
        self.shared.records.write(&self.build)
    }

    /// Writes down the next attempt, on `host`, of `least` or a newer generation. Generations are times: so those of several builders that use a host get on with each other.
    fn place(&mut self, host: &HostName, least: Seq) -> BackendResult<Placement> {
        let before = self.shared.records.placement(&self.build.id)?;
        let after = before.map_or(Seq::ZERO, |it| it.generation.next()).max(least);
        let (terms, build) = (&self.terms, &self.build);
        let mut handover = Handover::new(build.request.clone(), build.by.clone(), host);
        handover.sandbox = terms.sandbox_use;
        handover.private_remotes = terms.private_remotes;
        handover.at_a_time = terms.at_a_time;
        handover.tools.clone_from(&terms.tools);
        let path = format!("{}/runs/{}", terms.root, build.request.service).parse();
        let placement = Placement {
            host: host.clone(),
            generation: Seq::new(self.shared.clock.now().as_millis()).max(after),
            token: token()?,
            path: path.map_err(|err| {
                BackendError::new(ErrorKind::InvalidInput, "build.place").because(err)
            })?,
            account: terms.account.clone(),
            program: terms.program.clone(),
            handover,
        };
        self.shared.records.write_placement(&self.build.id, &placement)?;
        self.doubt = false;
        Ok(placement)
    }

    /// What follows from an attempt that was not started: another try, on the same host or another one, unless nothing can come of that.
    pub(super) async fn not_started(
        &mut self,
        placement: &Placement,
        err: BackendError,
    ) -> Result<(), End> {
        self.halt.check()?;
        let now = self.shared.clock.now();
        match err.kind() {
            ErrorKind::Fenced if self.refusals.fenced < MOST_FENCED => {
                self.refusals.fenced += 1;
                let fence = self.fence(placement).await.unwrap_or(Seq::ZERO);
                self.place(&placement.host, fence.next()).map_err(unusable)?;
            }
            // Somebody else has this service built there: their build is over some time.
            ErrorKind::Conflict => {
                self.refusals.seen();
                let since = *self.refusals.busy_since.get_or_insert(now);
                if now >= since.after(self.longest()) {
                    return Err(no_host(&err.chain().to_string()).into());
                }
            }
            _ => {
                self.refusals.missing_since.get_or_insert(now);
                self.refusals.avoided.insert(placement.host.clone(), err);
                return self.let_go().map_err(unusable);
            }
        }
        self.shared.clock.sleep_until(now.after(RETRY)).await;
        Ok(())
    }

    /// The newest generation that the host of a placement knows.
    async fn fence(&self, placement: &Placement) -> BackendResult<Seq> {
        let (hosts, build) = (&self.shared.hosts, &self.build);
        let host = hosts.host(&placement.host).await?;
        let permit = hosts.permit_to_look(build, &host.name).await?;
        let service = super::place::service_of(&build.request.service)
            .map_err(|err| BackendError::new(ErrorKind::Internal, "build.place").because(err))?;
        let on = HostRequest::new(host, service, placement.path.clone())
            .with_account(placement.account.clone());
        Ok(hosts.executor.observe(&permit, &on).await?.fence)
    }

    /// Goes back into the queue. Nothing of it has been started. The record is written first: whoever takes it over in between comes to the same attempt.
    fn let_go(&mut self) -> BackendResult<()> {
        self.requeue()?;
        self.shared.records.forget_placement(&self.build.id)
    }

    /// Writes down that the build waits.
    pub(super) fn requeue(&mut self) -> BackendResult<()> {
        self.build.state = BuildState::Queued;
        self.build.host = None;
        self.shared.records.write(&self.build)
    }

    /// Waits before hosts are tried again of which none could be had, for as long as there is hope.
    async fn wait_for_hosts(&mut self) -> Result<(), End> {
        let now = self.shared.clock.now();
        let since = *self.refusals.missing_since.get_or_insert(now);
        let avoided = &mut self.refusals.avoided;
        if !avoided.values().any(is_passing) || now >= since.after(self.shared.patience) {
            let reasons = avoided.iter().map(|(host, err)| format!("{host}: {}", err.chain()));
            return Err(no_host(&reasons.collect::<Vec<_>>().join("; ")).into());
        }
        avoided.retain(|_, err| !is_passing(err));
        self.shared.clock.sleep_until(now.after(RETRY)).await;
        Ok(())
    }
}

/// Whether an error may be gone at the next try.
pub(super) fn is_passing(err: &BackendError) -> bool {
    err.kind().retry() != Retry::Never
}

fn no_host(why: &str) -> Ended {
    let message = format!("no host can build it: {why}");
    BuildFailure::new(BuildFault::HostMissing, message).into()
}
