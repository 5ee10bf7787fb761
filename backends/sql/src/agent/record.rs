//! Agents as they lie in their tables.
use super::{HEAR, SqlAgentRegistry, millis};
use crate::{
    arg::{Arg, int},
    body::{Body, FORMAT, decode},
    row::{Damage, Row},
    store::Transaction,
};
use deploy_core::{
    agent::{Agent, AgentState, KeyFingerprint, NaturalKey},
    error::{BackendError, BackendResult, ErrorKind},
    id::HostName,
    telemetry::{HOST, TARGET_BACKEND},
    time::Timestamp,
};
use std::{collections::BTreeSet, mem};

/// By what an agent is found.
#[derive(Clone, Copy)]
pub(super) enum Whose<'a> {
    Host(&'a HostName),
    Key(&'a KeyFingerprint),
}

impl<'a> Whose<'a> {
    fn arg(self) -> Arg<'a> {
        match self {
            Self::Host(host) => host.as_str().into(),
            Self::Key(key) => bytes(key),
        }
    }

    const fn select(self) -> &'static str {
        match self {
            Self::Host(_) => {
                "SELECT host, natural_key, last_seen_at, format, checksum, body FROM agents \
                 WHERE host = $1"
            }
            Self::Key(_) => {
                "SELECT a.host, a.natural_key, a.last_seen_at, a.format, a.checksum, a.body \
                 FROM agent_keys k JOIN agents a ON a.host = k.host WHERE k.fingerprint = $1"
            }
        }
    }

    /// Makes others who want to change the same agent wait.
    const fn lock(self) -> &'static str {
        match self {
            Self::Host(_) => {
                "UPDATE agents SET revision = revision + 1 WHERE host = $1 \
                 RETURNING host, natural_key, last_seen_at, format, checksum, body"
            }
            Self::Key(_) => {
                "UPDATE agents SET revision = revision + 1 \
                 WHERE host = (SELECT host FROM agent_keys WHERE fingerprint = $1) \
                 RETURNING host, natural_key, last_seen_at, format, checksum, body"
            }
        }
    }
}

impl SqlAgentRegistry {
    pub(super) async fn find(
        &self,
        operation: &'static str,
        whose: Whose<'_>,
    ) -> BackendResult<Option<Agent>> {
        let rows = self.store.fetch(operation, whose.select(), &[whose.arg()]).await?;
        self.decode(operation, &rows)
    }

    /// Lets `act` change an agent, and gives what came of it; `None` if there is none. What `act` has changed is kept also
    /// when it refuses. What it leaves as it is costs a read.
    pub(super) async fn change(
        &self,
        operation: &'static str,
        whose: Whose<'_>,
        act: impl Fn(&mut Agent) -> BackendResult<()> + Sync,
    ) -> BackendResult<Option<Agent>> {
        let Some(found) = self.find(operation, whose).await? else {
            return Ok(None);
        };
        let mut agent = found.clone();
        let acted = act(&mut agent);
        if agent == found {
            return acted.map(|()| Some(agent));
        }
        let mut transaction = self.store.begin(operation).await?;
        let outcome = self.change_in(&mut transaction, operation, whose, act).await;
        let Some((agent, acted)) = transaction.finish(outcome).await? else {
            return Ok(None);
        };
        if agent.state == AgentState::Quarantined && found.state != agent.state {
            tracing::warn!(
                target: TARGET_BACKEND,
                { { HOST } = agent.host.as_str(), reason = agent.reason },
                "quarantined an agent"
            );
        }
        acted.map(|()| Some(agent))
    }

    async fn change_in(
        &self,
        transaction: &mut Transaction,
        operation: &'static str,
        whose: Whose<'_>,
        act: impl Fn(&mut Agent) -> BackendResult<()>,
    ) -> BackendResult<Option<(Agent, BackendResult<()>)>> {
        let rows = transaction.fetch(whose.lock(), &[whose.arg()]).await?;
        let Some(found) = self.decode(operation, &rows)? else {
            return Ok(None);
        };
        let mut agent = found.clone();
        let acted = act(&mut agent);
        self.update(transaction, operation, &found, &agent).await?;
        Ok(Some((agent, acted)))
    }

    /// The agent of a machine, locked.
    pub(super) async fn of_machine(
        &self,
        transaction: &mut Transaction,
        operation: &'static str,
        machine: &NaturalKey,
    ) -> BackendResult<Option<Agent>> {
        const SQL: &str = "UPDATE agents SET revision = revision + 1 WHERE natural_key = $1 \
             RETURNING host, natural_key, last_seen_at, format, checksum, body";
        let rows = transaction.fetch(SQL, &[machine.to_string().as_str().into()]).await?;
        self.decode(operation, &rows)
    }

