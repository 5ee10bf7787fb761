//! What is answered.
use crate::{attempt::End, journal::Poisoned, spec::BadOrder};
use deploy_agent_protocol::v1::{
    KillFailed, Killed, Outcome, Refusal, Refused, Running, answer::Kind,
};

/// An order that is refused; `generation` says more with some codes.
#[expect(clippy::needless_pass_by_value, reason = "it stands at the end of `map_err`")]
pub(super) fn refused(code: Refusal, message: impl ToString, generation: u64) -> Refused {
    Refused { code: code.into(), message: message.to_string(), generation }
}

pub(super) fn invalid(message: impl ToString) -> Refused {
    refused(Refusal::Invalid, message, 0)
}

pub(super) fn failing(message: impl ToString) -> Refused {
    refused(Refusal::Failing, message, 0)
}

impl From<BadOrder> for Refused {
    fn from(bad: BadOrder) -> Self {
        invalid(bad)
    }
}

impl From<Poisoned> for Refused {
    fn from(poisoned: Poisoned) -> Self {
        failing(poisoned)
    }
}

pub(super) fn or_refused(answer: Result<Kind, Refused>) -> Kind {
    answer.unwrap_or_else(Kind::Refused)
}

pub(super) fn end(end: End) -> Kind {
    match end {
        End::Died(died) => Kind::Died(died),
        End::Ended(ended) => Kind::Ended(ended),
    }
}

/// What a kill has come to, where the attempt was alive before.
pub(super) fn killed(how: End) -> Kind {
    match how {
        End::Ended(ended) if ended.outcome() == Outcome::Killed => Kind::Killed(Killed {}),
        End::Ended(ended) if ended.outcome() == Outcome::KillFailed => {
            Kind::KillFailed(KillFailed { survivors: ended.survivors })
        }
        other => end(other),
    }
}

pub(super) fn running(step: Option<(usize, String)>) -> Kind {
    Kind::Running(Running { step: step.map(|it| it.1).unwrap_or_default() })
}
