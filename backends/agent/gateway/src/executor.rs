//! Runs attempts over the sessions of agents.
use crate::{
    answers::{Identity, died, forgotten},
    conversation::Silence,
    delivery::{BEFORE_AN_ORDER, Unpublishable},
    follower::{Follower, START_WITHIN},
    gateway::Gateway,
    order,
    session::Session,
};
use async_trait::async_trait;
use deploy_agent_protocol::v1::{self, answer::Kind as Answer, order::Kind as Order};
use deploy_core::{
    access::{Action, Permit},
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, CheckRequest, Clock, CollectRequest,
        ConfirmRequest, Confirmation, Delivery, Executor, ExecutorCapabilities, Health,
        HostRequest, KillReport, KillRequest, Observed, Piece, ProbeReport, ProbeRequest,
        Resolution, ResolveRequest, StageReport, StageRequest, Transfer,
    },
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    host::Host,
    id::{HostName, ReleaseId, Seq},
    plan::DiskRoom,
    time::Timestamp,
};
use deploy_host::{
    archive::Limits,
    executor::{Releases, allow, harmless},
};
use std::{sync::Arc, time::Duration};

/// How long an agent that is not connected is waited for where nothing has begun.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long a question may take that the agent answers by itself.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How much longer than it may take a script, or a kill, is waited for.
const SLACK: Duration = Duration::from_secs(60);

/// Runs attempts on hosts whose agents are connected to a [`Gateway`].
///
/// An attempt outlives the session: when that is lost, the executor waits for the agent's next one, goes on with the log at the
/// exact byte, and takes the result from the host's own record. Only when a host stays away for longer than
/// [`with_reconnect_for`](Self::with_reconnect_for) is the outcome unknown.
#[derive(Clone, Debug)]
pub struct AgentExecutor {
    gateway: Gateway,
    releases: Arc<Releases>,
    unpublishable: Arc<Unpublishable>,
    reconnect_for: Duration,
}

impl AgentExecutor {
    /// An executor over the sessions of `gateway`.
    #[must_use]
    pub fn new(gateway: Gateway) -> Self {
        let releases = Arc::new(Releases::new(Arc::clone(gateway.artifacts()), Limits::PACKAGE));
        let reconnect_for = Duration::from_secs(300);
        Self { gateway, releases, unpublishable: Arc::default(), reconnect_for }
    }

    /// With another patience for hosts that went away during an attempt; five minutes by default.
    #[must_use]
    pub const fn with_reconnect_for(mut self, reconnect_for: Duration) -> Self {
        self.reconnect_for = reconnect_for;
        self
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        self.gateway.clock()
    }

    pub(crate) const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    pub(crate) fn unpublishable(&self) -> &Unpublishable {
        &self.unpublishable
    }

    pub(crate) fn releases(&self) -> &Releases {
        &self.releases
    }

    pub(crate) fn after(&self, wait: Duration) -> Timestamp {
        self.clock().now().after(wait)
    }

    /// The session of a host from which nothing is wanted yet.
    pub(crate) async fn session(
        &self,
        host: &HostName,
        operation: &'static str,
    ) -> BackendResult<Arc<Session>> {
        let until = self.after(CONNECT_WITHIN);
        self.gateway.sessions().wait(host, self.clock(), until).await.ok_or_else(|| {
            BackendError::new(ErrorKind::Unavailable, operation)
                .with("host", host)
                .because("its agent is not connected")
        })
    }

