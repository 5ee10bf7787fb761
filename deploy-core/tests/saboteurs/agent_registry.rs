use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    agent::{Agent, AgentFacts, AgentState, KeyFingerprint},
    backend::{
        AgentRegistry, BackendError, BackendResult, CertifyAgent, CreateJoinToken, EnrollAgent,
        ErrorKind, JoinGrant,
    },
    conformance::{Harness, permit, sample},
    host::Labels,
    id::{BootId, HostName, TokenId},
    memory::MemoryAgentRegistry,
    time::Timestamp,
    token::SecretHash,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

sabotages! {
    AcceptsAnySecret,
    AcceptsTheExpired,
    CallsStrangersMissing,
    CallsTheMissingUnavailable,
    CertifiesAnybodysKey,
    ForgetsAtACrash,
    ForgetsCertificates,
    ForgetsFacts,
    ForgetsLabelsOfTokens,
    ForgetsReasons,
    ForgetsWhoMadeTokens,
    GivesNoLabels,
    HearsTheRevoked,
    HidesTheRevoked,
    IgnoresLimits,
    IgnoresPermits,
    IsAlone,
    LetsIdsBeUsedAgain,
    LetsNamesBeUsedAgain,
    LetsTheRevokedEnroll,
    ListsAgentsBackwards,
    ListsTokensBackwards,
    LooksBeforeItEnrolls,
    MakesTheWorthless,
    NotesEverySight,
    NotesNoSight,
    RefusesToRepeat,
    /// In this process.
    RemembersWhoWasLetIn,
    RemovesNothing,
    RenamesTheReinstalled,
    SupersedesAtOnce,
    TellsIdsFromSecrets,
    ToleratesOldBoots,
    ToleratesOldKeys,
    UsesTokensForNothing,
}

type State = Arc<Kept>;

#[derive(Debug, Default)]
pub(crate) struct Kept {
    plain: MemoryAgentRegistry,
    secrets: Mutex<BTreeMap<TokenId, SecretHash>>,
}

saboteurs!(AgentRegistry, State);

fn state(_: Sabotage) -> State {
    State::default()
}

fn open(sabotage: Sabotage, kept: &State) -> Arc<dyn AgentRegistry> {
    let (let_in, sights, in_vain) = Default::default();
    Arc::new(Saboteur { kept: kept.clone(), sabotage, let_in, sights, in_vain })
}

#[derive(Debug)]
struct Saboteur {
    kept: State,
    sabotage: Sabotage,
    let_in: Mutex<BTreeMap<KeyFingerprint, Agent>>,
    sights: Mutex<BTreeMap<HostName, Timestamp>>,
    /// How often a token was used for nothing.
    in_vain: Mutex<BTreeMap<TokenId, u32>>,
}

impl Saboteur {
    fn plain(&self) -> &MemoryAgentRegistry {
        &self.kept.plain
    }

    fn does(&self, sabotage: Sabotage) -> bool {
        self.sabotage == sabotage
    }

    /// An agent as this saboteur shows it.
    fn shown(&self, mut agent: Agent) -> Agent {
        match self.sabotage {
            Sabotage::ForgetsCertificates => {
                agent.key.certificate = None;
                agent.next_key.iter_mut().for_each(|it| it.certificate = None);
            }
            Sabotage::ForgetsFacts => agent.facts = AgentFacts::default(),
            Sabotage::ForgetsReasons => agent.reason.clear(),
            Sabotage::GivesNoLabels => agent.labels = Labels::new(),
            Sabotage::NotesEverySight => {
                agent.last_seen_at = self.sights.lock().unwrap().get(&agent.host).copied();
            }
            Sabotage::NotesNoSight => agent.last_seen_at = None,
            _ => {}
        }
        agent
    }

    fn shown_grant(&self, mut grant: JoinGrant) -> JoinGrant {
        match self.sabotage {
            Sabotage::ForgetsLabelsOfTokens => grant.labels = Labels::new(),
            Sabotage::ForgetsWhoMadeTokens => grant.created_by = sample::principal("somebody"),
            Sabotage::UsesTokensForNothing => {
                grant.used += self.in_vain.lock().unwrap().get(&grant.id).copied().unwrap_or(0);
            }
            _ => {}
        }
        grant
    }

    async fn permit(&self, given: &Permit) -> Permit {
        match self.sabotage {
            Sabotage::IgnoresPermits => permit(Action::HostEnroll, Resource::System).await,
            _ => given.clone(),
        }
    }

    fn missing(&self, err: BackendError) -> BackendError {
        match (self.sabotage, err.kind()) {
            (Sabotage::CallsTheMissingUnavailable, ErrorKind::NotFound) => {
                BackendError::new(ErrorKind::Unavailable, err.operation())
            }
            _ => err,
        }
    }

