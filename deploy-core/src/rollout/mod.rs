//! The rollout machine: inputs in, facts out, effects derived from the state.
//!
//! Nothing here reads a clock, draws a random number, spawns or awaits. [`Rollout::decide`] takes the machine and gives it
//! back only through [`Pending::commit`], once the facts have been journaled: an effect cannot be dispatched before the
//! facts that ask for it are durable, because until then there is nothing to ask for an agenda.
//!
//! One input costs O(log n) in the number of targets; entering a wave costs O(its size) once.
//!
//! ```
//! # use deploy_core::{rollout::*, time::Timestamp};
//! # fn journal(records: &[Record]) {}
//! # fn example(history: Vec<Record>, now: Timestamp) -> Result<(), RecordError> {
//! let rollout = Rollout::replay(&history)?;
//! let pending = rollout.decide(&Input::Tick, now);
//! journal(pending.records()); // durable from here on
//! let (rollout, changed) = pending.commit();
//! for (host, effect) in changed {
//!     // start `effect` on `host`, or stop what is under way there if there is none
//! }
//! # Ok(()) }
//! ```
mod advance;
mod agenda;
mod apply;
mod confirm;
mod decide;
mod end;
mod event;
mod input;
mod outcome;
mod reason;
mod record;
mod refusal;
mod retry;
mod staging;
mod state;
mod task;
mod view;
mod why;

pub use agenda::{Effect, EffectKind};
pub use decide::Pending;
pub use end::AttemptEnd;
pub use event::{Event, SkipKind};
pub use input::{Input, Reply};
pub use outcome::Outcome;
pub use reason::{BudgetColumn, BudgetScope, Reason};
pub use record::{Record, RecordError};
pub use refusal::Refusal;
pub use state::{LOST_AFTER, Phase, Rollout};
pub use task::{Task, TaskState};
pub use view::{RolloutState, RolloutView, TaskView, WaveView};
pub use why::{Explanation, WaitsFor};
