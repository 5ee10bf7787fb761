//! How long a source may take for a block.
use deploy_core::time::Timestamp;
use std::time::Duration;

/// A source is given up when nothing comes for four times as long as a block usually takes, and for no less than this.
const STALL: Duration = Duration::from_secs(2);
/// Nor, however often sources were late, for longer than this if blocks come faster.
const LONGEST_STALL: Duration = Duration::from_secs(30);
/// The same while nobody knows what is usual.
const FIRST_STALL: Duration = Duration::from_secs(10);
/// And when a block takes 16 times as long as usual, however often something comes of it, and no less than this.
const WITHIN: Duration = Duration::from_secs(20);
/// The same while nobody knows what is usual.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
/// So many have to be late, and nothing to come meanwhile, before nothing may come for twice as long: a few are sources that are gone.
const MANY: u32 = 16;
/// How often that is doubled at most: up to an hour and more.
const MOST_DOUBLINGS: u32 = 6;

/// What a block usually takes. After each one that took too long the next ones may take twice as long: a link on which everything is
/// slow, or a limit that was set meanwhile, is found out, and whoever is slow to keep others waiting gains little. Those that were
/// under way together count as one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    usual: Option<Duration>,
    doublings: u32,
    doubled_at: Option<Timestamp>,
    /// How many were late since one came.
    late: u32,
}

impl Pace {
    pub(super) fn came_in(&mut self, took: Duration) {
        self.usual = Some(self.usual.map_or(took, |it| (it * 7 + took) / 8));
        (self.doublings, self.late) = (0, 0);
    }

    /// One was given up now, after so long.
    pub(super) fn was_late(&mut self, took: Duration, now: Timestamp) {
        self.late = self.late.saturating_add(1);
        let counts = self.doubled_at.is_none_or(|it| now.since(it) >= took);
        if counts {
            self.doublings = (self.doublings + 1).min(MOST_DOUBLINGS);
            self.doubled_at = Some(now);
        }
    }

    /// How long nothing may come.
    pub(super) fn stall(&self) -> Duration {
        let once = self.usual.map_or(FIRST_STALL, |it| (it * 4).max(STALL));
        let doublings = (self.late / MANY).min(MOST_DOUBLINGS);
        once.saturating_mul(1 << doublings).min(once.max(LONGEST_STALL))
    }

    /// How long all of it may take.
    pub(super) fn within(&self) -> Duration {
        let once = self.usual.map_or(FIRST_WITHIN, |it| (it * 16).max(WITHIN));
        once.saturating_mul(1 << self.doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_link_is_found_out() {
        let mut pace = Pace::default();
        pace.came_in(Duration::from_millis(100));
        assert_eq!((pace.stall(), pace.within()), (STALL, WITHIN));
        (1..MANY).for_each(|_| pace.was_late(STALL, Timestamp::from_millis(0)));
        assert_eq!(pace.stall(), STALL);
        pace.came_in(Duration::from_millis(100));
        // The link is slow from now on: 200 seconds a block.
        let slow = Duration::from_secs(200);
        let (mut late, mut now) = (0, Timestamp::from_millis(0));
        while pace.within() < slow {
            let took = pace.within();
            now = now.after(took);
            // All that were under way are late at once.
            (0..16).for_each(|_| pace.was_late(took, now));
            late += 1;
        }
        assert_eq!(late, 4);
        assert_eq!(pace.stall(), LONGEST_STALL);
        pace.came_in(slow);
        assert!(pace.within() > slow);
        assert_eq!(pace.stall(), pace.usual.unwrap() * 4);
        (0..99).for_each(|_| pace.was_late(Duration::ZERO, now));
        assert!(pace.within() < Duration::from_secs(24 * 3_600 * 2));
    }
}
