//! Runs attempts over the sessions of agents.
use crate::{
    answers::{self, Identity, died, forgotten},
    conversation::{Conversation, Heard, Silence},
    gateway::Gateway,
    order,
    session::Session,
};
use async_trait::async_trait;
use deploy_agent_protocol::v1::{self, answer::Kind as Answer, order::Kind as Order};
use deploy_core::{
    access::{Action, Permit},
    backend::{
        AttemptLog, AttemptReport, AttemptRequest, CheckRequest, Clock, ConfirmRequest,
        Confirmation, Executor, ExecutorCapabilities, Health, HostRequest, KillReport, KillRequest,
        Observed, ProbeReport, ProbeRequest, Resolution, ResolveRequest,
    },
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, ReleaseId, Seq},
    time::Timestamp,
};
use deploy_host::{
    archive::Limits,
    executor::{Releases, allow, doubtful, harmless},
};
use std::{sync::Arc, time::Duration};

/// How long an agent that is not connected is waited for where nothing has begun.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long an agent may take to begin: it may have gigabytes to fetch and to hash.
const START_WITHIN: Duration = Duration::from_secs(600);
/// How long a question may take that the agent answers by itself.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// An attempt of which nothing is heard for so long is followed anew.
const FOLLOW_ANEW: Duration = Duration::from_secs(3600);
/// How much longer than it may take a script, or a kill, is waited for.
const SLACK: Duration = Duration::from_secs(60);
/// How often a log that ends early is asked for again.
const SHORT_LOGS: u32 = 5;

/// Runs attempts on hosts whose agents are connected to a [`Gateway`].
///
/// An attempt outlives the session: when that is lost, the executor waits for the agent's next one, goes on with the log at the
/// exact byte, and takes the result from the host's own record. Only when a host stays away for longer than
/// [`with_reconnect_for`](Self::with_reconnect_for) is the outcome unknown.
#[derive(Clone, Debug)]
pub struct AgentExecutor {
    gateway: Gateway,
    releases: Arc<Releases>,
    reconnect_for: Duration,
}

impl AgentExecutor {
    /// An executor over the sessions of `gateway`.
    #[must_use]
    pub fn new(gateway: Gateway) -> Self {
        let releases = Arc::new(Releases::new(Arc::clone(gateway.artifacts()), Limits::PACKAGE));
        Self { gateway, releases, reconnect_for: Duration::from_secs(300) }
    }

    /// With another patience for hosts that went away during an attempt; five minutes by default.
    #[must_use]
    pub const fn with_reconnect_for(mut self, reconnect_for: Duration) -> Self {
        self.reconnect_for = reconnect_for;
        self
    }

    fn clock(&self) -> &dyn Clock {
        self.gateway.clock()
    }

    fn after(&self, wait: Duration) -> Timestamp {
        self.clock().now().after(wait)
    }

