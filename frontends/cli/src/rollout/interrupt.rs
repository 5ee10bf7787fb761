//! What Ctrl-C means.
use deploy_wire::{Problem, ProblemCode};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that end a program.
#[derive(Debug)]
pub(super) struct Interrupts {
    ctrl_c: Signal,
    hang_up: Signal,
    terminate: Signal,
}

/// What somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// To be asked.
    Ask,
    /// The program to end.
    Stop,
}

impl Interrupts {
    pub(super) fn listen() -> Result<Self, Problem> {
        let listen = |kind| {
            signal(kind).map_err(|err| {
                Problem::new(
                    ProblemCode::Internal,
                    format!("signals cannot be listened for: {err}"),
                )
            })
        };
        Ok(Self {
            ctrl_c: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    pub(super) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Interrupt::Stop,
            _ = self.hang_up.recv() => Interrupt::Stop,
            _ = self.ctrl_c.recv() => Interrupt::Ask,
        }
    }
}

/// What somebody chose who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Abort,
    Confirm,
    Detach,
    Pause,
    Rollback,
    Stay,
}

impl Choice {
    /// The question, and its answers.
    pub(super) const fn question(
        awaits_confirm: bool,
        driving: bool,
    ) -> (&'static str, &'static str) {
        match (awaits_confirm, driving) {
            (true, true) => (
                "[c]onfirm, [p]ause, roll [b]ack, [a]bort, [d]etach (background), or [s]tay?",
                "cpbads",
            ),
            (true, false) => (
                "[c]onfirm, [p]ause, roll [b]ack, [a]bort, [d]etach (stop watching), or [s]tay?",
                "cpbads",
            ),
            (false, true) => {
                ("[p]ause, roll [b]ack, [a]bort, [d]etach (background), or [s]tay?", "pbads")
            }
            (false, false) => {
                ("[p]ause, roll [b]ack, [a]bort, [d]etach (stop watching), or [s]tay?", "pbads")
            }
        }
    }

    pub(super) const fn of(answer: char) -> Self {
        match answer {
            'a' => Self::Abort,
            'b' => Self::Rollback,
            'c' => Self::Confirm,
            'd' => Self::Detach,
            'p' => Self::Pause,
            _ => Self::Stay,
        }
    }
}
