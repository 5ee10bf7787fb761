//! Whether the inventory is still what a plan was made for.
use super::{Plan, Target, Work};
use crate::{
    digest::{Digest, digest_of},
    host::{Host, Installed, Labels},
    id::{HostName, ReleaseId},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// A difference between the inventory that a plan was made for and the one there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum InventoryChange {
    /// A host is selected, and was not.
    Added {
        /// Which.
        host: HostName,
    },
    /// A target is reached in another way.
    Connection {
        /// Which.
        host: HostName,
    },
    /// A host is there, and no longer selected.
    Deselected {
        /// Which.
        host: HostName,
    },
    /// A host is no longer there.
    Gone {
        /// Which.
        host: HostName,
    },
    /// A target has other labels.
    Labels {
        /// Which.
        host: HostName,
        /// Those it had.
        was: Labels,
        /// Those it has.
        now: Labels,
    },
    /// A host runs another package of the same release.
    Package {
        /// Which.
        host: HostName,
        /// Of which release.
        release: ReleaseId,
    },
    /// A host runs another release.
    Release {
        /// Which.
        host: HostName,
        /// What it ran.
        was: Option<ReleaseId>,
        /// What it runs.
        now: Option<ReleaseId>,
    },
}

/// What a plan depends on of the inventory there is, as a digest: that of the plan's own `inventory` as long as
/// [`inventory_diff`] finds nothing.
///
/// That a host was looked at again is no difference, nor is anything of hosts that are not selected.
#[must_use]
pub fn inventory_digest(
    plan: &Plan,
    hosts: &[Host],
    installed: &BTreeMap<HostName, Installed>,
) -> Digest {
    digest_of(&Facts::found(plan, hosts, installed))
}

/// The differences between the inventory that `plan` was made for and the one there is, by host.
#[must_use]
pub fn inventory_diff(
    plan: &Plan,
    hosts: &[Host],
    installed: &BTreeMap<HostName, Installed>,
) -> Vec<InventoryChange> {
    let (was, now) = (Facts::planned(plan), Facts::found(plan, hosts, installed));
    let there: BTreeSet<&HostName> = hosts.iter().map(|it| &it.name).collect();
    let names: BTreeSet<&HostName> = was.0.keys().chain(now.0.keys()).copied().collect();
    let mut changes = Vec::new();
    for name in names {
        let host = || name.clone();
        match (was.0.get(name), now.0.get(name)) {
            (Some(was), Some(now)) => compare(name, was, now, &mut changes),
            (Some(_), None) if there.contains(name) => {
                changes.push(InventoryChange::Deselected { host: host() });
            }
            (Some(_), None) => changes.push(InventoryChange::Gone { host: host() }),
            (None, _) => changes.push(InventoryChange::Added { host: host() }),
        }
    }
    changes
}

/// The digest that goes into a plan that is otherwise whole.
pub(super) fn planned_digest(plan: &Plan) -> Digest {
    digest_of(&Facts::planned(plan))
}

/// What a plan depends on, of every host it selects.
#[derive(Serialize)]
#[serde(transparent)]
struct Facts<'a>(BTreeMap<&'a HostName, Fact<'a>>);

#[derive(PartialEq, Eq, Serialize)]
enum Fact<'a> {
    /// It runs what it is to run. What else is known of it does not matter.
    Settled { runs: Option<&'a ReleaseId> },
    /// It is to be changed.
    Unsettled { host: &'a Host, runs: Option<&'a ReleaseId> },
}

impl<'a> Facts<'a> {
    /// As they were when `plan` was made.
    fn planned(plan: &'a Plan) -> Self {
        let targets = plan.targets().map(|target| {
            let runs = target.ran().filter(|_| plan.work != Work::Run);
            (&target.host.name, Fact::Unsettled { host: &target.host, runs })
        });
        let no_ops = plan.no_ops.iter().map(|it| (it, Fact::no_op(plan)));
        Self(targets.chain(no_ops).collect())
    }

    /// As they are.
    fn found(
        plan: &'a Plan,
        hosts: &'a [Host],
        installed: &'a BTreeMap<HostName, Installed>,
    ) -> Self {
        let targets: BTreeMap<&HostName, &Target> =
            plan.targets().map(|it| (&it.host.name, it)).collect();
        let no_ops: BTreeSet<&HostName> = plan.no_ops.iter().collect();
        let selected = hosts.iter().filter(|host| match &plan.selector {
            Some(selector) => selector.matches(host),
            None => targets.contains_key(&host.name) || no_ops.contains(&host.name),
        });
        let facts = selected.map(|host| {
            let seen = installed.get(&host.name);
            (&host.name, Fact::found(plan, targets.get(&host.name).copied(), host, seen))
        });
        Self(facts.collect())
    }
}

