//! How packages get to hosts: as what is missing there, where that is less than the whole.
use crate::{executor::AgentExecutor, order};
use deploy_agent_protocol::v1;
use deploy_core::{
    backend::{Delivery, Transfer},
    digest::Digest,
    error::BackendResult,
    plan::TransferWay,
    spec::ArtifactRef,
    telemetry::TARGET_BACKEND,
    time::Timestamp,
};
use deploy_package::publish::{Holdings, Publication, Way, WayKind, ways};
use deploy_parts::Published;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::select;

/// How long an order waits for parts to be made.
pub(crate) const BEFORE_AN_ORDER: Duration = Duration::from_secs(120);
/// And a plan, which is read by somebody who waits.
const FOR_A_PLAN: Duration = Duration::from_secs(15);
/// When it is tried again to make parts that could not be made.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(600);

/// What an order says of a package, and what the host may fetch for that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delivered {
    pub(crate) order: Option<v1::Delivery>,
    pub(crate) offers: Vec<Digest>,
}

impl AgentExecutor {
    /// How a package may come to a host. Where no parts can be had it comes whole, as it does where its descriptor wants the archive. Parts are
    /// made in the time `within`, and not at all where that is none.
    pub(crate) async fn deliver(
        &self,
        delivery: &Delivery,
        within: Duration,
    ) -> BackendResult<Delivered> {
        let mut offers = vec![delivery.package.digest];
        let published = match self.gateway().parts() {
            Some(_) if self.wants_tree(delivery.descriptor).await? => {
                self.publish(delivery, within).await
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

    /// What it takes, if the host has what it was seen to run.
    pub(crate) async fn estimate(&self, delivery: &Delivery) -> BackendResult<Transfer> {
        let whole = Transfer::whole(delivery.package);
        if self.gateway().parts().is_none() || !self.wants_tree(delivery.descriptor).await? {
            return Ok(whole);
        }
        if delivery.previous.is_some_and(|it| it.digest == delivery.package.digest) {
            return Ok(Transfer::new(TransferWay::Nothing, 0));
        }
        let Some(published) = self.publish(delivery, FOR_A_PLAN).await else {
            return Ok(whole);
        };
        let way = ways_of_files(&published.publication).into_iter().next();
        Ok(way.map_or(whole, |it| {
            let way = match it.kind {
                WayKind::Chunks => TransferWay::Chunks,
                WayKind::Delta => TransferWay::Delta,
                _ => TransferWay::Whole,
            };
            Transfer::new(way, it.needs.download)
        }))
    }

    async fn wants_tree(&self, descriptor: ArtifactRef) -> BackendResult<bool> {
        Ok(self.releases().descriptor(descriptor.digest).await?.takes_trees())
    }

    /// The parts of a package. What keeps them from being made, or being made in time, keeps nobody from fetching the package. Who goes back
    /// waits for nothing.
    async fn publish(&self, delivery: &Delivery, within: Duration) -> Option<Published> {
        let parts = self.gateway().parts()?;
        let package = delivery.package;
        let earlier = delivery.previous.filter(|it| it.digest != package.digest);
        let found = parts.look(package, earlier).await.ok().flatten();
        let is_enough = |it: &Published| earlier.is_none() || !it.publication.upgrades().is_empty();
        if within.is_zero() || delivery.is_back || found.as_ref().is_some_and(is_enough) {
            return found;
        }
        let until = self.after(within);
        for earlier in [earlier, None] {
            if self.unpublishable().has(package.digest, earlier, self.clock().now()) {
                continue;
            }
            let made = select! {
                biased;
                made = parts.publish(package, earlier) => made,
                () = self.clock().sleep_until(until) => {
                    let package = package.digest;
                    tracing::info!(target: TARGET_BACKEND, { %package }, "its parts are not made yet, and a package travels whole");
                    return found;
                }
            };
            match made {
                Ok(published) => return Some(published),
                Err(err) => {
                    tracing::warn!(
                        target: TARGET_BACKEND,
                        { package = %package.digest, error = %err, code = err.code() },
                        "a package travels whole"
                    );
                    self.unpublishable().note(package.digest, earlier, self.clock().now());
                }
            }
        }
        found
    }
}

/// Of which packages no parts could be made a short while ago: it is not tried for each host again.
#[derive(Debug, Default)]
pub(crate) struct Unpublishable(Mutex<BTreeMap<(Digest, Option<Digest>), Timestamp>>);

impl Unpublishable {
    fn has(&self, package: Digest, earlier: Option<ArtifactRef>, now: Timestamp) -> bool {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, until| *until > now);
        failed.contains_key(&(package, earlier.map(|it| it.digest)))
    }

    fn note(&self, package: Digest, earlier: Option<ArtifactRef>, now: Timestamp) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.insert((package, earlier.map(|it| it.digest)), now.after(TRY_AGAIN_AFTER));
    }
}

/// What hosts may fetch of a package.
fn parts(publication: &Publication) -> impl Iterator<Item = Digest> {
    ways_of_files(publication).into_iter().flat_map(|it| it.parts).map(|it| it.part.digest)
}

/// The ways that take all of each part, which is a file, the cheapest first, for hosts that have what there are deltas against.
fn ways_of_files(publication: &Publication) -> Vec<Way> {
    let upgrades = publication.upgrades().iter();
    let holdings = upgrades.fold(Holdings::new(), |all, it| all.with_tree(it.from));
    ways(publication, &holdings).into_iter().filter(Way::takes_whole_parts).collect()
}
