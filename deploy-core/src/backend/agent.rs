use crate::{
    access::Permit,
    agent::{Agent, AgentFacts, AgentState, Certificate, KeyFingerprint, NaturalKey, makes_relays},
    error::{BackendError, BackendResult, ErrorKind},
    host::Labels,
    id::{BootId, HostName, Principal, TokenId},
    time::Timestamp,
    token::SecretHash,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{fmt, num::NonZeroU32};

/// What is known of a join token: the right to let some hosts in. Its secret is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JoinGrant {
    /// The public half of the token.
    pub id: TokenId,
    /// The labels of the hosts that it lets in.
    pub labels: Labels,
    /// How many it may let in.
    pub uses: NonZeroU32,
    /// How many it has let in.
    pub used: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    pub created_by: Principal,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
    /// Since when it is worth nothing, by somebody's decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

impl JoinGrant {
    /// The grant that `request` makes, by `created_by`.
    #[must_use]
    pub fn new(request: &CreateJoinToken, created_by: Principal) -> Self {
        Self {
            id: request.id.clone(),
            labels: request.labels.clone(),
            uses: request.uses,
            used: 0,
            created_at: request.created_at,
            created_by,
            expires_at: request.expires_at,
            revoked_at: None,
        }
    }

    /// Why it lets nobody in at `now`; `None` while it does.
    #[must_use]
    pub fn refusal(&self, now: Timestamp) -> Option<&'static str> {
        match self.revoked_at {
            Some(_) => Some("it was revoked"),
            None if self.expires_at <= now => Some("it has expired"),
            None if self.used >= self.uses.get() => Some("it is used up"),
            None => None,
        }
    }

    /// Why it does not let `machine` in; `None` while it does.
    #[must_use]
    pub fn refusal_of(&self, machine: &EnrollAgent) -> Option<&'static str> {
        let comes_in_vain = machine.natural_key.is_relays() && !makes_relays(&self.labels);
        let why = "the join token is none for a relay: make one with `deploy host join-token create --relay --zone ZONE`, and enrol again";
        self.refusal(machine.now).or_else(|| comes_in_vain.then_some(why))
    }
}

/// The join token to make.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CreateJoinToken {
    /// Its public half, never used before.
    pub id: TokenId,
    /// What is kept of its secret half.
    pub secret: SecretHash,
    /// The labels of the hosts that it lets in.
    pub labels: Labels,
    /// How many it may let in.
    pub uses: NonZeroU32,
    /// Now.
    pub created_at: Timestamp,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
}

impl CreateJoinToken {
    /// A token that lets one host in, without labels, from `created_at` until `expires_at`.
    #[must_use]
    pub const fn new(
        id: TokenId,
        secret: SecretHash,
        created_at: Timestamp,
        expires_at: Timestamp,
    ) -> Self {
        let uses = NonZeroU32::MIN;
        Self { id, secret, labels: Labels::new(), uses, created_at, expires_at }
    }

    /// Giving these labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// For so many hosts.
    #[must_use]
    pub const fn with_uses(mut self, uses: NonZeroU32) -> Self {
        self.uses = uses;
        self
    }
}

/// A host that wants to be let in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EnrollAgent {
    /// The public half of the join token it has.
    pub token: TokenId,
    /// The hash of the secret half.
    pub secret: SecretHash,
    /// The key it has made.
    pub key: KeyFingerprint,
    /// What it wants to be called, if nobody knows its machine.
    pub host: HostName,
    /// What its machine is called by others.
    pub natural_key: NaturalKey,
    /// Now.
    pub now: Timestamp,
}

impl EnrollAgent {
    /// The host `host` with the machine `natural_key` and the key `key`, by a join token.
    #[must_use]
    pub const fn new(
        token: TokenId,
        secret: SecretHash,
        key: KeyFingerprint,
        host: HostName,
        natural_key: NaturalKey,
        now: Timestamp,
    ) -> Self {
        Self { token, secret, key, host, natural_key, now }
    }

