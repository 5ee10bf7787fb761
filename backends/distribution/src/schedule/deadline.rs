//! What happens because nothing did.
use super::{Event, Failure, Seat, Swarm};
use deploy_core::time::Timestamp;
use std::{cmp::Reverse, time::Duration};

/// How many of those that wait are looked at in one go.
const SWEEP: usize = 4_096;

impl Swarm {
    /// When [`wake`](Self::wake) has something to do.
    #[must_use]
    pub fn wake_at(&self) -> Option<Timestamp> {
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        [timer, self.sweep_at].into_iter().flatten().min()
    }

    /// Gives up blocks that are late and hosts that are silent, and looks again for those that wait.
    pub fn wake(&mut self, now: Timestamp) {
        while let Some(Reverse((at, host))) = self.timers.peek().copied()
            && at <= now
        {
            self.timers.pop();
            if self.member(host).is_some_and(|it| it.timer == Some(at)) {
                self.expire(host, now);
            }
        }
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now);
        }
    }

    fn expire(&mut self, host: u32, now: Timestamp) {
        let silence = self.policy.silence;
        let Some(member) = self.member_mut(host) else { return };
        member.timer = None;
        // A seed asks for nothing, so it is never heard of.
        if !member.present || member.is_seed() {
            return;
        }
        if now.since(member.seen) >= silence {
            let name = member.name.clone();
            self.events.push(Event::Lost { host: name });
            return self.leave(Seat(host));
        }
        let late: Vec<_> = member.flights.iter().filter(|it| it.until <= now).copied().collect();
        let seen = member.seen;
        for flight in late {
            if seen > flight.since {
                self.failed(Seat(host), flight.block, Seat(flight.source), Failure::Stalled, now);
            } else {
                // Nothing was heard of the host either: it is not the source that is late.
                self.land(host, flight.block);
                self.serve(flight.source, now);
            }
            // That somebody is late is no sign of life.
            if let Some(member) = self.member_mut(host) {
                member.seen = seen;
            }
        }
        let Some(member) = self.member(host) else { return };
        let next = member.flights.iter().map(|it| it.until).min();
        let silent_at = member.seen.after(silence);
        self.set_timer(host, next.map_or(silent_at, |it| it.min(silent_at)));
    }

    fn sweep(&mut self, now: Timestamp) {
        let waiting = self.waiting.of(0);
        let start = self.dice.throw(waiting.len());
        let some: Vec<u32> =
            waiting.iter().cycle().skip(start).take(waiting.len().min(SWEEP)).copied().collect();
        for host in some {
            for assignment in self.satisfy(host, now) {
                self.offers.push((Seat(host), assignment));
            }
            if self.wants(host) == 0 {
                self.stop_waiting(host);
            }
        }
        let any_waits = !self.waiting.of(0).is_empty();
        self.sweep_at = any_waits.then(|| now.after(self.policy.patience));
    }

    /// Each host has one timer that counts: the earliest.
    pub(super) fn set_timer(&mut self, host: u32, at: Timestamp) {
        let Some(member) = self.member_mut(host) else { return };
        if member.timer.is_none_or(|it| at < it) {
            member.timer = Some(at);
            self.timers.push(Reverse((at, host)));
        }
    }

    /// How long a block may take. Hosts notice by themselves and earlier; this is for those that do not.
    pub(super) fn patience_for_a_block(&self) -> Duration {
        match self.usual {
            0 => self.policy.first_stall,
            usual => Duration::from_millis(usual.saturating_mul(4)).max(self.policy.stall),
        }
    }
}
