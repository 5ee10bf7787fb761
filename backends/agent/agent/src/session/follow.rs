//! Sends what an attempt prints, as fast as it is taken.
use super::outbox::{Outbox, Unwanted};
use crate::host::{Followed, HostSide};
use bytes::Bytes;
use deploy_agent_protocol::{
    LOG_WINDOW, LONGEST_CHUNK,
    v1::{
        Answer, AwaitsConfirm, Follow, LogChunk, NeverStarted, StepBegun,
        agent_frame::Kind as FromAgent, answer::Kind,
    },
};
use tokio::{select, sync::watch};

/// What one order wants to hear, and how much of it has arrived.
#[derive(Debug)]
pub(super) struct Wanted {
    sequence: u64,
    outbox: Outbox,
    /// Up to where the log has arrived; `None` once nobody wants it any more.
    acknowledged: watch::Receiver<Option<u64>>,
}

impl Wanted {
    pub(super) const fn new(
        sequence: u64,
        outbox: Outbox,
        acknowledged: watch::Receiver<Option<u64>>,
    ) -> Self {
        Self { sequence, outbox, acknowledged }
    }

    pub(super) async fn answer(&self, kind: Kind) {
        let answer = Answer { sequence: self.sequence, kind: Some(kind) };
        // A session that is over needs no answer.
        let _over = self.outbox.say(FromAgent::Answer(answer)).await;
    }

    /// Waits until nobody wants to hear of it any more.
    pub(super) async fn unwanted(&self) {
        let mut acknowledged = self.acknowledged.clone();
        // Where the session is over nobody does.
        let _over = acknowledged.wait_for(Option::is_none).await;
    }

    async fn log(&mut self, mut offset: u64, mut bytes: Bytes) -> Result<(), Unwanted> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(LONGEST_CHUNK));
            let end = offset + piece.len() as u64;
            self.wait_for_room(end).await?;
            let chunk = LogChunk { sequence: self.sequence, offset, bytes: piece };
            self.outbox.say(FromAgent::Log(chunk)).await?;
            offset = end;
        }
        Ok(())
    }

    /// Until the log may be sent up to `end`.
    async fn wait_for_room(&mut self, end: u64) -> Result<(), Unwanted> {
        let room = |it: &Option<u64>| it.is_none_or(|arrived| end <= arrived + LOG_WINDOW);
        let acknowledged = self.acknowledged.wait_for(room).await.map_err(|_over| Unwanted)?;
        acknowledged.map(drop).ok_or(Unwanted)
    }
}

/// Sends the log of an attempt, and its end. Returns when that is sent, or nobody wants it any more.
pub(super) async fn follow(host: &dyn HostSide, wanted: Follow, to: &mut Wanted) {
    // Nobody listens: there is nobody to be told.
    let _unwanted = send_all(host, wanted, to).await;
}

async fn send_all(host: &dyn HostSide, wanted: Follow, to: &mut Wanted) -> Result<(), Unwanted> {
    let mut following = match host.follow(wanted).await {
        Ok(following) => following,
        Err(refused) => {
            to.answer(Kind::Refused(refused)).await;
            return Ok(());
        }
    };
    let mut listening = to.acknowledged.clone();
    loop {
        let followed = select! {
            biased;
            _ = listening.wait_for(Option::is_none) => return Err(Unwanted),
            followed = following.next() => followed.ok_or(Unwanted)?,
        };
        let end = match followed {
            Followed::Log { offset, bytes } => {
                to.log(offset, bytes).await?;
                continue;
            }
            Followed::Step(step) => {
                to.outbox.say(FromAgent::Step(StepBegun { sequence: to.sequence, step })).await?;
                continue;
            }
            Followed::AwaitsConfirm => Kind::AwaitsConfirm(AwaitsConfirm {}),
            Followed::Ended(ended) => Kind::Ended(ended),
            Followed::Died(died) => Kind::Died(died),
            Followed::NeverStarted { proved } => Kind::NeverStarted(NeverStarted { proved }),
        };
        to.answer(end).await;
        return Ok(());
    }
}
