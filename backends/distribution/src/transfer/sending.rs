//! Blocks on their way out.
use super::{limit::Gauge, slots::Slot, visitor::Visitor};
use crate::block::BlockRange;
use bytes::Bytes;
use deploy_core::{backend::Clock, time::Timestamp};
use hyper::body::Frame;
use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc, time::Duration};
use tokio::task::spawn_blocking;

/// How much is read and sent at once.
const PIECE: u64 = 128 << 10;

/// A block that is being sent. Its slot is free again once it is, or nobody takes it any more.
pub(super) struct Sending {
    file: Arc<File>,
    at: Range<u64>,
    gauge: Gauge,
    visitor: Arc<Visitor>,
    /// How much longer the visitor may take, without what our own limits take.
    left: Duration,
    given_at: Timestamp,
    clock: Arc<dyn Clock>,
    _slot: Slot,
}

impl Sending {
    pub(super) fn new(
        file: Arc<File>,
        block: BlockRange,
        gauge: Gauge,
        slot: Slot,
        visitor: Arc<Visitor>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (at, left) = (block.bytes(), Visitor::time_for(block.length.get()));
        let given_at = clock.now();
        Self { file, at, gauge, visitor, left, given_at, clock, _slot: slot }
    }

    pub(super) async fn next(mut self) -> io::Result<Option<(Frame<Bytes>, Self)>> {
        let length = self.at.end.saturating_sub(self.at.start).min(PIECE);
        if length == 0 {
            return Ok(None);
        }
        self.left = self.left.saturating_sub(self.clock.now().since(self.given_at));
        self.visitor.waits_for_us();
        self.gauge.take(length, &*self.clock).await;
        let (file, start) = (Arc::clone(&self.file), self.at.start);
        let read = spawn_blocking(move || {
            let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
            file.read_exact_at(&mut piece, start)?;
            Ok::<_, io::Error>(Bytes::from(piece))
        });
        let piece = read.await.map_err(io::Error::other)??;
        self.at.start = self.at.start.saturating_add(length);
        self.given_at = self.clock.now();
        self.visitor.has(self.left);
        Ok(Some((Frame::data(piece), self)))
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.visitor.may_be_quiet();
    }
}
