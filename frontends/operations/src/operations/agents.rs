use super::{Listed, Operations};
use crate::{
    parse::{self, refused},
    problem::{IntoProblem as _, OrProblem as _},
    random::random,
};
use deploy_core::{
    access::{Action, Permit, Resource},
    agent::{self, AgentState},
    backend::{AgentRegistry, CreateJoinToken, JoinGrant},
    digest::Digest,
    error::ErrorKind,
    id::{HostName, TokenId},
    time::Timestamp,
    token,
};
use deploy_wire::{
    Agent, AgentDecision, IssuedJoinToken, JoinToken, NewJoinToken, Problem, ProblemCode, RelayWork,
};
use std::{collections::BTreeMap, fmt, num::NonZeroU32, sync::Arc, time::Duration};

/// How long a join token is worth something if nothing is said of it.
const USUAL: Duration = Duration::from_secs(3_600);
/// The longest that it may be.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 500;

/// What is known of the connections of agents, where they connect to.
pub trait AgentLinks: fmt::Debug + Send + Sync + 'static {
    /// Whether the agent of `host` is connected; `None` where that cannot be known.
    fn is_connected(&self, host: &HostName) -> Option<bool>;

    /// Somebody has decided whether the agent of `host` is let in. Who is not loses the connection at once.
    fn decided(&self, host: &HostName, is_let_in: bool);

    /// The authority whose servers agents trust.
    fn authority(&self) -> Digest;

    /// The `HOST:PORT` at which machines enrol, if somebody has said it.
    fn address(&self) -> Option<String>;

    /// How many are connected.
    fn connected(&self) -> u64;

    /// How many have asked for a session so far and were refused one.
    fn refused(&self) -> u64;

    /// How many bytes of blocks hosts were given so far, which they did not have from each other.
    fn given_bytes(&self) -> u64;

    /// How often hosts have found somebody to give blocks that are wrong so far, by who that was.
    fn corrupt_blocks(&self) -> BTreeMap<HostName, u64>;

    /// What the relays that are there say of themselves; `None` where that cannot be known.
    fn relays(&self) -> Option<BTreeMap<HostName, RelayWork>>;
}

/// The connections of agents as seen from a process to which none leads. The server to which they lead finds out by itself what is
/// decided here.
#[derive(Clone, Debug)]
pub struct LinksElsewhere {
    authority: Digest,
    address: Option<String>,
}

impl LinksElsewhere {
    /// Of a control plane with this authority, where machines enrol at `address`.
    #[must_use]
    pub const fn new(authority: Digest, address: Option<String>) -> Self {
        Self { authority, address }
    }
}

impl AgentLinks for LinksElsewhere {
    fn is_connected(&self, _: &HostName) -> Option<bool> {
        None
    }

    fn decided(&self, _: &HostName, _: bool) {}

    fn authority(&self) -> Digest {
        self.authority
    }

    fn address(&self) -> Option<String> {
        self.address.clone()
    }

    fn connected(&self) -> u64 {
        0
    }

    fn refused(&self) -> u64 {
        0
    }

    fn given_bytes(&self) -> u64 {
        0
    }

    fn corrupt_blocks(&self) -> BTreeMap<HostName, u64> {
        BTreeMap::new()
    }

    fn relays(&self) -> Option<BTreeMap<HostName, RelayWork>> {
        None
    }
}

/// The agents of a control plane.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a backend that is left out must not build")]
pub struct Agents {
    /// Knows who may come in.
    pub registry: Arc<dyn AgentRegistry>,
    /// Knows who is there.
    pub links: Arc<dyn AgentLinks>,
}

impl Operations {
    /// Makes a join token. What proves that one has it is in the answer, and nowhere else.
    ///
    /// # Errors
    /// If the principal may not, or a field means nothing.
    pub async fn create_join_token(
        &self,
        agents: &Agents,
        asked: &NewJoinToken,
    ) -> Result<IssuedJoinToken, Problem> {
        let permit = self.permit(Action::HostEnroll, Resource::System).await?;
        let now = self.parts().clock.now();
        let uses = NonZeroU32::new(asked.uses);
        let uses = uses.ok_or_else(|| refused("uses", "it must be more than 0"))?;
        let id = TokenId::from_bits(u64::from_le_bytes(random()?));
        let secret = token::TokenSecret::from_bytes(random()?);
        let until = now.after(lifetime(asked.expires_in_secs)?);
        let request = CreateJoinToken::new(id.clone(), secret.hash(), now, until)
            .with_labels(parse::labels(&asked.labels)?)
            .with_uses(uses);
        let made = agents.registry.create_join_token(&permit, &request).await.or_problem()?;
        let secret = token::JoinToken::new(id, secret, agents.links.authority()).reveal();
        let server = agents.links.address();
        Ok(IssuedJoinToken { token: join_token(&made, now), secret, server })
    }