impl<'a> Fact<'a> {
    fn found(
        plan: &'a Plan,
        target: Option<&'a Target>,
        host: &'a Host,
        seen: Option<&'a Installed>,
    ) -> Self {
        let runs = seen.and_then(|it| it.release.as_ref());
        match (plan.work, target) {
            (Work::Release, _) if plan.planned().is_some_and(|it| it.is_installed(seen)) => {
                Self::no_op(plan)
            }
            (Work::Rollback, None) => Self::no_op(plan),
            (Work::Rollback, Some(target)) if plan.is_back(target.to.as_ref(), seen) => {
                Self::Settled { runs: target.to.as_ref() }
            }
            (Work::Release | Work::Rollback, _) => Self::Unsettled { host, runs },
            (Work::Run, _) => Self::Unsettled { host, runs: None },
        }
    }

    /// What a no-op of a rollback runs is not in the plan.
    fn no_op(plan: &'a Plan) -> Self {
        Self::Settled { runs: Some(&plan.release).filter(|_| plan.work != Work::Rollback) }
    }

    const fn runs(&self) -> Option<&'a ReleaseId> {
        match self {
            Self::Settled { runs } | Self::Unsettled { runs, .. } => *runs,
        }
    }
}

/// Adds at least one change if the facts differ.
fn compare(name: &HostName, was: &Fact<'_>, now: &Fact<'_>, changes: &mut Vec<InventoryChange>) {
    let host = || name.clone();
    if was == now {
        return;
    }
    if let (Fact::Unsettled { host: before, .. }, Fact::Unsettled { host: found, .. }) = (was, now)
    {
        if before.connection != found.connection {
            changes.push(InventoryChange::Connection { host: host() });
        }
        if before.labels != found.labels {
            let (was, now) = (before.labels.clone(), found.labels.clone());
            changes.push(InventoryChange::Labels { host: host(), was, now });
        }
        if was.runs() == now.runs() {
            return;
        }
    }
    changes.push(match (was.runs(), now.runs()) {
        (Some(was), Some(now)) if was == now => {
            InventoryChange::Package { host: host(), release: now.clone() }
        }
        (was, now) => {
            InventoryChange::Release { host: host(), was: was.cloned(), now: now.cloned() }
        }
    });
}

impl Plan {
    /// Whether a host that was seen like this has gone back to `to`.
    fn is_back(&self, to: Option<&ReleaseId>, seen: Option<&Installed>) -> bool {
        match to {
            Some(release) => self.releases.get(release).is_some_and(|it| it.is_installed(seen)),
            None => seen.is_none_or(|it| it.release.is_none()),
        }
    }
}

impl fmt::Display for InventoryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added { host } => write!(f, "host `{host}` is selected now and was not"),
            Self::Connection { host } => write!(f, "host `{host}` is reached in another way"),
            Self::Deselected { host } => write!(f, "host `{host}` is no longer selected"),
            Self::Gone { host } => write!(f, "host `{host}` left the inventory"),
            Self::Labels { host, was, now } => {
                write!(f, "host `{host}` has other labels: {}", LabelDiff { was, now })
            }
            Self::Package { host, release } => {
                write!(f, "host `{host}` runs another package of `{release}`")
            }
            Self::Release { host, was, now } => match (was, now) {
                (Some(was), Some(now)) => write!(f, "host `{host}` ran `{was}` and runs `{now}`"),
                (Some(was), None) => write!(f, "host `{host}` ran `{was}` and runs nothing"),
                (None, Some(now)) => write!(f, "host `{host}` ran nothing and runs `{now}`"),
                (None, None) => write!(f, "host `{host}` runs something else"),
            },
        }
    }
}

/// As `-zone=a, +zone=b`.
struct LabelDiff<'a> {
    was: &'a Labels,
    now: &'a Labels,
}

impl fmt::Display for LabelDiff<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.was.iter().filter(|(key, value)| self.now.get(*key) != Some(*value));
        let new = self.now.iter().filter(|(key, value)| self.was.get(*key) != Some(*value));
        let signed = lost.map(|it| ('-', it)).chain(new.map(|it| ('+', it)));
        for (at, (sign, (key, value))) in signed.enumerate() {
            write!(f, "{}{sign}{key}={value}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
