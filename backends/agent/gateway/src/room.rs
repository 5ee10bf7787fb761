//! Asks agents whether their hosts have room for an attempt.
use crate::{
    conversation::Silence,
    executor::{ANSWER_WITHIN, AgentExecutor, identity},
};
use deploy_agent_protocol::v1::{self, answer::Kind as Answer, order::Kind as Order};
use deploy_core::{
    backend::AttemptRequest,
    digest::Digest,
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
        let (attempt, _) = self.attempt(request, Duration::ZERO).await?;
        // Who may ask may not have anything else sent there.
        session.offer(lists(&attempt));
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

/// The lists of parts, by which the host reckons.
fn lists(attempt: &v1::Attempt) -> Vec<Digest> {
    let back = attempt.revert.as_deref().and_then(|it| it.back.as_deref());
    let lists = [Some(attempt), back].into_iter().flatten();
    let lists = lists.filter_map(|it| it.delivery.as_ref()?.publication.as_ref());
    lists.filter_map(|it| <[u8; 32]>::try_from(&*it.digest).ok().map(Digest::from_bytes)).collect()
}

fn disk(disk: v1::DiskRoom) -> DiskRoom {
    DiskRoom::new(disk.folder, disk.needed_bytes, disk.free_bytes)
        .with_inodes(disk.needed_inodes, disk.free_inodes)
}
