//! `stage`: what will be needed is fetched before anything is to be run.
use super::{
    Host,
    answers::{failing, invalid, refused},
    delivery::Package,
};
use crate::{
    FetchArtifact,
    spec::{Artifact, DeliverySpec, Place},
};
use deploy_agent_protocol::v1::{Refusal, Refused, Stage, Staged, answer::Kind};
use std::sync::atomic::Ordering;

/// More than an attempt and its way back need.
const MOST_ARTIFACTS: usize = 16;

impl Host {
    pub(super) async fn stage(
        &self,
        stage: &Stage,
        from: &dyn FetchArtifact,
    ) -> Result<Kind, Refused> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(failing("the agent of this host is being stopped"));
        }
        let place = Place::parse(stage.place.as_ref())?;
        if stage.artifacts.len() > MOST_ARTIFACTS {
            return Err(invalid(format_args!("at most {MOST_ARTIFACTS} artifacts are staged")));
        }
        let artifacts: Vec<Artifact> =
            stage.artifacts.iter().map(Artifact::parse).collect::<Result<_, _>>()?;
        let allowed = self.options.policy.allows_path(&place.deploy_path);
        allowed.map_err(|why| refused(Refusal::NotAllowed, why, 0))?;
        let deliveries: Vec<DeliverySpec> =
            stage.deliveries.iter().map(DeliverySpec::parse).collect::<Result<_, _>>()?;
        let packages = self.ways(&place, &artifacts, &deliveries, from).await;
        let artifacts: Vec<_> = packages.iter().flat_map(Package::artifacts).collect();
        self.cache_holds(&artifacts)?;
        let (missing, packages) = (self.missing(&artifacts)?, packages.iter().collect::<Vec<_>>());
        self.has_room_for(&place, &packages, missing)?;
        // First of all: what is there already must not give way to the rest of it.
        self.cache.pin(&place.service, &artifacts).map_err(|err| self.not_written(&err))?;
        for artifact in &artifacts {
            let fetched = self.cache.get(*artifact, from).await;
            let fetched = fetched.map_err(|err| self.not_fetched(&err));
            fetched.map_err(|why| self.lacking_for(&place, &packages, &artifacts, why))?;
        }
        Ok(Kind::Staged(Staged { fetched_bytes: missing }))
    }

    /// How each artifact comes: packages of which parts are known perhaps as trees, and the rest whole.
    async fn ways(
        &self,
        place: &Place,
        artifacts: &[Artifact],
        deliveries: &[DeliverySpec],
        from: &dyn FetchArtifact,
    ) -> Vec<Package> {
        let mut all = Vec::new();
        for artifact in artifacts {
            let delivery = deliveries.iter().find(|it| it.package == artifact.digest);
            all.push(self.way(place, None, *artifact, delivery, from).await);
        }
        all
    }

    /// How much of these artifacts has to be fetched yet.
    pub(super) fn missing(&self, artifacts: &[Artifact]) -> Result<u64, Refused> {
        let missing = artifacts.iter().map(|it| self.cache.missing(*it));
        missing.sum::<Result<u64, _>>().map_err(|err| self.not_written(&err))
    }

    /// What does not fit into the cache would not stay there until it is needed.
    fn cache_holds(&self, artifacts: &[Artifact]) -> Result<(), Refused> {
        let size = artifacts.iter().fold(0_u64, |sum, it| sum.saturating_add(it.size));
        let limit = self.options.policy.cache_limit();
        if size <= limit {
            return Ok(());
        }
        let why = format!(
            "{size} bytes are to be staged, and host.toml lets the cache keep {limit}: raise `cache_mib`"
        );
        Err(refused(Refusal::NoSpace, why, 0))
    }
}