    async fn grant(&self, id: &TokenId) -> Option<JoinGrant> {
        let grants = self.plain().join_tokens(None, usize::MAX).await.unwrap();
        grants.into_iter().find(|it| it.id == *id)
    }

    async fn owner(&self, key: &KeyFingerprint) -> Option<Agent> {
        let agents = self.plain().agents(None, usize::MAX).await.unwrap();
        agents.into_iter().find(|it| it.keys().any(|mine| mine == key))
    }

    /// What it makes of a request before the registry beneath sees it.
    async fn twist(&self, request: &EnrollAgent) -> EnrollAgent {
        let mut request = request.clone();
        let right = self.kept.secrets.lock().unwrap().get(&request.token).copied();
        match (self.sabotage, right) {
            (Sabotage::AcceptsAnySecret, Some(right)) => request.secret = right,
            (Sabotage::AcceptsTheExpired, _) => request.now = request.now.min(sample::at(200)),
            (Sabotage::LooksBeforeItEnrolls, _) => {
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
            }
            _ => {}
        }
        request
    }

    /// What comes of a request that the registry beneath refuses.
    async fn enroll_anyway(
        &self,
        request: &EnrollAgent,
        looked: bool,
        err: BackendError,
    ) -> BackendResult<Agent> {
        let known = self.kept.secrets.lock().unwrap().contains_key(&request.token);
        let EnrollAgent { host, natural_key, key, token, now, .. } = request.clone();
        let made = Agent::new(host.clone(), natural_key, key, Labels::new(), token.clone(), now);
        match (self.sabotage, err.kind()) {
            (Sabotage::LetsNamesBeUsedAgain, ErrorKind::AlreadyExists) => Ok(made),
            (Sabotage::LetsTheRevokedEnroll, ErrorKind::PermissionDenied) => Ok(made),
            (Sabotage::LooksBeforeItEnrolls, ErrorKind::Unauthenticated) if looked => Ok(made),
            (Sabotage::TellsIdsFromSecrets, ErrorKind::Unauthenticated) if known => {
                Err(BackendError::new(err.kind(), err.operation()).with("token", token))
            }
            (Sabotage::UsesTokensForNothing, _) => {
                *self.in_vain.lock().unwrap().entry(token).or_default() += 1;
                Err(err)
            }
            _ => Err(err),
        }
    }
}

#[async_trait]
impl AgentRegistry for Saboteur {
    async fn create_join_token(
        &self,
        given: &Permit,
        request: &CreateJoinToken,
    ) -> BackendResult<JoinGrant> {
        let permit = self.permit(given).await;
        match self.plain().create_join_token(&permit, request).await {
            Err(err) => match (self.sabotage, err.kind()) {
                (Sabotage::LetsIdsBeUsedAgain, ErrorKind::AlreadyExists)
                | (Sabotage::MakesTheWorthless, ErrorKind::InvalidInput) => {
                    Ok(JoinGrant::new(request, permit.principal().clone()))
                }
                _ => Err(err),
            },
            Ok(made) => {
                self.kept.secrets.lock().unwrap().insert(request.id.clone(), request.secret);
                Ok(self.shown_grant(made))
            }
        }
    }

    async fn join_tokens(
        &self,
        after: Option<&TokenId>,
        limit: usize,
    ) -> BackendResult<Vec<JoinGrant>> {
        let limit = if self.does(Sabotage::IgnoresLimits) { usize::MAX } else { limit };
        let mut page = self.plain().join_tokens(after, limit).await?;
        if self.does(Sabotage::ListsTokensBackwards) {
            page.reverse();
        }
        Ok(page.into_iter().map(|it| self.shown_grant(it)).collect())
    }

    async fn revoke_join_token(
        &self,
        given: &Permit,
        id: &TokenId,
        now: Timestamp,
    ) -> BackendResult<()> {
        let permit = self.permit(given).await;
        let revoked = self.plain().revoke_join_token(&permit, id, now).await;
        revoked.map_err(|err| self.missing(err))
    }

    async fn enroll(&self, request: &EnrollAgent) -> BackendResult<Agent> {
        let looked = self.grant(&request.token).await;
        let looked = looked.is_some_and(|it| it.refusal(request.now).is_none());
        let repeated = self.owner(&request.key).await.is_some();
        let request = self.twist(request).await;
        match self.plain().enroll(&request).await {
            Ok(_) if repeated && self.does(Sabotage::RefusesToRepeat) => {
                Err(BackendError::new(ErrorKind::AlreadyExists, "agent.enroll"))
            }
            Ok(mut agent) => {
                if self.does(Sabotage::RenamesTheReinstalled) {
                    agent.host = request.host;
                }
                Ok(self.shown(agent))
            }
            Err(err) => self.enroll_anyway(&request, looked, err).await,
        }
    }

