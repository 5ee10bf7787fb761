//! Seeded simulation of the rollout machine: no runtime, no real clock, no network.
//!
//! A world of hosts, messages that are late, lost or doubled, drivers that crash, and people who interfere, all drawn from one
//! seed. `SIM_SEEDS` sets how many seeds are run, `SIM_SEED` runs one and tells its story.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that cannot go on ends, and says how it went"
)]
mod checker;
mod host;
mod rng;
mod scenario;
mod world;

use std::{env, panic};
use world::{Mutant, Stats, World};

const SEEDS: u64 = 20_000;
/// A mutant has to be caught within so many seeds.
const MUTANT_SEEDS: u64 = 4_000;

fn seeds() -> u64 {
    env::var("SIM_SEEDS").ok().and_then(|it| it.parse().ok()).unwrap_or(SEEDS)
}

/// A panic of the machine's own assertions is a wrong end like any other.
fn run(seed: u64, mutant: Mutant) -> Result<Stats, String> {
    panic::catch_unwind(|| World::new(seed, mutant).run())
        .unwrap_or_else(|_payload| Err("the machine panicked".to_owned()))
}

fn sweep(mutant: Mutant, seeds: u64, stop_at_first: bool) -> (u64, Option<(u64, String)>, Stats) {
    let (mut broken, mut first, mut sum) = (0, None, Stats::default());
    for seed in 0..seeds {
        match run(seed, mutant) {
            Ok(stats) => sum.add(&stats),
            Err(story) => {
                broken += 1;
                if mutant == Mutant::None {
                    println!("seed {seed}: {story}");
                }
                first.get_or_insert((seed, story));
                if stop_at_first {
                    break;
                }
            }
        }
    }
    (broken, first, sum)
}

#[test]
fn no_seed_ends_wrong() {
    if let Some(seed) = env::var("SIM_SEED").ok().and_then(|it| it.parse().ok()) {
        let mut world = World::new(seed, Mutant::None);
        let ended = world.run();
        println!("{}", world.story());
        ended.unwrap();
        return;
    }
    let seeds = seeds();
    let (broken, first, stats) = sweep(Mutant::None, seeds, false);
    println!("{seeds} seeds, {broken} broken; {stats:?}");
    if let Some((seed, story)) = first {
        panic!(
            "seed {seed}: {story}\nreplay with: SIM_SEED={seed} cargo test -p deploy-core --test simulation no_seed -- --nocapture"
        );
    }
    stats.assert_covers_everything(seeds);
}

#[test]
fn every_mutant_is_caught() {
    for mutant in Mutant::ALL {
        let (broken, first, _stats) = sweep(mutant, MUTANT_SEEDS, true);
        let (seed, story) =
            first.unwrap_or_else(|| panic!("{mutant:?} was not caught in {MUTANT_SEEDS} seeds"));
        println!("{mutant:?}: {broken} caught at seed {seed}: {story}");
    }
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..50 {
        let (mut one, mut two) = (World::new(seed, Mutant::None), World::new(seed, Mutant::None));
        let ended = (one.run().map(|_| ()), two.run().map(|_| ()));
        assert_eq!(ended.0, ended.1);
        assert_eq!(one.story(), two.story(), "seed {seed}");
    }
}
