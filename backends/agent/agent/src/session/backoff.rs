//! How long to wait before the next try to connect.
use std::time::Duration;

/// The longest wait before the first try to connect again.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait of all.
const LONGEST: Duration = Duration::from_secs(60);

/// Waits that grow, each a random part of what it may be, so that a fleet does not come back all at once.
#[derive(Debug)]
pub(super) struct Backoff {
    longest: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { longest: FIRST }
    }

    /// The next wait, for 32 random bits.
    pub(super) fn next(&mut self, random: u32) -> Duration {
        let wait = self.longest.mul_f64(f64::from(random) / f64::from(u32::MAX));
        self.longest = (self.longest * 2).min(LONGEST);
        wait
    }

    /// There is no hurry from now on.
    pub(super) const fn at_its_longest(&mut self) {
        self.longest = LONGEST;
    }
}

/// 32 random bits; where there are none, those of the longest wait.
pub(super) fn random() -> u32 {
    let mut bytes = [u8::MAX; 4];
    let _none = getrandom::fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cmp::Reverse, collections::BinaryHeap};

    /// Uniform enough, and the same each time: SplitMix64.
    struct Chance(u64);

    impl Chance {
        fn next(&mut self) -> u32 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed >> 32) as u32
        }
    }

    #[test]
    fn waits_grow_to_the_longest_and_are_spread_over_all_of_it() {
        let mut backoff = Backoff::new();
        let longest: Vec<_> = (0..9).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(longest, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        assert_eq!(backoff.next(0), Duration::ZERO);
        let mut chance = Chance(1);
        let mut tenths = [0; 10];
        for _ in 0..10_000 {
            tenths[(backoff.next(chance.next()).as_millis() / 6_001) as usize] += 1;
        }
        assert!(tenths.iter().all(|it| (850..1_150).contains(it)), "{tenths:?}");
    }

    /// All connections of `crowd` agents break at once. The server takes 600 a second, which is what was measured on two cores, and an agent that is not
    /// taken waits 15 s and then backs off.
    #[test]
    fn a_hundred_thousand_are_back_within_five_minutes() {
        const CROWD: usize = 100_000;
        const TAKEN_A_SECOND: usize = 600;
        const GIVES_UP_AFTER: u64 = 15;
        let mut chance = Chance(2);
        let mut waiting: Vec<_> = (0..CROWD).map(|_| Backoff::new()).collect();
        let seconds = |wait: Duration| wait.as_secs();
        let mut tries: BinaryHeap<_> =
            (0..CROWD).map(|it| Reverse((seconds(waiting[it].next(chance.next())), it))).collect();
        let (mut taken, mut now, mut left) = (0, 0, TAKEN_A_SECOND);
        while let Some(Reverse((at, agent))) = tries.pop() {
            if at > now {
                (now, left) = (at, TAKEN_A_SECOND);
            }
            if left > 0 {
                (taken, left) = (taken + 1, left - 1);
                continue;
            }
            let wait = seconds(waiting[agent].next(chance.next()));
            tries.push(Reverse((at + GIVES_UP_AFTER + wait, agent)));
        }
        assert_eq!(taken, CROWD);
        assert!(now <= 300, "the last was back after {now} s");
    }
}
