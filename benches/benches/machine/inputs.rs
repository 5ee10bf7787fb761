//! What one input costs.
use crate::drive::Drive;
use deploy_benches::{Failure, Table, best, cost, rollout};
use deploy_core::{
    conformance::sample::name,
    id::Seq,
    rollout::{AttemptEnd, Input, Reply},
    spec::{Limit, StepName, Strategy},
};
use std::num::NonZeroU32;

const SIZES: [u32; 3] = [100, 10_000, 100_000];
const ROUNDS: u32 = 7;
/// Inputs of one kind that a round takes in.
const INPUTS: u32 = 2_000;
const PARALLEL: u32 = 50;

/// One wave of the whole fleet, of which a part is worked on: as much as can be is ready to be started.
fn strategy() -> Strategy {
    let mut strategy = Strategy::new();
    strategy.max_parallel = NonZeroU32::new(PARALLEL);
    strategy.failure_budget.rollout.max_failed = Limit::Percent(100);
    strategy.retries.retries = 1_000;
    strategy
}

fn in_a_window() -> Strategy {
    let mut strategy = strategy();
    strategy.schedule.windows = vec![name("mon-sun 00:00-23:00 Europe/Berlin")];
    strategy
}

struct Kind {
    what: &'static str,
    strategy: fn() -> Strategy,
    /// The next input, after so many.
    next: fn(&mut Drive, u32) -> Input,
}

const KINDS: [Kind; 7] = [
    Kind { what: "an attempt succeeded, and the next starts", strategy, next: succeeded },
    Kind {
        what: "the same, inside a window with a time zone",
        strategy: in_a_window,
        next: succeeded,
    },
    Kind {
        what: "an attempt failed and will be retried, and the next starts",
        strategy,
        next: failed,
    },
    Kind {
        what: "a connection was lost, or the attempt found again",
        strategy,
        next: lost_or_found,
    },
    Kind { what: "a reply about an older attempt", strategy, next: stale },
    Kind { what: "a tick", strategy, next: |_, _| Input::Tick },
    Kind { what: "pause, or resume", strategy, next: paused_or_resumed },
];

fn succeeded(drive: &mut Drive, _count: u32) -> Input {
    drive.oldest(Reply::Ended(AttemptEnd::Succeeded))
}

fn failed(drive: &mut Drive, _count: u32) -> Input {
    let reason = "the unit did not come up".to_owned();
    drive.oldest(Reply::Ended(AttemptEnd::Failed {
        step: Some(StepName::Start),
        code: Some(1),
        reason,
    }))
}

fn lost_or_found(drive: &mut Drive, count: u32) -> Input {
    let reply = match (count / PARALLEL) % 2 {
        0 => Reply::Unknown { reason: "the connection was lost".to_owned() },
        _ => Reply::StillRunning,
    };
    let found = reply == Reply::StillRunning;
    let input = drive.oldest(reply);
    if let Input::Replied { host, generation, .. } = &input
        && !found
    {
        // Found again, it comes back by itself.
        drive.flights.push_back((host.clone(), *generation));
    }
    input
}

fn stale(drive: &mut Drive, _count: u32) -> Input {
    let host = drive.flights.front().map_or_else(|| name("nobody"), |it| it.0.clone());
    let reply = Reply::Ended(AttemptEnd::Succeeded);
    Input::Replied { host, generation: Seq::new(1), reply }
}

fn paused_or_resumed(_drive: &mut Drive, count: u32) -> Input {
    match count % 2 {
        0 => Input::Pause { by: name("ann"), note: "looking at the graphs".to_owned() },
        _ => Input::Resume { by: name("ann") },
    }
}

pub(crate) fn measure() -> Result<(), Failure> {
    let heading = "One input: decide, commit and wake_at. Goal: 10 µs, flat";
    let table = Table::begin(heading, &["input", "100 targets", "10,000", "100,000"])?;
    for Kind { what, strategy, next } in KINDS {
        let mut cells = vec![what.to_owned()];
        for size in SIZES {
            let (rollout, _accepted) = rollout(size, strategy())?;
            let begun = Drive::new(rollout).take(&Input::Tick, |_records| {});
            let rounds: Vec<f64> = (0..ROUNDS).map(|_| round(begun.clone(), next)).collect();
            cells.push(format!("{:.2} µs", best(&rounds)));
        }
        table.row(&cells)?;
    }
    Ok(())
}

/// Microseconds an input, making it included.
fn round(begun: Drive, next: fn(&mut Drive, u32) -> Input) -> f64 {
    // The machine as it ends comes out as well: dropping it is no part of an input.
    let ((_drive, taken), cost) = cost(|| {
        let (mut drive, mut taken) = (begun, 0);
        while taken < INPUTS && drive.rollout.outcome().is_none() {
            let input = next(&mut drive, taken);
            drive = drive.take(&input, |records| {
                std::hint::black_box(records);
            });
            taken += 1;
        }
        (drive, taken)
    });
    cost.cpu.as_secs_f64() * 1e6 / f64::from(taken)
}
