//! `room`: what an attempt would take, by the very reckoning that it is refused by.
use super::{
    Host,
    answers::invalid,
    delivery::{Taken, Trees},
};
use crate::{FetchArtifact, spec::Spec};
use deploy_agent_protocol::v1::{DiskRoom, Refused, Room, RoomLeft, answer::Kind};
use std::sync::Arc;

impl Host {
    /// Of what is asked nothing is fetched but the list of a package's parts, by which its way is chosen.
    pub(super) async fn room(
        self: &Arc<Self>,
        room: Room,
        artifacts: &dyn FetchArtifact,
    ) -> Result<Kind, Refused> {
        let attempt = room.attempt.ok_or_else(|| invalid("it does not say for which attempt"))?;
        let spec = Spec::parse(attempt)?;
        let (_, said) = self.permitted(&spec).await?;
        let wanted = self.wanted(&spec, &said, Trees::Believed, artifacts).await;
        let _held = self.cache.hold(&wanted.artifacts);
        let missing = self.missing(&wanted.artifacts)?;
        let taken = self.takes(&spec.place, &wanted.packages(), missing)?;
        Ok(Kind::RoomLeft(RoomLeft { disks: taken.iter().map(disk).collect() }))
    }
}

fn disk(taken: &Taken) -> DiskRoom {
    let (needs, reserve, free) = (taken.needs, taken.reserve, taken.disk.free());
    DiskRoom {
        folder: taken.folder.display().to_string(),
        needed_bytes: needs.bytes().saturating_add(reserve.bytes),
        free_bytes: free.bytes,
        needed_inodes: needs.inodes.saturating_add(reserve.inodes),
        free_inodes: Some(free.inodes).filter(|it| *it < u64::MAX),
    }
}
