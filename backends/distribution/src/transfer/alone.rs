//! What a host does that no scheduler sends anywhere.
use super::{fetch::AGAIN_AFTER, lanes::Lanes};
use deploy_core::time::Timestamp;
use std::time::Duration;

/// How many are asked of seeds at once where no scheduler is.
pub(super) const DIRECT: usize = 4;
/// Who is in a swarm and is sent nowhere for so long helps itself.
const STARVED_AFTER: Duration = Duration::from_secs(5);

impl Lanes<'_> {
    /// Fetches from a seed, at most so many at a time: slower, and never blocked.
    pub(super) fn help_yourself(&mut self, most: usize) {
        let seeds = self.order.seeds.iter().filter(|it| !self.banned.contains(&it.name));
        let seeds: Vec<_> = seeds.collect();
        let Some(from) = seeds.get(self.seed).copied().or_else(|| seeds.first().copied()) else {
            return;
        };
        let room = most.saturating_sub(self.under_way.len());
        if room == 0 || self.now() < self.seeds_again_at {
            return;
        }
        // Each host another one: where no scheduler is, or it sends them nowhere, many may do this at once, and have the more to give
        // to each other.
        let (had, first) = (self.file.had(), self.dice.throw(self.order.blob.blocks() as usize));
        let after = had.missing().filter(|it| *it as usize >= first);
        let before = had.missing().take_while(|it| (*it as usize) < first);
        let missing = after.chain(before).filter(|it| !self.under_way.contains_key(it));
        for number in missing.take(room).collect::<Vec<_>>() {
            self.fetched.unscheduled += 1;
            self.send_for(number, from.clone(), false);
        }
    }

    /// Where all of them have served what is wrong there is nobody else: each time costs a block, and not every fault stays for ever.
    fn forgive_seeds(&mut self) {
        if self.order.seeds.iter().all(|it| self.banned.contains(&it.name)) {
            self.order.seeds.iter().for_each(|it| {
                self.banned.remove(&it.name);
            });
        }
    }

    /// After the last one all are tried again, a little later.
    pub(super) fn try_another_seed(&mut self) {
        self.seed += 1;
        if self.seed >= self.order.seeds.len() {
            self.seed = 0;
            self.seeds_again_at = self.now().after(AGAIN_AFTER);
        }
    }

    pub(super) fn wake_at(&self) -> Timestamp {
        let starved_at = self.moved_at.after(STARVED_AFTER);
        if self.scheduler.is_some() || self.order.schedulers.is_empty() {
            return starved_at.min(self.seeds_again_at.max(self.now().after(AGAIN_AFTER)));
        }
        starved_at.min(self.scheduler_again_at)
    }

    pub(super) fn wake(&mut self) {
        let now = self.now();
        let is_time = now >= self.scheduler_again_at && !self.order.schedulers.is_empty();
        if self.scheduler.is_none() && is_time {
            (self.scheduler, self.joined) = (Some(0), false);
        }
        if now.since(self.moved_at) >= STARVED_AFTER {
            self.moved_at = now;
            if self.under_way.is_empty() {
                self.forgive_seeds();
                self.help_yourself(1);
            }
        }
    }
}
