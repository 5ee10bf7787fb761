//! What the benches share: fleets to roll out on, and clocks that other processes do not disturb.
mod fleet;
mod measure;

pub use fleet::{START, hosts, plan_input, rollout};
pub use measure::{Cost, Span, Table, best, cost, median};

/// Why a bench could not be run.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
