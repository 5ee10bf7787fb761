//! How fast bytes may travel to hosts.
use super::{Agents, Listed, Operations};
use crate::{LimitFile, parse::refused, problem::OrProblem as _};
use deploy_core::{
    access::{Action, Resource},
    error::ErrorKind,
    id::RolloutId,
    limit::{self, LimitScope, LimitTable},
};
use deploy_wire::{Limit, LimitSpec, Problem, ProblemCode};
use std::num::NonZeroU32;

/// How many limits there may be.
const MOST: usize = 1_024;

impl Operations {
    /// The limits that count, in the order of what they are for.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn limits(
        &self,
        file: &LimitFile,
        after: Option<&LimitScope>,
        limit: usize,
    ) -> Result<Listed<Limit>, Problem> {
        let mut all = Vec::new();
        let table = self.counting(file).await?;
        if !table.contains_key(&LimitScope::Origin) {
            all.extend(file.usual_origin().map(usual));
        }
        all.extend(table.iter().map(|(scope, limit)| Limit::new(scope, limit)));
        all.retain(|it| after.is_none_or(|after| it.scope > after.to_string()));
        all.sort_by(|one, other| one.scope.cmp(&other.scope));
        all.truncate(limit.saturating_add(1));
        Ok(Listed::first(all, limit, |it| it.scope.clone()))
    }

    /// Sets a limit, which counts at once, and warns where it limits nothing.
    ///
    /// # Errors
    /// If the principal may not, there is no such host or no such rollout that goes on, or a field means nothing.
    pub async fn set_limit(
        &self,
        file: &LimitFile,
        agents: &Agents,
        scope: &LimitScope,
        asked: &LimitSpec,
    ) -> Result<Limit, Problem> {
        self.may_limit(scope).await?;
        let set = limit::Limit::new(
            more_than_nothing("mbit", asked.mbit)?,
            self.principal().clone(),
            self.parts().clock.now(),
        );
        let upload =
            asked.upload_mbit.map(|it| more_than_nothing("upload_mbit", it)).transpose()?;
        if upload.is_some() && !matches!(scope, LimitScope::Host(_)) {
            return Err(refused("upload_mbit", "only hosts have another limit for what they give"));
        }
        self.demand_there(scope).await?;
        self.counting(file).await?;
        let (set, at) = (set.with_upload(upload), scope.clone());
        let warnings = self.limited_in_vain(agents, scope).await?;
        let document = Limit { warnings, ..Limit::new(scope, &set) };
        file.change(move |table| {
            if table.len() >= MOST && !table.contains_key(&at) {
                let message = format!("there are {MOST} limits already, and no more are kept");
                return Err(Problem::new(ProblemCode::Conflict, message)
                    .with_hint("`deploy limit clear` takes some back"));
            }
            table.insert(at, set);
            Ok(())
        })
        .await?;
        Ok(document)
    }

    /// Takes a limit back, at once.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn clear_limit(&self, file: &LimitFile, scope: &LimitScope) -> Result<(), Problem> {
        self.may_limit(scope).await?;
        let at = scope.clone();
        if file.change(move |table| Ok(table.remove(&at))).await?.is_some() {
            return Ok(());
        }
        let message = format!("no limit is set for `{scope}`");
        Err(Problem::new(ProblemCode::NotFound, message)
            .with_hint("`deploy limit list` shows all limits")
            .with_context("limit", scope))
    }

    /// Whoever may change a host may limit it, and whoever may control a rollout may slow it down.
    async fn may_limit(&self, scope: &LimitScope) -> Result<(), Problem> {
        let (action, resource) = match scope {
            LimitScope::Host(host) => (Action::HostWrite, Resource::Host(host.clone(), None)),
            LimitScope::Origin | LimitScope::Zone(_) => (Action::HostWrite, Resource::System),
            LimitScope::Rollout(id) => match self.parts().journal.rollout(id).await {
                Ok(found) => (Action::RolloutControl, Resource::of_stream(&found.stream)),
                Err(_) => (Action::RolloutControl, Resource::System),
            },
        };
        self.permit(action, resource).await.map(drop)
    }

    /// What is limited has to be there: a name that is written wrong limits nothing.
    async fn demand_there(&self, scope: &LimitScope) -> Result<(), Problem> {
        match scope {
            LimitScope::Host(host) => {
                self.parts().inventory.host(host).await.or_problem().map(drop)
            }
            LimitScope::Origin | LimitScope::Zone(_) => Ok(()),
            LimitScope::Rollout(id) => {
                let found = self.parts().journal.rollout(id).await.or_problem()?;
                if found.last.is_none() {
                    return Ok(());
                }
                let message = format!("rollout `{id}` is over: nothing is fetched for it");
                Err(Problem::new(ProblemCode::Conflict, message).with_context("rollout", id))
            }
        }
    }

    /// The limits, without those of rollouts that are over: these are forgotten.
    async fn counting(&self, file: &LimitFile) -> Result<LimitTable, Problem> {
        let mut table = file.read().await?;
        let mut over = Vec::new();
        for scope in table.keys() {
            if let LimitScope::Rollout(id) = scope
                && self.is_over(id).await
            {
                over.push(id.clone());
            }
        }
        if !over.is_empty() {
            table.retain(|it, _| !matches!(it, LimitScope::Rollout(id) if over.contains(id)));
            file.forget(over).await?;
        }
        Ok(table)
    }

    /// Where nobody knows it now it is not.
    async fn is_over(&self, id: &RolloutId) -> bool {
        match self.parts().journal.rollout(id).await {
            Ok(found) => found.last.is_some(),
            Err(err) => err.kind() == ErrorKind::NotFound,
        }
    }
}

fn more_than_nothing(name: &str, mbit: u32) -> Result<NonZeroU32, Problem> {
    let nothing = "it must be more than 0: `deploy limit clear` takes a limit back";
    NonZeroU32::new(mbit).ok_or_else(|| refused(name, nothing))
}

/// What the server's configuration says.
fn usual(mbit: NonZeroU32) -> Limit {
    Limit {
        scope: LimitScope::Origin.to_string(),
        mbit: mbit.get(),
        upload_mbit: None,
        set_by: None,
        set_at: None,
        warnings: Vec::new(),
    }
}
