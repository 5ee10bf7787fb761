//! The recovery table: what an agent makes of an attempt that it finds when it begins.
use super::{Attempt, State};
use deploy_agent_protocol::v1;

/// What is to be seen of an attempt on the host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Whether the host was restarted since the attempt was started.
    pub(crate) rebooted: bool,
    /// Whether its shim is alive.
    pub(crate) shim_alive: bool,
    /// Whether the shim has written, durably, that a step begins: its exec mark.
    pub(crate) begun: bool,
    /// Its exit record, if there is a whole one.
    pub(crate) exit: Option<v1::Ended>,
    /// Whether its steps were done, and it waited to be confirmed.
    pub(crate) waited: bool,
    /// Whether the shim has written, durably, that a step of the way back begins.
    pub(crate) going_back: bool,
    /// Whether another shim may go on for one that was lost: not again and again.
    pub(crate) resumable: bool,
}

/// Why an attempt has no exit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The host was restarted.
    Rebooted,
    /// Its shim was killed.
    ShimLost,
}

impl Cause {
    /// As the protocol has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Rebooted => "rebooted",
            Self::ShimLost => "shim_lost",
        }
    }
}

/// What to do about an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// It was accepted and not started: it is started only if the order comes again.
    Await,
    /// It is over, and nobody knows how. Whatever is left of it is to be ended first.
    Died(Cause),
    /// It ended like this.
    Ended(v1::Ended),
    /// It was about to be started, and was not.
    NeverStarted,
    /// It waits to be confirmed, or is to go back and has not begun to: another shim is to see to that.
    Resume,
    /// It runs: follow it.
    Running,
    /// It was over before, and what is known of its end stands.
    Settled,
}

/// The table of `docs/agent.md`.
pub(crate) fn verdict(attempt: &Attempt, seen: &Seen) -> Verdict {
    match (&attempt.state, seen) {
        (State::Accepted { .. }, _) => Verdict::Await,
        (State::Exited { .. }, _) => Verdict::Settled,
        (State::Starting { .. }, Seen { rebooted: false, shim_alive: true, .. }) => {
            Verdict::Running
        }
        (State::Starting { .. }, Seen { exit: Some(exit), .. }) => Verdict::Ended(exit.clone()),
        (State::Starting { .. }, Seen { waited: true, going_back: false, resumable: true, .. }) => {
            Verdict::Resume
        }
        (State::Starting { .. }, Seen { begun: false, .. }) => Verdict::NeverStarted,
        (State::Starting { .. }, Seen { rebooted: true, .. }) => Verdict::Died(Cause::Rebooted),
        (State::Starting { .. }, Seen { rebooted: false, .. }) => Verdict::Died(Cause::ShimLost),
    }
}
