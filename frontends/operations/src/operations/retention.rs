//! Which releases hold what they consist of, and which holds count no more.
use super::Operations;
use crate::problem::OrProblem as _;
use deploy_core::{
    backend::{Holder, ObsoleteHolds, ServiceRegistryExt as _},
    id::{ReleaseId, ServiceName, StreamId},
    plan::{Plan, Work},
    retention::{KeepReleases, Uses, retired},
    spec::Release,
    time::Timestamp,
};
use deploy_wire::{Problem, ProblemCode};
use std::{collections::BTreeSet, time::Duration};

impl Operations {
    /// Holds that count no more: of what channels have led to before and, if it is said how many releases of a service stay, of
    /// releases beyond those that nothing uses.
    pub(super) async fn obsolete(
        &self,
        keep_releases: Option<u64>,
        younger_than: Duration,
        now: Timestamp,
    ) -> Result<ObsoleteHolds, Problem> {
        let channels = self.parts().registry.all_channels().await.or_problem()?;
        let channels = channels.into_iter().map(|it| {
            let to = it.value.to.map(|to| to.digest);
            (it.value.channel, (it.revision, to))
        });
        let mut obsolete = ObsoleteHolds::default().with_channels(channels.collect());
        if let Some(newest) = keep_releases {
            let newest = usize::try_from(newest).unwrap_or(usize::MAX);
            let keep = KeepReleases::new(newest, now).with_younger_than(younger_than);
            obsolete.releases = self.retired_releases(&keep, &obsolete).await?;
        }
        Ok(obsolete)
    }

    async fn retired_releases(
        &self,
        keep: &KeepReleases,
        obsolete: &ObsoleteHolds,
    ) -> Result<BTreeSet<ReleaseId>, Problem> {
        let registry = &self.parts().registry;
        let mut all = BTreeSet::new();
        for service in registry.all_services().await.or_problem()? {
            let name = service.value.name;
            let releases = registry.releases(&name, usize::MAX).await.or_problem()?;
            let in_use = self.in_use(&name).await?;
            for release in retired(&releases, keep, &in_use) {
                if self.holds_alone(release, obsolete).await? {
                    all.insert(release.id.clone());
                }
            }
        }
        Ok(all)
    }

    /// Refuses a plan that brings releases to hosts which are retired: what a host runs has to be held, or the next collection takes it.
    pub(super) async fn demand_installable(&self, plan: &Plan) -> Result<(), Problem> {
        // A run brings a script, which no release holds and whose rollout needs it no longer than it goes on.
        if plan.work == Work::Run {
            return Ok(());
        }
        let wanted: BTreeSet<_> = plan.targets().filter_map(|it| it.to.as_ref()).collect();
        for id in wanted {
            let Some(release) = plan.releases.get(id) else { continue };
            for part in release.package.iter().chain([&release.descriptor]) {
                let holders = self.parts().artifacts.holders(&part.digest).await.or_problem()?;
                if !holders.contains(&Holder::Release(id.clone())) {
                    return Err(is_retired(id));
                }
            }
        }
        Ok(())
    }

    /// What hosts run of a service, ran before, or are about to run.
    async fn in_use(&self, service: &ServiceName) -> Result<BTreeSet<ReleaseId>, Problem> {
        let parts = self.parts();
        let mut uses = Uses::new(&parts.inventory.installed(service).await.or_problem()?);
        let stream = StreamId::Service(service.clone());
        for past in parts.journal.rollouts(Some(&stream), usize::MAX).await.or_problem()? {
            if uses.is_known() {
                break;
            }
            uses.add(&self.platform.load(&past.rollout).await.or_problem()?);
        }
        Ok(uses.into_releases())
    }

    /// Whether a release holds what it consists of, and nobody wants a part of it for another reason: without the other part that would
    /// be half a release.
    async fn holds_alone(
        &self,
        release: &Release,
        obsolete: &ObsoleteHolds,
    ) -> Result<bool, Problem> {
        let mut holds = false;
        for part in release.package.iter().chain([&release.descriptor]) {
            for holder in self.parts().artifacts.holders(&part.digest).await.or_problem()? {
                match holder {
                    Holder::Release(id) => holds |= id == release.id,
                    other if obsolete.covers(&part.digest, &other) => {}
                    _ => return Ok(false),
                }
            }
        }
        Ok(holds)
    }
}

fn is_retired(id: &ReleaseId) -> Problem {
    let message =
        format!("release `{id}` is retired: its package and its descriptor are kept no longer");
    Problem::new(ProblemCode::NotFound, message)
        .with_hint("push them again if they are gone, and make the release again as it was")
        .with_context("release", id)
}