    /// Join tokens, also those that are worth nothing any more.
    ///
    /// # Errors
    /// If the principal may not make any, or they cannot be read.
    pub async fn join_tokens(
        &self,
        agents: &Agents,
        after: Option<&TokenId>,
        limit: usize,
    ) -> Result<Listed<JoinToken>, Problem> {
        self.permit(Action::HostEnroll, Resource::System).await?;
        let read = agents.registry.join_tokens(after, limit.saturating_add(1)).await;
        let listed = Listed::first(read.or_problem()?, limit, |it| it.id.to_string());
        let now = self.parts().clock.now();
        Ok(listed.map(|it| join_token(&it, now)))
    }

    /// Makes a join token worth nothing, at once and for good. Hosts that it has let in stay.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn revoke_join_token(&self, agents: &Agents, id: &TokenId) -> Result<(), Problem> {
        let permit = self.permit(Action::HostEnroll, Resource::System).await?;
        let now = self.parts().clock.now();
        agents.registry.revoke_join_token(&permit, id, now).await.map_err(|err| match err.kind() {
            ErrorKind::NotFound => {
                let message = format!("there is no join token `{id}`");
                Problem::new(ProblemCode::NotFound, message).with_context("token", id)
            }
            _ => err.into_problem(),
        })
    }

    /// Agents, in the order of their hosts.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn agents(
        &self,
        agents: &Agents,
        after: Option<&HostName>,
        limit: usize,
    ) -> Result<Listed<Agent>, Problem> {
        let read = agents.registry.agents(after, limit.saturating_add(1)).await;
        let listed = Listed::first(read.or_problem()?, limit, |it| it.host.to_string());
        Ok(listed.map(|it| agents.document(&it)))
    }

    /// The agent of a host.
    ///
    /// # Errors
    /// If there is none.
    pub async fn agent(&self, agents: &Agents, host: &HostName) -> Result<Agent, Problem> {
        let found = agents.registry.agent(host).await;
        Ok(agents.document(&found.map_err(|err| without_agent(err, host))?))
    }

    /// Decides whether the agent of a host is let in. One that is not loses its connection at once.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn decide_agent(
        &self,
        agents: &Agents,
        host: &HostName,
        decision: &AgentDecision,
    ) -> Result<Agent, Problem> {
        let permit = self.agent_permit(host).await?;
        let (state, reason) = match decision {
            AgentDecision::Accept => (AgentState::Active, ""),
            AgentDecision::Revoke { reason } => (AgentState::Revoked, reason.as_str()),
        };
        if reason.chars().count() > LONGEST_REASON {
            let why = format!("it must have no more than {LONGEST_REASON} characters");
            return Err(refused("reason", why));
        }
        let decided = agents.registry.decide(&permit, host, state, reason).await;
        let decided = decided.map_err(|err| without_agent(err, host))?;
        agents.links.decided(host, state == AgentState::Active);
        Ok(agents.document(&decided))
    }

    /// Forgets the agent of a host: its machine may enrol as a new one. The host stays in the inventory.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn remove_agent(&self, agents: &Agents, host: &HostName) -> Result<(), Problem> {
        let permit = self.agent_permit(host).await?;
        let removed = agents.registry.remove(&permit, host).await;
        removed.map_err(|err| without_agent(err, host))?;
        agents.links.decided(host, false);
        Ok(())
    }

    async fn agent_permit(&self, host: &HostName) -> Result<Permit, Problem> {
        self.permit(Action::HostEnroll, Resource::Host(host.clone(), None)).await
    }
}

impl Agents {
    fn document(&self, agent: &agent::Agent) -> Agent {
        Agent::new(agent, self.links.is_connected(&agent.host))
    }
}

fn without_agent(err: deploy_core::error::BackendError, host: &HostName) -> Problem {
    if err.kind() != ErrorKind::NotFound {
        return err.into_problem();
    }
    Problem::new(ProblemCode::NotFound, format!("the host `{host}` has no agent"))
        .with_hint("`deploy host join-token create` makes what a machine becomes a host by")
        .with_context("host", host)
}

fn lifetime(secs: Option<u64>) -> Result<Duration, Problem> {
    let lifetime = secs.map_or(USUAL, Duration::from_secs);
    if lifetime.is_zero() || lifetime > LONGEST {
        return Err(refused("expires_in_secs", format!("it must be 1 to {}", LONGEST.as_secs())));
    }
    Ok(lifetime)
}

fn join_token(grant: &JoinGrant, now: Timestamp) -> JoinToken {
    let labels = grant.labels.iter().map(|(key, value)| (key.to_string(), value.to_string()));
    JoinToken {
        id: grant.id.to_string(),
        labels: labels.collect(),
        uses: grant.uses.get(),
        used: grant.used,
        refusal: grant.refusal(now).map(ToOwned::to_owned),
        created_at: grant.created_at.to_string(),
        created_by: grant.created_by.to_string(),
        expires_at: grant.expires_at.to_string(),
        revoked_at: grant.revoked_at.map(|it| it.to_string()),
    }
}