    /// The session of a host from which nothing is wanted yet.
    async fn session(
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
    async fn ask(
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
        let attempt = self.attempt(request).await.map_err(harmless)?;
        let mut follower = Follower {
            about,
            log,
            offset: request.log_offset,
            attached: false,
            doubt: false,
            short_logs: 0,
        };
        let mut session = self.session(about.host, about.operation).await?;
        loop {
            session.offer(artifacts(request));
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
                    conversation.confirm_end(request.on.service.as_str(), attempt.generation).await;
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

    async fn attempt(&self, request: &AttemptRequest) -> BackendResult<v1::Attempt> {
        let parts = self.releases.descriptor(request.release.descriptor.digest).await?;
        let attempt = order::attempt(request, parts.descriptor())?;
        if let Some(package) = request.release.package.filter(|_| request.keeps_release) {
            self.releases.check_package(package).await?;
        }
        Ok(attempt)
    }
}

/// Follows one attempt over as many sessions as it takes.
struct Follower<'a> {
    about: Identity<'a>,
    log: &'a dyn AttemptLog,
    /// The next byte of the log.
    offset: u64,
    /// The host has said that it has the attempt.
    attached: bool,
    /// Something may have been started.
    doubt: bool,
    short_logs: u32,
}

impl Follower<'_> {
    /// Listens to its end; `None` if it has to be followed further over another session, or asked anew.
    async fn follow(
        &mut self,
        clock: &dyn Clock,
        conversation: &mut Conversation,
    ) -> BackendResult<Option<BackendResult<AttemptReport>>> {
        let first = if self.attached { FOLLOW_ANEW } else { START_WITHIN };
        let mut until = clock.now().after(first);
        loop {
            match conversation.next(clock, until).await {
                Err(Silence::Gone) => return Ok(None),
                Err(Silence::TooLong) if self.attached => return Ok(None),
                Err(Silence::TooLong) => {
                    let err = self.about.error(ErrorKind::OutcomeUnknown);
                    return Err(err.because("its agent does not answer"));
                }
                Ok(Heard::Step(name)) => {
                    if let Some(step) = answers::step(&name) {
                        self.log.step(step);
                    }
                }
                Ok(Heard::Log { offset, bytes }) => {
                    self.store(conversation, offset, &bytes).await?;
                }
                Ok(Heard::Answer(Answer::Accepted(_))) => {
                    self.attached = true;
                    // From now on the agent speaks when there is something to say, and the session ends when it is gone.
                    until = clock.now().after(FOLLOW_ANEW);
                }
                Ok(Heard::Answer(answer)) => return Ok(self.conclude(answer)),
            }
        }
    }

    async fn store(
        &mut self,
        conversation: &Conversation,
        offset: u64,
        bytes: &[u8],
    ) -> BackendResult<()> {
        if offset != self.offset {
            return Err(self
                .about
                .error(ErrorKind::OutcomeUnknown)
                .with("expected", self.offset)
                .with("got", offset)
                .because("the host's agent left out a part of the log"));
        }
        self.log.write(offset, bytes).await.map_err(|err| doubtful(err, true))?;
        self.offset += bytes.len() as u64;
        conversation.acknowledge(self.offset, bytes.len() as u64).await;
        Ok(())
    }

    /// What an answer means that is the last one; `None` if the attempt has to be asked for again.
    fn conclude(&mut self, answer: Answer) -> Option<BackendResult<AttemptReport>> {
        Some(match answer {
            Answer::Ended(record) => {
                self.attached = true;
                if self.offset < record.log_length && self.short_logs < SHORT_LOGS {
                    self.short_logs += 1;
                    return None;
                }
                self.about.ended(record)
            }
            Answer::Died(record) => Ok(died(&record)),
            Answer::NeverStarted(_) if self.attached => Ok(forgotten()),
            Answer::NeverStarted(_) => Err(self
                .about
                .error(ErrorKind::Unavailable)
                .because("the attempt ended on the host before anything was started")),
            Answer::Refused(refused) if self.attached => {
                Err(doubtful(self.about.refused(refused), true))
            }
            Answer::Refused(refused) => Err(self.about.refused(refused)),
            _ => Err(self.about.unexpected()),
        })
    }
}

#[async_trait]
impl Executor for AgentExecutor {
    fn capabilities(&self) -> ExecutorCapabilities {
        ExecutorCapabilities::default().with_check(true).with_kill(true)
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
            _ => Err(about.unexpected()),
        }
    }

    async fn confirm(
        &self,
        permit: &Permit,
        request: &ConfirmRequest,
    ) -> BackendResult<Confirmation> {
        allow(permit, Action::HostExecute, &request.on, "executor.confirm")?;
        Err(BackendError::new(ErrorKind::Unsupported, "executor.confirm"))
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

const fn identity<'a>(
    on: &'a HostRequest,
    generation: Seq,
    token: &'a str,
    operation: &'static str,
) -> Identity<'a> {
    Identity { host: &on.host.name, generation, token, operation }
}

/// What a host may fetch for an attempt.
fn artifacts(request: &AttemptRequest) -> impl Iterator<Item = Digest> {
    let release = &request.release;
    release.package.iter().chain([&release.descriptor]).map(|it| it.digest)
}