    /// Asks something that is answered once, and that may be asked again: over the next session if this one is lost meanwhile.
    pub(crate) async fn ask(
        &self,
        about: &Identity<'_>,
        order: Order,
        within: Duration,
    ) -> BackendResult<Answer> {
        let until = self.after(within);
        let mut session = self.session(about.host, about.operation).await?;
        loop {
            let answer = match session.order(order.clone(), ANSWER_WITHIN).await {
                Some(mut conversation) => conversation.answer(self.clock(), until).await,
                None => Err(Silence::Gone),
            };
            let silence = match answer {
                Ok(Answer::Refused(refused)) => return Err(about.refused(refused)),
                Ok(answer) => return Ok(answer),
                Err(silence) => silence,
            };
            let next = match silence {
                Silence::Gone => {
                    self.gateway.sessions().wait(about.host, self.clock(), until).await
                }
                Silence::TooLong => None,
            };
            session = next.ok_or_else(|| {
                about.error(ErrorKind::OutcomeUnknown).because("its agent does not answer")
            })?;
        }
    }

    async fn run_attempt(
        &self,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        let about = identity(&request.on, request.generation, &request.token, "executor.run");
        let (attempt, offers) = self.attempt(request, BEFORE_AN_ORDER).await.map_err(harmless)?;
        let mut follower = Follower::new(about, log, request.log_offset);
        let mut session = self.session(about.host, about.operation).await?;
        loop {
            if request.revert.is_some() && !session.reverts() {
                return Err(too_old(&follower));
            }
            session.offer(offers.iter().copied());
            let order = if follower.attached {
                Order::Follow(v1::Follow {
                    place: attempt.place.clone(),
                    generation: attempt.generation,
                    token: attempt.token.clone(),
                    log_offset: follower.offset,
                })
            } else {
                Order::Start(v1::Attempt { log_offset: follower.offset, ..attempt.clone() })
            };
            if let Some(mut conversation) = session.order(order, START_WITHIN).await {
                follower.doubt = true;
                if let Some(ended) = follower.follow(self.clock(), &mut conversation).await? {
                    if !matches!(ended, Ok(AttemptReport::AwaitsConfirm)) {
                        let service = request.on.service.as_str();
                        conversation.confirm_end(service, attempt.generation).await;
                    }
                    return ended;
                }
            }
            session = self.next_session(&follower).await?;
        }
    }

    /// The session of a host that has gone while something of it is wanted.
    async fn next_session(&self, follower: &Follower<'_>) -> BackendResult<Arc<Session>> {
        let about = &follower.about;
        let until = self.after(self.reconnect_for);
        let session = self.gateway.sessions().wait(about.host, self.clock(), until).await;
        session.ok_or_else(|| {
            let kind = match follower.doubt {
                true => ErrorKind::OutcomeUnknown,
                false => ErrorKind::Unavailable,
            };
            about.error(kind).because("its agent has gone, and did not come back")
        })
    }

    /// What the host is to do, and what it may fetch for that. Parts are made in the time `within`.
    pub(crate) async fn attempt(
        &self,
        request: &AttemptRequest,
        within: Duration,
    ) -> BackendResult<(v1::Attempt, Vec<Digest>)> {
        let (mut attempt, mut offers) = self.one_way(request, within).await?;
        if let (Some(revert), Some(back)) = (&request.revert, request.way_back()) {
            let back = self.one_way(&back, within).await;
            let (back, more) = back.map_err(|err| err.with("of", "the way back"))?;
            attempt.revert = Some(order::revert(revert.after, back));
            offers.extend(more);
        }
        Ok((attempt, offers))
    }

    async fn one_way(
        &self,
        request: &AttemptRequest,
        within: Duration,
    ) -> BackendResult<(v1::Attempt, Vec<Digest>)> {
        let descriptor = request.release.descriptor.digest;
        let parts = self.releases.descriptor(descriptor).await?;
        let mut attempt = order::attempt(request, parts.descriptor())?;
        let mut offers = vec![descriptor];
        if let Some(delivery) = request.delivery() {
            self.releases.check_package(delivery.package).await?;
            let delivered = self.deliver(&delivery, within).await?;
            attempt.delivery = delivered.order;
            offers.extend(delivered.offers);
        }
        Ok((attempt, offers))
    }
}

#[async_trait]
impl Executor for AgentExecutor {
    fn capabilities(&self) -> ExecutorCapabilities {
        ExecutorCapabilities::default()
            .with_check(true)
            .with_collect(true)
            .with_confirm(true)
            .with_kill(true)
            .with_room(true)
            .with_stage(true)
    }

