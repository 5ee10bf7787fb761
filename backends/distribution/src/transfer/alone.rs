//! What a host does that no scheduler sends anywhere.
use super::{
    Endpoint, NextRequest,
    fetch::AGAIN_AFTER,
    lanes::{IN_VAIN, Landed, Lanes},
};
use deploy_core::time::Timestamp;
use std::{mem, sync::Arc, time::Duration};

/// How many are asked of seeds at once where no scheduler is.
pub(super) const DIRECT: usize = 4;
/// How often it is looked whether the first scheduler is there again.
pub(super) const FIRST_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The same where the first one answered, and it was in vain.
const LEFT_FOR: Duration = Duration::from_secs(60);
/// Who is in a swarm and is sent nowhere for so long helps itself.
const STARVED_AFTER: Duration = Duration::from_secs(5);

impl Lanes<'_> {
    /// Fetches from a seed, at most so many at a time: slower, and never blocked.
    pub(super) fn help_yourself(&mut self, most: usize) {
        let Some(from) = self.seed_asked().cloned() else { return };
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

    /// The seed that is asked where no scheduler is.
    pub(super) fn seed_asked(&self) -> Option<&Endpoint> {
        let mut seeds = self.order.seeds.iter().filter(|it| !self.banned.contains(&it.name));
        let first = seeds.clone().next();
        seeds.nth(self.seed).or(first)
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

    /// Looks whether the first scheduler answers, where another one is asked: all hosts of a place are to come together again. Nothing waits
    /// for that.
    pub(super) fn look_for_first(&mut self) {
        let is_time = self.first_again_at.is_some_and(|it| it <= self.now());
        if !is_time || self.scheduler.is_none_or(|it| it == 0) {
            return;
        }
        let first = self.order.schedulers.first();
        let Some(first) = first.filter(|it| !self.banned.contains(&it.name)).cloned() else {
            self.first_again_at = Some(self.now().after(LEFT_FOR));
            return;
        };
        self.first_again_at = None;
        let (client, token) = (Arc::clone(&self.fetcher.client), self.token());
        let next = NextRequest::new(self.order.blob);
        self.tasks.spawn(async move {
            let answers = client.next(&first, &next, &token).await.is_ok();
            Landed::First { answers }
        });
    }

    /// Goes to another scheduler than one that has served what is wrong, where there is one: it would send this host to itself for ever.
    pub(super) fn leave_liar(&mut self) {
        let schedulers = &self.order.schedulers;
        let lies = |at: usize| schedulers.get(at).is_some_and(|it| self.banned.contains(&it.name));
        if self.scheduler.is_some_and(lies)
            && let Some(other) = (0..schedulers.len()).find(|it| !lies(*it))
        {
            self.turn_to(Some(other));
        }
    }

    pub(super) fn looked_for_first(&mut self, answers: bool) {
        self.first_again_at = Some(self.now().after(FIRST_AGAIN_AFTER));
        if answers && self.scheduler.is_some_and(|it| it > 0) {
            self.turn_to(Some(0));
        }
    }

    pub(super) fn wake_at(&self) -> Timestamp {
        let first_again_at =
            self.first_again_at.filter(|_| self.scheduler.is_some_and(|it| it > 0));
        let starved_at = self.moved_at.after(STARVED_AFTER);
        let starved_at = first_again_at.map_or(starved_at, |it| it.min(starved_at));
        if self.scheduler.is_some() || self.order.schedulers.is_empty() {
            return starved_at.min(self.seeds_again_at.max(self.now().after(AGAIN_AFTER)));
        }
        starved_at.min(self.scheduler_again_at)
    }

    pub(super) fn wake(&mut self) {
        let now = self.now();
        let is_time = now >= self.scheduler_again_at && !self.order.schedulers.is_empty();
        if self.scheduler.is_none() && is_time {
            self.turn_to(Some(0));
            self.leave_liar();
        }
        if now.since(self.moved_at) >= STARVED_AFTER {
            self.moved_at = now;
            let in_vain = mem::take(&mut self.in_vain) >= IN_VAIN;
            if in_vain && self.leave_scheduler() {
                return;
            }
            if in_vain || self.under_way.is_empty() {
                self.forgive_seeds();
                self.help_yourself(self.under_way.len() + 1);
            }
        }
    }

    /// Turns to the next scheduler, if there is one: this one sends hosts where nothing is to be had.
    fn leave_scheduler(&mut self) -> bool {
        let next = self.scheduler.map(|it| it + 1);
        let next = next.filter(|it| *it < self.order.schedulers.len());
        if next.is_some() {
            self.turn_to(next);
            self.first_again_at = Some(self.now().after(LEFT_FOR));
        }
        next.is_some()
    }
}
