//! What all requests share.
use crate::{
    builds::BuildControl,
    idempotency::give_up,
    left::Left,
    limits::{Limits, Rates},
    metrics::Metrics,
    pool::{DriverPool, Holder},
};
use deploy_core::{
    access::{Action, Resource},
    backend::{AnswerStore, CreateToken, CredentialStore},
    engine::{Parts, Platform},
    id::Principal,
    time::Timestamp,
    token::{ApiToken, TokenScope},
};
use deploy_operations::{
    Agents, LimitFile, Upkeep, new_token,
    problem::{OrProblem as _, invalid},
};
use deploy_wire::Problem;
use std::{sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};

/// How long the first token is worth something.
const FIRST_TOKEN: Duration = Duration::from_secs(365 * 86_400);
/// How long the answer to a request is kept for the case that it comes again.
pub(crate) const KEPT: Duration = Duration::from_secs(86_400);
/// How often those that are older are dropped.
const TIDY: Duration = Duration::from_secs(3_600);

/// The backends that a control plane is made of.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a backend that is left out must not build")]
pub struct Control {
    /// The platform's; its authorizer says what principals may do, and tokens narrow that further.
    pub parts: Parts,
    /// Keeps answers to requests that may come twice.
    pub answers: Arc<dyn AnswerStore>,
    /// Knows who speaks.
    pub credentials: Arc<dyn CredentialStore>,
    /// Knows the agents of hosts.
    pub agents: Agents,
    /// What the platform's backends can do beyond their traits; what needs it is refused without.
    pub upkeep: Option<Arc<dyn Upkeep>>,
    /// What builds here; where nothing does, whoever asks for it is refused.
    pub builds: Option<BuildControl>,
    /// How fast bytes may travel to hosts; where nothing keeps that, whoever asks for it is refused.
    pub limits: Option<Arc<LimitFile>>,
}

/// The control plane, ready to be served.
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) state: SharedState,
}

pub(crate) type SharedState = Arc<State>;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) control: Control,
    pub(crate) holder: Holder,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) pool: DriverPool,
    pub(crate) rates: Rates,
    /// Requests that this process has begun and not answered.
    pub(crate) left: Left,
    /// How many requests may be worked on.
    pub(crate) turns: Semaphore,
    /// How many event streams may be open.
    pub(crate) streams: Arc<Semaphore>,
    /// Whether the server is about to stop.
    pub(crate) stopping: watch::Receiver<bool>,
}

impl State {
    pub(crate) fn now(&self) -> Timestamp {
        self.control.parts.clock.now()
    }

    /// Whether the server is about to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
}

/// What came of asking for the first token.
#[derive(Debug)]
#[non_exhaustive]
pub enum FirstToken {
    /// There are tokens already.
    Exists,
    /// It was made just now: this is the only time that it is shown.
    Made(ApiToken),
}

impl Server {
    /// A control plane over `control` that drives rollouts with `pool`, until `stopping` says true.
    #[must_use]
    pub fn new(
        control: Control,
        pool: DriverPool,
        limits: Limits,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let state = State {
            holder: pool.holder().clone(),
            metrics: Metrics::new(),
            rates: Rates::default(),
            left: Left::default(),
            turns: Semaphore::new(limits.requests),
            streams: Arc::new(Semaphore::new(limits.streams)),
            control,
            limits,
            pool,
            stopping,
        };
        Self { state: Arc::new(state) }
    }

    /// Makes a token that may do everything, if there is no token at all.
    ///
    /// # Errors
    /// If tokens cannot be read or written.
    pub async fn first_token(&self) -> Result<FirstToken, Problem> {
        let tokens = self.state.control.credentials.tokens(None, 1).await.or_problem()?;
        if !tokens.is_empty() {
            return Ok(FirstToken::Exists);
        }
        self.admin_token("made at the first start").await.map(FirstToken::Made)
    }

    /// Makes a token that may do everything, for whoever has the server's own machine and has lost all others.
    ///
    /// # Errors
    /// If tokens cannot be written.
    pub async fn admin_token(&self, note: &str) -> Result<ApiToken, Problem> {
        let principal: Principal = "admin".parse().map_err(invalid)?;
        let platform = self.platform();
        let permit = platform.permit(&principal, Action::TokenWrite, Resource::System);
        let permit = permit.await.or_problem()?;
        let (token, now) = (new_token()?, self.state.now());
        let scope = TokenScope::new(Action::ALL);
        let (id, hash) = (token.id.clone(), token.secret.hash());
        let request = CreateToken::new(id, hash, principal, scope, now, now.after(FIRST_TOKEN))
            .with_note(note);
        self.state.control.credentials.create(&permit, &request).await.or_problem()?;
        Ok(token)
    }

    /// Drops what is kept for requests that come twice once nobody can mean it any more, until the server stops.
    pub async fn tidy(&self) {
        let (state, mut stopping) = (&self.state, self.state.stopping.clone());
        let clock = &state.control.parts.clock;
        while !state.is_stopping() {
            let now = state.now();
            let kept = u64::try_from(KEPT.as_millis()).unwrap_or(u64::MAX);
            let before = Timestamp::from_millis(now.as_millis().saturating_sub(kept));
            if let Err(err) = state.control.answers.forget(before).await {
                tracing::warn!(error = %err.chain(), "old answers were not dropped");
            }
            for claim in state.left.take_older(before) {
                give_up(state, &claim).await;
            }
            tokio::select! {
                _ = stopping.wait_for(|it| *it) => {}
                () = clock.sleep_until(now.after(TIDY)) => {}
            }
        }
    }

    /// The platform as the server itself uses it.
    pub(crate) fn platform(&self) -> Platform {
        Platform::new(self.state.control.parts.clone())
    }
}
