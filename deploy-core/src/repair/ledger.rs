use super::{Cause, Hold, Left, Next, Owed, Tries};
use crate::{
    host::{Host, Installed},
    id::{HostName, Principal, ReleaseId, RolloutId, Seq},
    plan::{Target, Work},
    rollout::{Outcome, Reason, Rollout, TaskState, TaskView},
    spec::{Direction, OnDrift, Service},
    time::Timestamp,
};
use std::collections::BTreeMap;

/// All that a ledger depends on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LedgerInput<'a> {
    /// The service as it is now.
    pub service: &'a Service,
    /// Its last rollout that is no repair.
    pub last: &'a Rollout,
    /// The repairs of that rollout, newest first.
    pub repairs: &'a [Rollout],
    /// All hosts of the inventory.
    pub hosts: &'a [Host],
    /// What each of them was last seen to run.
    pub installed: &'a BTreeMap<HostName, Installed>,
    /// Now.
    pub now: Timestamp,
    /// Where the stream of the service is.
    pub head: Seq,
}

impl<'a> LedgerInput<'a> {
    /// The ledger of `service` after `last` and its `repairs`, newest first.
    #[must_use]
    pub const fn new(
        service: &'a Service,
        last: &'a Rollout,
        repairs: &'a [Rollout],
        hosts: &'a [Host],
        installed: &'a BTreeMap<HostName, Installed>,
        now: Timestamp,
    ) -> Self {
        Self { service, last, repairs, hosts, installed, now, head: Seq::ZERO }
    }

    /// With a stream that is at `head`.
    #[must_use]
    pub const fn with_head(mut self, head: Seq) -> Self {
        self.head = head;
        self
    }

    fn newest(&self) -> &Rollout {
        self.repairs.first().unwrap_or(self.last)
    }
}

/// What the hosts of a service are owed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ledger {
    /// The rollout that says what hosts should run.
    pub rollout: RolloutId,
    /// Its release.
    pub release: ReleaseId,
    /// Why nothing is repaired now, whatever hosts are owed.
    pub hold: Option<Hold>,
    /// The hosts that are owed something, by name.
    pub hosts: Vec<Owed>,
}

impl Ledger {
    /// What is owed by `input`.
    #[must_use]
    pub fn of(input: &LedgerInput<'_>) -> Self {
        let tries = Tries::of(input.repairs, input.now);
        let promises = promises(input);
        let there = input.hosts.iter().filter_map(|it| Some((it, promises.get(&it.name)?)));
        let mut hosts: Vec<Owed> =
            there.filter_map(|(host, promise)| owed(input, &tries, host, promise)).collect();
        hosts.sort_unstable_by(|a, b| a.host.cmp(&b.host));
        Self {
            rollout: input.last.id().clone(),
            release: input.last.plan().release.clone(),
            hold: hold(input),
            hosts,
        }
    }

    /// The hosts that are to be repaired now, if they answer: none while anything holds that back.
    pub fn due(&self) -> impl Iterator<Item = &HostName> {
        let free = self.hold.is_none();
        self.hosts.iter().filter(move |it| free && it.next == Next::Due).map(|it| &it.host)
    }

    /// The hosts whose debt has become too old.
    pub fn expired(&self) -> impl Iterator<Item = &Owed> {
        self.hosts.iter().filter(|it| matches!(it.next, Next::Left { why: Left::Expired { .. } }))
    }

    /// What `host` is owed.
    #[must_use]
    pub fn entry(&self, host: &HostName) -> Option<&Owed> {
        let at = self.hosts.binary_search_by(|it| it.host.cmp(host)).ok()?;
        self.hosts.get(at)
    }
}

/// What a rollout and its repairs say of a host.
struct Promise<'a> {
    should_run: Option<&'a ReleaseId>,
    /// Where the rollout left it, if it did not get there; a repair may have brought it there since.
    debt: Option<TaskState>,
    taken_out_by: Option<Principal>,
}

impl<'a> Promise<'a> {
    const fn kept(should_run: Option<&'a ReleaseId>) -> Self {
        Self { should_run, debt: None, taken_out_by: None }
    }

    /// What a rollout that has ended well, or is under way, says of a target.
    fn of(rollout: &Rollout, target: &'a Target, task: &TaskView) -> Option<Self> {
        let should_run = match task.direction {
            Direction::Back => target.from.as_ref(),
            Direction::Forward => target.to.as_ref(),
        };
        if task.state == TaskState::Succeeded {
            return Some(Self::kept(should_run));
        }
        let left_behind = task.state.is_trouble() || task.state == TaskState::Skipped;
        (left_behind && stands(rollout)).then(|| Self {
            should_run,
            debt: Some(task.state),
            taken_out_by: task.taken_out_by.clone(),
        })
    }

