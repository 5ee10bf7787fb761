//! One order, and what the agent says to it.
use crate::session::Session;
use bytes::Bytes;
use deploy_agent_protocol::v1::{self, answer, gateway_frame::Kind as ToAgent};
use deploy_core::{backend::Clock, time::Timestamp};
use std::sync::Arc;
use tokio::{select, sync::mpsc};

/// What an agent says to an order.
#[derive(Debug)]
pub(crate) enum Heard {
    Answer(answer::Kind),
    Log { offset: u64, bytes: Bytes },
    Step(String),
}

/// Why nothing more is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// The session is over.
    Gone,
    /// Nothing came in time.
    TooLong,
}

/// One order that was given. Whoever drops it listens no more; what the order has started goes on.
#[derive(Debug)]
pub(crate) struct Conversation {
    session: Arc<Session>,
    sequence: u64,
    inbox: mpsc::UnboundedReceiver<Heard>,
}

impl Conversation {
    pub(crate) const fn new(
        session: Arc<Session>,
        sequence: u64,
        inbox: mpsc::UnboundedReceiver<Heard>,
    ) -> Self {
        Self { session, sequence, inbox }
    }

    /// What is said next, if it is said by then.
    pub(crate) async fn next(
        &mut self,
        clock: &dyn Clock,
        until: Timestamp,
    ) -> Result<Heard, Silence> {
        loop {
            select! {
                biased;
                heard = self.inbox.recv() => return heard.ok_or(Silence::Gone),
                () = clock.sleep_until(until) => {
                    if clock.now() >= until {
                        return Err(Silence::TooLong);
                    }
                }
            }
        }
    }

    /// The answer of an order that is answered once.
    pub(crate) async fn answer(
        &mut self,
        clock: &dyn Clock,
        until: Timestamp,
    ) -> Result<answer::Kind, Silence> {
        loop {
            if let Heard::Answer(answer) = self.next(clock, until).await? {
                return Ok(answer);
            }
        }
    }

    /// The log is stored up to `offset`, and `bytes` of that are new.
    pub(crate) async fn acknowledge(&self, offset: u64, bytes: u64) {
        self.session.acknowledged(self.sequence, bytes);
        let sequence = self.sequence;
        self.session.say(ToAgent::LogAck(v1::LogAck { sequence, offset })).await;
    }

    /// The end of the attempt is known here: the agent need not say it again by itself.
    pub(crate) async fn confirm_end(&self, service: &str, generation: u64) {
        let attempt = Some(v1::AttemptId { service: service.to_owned(), generation });
        self.session.say(ToAgent::EndAck(v1::EndAck { attempt })).await;
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.session.end(self.sequence);
    }
}