    /// Adds an agent. The name of another machine is `AlreadyExists`, and so is the key of another agent.
    pub(super) async fn insert(
        &self,
        transaction: &mut Transaction,
        operation: &'static str,
        agent: &Agent,
    ) -> BackendResult<()> {
        const SQL: &str = "INSERT INTO agents (host, natural_key, revision, format, checksum, body) \
             VALUES ($1, $2, 1, $3, $4, $5) ON CONFLICT (host) DO NOTHING";
        let body = encode(operation, agent)?;
        let [format, checksum, json] = body.args();
        let machine = agent.natural_key.to_string();
        let args = [agent.host.as_str().into(), machine.as_str().into(), format, checksum, json];
        match transaction.execute(SQL, &args).await {
            Ok(0) => {
                let taken = self.store.error(ErrorKind::AlreadyExists, operation);
                return Err(taken.with("host", &agent.host));
            }
            // Its machine was let in at the same time: the next try finds it.
            Err(err) if err.kind() == ErrorKind::Conflict => {
                return Err(self.store.error(ErrorKind::Unavailable, operation).because(err));
            }
            done => done?,
        };
        self.insert_keys(transaction, operation, &agent.host, agent.keys()).await
    }

    /// Writes what has changed of an agent.
    pub(super) async fn update(
        &self,
        transaction: &mut Transaction,
        operation: &'static str,
        before: &Agent,
        after: &Agent,
    ) -> BackendResult<()> {
        const SQL: &str = "UPDATE agents \
             SET last_seen_at = $2, kept_out = $3, format = $4, checksum = $5, body = $6 \
             WHERE host = $1";
        const FORGET: &str = "DELETE FROM agent_keys WHERE fingerprint = $1";
        let body = encode(operation, after)?;
        let [format, checksum, json] = body.args();
        let seen = after.last_seen_at.map(|at| millis(operation, at)).transpose()?;
        let kept_out = i64::from(after.state != AgentState::Active);
        let args =
            [after.host.as_str().into(), seen.into(), kept_out.into(), format, checksum, json];
        transaction.execute(SQL, &args).await?;
        let [old, new] = [before, after].map(|it| it.keys().collect::<BTreeSet<_>>());
        for key in old.difference(&new) {
            transaction.execute(FORGET, &[bytes(key)]).await?;
        }
        self.insert_keys(transaction, operation, &after.host, new.difference(&old).copied()).await
    }

    async fn insert_keys(
        &self,
        transaction: &mut Transaction,
        operation: &'static str,
        host: &HostName,
        keys: impl Iterator<Item = &KeyFingerprint> + Send,
    ) -> BackendResult<()> {
        const SQL: &str = "INSERT INTO agent_keys (fingerprint, host) VALUES ($1, $2) \
             ON CONFLICT (fingerprint) DO NOTHING";
        for key in keys {
            if transaction.execute(SQL, &[bytes(key), host.as_str().into()]).await? == 0 {
                return Err(self.key_is_taken(operation, key));
            }
        }
        Ok(())
    }

    pub(super) fn key_is_taken(
        &self,
        operation: &'static str,
        key: &KeyFingerprint,
    ) -> BackendError {
        let error = self.store.error(ErrorKind::AlreadyExists, operation);
        error.with("key", key).with("reason", "it is or was the key of an agent")
    }

    /// Notes a sight, unless another process has just done it.
    pub(super) async fn note_sight(&self, host: &HostName, now: Timestamp) -> BackendResult<()> {
        const SQL: &str = "UPDATE agents SET last_seen_at = $2 \
             WHERE host = $1 AND (last_seen_at IS NULL OR last_seen_at <= $3)";
        let step = u64::try_from(Agent::SIGHT_STEP.as_millis()).unwrap_or(u64::MAX);
        let before = int(HEAR, "now", now.as_millis().saturating_sub(step))?;
        let args = [host.as_str().into(), millis(HEAR, now)?.into(), before.into()];
        let mut transaction = self.store.begin(HEAR).await?;
        let noted = transaction.execute(SQL, &args).await;
        transaction.finish(noted).await.map(drop)
    }

    fn decode(&self, operation: &'static str, rows: &[Row]) -> BackendResult<Option<Agent>> {
        let found = self.store.place(operation, "agents").decode_all(rows, decode_agent)?;
        Ok(found.into_iter().next())
    }
}

fn bytes(key: &KeyFingerprint) -> Arg<'_> {
    key.digest().as_bytes().as_slice().into()
}

/// All but when it was last seen, which is a column of its own.
fn encode(operation: &'static str, agent: &Agent) -> BackendResult<Body> {
    let mut agent = agent.clone();
    mem::take(&mut agent.last_seen_at);
    Body::encode(operation, FORMAT, &agent)
}

/// Reads the columns `host, natural_key, last_seen_at, format, checksum, body`.
pub(super) fn decode_agent(row: &Row) -> Result<Agent, Damage> {
    let mut agent: Agent = decode(row, 3, FORMAT)?;
    if agent.host.as_str() != row.text(0)? || agent.natural_key.to_string() != row.text(1)? {
        return Err(Damage::Contradiction("its body is that of another agent"));
    }
    agent.last_seen_at = row.maybe_time(2)?;
    Ok(agent)
}