    fn capabilities_on(&self, host: &Host) -> ExecutorCapabilities {
        // Of one that is not connected it is seen when something is wanted of it.
        let session = self.gateway.sessions().current(&host.name);
        self.capabilities()
            .with_collect(session.as_ref().is_none_or(|it| it.gives_back()))
            .with_confirm(session.as_ref().is_none_or(|it| it.reverts()))
            .with_room(session.as_ref().is_none_or(|it| it.tells_room()))
            .with_stage(session.as_ref().is_none_or(|it| it.stages()))
    }

    async fn run(
        &self,
        permit: &Permit,
        request: &AttemptRequest,
        log: &dyn AttemptLog,
    ) -> BackendResult<AttemptReport> {
        allow(permit, Action::HostExecute, &request.on, "executor.run")?;
        self.run_attempt(request, log).await
    }

    async fn probe(&self, permit: &Permit, request: &ProbeRequest) -> BackendResult<ProbeReport> {
        allow(permit, Action::HostExecute, &request.on, "executor.probe")?;
        let about = identity(&request.on, request.generation, &request.token, "executor.probe");
        let order = Order::Probe(v1::Probe {
            place: Some(order::place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
        });
        match self.ask(&about, order, ANSWER_WITHIN).await? {
            Answer::Ended(record) => Ok(ProbeReport::Ended(about.ended(record)?)),
            Answer::Died(record) => Ok(ProbeReport::Ended(died(&record))),
            Answer::AwaitsConfirm(_) => Ok(ProbeReport::AwaitsConfirm),
            Answer::NeverStarted(_) => Ok(ProbeReport::NeverStarted),
            Answer::Running(_) => Ok(ProbeReport::Running),
            _ => Err(about.unexpected()),
        }
    }

    async fn kill(&self, permit: &Permit, request: &KillRequest) -> BackendResult<KillReport> {
        allow(permit, Action::HostExecute, &request.on, "executor.kill")?;
        let about = identity(&request.on, request.generation, &request.token, "executor.kill");
        let order = Order::Kill(v1::Kill {
            place: Some(order::place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
            grace_s: order::seconds(request.grace),
        });
        match self.ask(&about, order, request.grace.saturating_add(SLACK)).await? {
            Answer::Ended(record) => Ok(KillReport::Ended(about.ended(record)?)),
            Answer::Died(record) => Ok(KillReport::Ended(died(&record))),
            Answer::Killed(_) => Ok(KillReport::Killed),
            Answer::KillFailed(failed) => {
                Ok(KillReport::KillFailed { survivors: failed.survivors })
            }
            Answer::NeverStarted(_) => Ok(KillReport::NeverStarted),
            Answer::Reverting(_) => Ok(KillReport::Reverting),
            _ => Err(about.unexpected()),
        }
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        allow(permit, Action::HostExecute, &request.on, "executor.confirm")?;
        let about = identity(&request.on, request.generation, &request.token, "executor.confirm");
        let order = Order::Confirm(v1::Confirm {
            place: Some(order::place(&request.on)),
            generation: request.generation.get(),
            token: request.token.clone(),
        });
        match self.ask(&about, order, ANSWER_WITHIN).await? {
            Answer::Ended(record) => Ok(match about.ended(record)? {
                AttemptReport::Succeeded => Confirmation::Confirmed,
                report => Confirmation::Ended(report),
            }),
            Answer::Died(record) => Ok(Confirmation::Ended(died(&record))),
            Answer::NeverStarted(_) => Ok(Confirmation::Ended(forgotten())),
            Answer::Running(_) => Ok(Confirmation::Running),
            _ => Err(about.unexpected()),
        }
    }

    async fn stage(&self, permit: &Permit, request: &StageRequest) -> BackendResult<StageReport> {
        allow(permit, Action::HostExecute, &request.on, "executor.stage")?;
        self.have_staged(request).await
    }

    async fn room(
        &self,
        permit: &Permit,
        attempt: &AttemptRequest,
    ) -> BackendResult<Vec<DiskRoom>> {
        allow(permit, Action::HostObserve, &attempt.on, "executor.room")?;
        self.room_left(attempt).await
    }

    async fn collect(&self, permit: &Permit, request: &CollectRequest) -> BackendResult<Piece> {
        allow(permit, Action::HostExecute, &request.on, "executor.collect")?;
        self.collect_piece(request).await
    }

    async fn transfer(&self, _host: &Host, delivery: &Delivery) -> BackendResult<Transfer> {
        self.estimate(delivery).await
    }

    async fn check(&self, permit: &Permit, request: &CheckRequest) -> BackendResult<Health> {
        allow(permit, Action::HostExecute, &request.on, "executor.check")?;
        let about = identity(&request.on, request.generation, "", "executor.check");
        let order = Order::Check(v1::Check {
            place: Some(order::place(&request.on)),
            generation: request.generation.get(),
            timeout_s: order::seconds(request.timeout),
        });
        match self.ask(&about, order, request.timeout.saturating_add(SLACK)).await? {
            Answer::Checked(checked) if checked.healthy || !checked.supported => {
                Ok(Health::Healthy)
            }
            Answer::Checked(checked) => Ok(Health::Unhealthy { reason: checked.reason }),
            _ => Err(about.unexpected()),
        }
    }

    async fn resolve(
        &self,
        permit: &Permit,
        request: &ResolveRequest,
    ) -> BackendResult<Resolution> {
        let attempt = &request.attempt;
        allow(permit, Action::HostExecute, &attempt.on, "executor.resolve")?;
        let about = identity(&attempt.on, attempt.generation, &attempt.token, "executor.resolve");
        let timeout = attempt.release.steps.iter().find(|it| it.name == request.step);
        let timeout = timeout.map_or(ANSWER_WITHIN, |it| it.timeout);
        let order = Order::Resolve(v1::Resolve {
            place: Some(order::place(&attempt.on)),
            generation: attempt.generation.get(),
            step: request.step.to_string(),
            timeout_s: order::seconds(timeout),
        });
        match self.ask(&about, order, timeout.saturating_add(SLACK)).await? {
            Answer::Resolved(resolved) => Ok(match resolved.resolution() {
                v1::Resolution::CannotTell => Resolution::CannotTell,
                v1::Resolution::Done => Resolution::Done,
                v1::Resolution::NotDone => Resolution::NotDone,
            }),
            _ => Err(about.unexpected()),
        }
    }

    async fn observe(&self, permit: &Permit, request: &HostRequest) -> BackendResult<Observed> {
        allow(permit, Action::HostObserve, request, "executor.observe")?;
        let about = identity(request, Seq::ZERO, "", "executor.observe");
        let order = Order::Observe(v1::Observe { place: Some(order::place(request)) });
        let Answer::Observed(seen) = self.ask(&about, order, ANSWER_WITHIN).await? else {
            return Err(about.unexpected());
        };
        let release = Some(seen.release).filter(|it| !it.is_empty());
        let release: Option<ReleaseId> = release
            .map(|it| it.parse())
            .transpose()
            .map_err(|err| about.error(ErrorKind::Corrupt).because(err))?;
        let running = Some(seen.running).filter(|it| *it > 0).map(Seq::new);
        Ok(Observed::new(release, Seq::new(seen.fence), running))
    }
}

pub(crate) const fn identity<'a>(
    on: &'a HostRequest,
    generation: Seq,
    token: &'a str,
    operation: &'static str,
) -> Identity<'a> {
    Identity { host: &on.host.name, generation, token, operation }
}

fn too_old(follower: &Follower<'_>) -> BackendError {
    let err = follower.about.error(ErrorKind::Unsupported);
    err.because("its agent is too old to go back by itself: install a newer one, or leave out `confirm_timeout`")
}
