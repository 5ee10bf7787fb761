//! Killed at random moments, with connections cut at random.
use super::{Round, Site};
use crate::fleet::{Fleet, asked_for};
use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

const HOSTS: usize = 20;
/// How often connections are cut in one round.
const CUTS: usize = 6;

#[test]
fn a_driver_killed_at_random_moments_is_taken_over() {
    let rounds: usize = asked_for("CRASH_ROUNDS", 50);
    let mut chance = Chance(asked_for("CRASH_SEED", 0x5eed));
    let mut site = Site::new(HOSTS);
    let whole = uninterrupted(&site.release());
    let (mut under_way, cut) = (0, AtomicUsize::new(0));
    for number in 1..=rounds {
        let round = site.release();
        let seed = chance.next();
        let (fleet, over) = (round.fleet, AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                cut.fetch_add(cut_at_random(fleet, seed, whole, &over), Ordering::Relaxed)
            });
            let _over = Set(&over);
            let first = kill(&round, &round.start(), chance.below(whole));
            let mut moments = format!("killed after {first:?}");
            under_way += usize::from(round.rollout().is_some_and(|it| it.outcome.is_none()));
            // Now and then whoever takes over is killed, too.
            if let Some(rollout) = round.rollout().filter(|_| number % 3 == 0) {
                let second =
                    kill(&round, &["rollout", "resume", &rollout.id], chance.below(whole / 2));
                moments.push_str(&format!(" and {second:?}"));
            }
            round.settle(&moments);
        });
    }
    assert!(under_way * 2 >= rounds, "only {under_way} of {rounds} rollouts were under way");
    let cut = cut.into_inner();
    assert!(cut >= rounds, "only {cut} connections were cut in {rounds} rounds");
}

#[test]
fn connections_cut_at_random_lose_nothing() {
    let mut site = Site::new(4);
    let round = site.release();
    let (fleet, over) = (round.fleet, AtomicBool::new(false));
    let cut = thread::scope(|scope| {
        let cutter = scope.spawn(|| cut_at_random(fleet, 7, Duration::from_secs(1), &over));
        let _over = Set(&over);
        fleet.deploy(&round.start()).ended(0);
        drop(_over);
        cutter.join().unwrap()
    });
    assert!(cut > 0, "no connection was there to be cut");
    round.settle("cut");
}

/// How long a rollout takes that nobody interrupts.
fn uninterrupted(round: &Round<'_>) -> Duration {
    let began = Instant::now();
    round.fleet.deploy(&round.start()).ended(0);
    let took = began.elapsed();
    round.settle("uninterrupted");
    took
}

/// Kills a driver `after` it was started.
fn kill(round: &Round<'_>, args: &[&str], after: Duration) -> Duration {
    let mut driver = round.fleet.spawn(args);
    thread::sleep(after);
    driver.kill().unwrap();
    driver.wait().unwrap();
    after
}

/// Cuts all connections a few times, until something is over. Says how many there were.
fn cut_at_random(fleet: &Fleet, seed: u64, within: Duration, over: &AtomicBool) -> usize {
    let (mut chance, mut cut) = (Chance(seed), 0);
    for _cut in 0..CUTS {
        thread::sleep(chance.below(within / 2));
        if over.load(Ordering::Relaxed) {
            break;
        }
        cut += fleet.sshd.connections().unwrap();
        fleet.sshd.cut_connections().unwrap();
    }
    cut
}

/// Sets a flag when it goes, as it does when an assertion fails.
struct Set<'a>(&'a AtomicBool);

impl Drop for Set<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Numbers that look random: SplitMix64 (Steele, Lea, Flood 2014).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap();
        Duration::from_millis(self.next() % most.max(1))
    }
}
