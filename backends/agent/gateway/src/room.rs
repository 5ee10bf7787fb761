//! Asks agents whether their hosts have room for an attempt.
use crate::{
    conversation::Silence,
    executor::{ANSWER_WITHIN, AgentExecutor, identity},
};
use deploy_agent_protocol::v1::{self, answer::Kind as Answer, order::Kind as Order};
use deploy_core::{
    backend::AttemptRequest,
    error::{BackendResult, ErrorKind},
    plan::DiskRoom,
};
use std::time::Duration;

impl AgentExecutor {
    /// Somebody waits for many of these answers: no agent is waited for that is not there, and no part is made for it.
    pub(crate) async fn room_left(&self, request: &AttemptRequest) -> BackendResult<Vec<DiskRoom>> {
        let about = identity(&request.on, request.generation, &request.token, "executor.room");
        let gone = || about.error(ErrorKind::Unavailable).because("its agent is not connected");
        let session = self.gateway().sessions().current(about.host).ok_or_else(gone)?;
        if !session.tells_room() {
            let err = about.error(ErrorKind::Unsupported);
            return Err(err.because(
                "its agent is too old to say whether there is room: install a newer one",
            ));
        }
        let (attempt, offers) = self.attempt(request, Duration::ZERO).await?;
        session.offer(offers);
        let order = Order::Room(v1::Room { attempt: Some(attempt) });
        let until = self.after(ANSWER_WITHIN);
        let answer = match session.order(order, ANSWER_WITHIN).await {
            Some(mut conversation) => conversation.answer(self.clock(), until).await,
            None => Err(Silence::Gone),
        };
        match answer {
            Ok(Answer::Refused(refused)) => Err(about.refused(refused)),
            Ok(Answer::RoomLeft(left)) => Ok(left.disks.into_iter().map(disk).collect()),
            Ok(_) => Err(about.unexpected()),
            Err(Silence::Gone) => Err(gone()),
            Err(Silence::TooLong) => {
                Err(about.error(ErrorKind::OutcomeUnknown).because("its agent does not answer"))
            }
        }
    }
}

fn disk(disk: v1::DiskRoom) -> DiskRoom {
    DiskRoom::new(disk.folder, disk.needed_bytes, disk.free_bytes)
        .with_inodes(disk.needed_inodes, disk.free_inodes)
}
