use super::{Operations, artifacts::document};
use crate::{
    Collect,
    problem::{OrProblem as _, invalid},
};
use deploy_core::{
    access::{Action, Resource},
    digest::Digest,
};
use deploy_wire::{Garbage, GarbageToCollect, Problem};
use std::{collections::BTreeSet, time::Duration};

impl Operations {
    /// Removes old versions that no release and no rollout needs.
    ///
    /// # Errors
    /// If the principal may not, nothing would stay, or the store cannot do that.
    pub async fn collect_garbage(&self, asked: &GarbageToCollect) -> Result<Garbage, Problem> {
        if asked.keep == 0 {
            let why = "0 would remove every version that no release needs: keep at least 1";
            return Err(invalid(format_args!("`keep`: {why}")).with_context("field", "keep"));
        }
        if asked.keep_releases == Some(0) {
            let why = "0 would retire every release before it is rolled out: keep at least 1";
            return Err(invalid(format_args!("`keep_releases`: {why}"))
                .with_context("field", "keep_releases"));
        }
        let upkeep = self.upkeep("garbage is not collected in this store")?;
        let permit = self.permit(Action::ArtifactWrite, Resource::System).await?;
        let now = self.parts().clock.now();
        let older_than = Duration::from_secs(asked.older_than_s);
        let obsolete = self.obsolete(asked.keep_releases, older_than, now).await?;
        // Read last: a rollout that has begun by now keeps what it brings.
        let needed = self.at_work().await?;
        let retired = obsolete.releases.iter().map(ToString::to_string).collect();
        let request = Collect {
            keep: usize::try_from(asked.keep).unwrap_or(usize::MAX),
            older_than,
            now,
            needed,
            obsolete,
            dry_run: asked.dry_run,
        };
        let report = upkeep.collect(&permit, &request).await.or_problem()?;
        Ok(Garbage {
            entries: report.entries.iter().map(document).collect(),
            retired,
            held: report.held.iter().map(document).collect(),
            removed: report.artifacts.iter().map(ToString::to_string).collect(),
            bytes: report.bytes,
            interrupted: report.partials,
            dry_run: asked.dry_run,
        })
    }

    /// What rollouts and runs that are not over still bring to hosts: no release holds what a run does.
    async fn at_work(&self) -> Result<BTreeSet<Digest>, Problem> {
        let rollouts = self.parts().journal.rollouts(None, usize::MAX).await.or_problem()?;
        let mut digests = BTreeSet::new();
        for active in rollouts.into_iter().filter(|it| it.last.is_none()) {
            let rollout = self.platform.load(&active.rollout).await.or_problem()?;
            for release in rollout.plan().releases.values() {
                let parts = release.package.iter().chain([&release.descriptor]);
                digests.extend(parts.map(|it| it.digest));
            }
        }
        Ok(digests)
    }
}
