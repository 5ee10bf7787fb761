//! Which limits would limit nothing.
use super::{Agents, Operations, hosts::select};
use crate::problem::OrProblem as _;
use deploy_core::{
    host::{Connection, Host},
    id::{HostName, LabelValue, RolloutId},
    limit::LimitScope,
};
use deploy_wire::Problem;

impl Operations {
    /// Why a limit limits nothing now, or less than it says: only bytes to hosts with agents are limited.
    pub(super) async fn limited_in_vain(
        &self,
        agents: &Agents,
        scope: &LimitScope,
    ) -> Result<Vec<String>, Problem> {
        let why = match scope {
            LimitScope::Origin => self.origin_in_vain().await?,
            LimitScope::Zone(zone) => self.zone_in_vain(agents, zone).await?,
            LimitScope::Host(name) => self.host_in_vain(name).await?,
            LimitScope::Rollout(id) => self.rollout_in_vain(id).await?,
        };
        Ok(why.into_iter().collect())
    }

    async fn origin_in_vain(&self) -> Result<Option<String>, Problem> {
        let hosts = select(self.parts(), None).await?;
        let why = "no host has an agent: `origin` limits nothing until one does, since only what a server gives to agents and relays is limited";
        Ok((!hosts.iter().any(|it| has_agent(&it.value))).then(|| why.to_owned()))
    }

    async fn zone_in_vain(
        &self,
        agents: &Agents,
        zone: &LabelValue,
    ) -> Result<Option<String>, Problem> {
        let relays = self.relays(agents, None, usize::MAX).await?;
        if relays.items.iter().any(|it| it.zone.as_deref() == Some(zone.as_str())) {
            return Ok(None);
        }
        Ok(Some(format!(
            "zone `{zone}` has no relay: this limits nothing until one is enrolled, since it is for what the relays of a zone take from elsewhere"
        )))
    }

    async fn host_in_vain(&self, name: &HostName) -> Result<Option<String>, Problem> {
        let host = self.parts().inventory.host(name).await.or_problem()?;
        let why = || {
            format!(
                "host `{name}` has no agent: this limits nothing until it has one, and never what is sent over SSH"
            )
        };
        Ok((!has_agent(&host.value)).then(why))
    }

    async fn rollout_in_vain(&self, id: &RolloutId) -> Result<Option<String>, Problem> {
        let rollout = self.platform.load(id).await.or_problem()?;
        let (mut all, mut without) = (0_usize, 0_usize);
        for target in rollout.plan().waves.iter().flatten() {
            all += 1;
            without += usize::from(!has_agent(&target.host));
        }
        let why = || {
            format!(
                "{without} of {all} hosts of rollout `{id}` have no agent: what is sent to them is not limited"
            )
        };
        Ok((without > 0).then(why))
    }
}

fn has_agent(host: &Host) -> bool {
    matches!(host.connection, Connection::Agent)
}
