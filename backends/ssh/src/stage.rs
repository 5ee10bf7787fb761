//! How far a connection in the making has come, to say so when it takes too long.
use crate::failure::Failure;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The furthest step of a connection in the making.
#[derive(Debug, Default)]
pub(crate) struct Stage(Mutex<Step>);

/// What it waits for, in the order in which that comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    #[default]
    Agent,
    Lookup,
    Tcp,
    Tunnel,
    FirstWord,
    KeyExchange,
    Login,
}

impl Stage {
    pub(crate) fn reach(&self, step: Step) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *current = step.max(*current);
    }

    /// The host has not answered.
    pub(crate) fn no_answer(&self, within: Duration) -> Failure {
        self.too_slow("answer", within)
    }

    /// The host has answered, and has not let us in.
    pub(crate) fn no_login(&self, within: Duration) -> Failure {
        self.too_slow("login", within)
    }

    fn too_slow(&self, what: &str, within: Duration) -> Failure {
        let step = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let within = within.as_secs_f32();
        Failure::unavailable(format!("no {what} within {within} s: {}", step.explain()))
    }
}

impl Step {
    /// What it is like to be stuck in it, and what that can come from.
    const fn explain(self) -> &'static str {
        match self {
            Self::Agent => "the SSH agent on this side does not answer",
            Self::Lookup => "the name service does not answer",
            Self::Tcp => "the host is down, or something on the way drops what is sent to it",
            Self::Tunnel => "the jump host has not connected to it",
            Self::FirstWord => {
                "something takes connections there and says nothing; the host may hang, or have too much to do"
            }
            Self::KeyExchange => "still exchanging keys; the host may hang, or have too much to do",
            Self::Login => "still logging in; the host may hang, or have too much to do",
        }
    }
}
