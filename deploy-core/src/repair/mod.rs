//! What hosts are owed: what the last rollout of their service says that they run, and they do not.
//!
//! Debt and drift are one thing here. A host that a rollout left behind within its failure budget is owed the release from the
//! rollout's end on: that is **debt**. A host that had it and runs something else is owed it as well: that is **drift**. Either is
//! made good by a small rollout of the same release to just these hosts, whose plan names the rollout that it makes good
//! ([`Plan::repairs`](crate::plan::Plan::repairs)). Such a repair does not count as the last rollout of the service: what hosts
//! should run is what the rollout says that it makes good.
//!
//! Everything here is a function of the journal, the inventory and the time, so that any number of keepers, and whoever starts after
//! a crash, come to the same.
mod entry;
mod ledger;

pub use entry::{Cause, Hold, Left, Next, Owed};
pub use ledger::{Ledger, LedgerInput};

use crate::{id::HostName, rollout::Rollout, time::Timestamp};
use std::{collections::BTreeMap, time::Duration};

/// The wait after the first repair of a host. Each further one within [`MEMORY`] waits twice as long.
pub const FIRST_WAIT: Duration = Duration::from_secs(15 * 60);
/// The longest such wait.
pub const LONGEST_WAIT: Duration = Duration::from_secs(6 * 60 * 60);
/// How long a repair lets the next one of the same host wait longer.
pub const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// How often each host was repaired of late, and when it was the last time. That it went well does not count: a host that needs it
/// again and again has another trouble.
#[derive(Debug, Default)]
struct Tries<'a>(BTreeMap<&'a HostName, (u32, Timestamp)>);

impl<'a> Tries<'a> {
    fn of(repairs: &'a [Rollout], now: Timestamp) -> Self {
        let mut tries = Self::default();
        let recent = repairs.iter().filter(|it| now.since(it.updated_at()) < MEMORY);
        for repair in recent {
            let tried = repair.plan().targets().map(|it| &it.host.name);
            for host in tried.filter(|it| was_tried(repair, it)) {
                let (count, last) = tries.0.entry(host).or_default();
                *count = count.saturating_add(1);
                *last = repair.updated_at().max(*last);
            }
        }
        tries
    }

    /// Before when `host` is not repaired again; `None` if it was not repaired of late.
    fn wait_until(&self, host: &HostName) -> Option<Timestamp> {
        let (count, last) = self.0.get(host)?;
        let doublings = count.saturating_sub(1).min(16);
        Some(last.after(FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)))
    }
}

/// Whether a repair came to do anything about a host before it ended.
fn was_tried(repair: &Rollout, host: &HostName) -> bool {
    repair.task_of(host).is_some_and(|it| it.attempts > 0)
}
