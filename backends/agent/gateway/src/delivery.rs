//! How packages get to hosts: as what is missing there, where that is less than the whole.
use crate::{executor::AgentExecutor, order};
use deploy_agent_protocol::v1;
use deploy_core::{
    backend::Delivery, digest::Digest, error::BackendResult, spec::ArtifactRef,
    telemetry::TARGET_BACKEND,
};
use deploy_package::publish::{Holdings, Publication, ways};
use deploy_parts::Published;

/// What an order says of a package, and what the host may fetch for that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) order: Option<v1::Delivery>,
    pub(crate) offers: Vec<Digest>,
}

impl AgentExecutor {
    /// How a package may come to a host. Where no parts can be had it comes whole, as it does where its descriptor wants the archive.
    pub(crate) async fn deliver(&self, delivery: &Delivery) -> BackendResult<Delivered> {
        let mut offers = vec![delivery.package.digest];
        let published = match self.gateway().parts() {
            Some(_) if self.wants_tree(delivery.descriptor).await? => {
                self.publish(delivery.package, delivery.previous).await
            }
            _ => None,
        };
        let order = published.map(|published| {
            offers.push(published.list.digest);
            offers.extend(parts(&published.publication));
            v1::Delivery {
                package: delivery.package.digest.as_bytes().to_vec(),
                manifest: published.publication.manifest().digest.as_bytes().to_vec(),
                publication: Some(order::artifact(published.list)),
            }
        });
        Ok(Delivered { order, offers })
    }

    async fn wants_tree(&self, descriptor: ArtifactRef) -> BackendResult<bool> {
        Ok(self.releases().descriptor(descriptor.digest).await?.takes_trees())
    }

    /// The parts of a package. What keeps them from being made keeps nobody from fetching the package.
    async fn publish(
        &self,
        package: ArtifactRef,
        previous: Option<ArtifactRef>,
    ) -> Option<Published> {
        let parts = self.gateway().parts()?;
        let earlier = previous.filter(|it| it.digest != package.digest);
        let published = match parts.publish(package, earlier).await {
            // What the host runs may be gone from the store, or be of a kind that is refused today.
            Err(_) if earlier.is_some() => parts.publish(package, None).await,
            published => published,
        };
        published
            .inspect_err(|err| {
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { package = %package.digest, error = %err, code = err.code() },
                    "a package travels whole"
                );
            })
            .ok()
    }
}

/// What hosts may fetch of a package as files: the parts of the ways that take all of each.
fn parts(publication: &Publication) -> impl Iterator<Item = Digest> {
    let upgrades = publication.upgrades().iter();
    let holdings = upgrades.fold(Holdings::new(), |all, it| all.with_tree(it.from));
    let whole = ways(publication, &holdings).into_iter().filter(|it| it.takes_whole_parts());
    whole.flat_map(|it| it.parts).map(|it| it.part.digest)
}
