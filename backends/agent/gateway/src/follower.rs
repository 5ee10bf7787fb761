use crate::{
    answers::{self, Identity, died, forgotten},
    conversation::{Conversation, Heard, Silence},
};
use deploy_agent_protocol::v1::answer::Kind as Answer;
use deploy_core::{
    backend::{AttemptLog, AttemptReport, Clock},
    error::{BackendResult, ErrorKind},
};
use deploy_host::executor::doubtful;
use std::time::Duration;

/// How long an agent may take to begin: it may have gigabytes to fetch and to hash.
pub(crate) const START_WITHIN: Duration = Duration::from_secs(600);
/// An attempt of which nothing is heard for so long is followed anew.
const FOLLOW_ANEW: Duration = Duration::from_secs(3600);
/// How often a log that ends early, or of which a piece is missing, is asked for again before any more of it has come.
const SHORT_LOGS: u32 = 5;

/// Follows one attempt over as many sessions as it takes.
pub(crate) struct Follower<'a> {
    pub(crate) about: Identity<'a>,
    log: &'a dyn AttemptLog,
    /// The next byte of the log.
    pub(crate) offset: u64,
    /// The host has said that it has the attempt.
    pub(crate) attached: bool,
    /// Something may have been started.
    pub(crate) doubt: bool,
    short_logs: u32,
}

impl<'a> Follower<'a> {
    pub(crate) const fn new(about: Identity<'a>, log: &'a dyn AttemptLog, offset: u64) -> Self {
        Self { about, log, offset, attached: false, doubt: false, short_logs: 0 }
    }
}

impl Follower<'_> {
    /// Listens to its end; `None` if it has to be followed further over another session, or asked anew.
    pub(crate) async fn follow(
        &mut self,
        clock: &dyn Clock,
        conversation: &mut Conversation,
    ) -> BackendResult<Option<BackendResult<AttemptReport>>> {
        let first = if self.attached { FOLLOW_ANEW } else { START_WITHIN };
        let mut until = clock.now().after(first);
        loop {
            match conversation.next(clock, until).await {
                Err(Silence::Gone) => return Ok(None),
                Err(Silence::TooLong) if self.attached => return Ok(None),
                Err(Silence::TooLong) => {
                    let err = self.about.error(ErrorKind::OutcomeUnknown);
                    return Err(err.because("its agent does not answer"));
                }
                Ok(Heard::Step(name)) => {
                    if let Some(step) = answers::step(&name) {
                        self.log.step(step);
                    }
                }
                Ok(Heard::Log { offset, bytes }) if offset > self.offset => {
                    self.missing(offset, &bytes)?;
                    return Ok(None);
                }
                Ok(Heard::Log { offset, bytes }) => {
                    self.store(conversation, offset, &bytes).await?;
                }
                Ok(Heard::Answer(Answer::Accepted(_))) => {
                    self.attached = true;
                    // From now on the agent speaks when there is something to say, and the session ends when it is gone.
                    until = clock.now().after(FOLLOW_ANEW);
                }
                Ok(Heard::Answer(answer)) => return Ok(self.conclude(answer)),
            }
        }
    }

    /// A piece of the log has overtaken the one before it, which may have been lost.
    fn missing(&mut self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        self.short_logs += 1;
        if self.short_logs <= SHORT_LOGS {
            return Ok(());
        }
        Err(self
            .about
            .error(ErrorKind::OutcomeUnknown)
            .with("expected", self.offset)
            .with("got", offset)
            .with("bytes", bytes.len())
            .because("the host's agent left out a part of the log"))
    }

    /// Stores what of a piece is not stored yet: one may come twice.
    async fn store(
        &mut self,
        conversation: &Conversation,
        offset: u64,
        bytes: &[u8],
    ) -> BackendResult<()> {
        let stored = usize::try_from(self.offset - offset).unwrap_or(usize::MAX);
        if let Some(new @ [_, ..]) = bytes.get(stored..) {
            self.log.write(self.offset, new).await.map_err(|err| doubtful(err, true))?;
            self.offset += new.len() as u64;
            self.short_logs = 0;
        }
        conversation.acknowledge(self.offset, bytes.len() as u64).await;
        Ok(())
    }

    /// What an answer means that is the last one; `None` if the attempt has to be asked for again.
    fn conclude(&mut self, answer: Answer) -> Option<BackendResult<AttemptReport>> {
        Some(match answer {
            Answer::AwaitsConfirm(_) => Ok(AttemptReport::AwaitsConfirm),
            Answer::Ended(record) => {
                self.attached = true;
                if self.offset < record.log_length && self.short_logs < SHORT_LOGS {
                    self.short_logs += 1;
                    return None;
                }
                self.about.ended(record)
            }
            Answer::Died(record) => Ok(died(&record)),
            Answer::NeverStarted(it) if self.attached && !it.proved => Ok(forgotten()),
            Answer::NeverStarted(_) => Err(self
                .about
                .error(ErrorKind::Unavailable)
                .because("the attempt ended on the host before anything was started")),
            Answer::Refused(refused) if self.attached => {
                Err(doubtful(self.about.refused(refused), true))
            }
            Answer::Refused(refused) => Err(self.about.refused(refused)),
            _ => Err(self.about.unexpected()),
        })
    }
}
