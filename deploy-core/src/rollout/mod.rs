//! The rollout machine: inputs in, facts out, effects derived from the state.
//!
//! Nothing here reads a clock, draws a random number, spawns or awaits. [`Rollout::decide`] takes the machine and gives it
//! back only through [`Pending::commit`], after the facts have been journaled: an effect cannot be dispatched before the
//! facts that ask for it are durable, because until then there is nothing to ask for an agenda.
mod event;
mod input;

pub use event::{
    AttemptEnd, BudgetColumn, BudgetScope, Event, Outcome, Reason, Record, RecordError, SkipKind,
};
pub use input::{Input, Reply};