    fn is_kept(&self, input: &LedgerInput<'_>, seen: Option<&Installed>) -> bool {
        let releases = &input.last.plan().releases;
        match self.should_run {
            Some(release) => releases.get(release).is_some_and(|it| it.is_installed(seen)),
            None => seen.is_none_or(|it| it.release.is_none()),
        }
    }
}

/// Whether a rollout says what hosts run from now on.
fn stands(rollout: &Rollout) -> bool {
    let well = matches!(rollout.outcome(), Some(Outcome::Succeeded | Outcome::SucceededWithDebt));
    well && rollout.plan().work == Work::Release
}

/// What the last rollout and its repairs say, of every host that they say something of.
fn promises<'a>(input: &LedgerInput<'a>) -> BTreeMap<&'a HostName, Promise<'a>> {
    let plan = input.last.plan();
    let mut promises = BTreeMap::new();
    if plan.work == Work::Release {
        let release = Some(&plan.release);
        promises.extend(plan.no_ops.iter().map(|it| (it, Promise::kept(release))));
    }
    for task in input.last.tasks() {
        let Some(target) = input.last.target(&task.host) else { continue };
        if let Some(promise) = Promise::of(input.last, target, &task) {
            promises.insert(&target.host.name, promise);
        }
    }
    for repair in input.repairs.iter().rev() {
        for task in repair.tasks() {
            let Some(promise) = promises.get_mut(&task.host) else { continue };
            if (task.state, task.direction) == (TaskState::Succeeded, Direction::Forward) {
                promise.debt = None;
            }
            promise.taken_out_by = task.taken_out_by;
        }
    }
    promises
}

fn owed(
    input: &LedgerInput<'_>,
    tries: &Tries<'_>,
    host: &Host,
    promise: &Promise<'_>,
) -> Option<Owed> {
    let seen = input.installed.get(&host.name);
    if promise.is_kept(input, seen) {
        return None;
    }
    let (cause, since) = match (promise.debt, seen) {
        (Some(state), _) => (Cause::Debt { state }, input.last.updated_at()),
        (None, Some(seen)) => (Cause::Drift, seen.seen_at),
        (None, None) => return None,
    };
    let left = left(input, host, promise, cause);
    let waits = tries.wait_until(&host.name).filter(|it| *it > input.now);
    Some(Owed {
        host: host.name.clone(),
        cause,
        runs: seen.and_then(|it| it.release.clone()),
        should_run: promise.should_run.cloned(),
        since,
        next: match (left, waits) {
            (Some(why), _) => Next::Left { why },
            (None, Some(at)) => Next::At { at },
            (None, None) => Next::Due,
        },
    })
}

/// Why a host is left to people, if it is.
fn left(input: &LedgerInput<'_>, host: &Host, promise: &Promise<'_>, cause: Cause) -> Option<Left> {
    if !input.service.selector.matches(host) {
        return Some(Left::Deselected);
    }
    if let Some(by) = &promise.taken_out_by {
        return Some(Left::TakenOut { by: by.clone() });
    }
    let repair = input.service.repair;
    match (cause, repair.debt, repair.drift) {
        (Cause::Debt { .. }, None, _) => Some(Left::DebtUnwanted),
        (Cause::Debt { .. }, Some(within), _) => {
            let at = input.last.updated_at().after(within);
            (at <= input.now).then_some(Left::Expired { at })
        }
        (Cause::Drift, _, OnDrift::Report) => Some(Left::Reported),
        (Cause::Drift, _, OnDrift::Repair) => None,
    }
}

/// Why nothing of the service is repaired now.
fn hold(input: &LedgerInput<'_>) -> Option<Hold> {
    let (last, newest) = (input.last, input.newest());
    let rollout = newest.id().clone();
    if newest.outcome().is_none() {
        return Some(Hold::Active { rollout });
    }
    if let Some(outcome) = last.outcome().filter(|_| !stands(last)) {
        return Some(Hold::Unsettled { rollout: last.id().clone(), outcome });
    }
    if newest.head() < input.head {
        return Some(Hold::Restored { rollout });
    }
    match (newest.outcome(), newest.reason()) {
        (Some(Outcome::Aborted | Outcome::RolledBack), Some(Reason::Operator { by, .. })) => {
            return Some(Hold::Stopped { rollout, by: by.clone() });
        }
        (Some(Outcome::Failed), _) => return Some(Hold::Broken { rollout }),
        _ => {}
    }
    let schedule = &input.service.strategy.schedule;
    (!schedule.allows(input.now)).then(|| Hold::Window { note: schedule.explain(input.now) })
}