    async fn identify(&self, key: &KeyFingerprint) -> BackendResult<Agent> {
        let remembered = self.let_in.lock().unwrap().get(key).cloned();
        if let (Sabotage::RemembersWhoWasLetIn, Some(agent)) = (self.sabotage, remembered) {
            return Ok(agent);
        }
        let owner = self.owner(key).await;
        if self.does(Sabotage::ToleratesOldKeys) && owner.is_some_and(|it| !it.has_key(key)) {
            return Err(BackendError::new(ErrorKind::PermissionDenied, "agent.identify"));
        }
        let known = self.plain().identify(key).await.map_err(|err| match err.kind() {
            ErrorKind::Unauthenticated if self.does(Sabotage::CallsStrangersMissing) => {
                BackendError::new(ErrorKind::NotFound, err.operation())
            }
            _ => err,
        })?;
        if self.does(Sabotage::RemembersWhoWasLetIn) {
            let mut let_in = self.let_in.lock().unwrap();
            let_in.retain(|_, it| it.host != known.host);
            let_in.insert(*key, known.clone());
        }
        Ok(self.shown(known))
    }

    async fn certify(&self, request: &CertifyAgent) -> BackendResult<Agent> {
        self.let_in.lock().unwrap().clear();
        let certified = match self.plain().certify(request).await {
            Err(err)
                if err.kind() == ErrorKind::AlreadyExists
                    && self.does(Sabotage::CertifiesAnybodysKey) =>
            {
                self.plain().identify(&request.holder).await?
            }
            done => done?,
        };
        if self.does(Sabotage::SupersedesAtOnce) {
            return self.plain().identify(&request.key).await;
        }
        Ok(self.shown(certified))
    }

    async fn arrive(&self, host: &HostName, boot: &BootId, now: Timestamp) -> BackendResult<Agent> {
        self.sights.lock().unwrap().insert(host.clone(), now);
        let there = self.plain().agent(host).await.map_err(|err| self.missing(err))?;
        if self.does(Sabotage::ToleratesOldBoots) && there.former_boots.contains(boot) {
            return Ok(there);
        }
        self.let_in.lock().unwrap().clear();
        Ok(self.shown(self.plain().arrive(host, boot, now).await?))
    }

    async fn hear(&self, host: &HostName, now: Timestamp) -> BackendResult<()> {
        self.sights.lock().unwrap().insert(host.clone(), now);
        match self.plain().hear(host, now).await {
            Err(err)
                if err.kind() == ErrorKind::PermissionDenied
                    && self.does(Sabotage::HearsTheRevoked) =>
            {
                Ok(())
            }
            heard => heard.map_err(|err| self.missing(err)),
        }
    }

    async fn describe(&self, host: &HostName, facts: &AgentFacts) -> BackendResult<()> {
        let known = self.plain().describe(host, facts).await;
        known.map_err(|err| self.missing(err))
    }

    async fn kept_out(&self) -> BackendResult<Vec<HostName>> {
        match self.sabotage {
            Sabotage::HidesTheRevoked => Ok(Vec::new()),
            _ => self.plain().kept_out().await,
        }
    }

    async fn agent(&self, host: &HostName) -> BackendResult<Agent> {
        let found = self.plain().agent(host).await.map_err(|err| self.missing(err))?;
        Ok(self.shown(found))
    }

    async fn agents(&self, after: Option<&HostName>, limit: usize) -> BackendResult<Vec<Agent>> {
        let limit = if self.does(Sabotage::IgnoresLimits) { usize::MAX } else { limit };
        let mut page = self.plain().agents(after, limit).await?;
        match self.sabotage {
            Sabotage::HidesTheRevoked => page.retain(|it| it.state == AgentState::Active),
            Sabotage::ListsAgentsBackwards => page.reverse(),
            _ => {}
        }
        Ok(page.into_iter().map(|it| self.shown(it)).collect())
    }

    async fn decide(
        &self,
        given: &Permit,
        host: &HostName,
        state: AgentState,
        reason: &str,
    ) -> BackendResult<Agent> {
        self.let_in.lock().unwrap().clear();
        let permit = self.permit(given).await;
        let decided = self.plain().decide(&permit, host, state, reason).await;
        Ok(self.shown(decided.map_err(|err| self.missing(err))?))
    }

    async fn remove(&self, given: &Permit, host: &HostName) -> BackendResult<()> {
        self.let_in.lock().unwrap().clear();
        let permit = self.permit(given).await;
        if self.does(Sabotage::RemovesNothing) {
            permit.demand(
                Action::HostEnroll,
                &Resource::Host(host.clone(), None),
                "agent.remove",
            )?;
            return self.plain().agent(host).await.map(drop);
        }
        self.plain().remove(&permit, host).await.map_err(|err| self.missing(err))
    }
}
