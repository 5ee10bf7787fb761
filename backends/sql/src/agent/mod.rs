mod enroll;
mod join;
mod record;

use crate::{
    arg::{int, limit},
    database::Database,
    row::Row,
    store::Store,
};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    agent::{Agent, AgentFacts, AgentState, KeyFingerprint},
    backend::{AgentRegistry, CertifyAgent, CreateJoinToken, EnrollAgent, JoinGrant},
    error::{BackendError, BackendResult, ErrorKind},
    id::{BootId, HostName, TokenId},
    time::Timestamp,
};
use record::Whose;

const ARRIVE: &str = "agent.arrive";
const CERTIFY: &str = "agent.certify";
const CREATE: &str = "agent.create_join_token";
const DECIDE: &str = "agent.decide";
const DESCRIBE: &str = "agent.describe";
const ENROLL: &str = "agent.enroll";
const HEAR: &str = "agent.hear";
const IDENTIFY: &str = "agent.identify";
const REMOVE: &str = "agent.remove";
const REVOKE: &str = "agent.revoke_join_token";

/// Keeps agents and join tokens in SQL.
///
/// An agent that comes back as it was costs a read and no write: thousands may come back at once.
#[derive(Clone, Debug)]
pub struct SqlAgentRegistry {
    store: Store,
}

impl SqlAgentRegistry {
    /// The agents in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { store: database.main().clone() }
    }

    fn missing(&self, operation: &'static str, host: &HostName) -> BackendError {
        self.store.error(ErrorKind::NotFound, operation).with("host", host)
    }

    /// Without the database: whoever is refused is a stranger.
    fn stranger(operation: &'static str, key: &KeyFingerprint) -> BackendError {
        BackendError::new(ErrorKind::Unauthenticated, operation).with("key", key)
    }
}

#[async_trait]
impl AgentRegistry for SqlAgentRegistry {
    async fn create_join_token(
        &self,
        permit: &Permit,
        request: &CreateJoinToken,
    ) -> BackendResult<JoinGrant> {
        permit.demand(Action::HostEnroll, &Resource::System, CREATE)?;
        let error = |kind| self.store.error(kind, CREATE).with("token", &request.id);
        if request.expires_at <= request.created_at {
            let why = "it would have expired before it is made";
            return Err(error(ErrorKind::InvalidInput).with("reason", why));
        }
        let grant = JoinGrant::new(request, permit.principal().clone());
        match self.insert_grant(&grant, &request.secret).await? {
            0 => Err(error(ErrorKind::AlreadyExists)),
            _ => Ok(grant),
        }
    }

    async fn join_tokens(
        &self,
        after: Option<&TokenId>,
        most: usize,
    ) -> BackendResult<Vec<JoinGrant>> {
        self.grants_after(after, most).await
    }

    async fn revoke_join_token(
        &self,
        permit: &Permit,
        id: &TokenId,
        now: Timestamp,
    ) -> BackendResult<()> {
        permit.demand(Action::HostEnroll, &Resource::System, REVOKE)?;
        match self.revoke_grant(id, now).await? {
            0 => Err(self.store.error(ErrorKind::NotFound, REVOKE).with("token", id)),
            _ => Ok(()),
        }
    }

    async fn enroll(&self, request: &EnrollAgent) -> BackendResult<Agent> {
        self.let_in(request).await
    }

    async fn identify(&self, key: &KeyFingerprint) -> BackendResult<Agent> {
        let whose = Whose::Key(key);
        let changed = self.change(IDENTIFY, whose, |agent| {
            agent.present(key);
            agent.demand_active(IDENTIFY)
        });
        changed.await?.ok_or_else(|| Self::stranger(IDENTIFY, key))
    }

    async fn certify(&self, request: &CertifyAgent) -> BackendResult<Agent> {
        let CertifyAgent { holder, key, certificate, .. } = request;
        let changed = self.change(CERTIFY, Whose::Key(holder), |agent| {
            agent.present(holder);
            agent.demand_active(CERTIFY)?;
            // Of another agent it cannot be either: the table of keys says so when this is written.
            if !agent.has_key(key) && agent.keys().any(|mine| mine == key) {
                return Err(self.key_is_taken(CERTIFY, key));
            }
            agent.certify(*key, certificate.clone());
            Ok(())
        });
        changed.await?.ok_or_else(|| Self::stranger(CERTIFY, holder))
    }