    /// Whether `agent` is what came of this request before, and the answer was lost.
    #[must_use]
    pub fn was_granted(&self, agent: &Agent) -> bool {
        agent.natural_key == self.natural_key
            && agent.key.fingerprint == self.key
            && agent.enrolled_with == self.token
    }

    /// What refuses it: the same words for each cause that a stranger must not tell apart.
    #[must_use]
    pub fn refused(&self, why: &'static str) -> BackendError {
        BackendError::new(ErrorKind::Unauthenticated, "agent.enroll")
            .with("token", &self.token)
            .with("reason", why)
    }
}

/// A certificate that is issued to an agent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CertifyAgent {
    /// The key with which it asks.
    pub holder: KeyFingerprint,
    /// The key that the certificate is for.
    pub key: KeyFingerprint,
    /// The certificate.
    pub certificate: Certificate,
}

impl CertifyAgent {
    /// `certificate` for `key`, asked for with the key `holder`.
    #[must_use]
    pub const fn new(
        holder: KeyFingerprint,
        key: KeyFingerprint,
        certificate: Certificate,
    ) -> Self {
        Self { holder, key, certificate }
    }
}

/// Knows the agents of hosts, and lets new ones in.
///
/// Nobody who enrolls or is identified has a permit: a join token is the proof of the one, a key that TLS has verified that of the
/// other. Agents must be told of in the order in which they connect.
///
/// # Contract
/// * `create_join_token` keeps a join token, made by whom the permit is for; an id that was ever used is `AlreadyExists`, and a token
///   that is worth nothing from the start is `InvalidInput`.
/// * `join_tokens` gives join tokens in the order of their ids, after the id given, no more than asked for, and also those worth
///   nothing.
/// * `revoke_join_token` keeps the first instant: doing it again is no error. An unknown id is `NotFound`.
/// * `enroll` uses a join token once, and gives an active agent with the token's labels and the name that it wants.
/// * A wrong secret is `Unauthenticated`, and told in the same words as an unknown id.
/// * A join token that has expired, was revoked or is used up is `Unauthenticated`, from then on and wherever it is used.
/// * A machine that comes as a relay by a join token whose labels are not those of one, `role=relay` and a `zone`, is `Unauthenticated`.
/// * Of any number of hosts that use a join token at once, as many are enrolled as it has uses.
/// * `enroll` again with the same key, machine and join token gives the same agent, and uses nothing: the answer was lost.
/// * `enroll` of a machine that is known finds its agent: the name stays, and the new key supersedes the old. If that agent is not
///   active it is `PermissionDenied`.
/// * `enroll` with the name of another machine, or with a key that is or was an agent's, is `AlreadyExists`.
/// * A refused `enroll` changes nothing, and uses nothing.
/// * `identify` gives the agent whose key it is; an unknown key is `Unauthenticated`.
/// * `certify` notes the certificate of a key. Another key than the agent has becomes its next one, and both are its own until
///   `identify` is given the next: that supersedes the other.
/// * `certify` for a key that was superseded, or is another agent's, is `AlreadyExists`.
/// * A superseded key that comes back, to `identify` or `certify`, quarantines the agent and is `PermissionDenied`.
/// * `arrive` notes the boot. One that was over and comes back quarantines the agent and is `PermissionDenied`.
/// * `arrive` and `hear` note when an agent was seen. A sight within five minutes after the noted one is not noted.
/// * `describe` notes what a host says of itself, in place of what it said before.
/// * What a quarantined or revoked agent asks for is `PermissionDenied`, at once and everywhere: from `identify`, `certify`, `arrive`,
///   `hear` and `describe` alike.
/// * `kept_out` gives the hosts of all agents that are quarantined or revoked, in the order of their names.
/// * `decide` sets the state, with a reason. An agent that is active again may come from any boot.
/// * `agents` gives agents in the order of their hosts, after the host given, and no more than asked for.
/// * A host without agent is `NotFound`, from `agent`, `arrive`, `hear`, `describe`, `decide` and `remove` alike.
/// * `remove` forgets an agent, its keys and its machine: they are as unknown ones.
/// * A permit for another action than `HostEnroll` is `PermissionDenied`: on the host from `decide` and `remove`, on everything from
///   `create_join_token` and `revoke_join_token`.
///
/// ```
/// use deploy_core::{
///     access::{Action, Resource},
///     agent::KeyFingerprint,
///     backend::{AgentRegistry, CreateJoinToken, EnrollAgent, ErrorKind, authorize},
///     id::TokenId,
///     memory::{MemoryAgentRegistry, MemoryAuthorizer, Rule},
///     time::Timestamp,
///     token::TokenSecret,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let rules = MemoryAuthorizer::new(vec![Rule::allow("ann".parse()?, [Action::HostEnroll])]);
/// let permit = authorize(&rules, "ann".parse()?, Action::HostEnroll, Resource::System).await?;
/// let agents = MemoryAgentRegistry::new();
///
/// let (id, secret) = (TokenId::from_bits(7), TokenSecret::from_bytes([1; 32]).hash());
/// let (now, later) = (Timestamp::from_millis(0), Timestamp::from_millis(600_000));
/// agents.create_join_token(&permit, &CreateJoinToken::new(id.clone(), secret, now, later)).await?;
///
/// let key = KeyFingerprint::of(b"the public key of a host");
/// let host = EnrollAgent::new(id, secret, key, "h1".parse()?, "machine/4f".parse()?, now);
/// assert_eq!(agents.enroll(&host).await?.host.as_str(), "h1");
/// assert_eq!(agents.identify(&key).await?.host.as_str(), "h1");
///
/// let mut other = host.clone();
/// other.natural_key = "machine/50".parse()?;
/// assert_eq!(agents.enroll(&other).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait AgentRegistry: fmt::Debug + Send + Sync + 'static {
    /// Makes a join token.
    async fn create_join_token(
        &self,
        permit: &Permit,
        request: &CreateJoinToken,
    ) -> BackendResult<JoinGrant>;

    /// Up to `limit` join tokens after `after`.
    async fn join_tokens(
        &self,
        after: Option<&TokenId>,
        limit: usize,
    ) -> BackendResult<Vec<JoinGrant>>;

    /// Makes a join token worth nothing from `now` on. Hosts that it has let in stay.
    async fn revoke_join_token(
        &self,
        permit: &Permit,
        id: &TokenId,
        now: Timestamp,
    ) -> BackendResult<()>;

    /// Lets a host in.
    async fn enroll(&self, request: &EnrollAgent) -> BackendResult<Agent>;

    /// Whose key it is that somebody has connected with.
    async fn identify(&self, key: &KeyFingerprint) -> BackendResult<Agent>;

    /// Notes a certificate, before it is handed out.
    async fn certify(&self, request: &CertifyAgent) -> BackendResult<Agent>;

    /// The agent of `host` is there at `now`, in `boot`.
    async fn arrive(&self, host: &HostName, boot: &BootId, now: Timestamp) -> BackendResult<Agent>;

    /// The agent of `host` is still there at `now`. Whoever hears it more often than a sight is noted need not tell each time.
    async fn hear(&self, host: &HostName, now: Timestamp) -> BackendResult<()>;

    /// Notes what the host says of itself. Whoever knows that it is what is noted need not say it.
    async fn describe(&self, host: &HostName, facts: &AgentFacts) -> BackendResult<()>;

    /// The agent of a host.
    async fn agent(&self, host: &HostName) -> BackendResult<Agent>;

    /// Up to `limit` agents of hosts after `after`.
    async fn agents(&self, after: Option<&HostName>, limit: usize) -> BackendResult<Vec<Agent>>;

    /// Whom connections have to be kept from. It is asked every second: it costs as much as there are such agents, and not
    /// as there are agents at all.
    async fn kept_out(&self) -> BackendResult<Vec<HostName>>;

    /// Decides whether the agent of a host is let in, and says why.
    async fn decide(
        &self,
        permit: &Permit,
        host: &HostName,
        state: AgentState,
        reason: &str,
    ) -> BackendResult<Agent>;

    /// Forgets the agent of a host.
    async fn remove(&self, permit: &Permit, host: &HostName) -> BackendResult<()>;
}
