//! The scheduler, over whole data centres and many seeds: whatever happens, every host that lives gets all of it.
#[cfg(test)]
mod sim;

use sim::{Outcome, Scenario, run};
use std::time::Duration;

const SEEDS: u64 = 60;

fn over_seeds(scenario: impl Fn(u64) -> Scenario, check: impl Fn(&Scenario, &Outcome)) {
    for seed in 0..SEEDS {
        let scenario = scenario(seed);
        let outcome = run(&scenario);
        assert_eq!(outcome.unfinished, 0, "seed {seed}: {outcome:?}");
        assert_eq!(outcome.from_quarantine, 0, "seed {seed}: {outcome:?}");
        assert!(outcome.most_lent <= scenario.slots, "seed {seed}: {outcome:?}");
        check(&scenario, &outcome);
    }
}

fn times_ideal(scenario: &Scenario, outcome: &Outcome) -> f64 {
    outcome.last.as_secs_f64() / scenario.ideal().as_secs_f64()
}

#[test]
fn few_hosts_are_served_at_nearly_the_speed_of_one() {
    over_seeds(
        |seed| Scenario::new(8, 512, seed),
        |scenario, outcome| {
            let (factor, copies) = (times_ideal(scenario, outcome), outcome.from_seed);
            assert!(factor <= 1.08, "{factor}: {outcome:?}");
            assert!(copies <= 512 * 106 / 100, "{copies} blocks from the seed");
        },
    );
}

#[test]
fn many_hosts_are_too() {
    let scenario = Scenario::new(1_000, 512, 3);
    let outcome = run(&scenario);
    assert_eq!(outcome.unfinished, 0);
    let factor = times_ideal(&scenario, &outcome);
    assert!(factor <= 1.15, "{factor}: {outcome:?}");
}

#[test]
fn hosts_may_die_at_any_time() {
    let deaths = |seed: u64| {
        (0..30).filter(move |it| (it + seed as u32).is_multiple_of(3)).map(move |it| {
            let at = (u64::from(it) * 7_919 + seed * 104_729) % 5_000;
            (it, Duration::from_millis(at))
        })
    };
    over_seeds(
        |seed| Scenario { deaths: deaths(seed).collect(), ..Scenario::new(30, 64, seed) },
        |_, _| {},
    );
}

#[test]
fn half_of_them_may_serve_nothing_right() {
    over_seeds(
        |seed| Scenario {
            liars: (0..10).map(|it| it * 2).collect(),
            ..Scenario::new(20, 64, seed)
        },
        |_, outcome| assert!(outcome.most_wrong <= 1, "{outcome:?}"),
    );
}

#[test]
fn the_scheduler_may_forget_everything() {
    let restarts =
        |seed: u64| (1..4).map(move |it| Duration::from_millis(400 * it + seed * 13)).collect();
    over_seeds(
        |seed| Scenario { restarts: restarts(seed), ..Scenario::new(12, 64, seed) },
        |_, outcome| assert_eq!(outcome.delivered, 12 * 64, "no block comes twice: {outcome:?}"),
    );
}

#[test]
fn no_zone_starves_and_little_crosses_between_them() {
    over_seeds(
        |seed| Scenario { zones: 4, ..Scenario::new(80, 256, seed) },
        |scenario, outcome| {
            let factor = times_ideal(scenario, outcome);
            assert!(factor <= 1.35, "{factor}: {outcome:?}");
            let across = f64::from(outcome.across) / f64::from(outcome.delivered);
            assert!(across <= 0.06, "{across} crosses: {outcome:?}");
        },
    );
}

#[test]
fn a_zone_of_one_is_served_as_well() {
    // Host 0 alone is in the zone 0 of 40.
    over_seeds(
        |seed| Scenario { zones: 40, ..Scenario::new(40, 64, seed) },
        |scenario, outcome| assert!(times_ideal(scenario, outcome) <= 1.6, "{outcome:?}"),
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| format!("{:?}", run(&Scenario { zones: 3, ..Scenario::new(40, 64, seed) }));
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