    async fn arrive(&self, host: &HostName, boot: &BootId, now: Timestamp) -> BackendResult<Agent> {
        let changed = self.change(ARRIVE, Whose::Host(host), |agent| {
            agent.arrive(boot);
            agent.demand_active(ARRIVE)?;
            agent.see(now);
            Ok(())
        });
        changed.await?.ok_or_else(|| self.missing(ARRIVE, host))
    }

    async fn hear(&self, host: &HostName, now: Timestamp) -> BackendResult<()> {
        let mut agent = self.find(HEAR, Whose::Host(host)).await?;
        let agent = agent.as_mut().ok_or_else(|| self.missing(HEAR, host))?;
        agent.demand_active(HEAR)?;
        let before = agent.last_seen_at;
        agent.see(now);
        if agent.last_seen_at == before { Ok(()) } else { self.note_sight(host, now).await }
    }

    async fn describe(&self, host: &HostName, facts: &AgentFacts) -> BackendResult<()> {
        let changed = self.change(DESCRIBE, Whose::Host(host), |agent| {
            agent.demand_active(DESCRIBE)?;
            facts.clone_into(&mut agent.facts);
            Ok(())
        });
        changed.await?.map(drop).ok_or_else(|| self.missing(DESCRIBE, host))
    }

    async fn agent(&self, host: &HostName) -> BackendResult<Agent> {
        const AGENT: &str = "agent.agent";
        let found = self.find(AGENT, Whose::Host(host)).await?;
        found.ok_or_else(|| self.missing(AGENT, host))
    }

    async fn agents(&self, after: Option<&HostName>, most: usize) -> BackendResult<Vec<Agent>> {
        const AGENTS: &str = "agent.agents";
        const SQL: &str = "SELECT host, natural_key, last_seen_at, format, checksum, body \
             FROM agents WHERE host > $1 ORDER BY host LIMIT $2";
        // Every name is greater than the empty text, which is none.
        let after = after.map_or("", HostName::as_str);
        let rows = self.store.fetch(AGENTS, SQL, &[after.into(), limit(most)]).await?;
        self.store.place(AGENTS, "agents").decode_all(&rows, record::decode_agent)
    }

    async fn kept_out(&self) -> BackendResult<Vec<HostName>> {
        const KEPT_OUT: &str = "agent.kept_out";
        const SQL: &str = "SELECT host FROM agents WHERE kept_out = 1 ORDER BY host";
        let rows = self.store.fetch(KEPT_OUT, SQL, &[]).await?;
        let decode = |row: &Row| Ok(row.text(0)?.parse()?);
        self.store.place(KEPT_OUT, "agents").decode_all(&rows, decode)
    }

    async fn decide(
        &self,
        permit: &Permit,
        host: &HostName,
        state: AgentState,
        reason: &str,
    ) -> BackendResult<Agent> {
        permit.demand(Action::HostEnroll, &Resource::Host(host.clone(), None), DECIDE)?;
        let changed = self.change(DECIDE, Whose::Host(host), |agent| {
            agent.decide(state, reason);
            Ok(())
        });
        changed.await?.ok_or_else(|| self.missing(DECIDE, host))
    }

    async fn remove(&self, permit: &Permit, host: &HostName) -> BackendResult<()> {
        const SQL: &str = "DELETE FROM agents WHERE host = $1";
        permit.demand(Action::HostEnroll, &Resource::Host(host.clone(), None), REMOVE)?;
        let mut transaction = self.store.begin(REMOVE).await?;
        let removed = transaction.execute(SQL, &[host.as_str().into()]).await;
        match transaction.finish(removed).await? {
            0 => Err(self.missing(REMOVE, host)),
            _ => Ok(()),
        }
    }
}

/// An instant as a column holds it.
fn millis(operation: &'static str, at: Timestamp) -> BackendResult<i64> {
    int(operation, "now", at.as_millis())
}
