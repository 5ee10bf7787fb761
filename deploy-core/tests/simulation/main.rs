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
mod mutant;
mod rng;
mod scenario;
mod stats;
mod world;

use mutant::Mutant;
use stats::Stats;
use std::{env, panic, thread};
use world::World;

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

/// How a number of seeds ended: the stories of those that ended wrong, and what happened in the others.
#[derive(Default)]
struct Sweep {
    broken: Vec<(u64, String)>,
    stats: Stats,
}

fn sweep(mutant: Mutant, seeds: impl Iterator<Item = u64>) -> Sweep {
    let mut sweep = Sweep::default();
    for seed in seeds {
        match run(seed, mutant) {
            Ok(stats) => sweep.stats.add(&stats),
            Err(story) => sweep.broken.push((seed, story)),
        }
    }
    sweep
}

/// All of `seeds`, on as many threads as there are processors.
fn sweep_all(seeds: u64) -> Sweep {
    let threads = thread::available_parallelism().map_or(1, |it| it.get() as u64);
    let mut all = Sweep::default();
    thread::scope(|scope| {
        let of = |first: u64| (first..seeds).step_by(usize::try_from(threads).unwrap());
        let sweeps: Vec<_> =
            (0..threads).map(|it| scope.spawn(move || sweep(Mutant::None, of(it)))).collect();
        for done in sweeps {
            let part = done.join().unwrap();
            all.stats.add(&part.stats);
            all.broken.extend(part.broken);
        }
    });
    all.broken.sort_unstable();
    all
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
    let Sweep { broken, stats } = sweep_all(seeds);
    println!("{seeds} seeds, {} broken; {stats:?}", broken.len());
    for (seed, story) in &broken {
        println!("seed {seed}: {story}");
    }
    if let Some((seed, story)) = broken.first() {
        panic!(
            "seed {seed}: {story}\nreplay with: SIM_SEED={seed} cargo test -p deploy-core --test simulation no_seed -- --nocapture"
        );
    }
    stats.assert_covers_everything(seeds);
}

#[test]
fn every_mutant_is_caught() {
    for mutant in Mutant::ALL {
        let caught = (0..MUTANT_SEEDS).find_map(|it| Some((it, run(it, mutant).err()?)));
        let (seed, story) =
            caught.unwrap_or_else(|| panic!("{mutant:?} was not caught in {MUTANT_SEEDS} seeds"));
        println!("{mutant:?}: caught at seed {seed}: {story}");
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
