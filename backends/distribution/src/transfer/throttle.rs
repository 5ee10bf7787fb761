//! One limit on how fast bytes go.
use deploy_core::backend::Clock;
use std::{
    num::NonZeroU64,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{select, sync::Notify};

/// Bytes a second; `None` is as fast as it goes. With less than some 32 KiB a second nothing comes of it: whoever gives blocks does not wait
/// that long until they are taken.
pub type Rate = Option<NonZeroU64>;

/// How much may go at once after nothing went, in microseconds of the rate.
const BURST: u64 = 50_000;

/// A limit that any number of transfers share, and that can be changed while they go: it counts at once, also for those that wait for
/// their turn under the one before.
#[derive(Debug, Default)]
pub struct Throttle {
    level: Mutex<Level>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Level {
    rate: Rate,
    /// When all that was reserved has gone, in microseconds.
    free_at: u64,
    /// What the clock said last, which may be set back.
    seen: u64,
    /// How often the limit was changed.
    changes: u64,
}

/// Room for bytes in the time to come. Who leaves before it is used gives it back, so that nobody waits for what never goes.
struct Turn<'a> {
    of: &'a Throttle,
    /// How long to wait, in microseconds.
    wait: u64,
    takes: u64,
    changes: u64,
}

impl Turn<'_> {
    /// The bytes go.
    fn used(mut self) -> u64 {
        self.takes = 0;
        self.wait
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut level = self.of.level();
        if level.changes == self.changes {
            level.free_at = level.free_at.saturating_sub(self.takes);
        }
    }
}

impl Throttle {
    /// With this limit.
    #[must_use]
    pub const fn new(rate: Rate) -> Self {
        Self {
            level: Mutex::new(Level { rate, free_at: 0, seen: 0, changes: 0 }),
            changed: Notify::const_new(),
        }
    }

    /// Changes the limit. Who waits has a turn under the new one; the same limit again changes nothing.
    pub fn set(&self, rate: Rate) {
        let mut level = self.level();
        if level.rate != rate {
            (level.rate, level.free_at) = (rate, 0);
            level.changes = level.changes.wrapping_add(1);
            drop(level);
            self.changed.notify_waiters();
        }
    }

    /// The limit as it is.
    #[must_use]
    pub fn rate(&self) -> Rate {
        self.level().rate
    }

    /// Waits until so many bytes may go.
    pub async fn take(&self, bytes: u64, clock: &dyn Clock) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // Before it is looked, so that no change is missed in between.
            changed.as_mut().enable();
            let now = clock.now();
            let turn = self.reserve(bytes, now.as_millis().saturating_mul(1_000));
            if turn.wait > 0 {
                select! {
                    biased;
                    () = changed => continue,
                    () = clock.sleep_until(now.after(Duration::from_micros(turn.wait))) => {}
                }
            }
            turn.used();
            return;
        }
    }

    fn reserve(&self, bytes: u64, now: u64) -> Turn<'_> {
        let mut level = self.level();
        let changes = level.changes;
        let Some(rate) = level.rate else { return Turn { of: self, wait: 0, takes: 0, changes } };
        let set_back = level.seen.saturating_sub(now);
        level.seen = now;
        let takes = bytes.saturating_mul(1_000_000) / rate;
        let free_at = level.free_at.saturating_sub(set_back).max(now.saturating_sub(BURST));
        level.free_at = free_at.saturating_add(takes);
        Turn { of: self, wait: level.free_at.saturating_sub(now), takes, changes }
    }

    fn level(&self) -> MutexGuard<'_, Level> {
        self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::{memory::TokioClock, time::Timestamp};
    use proptest::{collection::vec, prelude::*};
    use std::sync::Arc;
    use tokio::task::JoinSet;

    proptest! {
        /// Over any stretch no more goes than the rate and one burst allow, and no less than the rate if more was wanted.
        #[test]
        fn a_rate_is_kept(rate in 1_000_u64..100_000_000, pieces in vec(1_u64..200_000, 1..200)) {
            let throttle = Throttle::new(NonZeroU64::new(rate));
            let (mut now, mut sent) = (1_000_000_000_u64, 0);
            let start = now;
            for piece in pieces {
                now += throttle.reserve(piece, now).used();
                sent += piece;
            }
            let took = now - start;
            let least = (sent * 1_000_000 / rate).saturating_sub(BURST);
            prop_assert!(took + 200 >= least, "{took} < {least}");
            prop_assert!(took <= least + 200, "{took} > {least}");
        }
    }

    #[test]
    fn a_limit_that_is_lifted_holds_nobody_back() {
        let throttle = Throttle::new(NonZeroU64::new(1));
        assert!(throttle.reserve(1_000, 0).used() > 900_000_000);
        throttle.set(None);
        assert_eq!(throttle.reserve(1 << 40, 0).used(), 0);
        throttle.set(NonZeroU64::new(1_000_000));
        assert_eq!(throttle.reserve(1_000_000, 0).used(), 1_000_000);
        throttle.set(NonZeroU64::new(1_000_000));
        let wait = throttle.reserve(1_000_000, 0).used();
        assert_eq!(wait, 2_000_000, "what was reserved is forgotten");
    }

    #[test]
    fn who_leaves_keeps_nobody_waiting() {
        let throttle = Throttle::new(NonZeroU64::new(1_000_000));
        for _ in 0..100 {
            drop(throttle.reserve(1_000_000, 0));
        }
        let gone = throttle.reserve(1_000_000, 0);
        throttle.set(NonZeroU64::new(2_000_000));
        assert_eq!(throttle.reserve(2_000_000, 0).used(), 1_000_000);
        drop(gone);
        assert_eq!(
            throttle.reserve(2_000_000, 0).used(),
            2_000_000,
            "that was under another limit"
        );
    }

    #[test]
    fn a_clock_that_is_set_back_holds_nobody_up() {
        const HOUR: u64 = 3_600_000_000;
        let throttle = Throttle::new(NonZeroU64::new(1_000_000));
        throttle.reserve(1_000_000, 2 * HOUR).used();
        let wait = throttle.reserve(1_000_000, HOUR).used();
        assert_eq!(wait, 2_000_000 - BURST);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_under_the_old_limit_goes_by_the_new_one() {
        let (throttle, clock) = (
            Arc::new(Throttle::new(NonZeroU64::new(10))),
            TokioClock::at(Timestamp::from_millis(0)),
        );
        let mut waiting = JoinSet::new();
        for _ in 0..4 {
            let throttle = Arc::clone(&throttle);
            waiting.spawn(async move { throttle.take(1_000_000, &clock).await });
        }
        let begin = clock.now();
        clock.sleep_until(begin.after(Duration::from_secs(60))).await;
        assert!(waiting.try_join_next().is_none());
        throttle.set(NonZeroU64::new(2_000_000));
        waiting.join_all().await;
        let took = clock.now().since(begin).as_millis();
        assert!((61_800..=62_100).contains(&took), "{took}");
    }
}
