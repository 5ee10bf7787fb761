//! What is said to a gateway, in words that it knows.
use super::frame;
use deploy_agent_protocol::{
    REVERT_SINCE,
    v1::{
        AgentFrame, Answer, Died, Ended, Outcome, Running, agent_frame::Kind as FromAgent,
        answer::Kind,
    },
};
use tokio::sync::mpsc;

/// The way to the gateway of one session. Clones lead to the same.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    frames: mpsc::Sender<AgentFrame>,
    protocol: u32,
}

/// Nobody listens any more.
#[derive(Debug)]
pub(super) struct Unwanted;

impl Outbox {
    /// In a session of the version `protocol`.
    pub(super) const fn new(frames: mpsc::Sender<AgentFrame>, protocol: u32) -> Self {
        Self { frames, protocol }
    }

    pub(super) async fn say(&self, kind: FromAgent) -> Result<(), Unwanted> {
        let kind = match kind {
            FromAgent::Answer(answer) if self.protocol < REVERT_SINCE => {
                FromAgent::Answer(without_reverts(answer))
            }
            other => other,
        };
        self.frames.send(frame(kind)).await.map_err(|_over| Unwanted)
    }
}

/// An answer for a gateway that knows nothing of hosts that go back by themselves: a newer one has started the attempt.
fn without_reverts(Answer { sequence, kind }: Answer) -> Answer {
    let kind = kind.map(|kind| match kind {
        // There is more to come.
        Kind::AwaitsConfirm(_) | Kind::Reverting(_) => Kind::Running(Running::default()),
        Kind::Died(died) if died.reverting => {
            // No step may be taken up again as if it had gone forward.
            Kind::Died(Died { step: String::new(), reverting: false, ..died })
        }
        Kind::Ended(ended) => Kind::Ended(ended_without_reverts(ended)),
        other => other,
    });
    Answer { sequence, kind }
}

fn ended_without_reverts(mut ended: Ended) -> Ended {
    let how = match ended.outcome() {
        Outcome::SelfReverted => "the host went back by itself",
        Outcome::RevertFailed => "the host could not go back by itself",
        _ => return ended,
    };
    ended.set_outcome(Outcome::Failed);
    ended.reason = format!("{how}: {}", ended.reason);
    ended
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_agent_protocol::v1::{AwaitsConfirm, Reverting};

    /// What a gateway of the version `protocol` hears.
    async fn heard(protocol: u32, said: Kind) -> Kind {
        let (frames, mut heard) = mpsc::channel(1);
        let answer = Answer { sequence: 7, kind: Some(said) };
        Outbox::new(frames, protocol).say(FromAgent::Answer(answer)).await.unwrap();
        let Some(FromAgent::Answer(answer)) = heard.recv().await.unwrap().kind else { panic!() };
        assert_eq!(answer.sequence, 7);
        answer.kind.unwrap()
    }

    fn ended(outcome: Outcome, reason: &str) -> Kind {
        let (outcome, step) = (outcome.into(), "start".to_owned());
        Kind::Ended(Ended { outcome, step, reason: reason.to_owned(), ..Ended::default() })
    }

    fn died(step: &str, reverting: bool) -> Kind {
        Kind::Died(Died { step: step.to_owned(), reverting, ..Died::default() })
    }

    #[tokio::test]
    async fn a_gateway_of_the_first_version_is_told_of_reverts_in_its_own_words() {
        let running = Kind::Running(Running::default());
        let told = [
            (Kind::AwaitsConfirm(AwaitsConfirm {}), running.clone()),
            (Kind::Reverting(Reverting {}), running),
            (died("rollback", true), died("", false)),
            (died("install", false), died("install", false)),
            (
                ended(Outcome::SelfReverted, "confirm_timeout"),
                ended(Outcome::Failed, "the host went back by itself: confirm_timeout"),
            ),
            (
                ended(Outcome::RevertFailed, "exit_code"),
                ended(Outcome::Failed, "the host could not go back by itself: exit_code"),
            ),
            (ended(Outcome::Failed, "exit_code"), ended(Outcome::Failed, "exit_code")),
        ];
        for (said, in_first) in told {
            assert_eq!(heard(1, said.clone()).await, in_first);
            assert_eq!(heard(REVERT_SINCE, said.clone()).await, said);
        }
    }
}
