//! What the pure half costs: an input of the rollout machine, a whole rollout, replaying it, and planning it.
//!
//! ```text
//! cargo bench -p deploy-benches --bench machine
//! ```
//!
//! All figures are CPU time of the one thread that does it all.
mod drive;
mod inputs;
mod whole;

use deploy_benches::Failure;

const FLEET: u32 = 100_000;

fn main() -> Result<(), Failure> {
    inputs::measure()?;
    whole::measure_rollout(FLEET)?;
    whole::measure_planning(FLEET)
}
