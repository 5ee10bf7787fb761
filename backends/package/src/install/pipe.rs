//! Decoding on a thread of its own, so that it and writing go on at once: `tar` and its `zstd` are two processes as well.
use crate::archive::{
    ArchiveError, Limits,
    decoded::{Decoded, Seal, Source},
};
use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread::Scope,
};

/// How much is handed over at a time, in bytes: as much as stays in a core's cache.
const PIECE: usize = 256 << 10;
/// How many pieces may wait.
const WAITING: usize = 8;

enum Message {
    Bytes(Vec<u8>, usize),
    End(Result<Seal, ArchiveError>),
}

/// The other end of a thread that decodes an archive.
pub(super) struct Piped {
    messages: Receiver<Message>,
    spare: Sender<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
    filled: usize,
    seal: Option<Seal>,
}

impl Piped {
    /// Begins to decode `archive`; the thread ends with the archive, or when nobody listens any more.
    pub(super) fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        archive: impl Read + Send + 'scope,
        limits: Limits,
    ) -> Self {
        let (sender, messages) = sync_channel(WAITING);
        let (spare, empty) = channel();
        scope.spawn(move || {
            let sealed = decode(archive, limits, &sender, &empty);
            if let Some(sealed) = sealed.transpose() {
                drop(sender.send(Message::End(sealed)));
            }
        });
        Self { messages, spare, piece: Vec::new(), at: 0, filled: 0, seal: None }
    }
}

/// `None` if nobody listens any more.
fn decode(
    archive: impl Read,
    limits: Limits,
    sender: &SyncSender<Message>,
    empty: &Receiver<Vec<u8>>,
) -> Result<Option<Seal>, ArchiveError> {
    let mut decoded = Decoded::new(archive, limits)?;
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let filled = decoded.decode(&mut piece)?;
        if filled == 0 {
            return decoded.into_seal().map(Some);
        }
        if sender.send(Message::Bytes(piece, filled)).is_err() {
            return Ok(None);
        }
    }
}

impl Source for Piped {
    fn fill(&mut self) -> Result<&[u8], ArchiveError> {
        if self.at == self.filled && self.seal.is_none() {
            // The thread may have gone; then no piece is needed either.
            drop(self.spare.send(std::mem::take(&mut self.piece)));
            (self.at, self.filled) = (0, 0);
            match self.messages.recv() {
                Ok(Message::Bytes(piece, filled)) => (self.piece, self.filled) = (piece, filled),
                Ok(Message::End(sealed)) => self.seal = Some(sealed?),
                Err(_) => return Err(io::Error::other("decoding ended without an answer").into()),
            }
        }
        Ok(self.piece.get(self.at..self.filled).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.filled);
    }

    fn seal(self) -> Result<Seal, ArchiveError> {
        self.seal.ok_or_else(|| io::Error::other("its end was not reached").into())
    }
}
