//! What it takes to get packages to the hosts of a plan.
use super::Platform;
use crate::{
    backend::{Delivery, Transfer},
    host::{Connection, Host},
    id::ReleaseId,
    plan::{Plan, PlanReport, PlannedRelease, Target, TransferReport, Work},
    telemetry::{ERROR_KIND, TARGET_EFFECT},
};
use std::{collections::BTreeMap, mem::Discriminant};

/// Hosts that are reached in the same way, run the same and are to run the same.
#[derive(Debug)]
struct Alike<'a> {
    one: &'a Host,
    hosts: u32,
    delivery: Delivery,
    release: &'a ReleaseId,
    from: Option<&'a ReleaseId>,
}

impl Platform {
    /// Says how packages get to the targets. Where nobody knows, that is whole.
    pub(super) async fn weigh(&self, plan: &Plan, report: &mut PlanReport) {
        let whole: u64 = report.bytes;
        let (mut saved, mut transfers) = (0_u64, Vec::new());
        for alike in alike(plan) {
            let package = alike.delivery.package;
            let transfer = self.parts.executor.transfer(alike.one, &alike.delivery).await;
            let transfer = transfer.unwrap_or_else(|err| {
                tracing::warn!(
                    target: TARGET_EFFECT,
                    { { ERROR_KIND } = err.kind().as_str() }, "nobody can say how a package gets to hosts"
                );
                Transfer::whole(package)
            });
            let each = package.size.saturating_sub(transfer.bytes);
            saved = saved.saturating_add(each.saturating_mul(alike.hosts.into()));
            transfers.push(TransferReport {
                hosts: alike.hosts,
                release: alike.release.clone(),
                from: alike.from.cloned(),
                via: alike.one.connection.as_str(),
                way: transfer.way,
                bytes: transfer.bytes,
                whole: package.size,
            });
        }
        report.bytes = whole.saturating_sub(saved);
        report.transfers = transfers;
    }
}

/// The targets that get a package, in as few groups as there are answers.
fn alike(plan: &Plan) -> Vec<Alike<'_>> {
    type Key<'a> = (Option<&'a ReleaseId>, Option<&'a ReleaseId>);
    let mut groups: BTreeMap<Key<'_>, Vec<(Discriminant<Connection>, Alike<'_>)>> = BTreeMap::new();
    for target in plan.targets() {
        let Some(alike) = of(plan, target) else { continue };
        let connection = std::mem::discriminant(&target.host.connection);
        let group = groups.entry((target.from.as_ref(), target.to.as_ref())).or_default();
        match group.iter_mut().find(|it| it.0 == connection) {
            Some((_, found)) => found.hosts = found.hosts.saturating_add(1),
            None => group.push((connection, alike)),
        }
    }
    groups.into_values().flatten().map(|it| it.1).collect()
}

fn of<'a>(plan: &'a Plan, target: &'a Target) -> Option<Alike<'a>> {
    let planned = |id: &'a ReleaseId| plan.releases.get(id);
    let to: &PlannedRelease = planned(target.to.as_ref()?)?;
    let from = target.from.as_ref().and_then(planned);
    let delivery = Delivery::new(to.descriptor, to.package?)
        .with_previous(from.and_then(|it| it.package))
        .back(plan.work == Work::Rollback);
    let from = target.from.as_ref();
    Some(Alike { one: &target.host, hosts: 1, delivery, release: &to.id, from })
}
