//! Letting hosts in.
use super::{ENROLL, SqlAgentRegistry, record::Whose};
use crate::store::Transaction;
use deploy_core::{
    agent::Agent,
    backend::EnrollAgent,
    error::{BackendError, BackendResult},
};

/// Why nothing is written.
enum Unwritten {
    /// What is asked for was granted before.
    Granted(Box<Agent>),
    Refused(BackendError),
}

impl From<BackendError> for Unwritten {
    fn from(err: BackendError) -> Self {
        Self::Refused(err)
    }
}

impl SqlAgentRegistry {
    pub(super) async fn let_in(&self, request: &EnrollAgent) -> BackendResult<Agent> {
        // Compared outside the transaction: who does not have the secret takes no lock from anybody.
        let grant = self.presented(request).await?;
        if let Some(why) = grant.refusal_of(request) {
            let known = self.find(ENROLL, Whose::Key(&request.key)).await?;
            let known = known.filter(|it| request.was_granted(it));
            let granted = known.ok_or_else(|| request.refused(why))?;
            granted.demand_active(ENROLL)?;
            return Ok(granted);
        }
        let mut transaction = self.store.begin(ENROLL).await?;
        let outcome = self.let_in_with(&mut transaction, request).await;
        match transaction.finish(outcome).await {
            Ok(agent) => Ok(agent),
            Err(Unwritten::Granted(agent)) => Ok(*agent),
            Err(Unwritten::Refused(err)) => Err(err),
        }
    }

    async fn let_in_with(
        &self,
        transaction: &mut Transaction,
        request: &EnrollAgent,
    ) -> Result<Agent, Unwritten> {
        // First of all: it makes everybody queue who has the same token.
        let used = self.use_token(transaction, request).await?;
        let known = self.of_machine(transaction, ENROLL, &request.natural_key).await?;
        if let Some(agent) = known.as_ref().filter(|it| request.was_granted(it)) {
            agent.demand_active(ENROLL)?;
            return Err(Unwritten::Granted(Box::new(agent.clone())));
        }
        let Some(grant) = used else {
            return Err(request
                .refused("others have just used it up, or somebody has revoked it")
                .into());
        };
        let Some(known) = known else {
            let (host, machine) = (request.host.clone(), request.natural_key.clone());
            let token = request.token.clone();
            let agent = Agent::new(host, machine, request.key, grant.labels, token, request.now);
            self.insert(transaction, ENROLL, &agent).await?;
            return Ok(agent);
        };
        known.demand_active(ENROLL)?;
        if known.keys().any(|mine| *mine == request.key) {
            return Err(self.key_is_taken(ENROLL, &request.key).into());
        }
        let mut agent = known.clone();
        agent.reinstall(request.key, grant.labels, request.token.clone(), request.now);
        self.update(transaction, ENROLL, &known, &agent).await?;
        Ok(agent)
    }
}
