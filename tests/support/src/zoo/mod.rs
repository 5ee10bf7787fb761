//! A zoo of hostile scripts, and what has to come of each, on any executor that runs real processes.
//!
//! What a script has left is found by the test's own means: the value of `P_ZOO` in the environment or the arguments of a
//! process, which no executor looks at.
mod animals;
mod keeper;
mod logs;
mod oracle;

pub use animals::{ANIMALS, Animal};
pub use keeper::{Keeper, Visit};

/// How an animal ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With this code, by itself.
    With(i32),
    /// When it is killed.
    Killed,
    /// With this code; or with what looks after it, where that runs as the same account.
    WithOrLost(i32),
}

/// What an animal prints.
#[derive(Clone, Copy, Debug)]
enum Prints {
    /// This over and over, until it is ended.
    Again(&'static [u8]),
    /// What a shell says of it.
    Anything,
    /// This and nothing else.
    Bytes(fn() -> Vec<u8>),
    /// Its own text.
    Itself,
    /// The numbers up to this one: more than a log may hold.
    Numbers(u64),
    /// This and nothing else.
    Text(&'static str),
}
