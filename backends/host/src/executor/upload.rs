//! Sends an attempt to a host.
use super::{
    attempt::AttemptParts,
    call::Patience,
    offer::Known,
    releases::{Releases, unreadable},
};
use crate::control::Way;
use deploy_core::{
    backend::{ArtifactReader, Clock},
    digest::Digest,
    error::BackendError,
    spec::ArtifactRef,
};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

const PIECE: usize = 64 << 10;

/// Why an upload ended early.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The host takes no more; it says why itself.
    Host,
    /// The patch cannot be read here.
    Patch(io::Error),
    /// The package cannot be read here.
    Store(BackendError),
}

impl From<io::Error> for Stopped {
    fn from(_: io::Error) -> Self {
        Self::Host
    }
}

/// What a host wants of a package, and how much of that it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) way: Way,
    pub(super) have: u64,
}

/// An upload, and what it tells others while it runs.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) parts: &'a AttemptParts,
    pub(super) artifacts: &'a Releases,
    pub(super) patches: Option<&'a Known>,
    pub(super) clock: &'a dyn Clock,
    pub(super) patience: &'a Patience,
    /// Set before the first byte goes out with which the host could start something.
    pub(super) may_start: &'a AtomicBool,
}

impl Upload<'_> {
    /// Sends everything but what the host has of the package.
    pub(super) async fn send(
        &self,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        wanted: Wanted,
    ) -> Result<(), Stopped> {
        for piece in &self.parts.head {
            self.write(to, piece).await?;
        }
        if let Some(digest) = self.parts.package {
            match (wanted.way, self.parts.offer.and_then(|it| it.patch)) {
                (Way::Tree, _) => {}
                (Way::Patch, Some(upon)) => self.patch(to, upon.patch.patch, wanted.have).await?,
                (Way::Patch | Way::Whole, _) => self.package(to, digest, wanted.have).await?,
            }
        }
        self.may_start.store(true, Ordering::SeqCst);
        self.write(to, &self.parts.tail).await?;
        Ok(to.shutdown().await?)
    }

    async fn patch(
        &self,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        patch: ArtifactRef,
        have: u64,
    ) -> Result<(), Stopped> {
        let have = have.min(patch.size);
        let from = match self.patches {
            Some(known) => known.open(patch.digest, have).await,
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let from = from.map_err(Stopped::Patch)?;
        self.entry(to, from, patch.size - have, Stopped::Patch).await
    }

    async fn package(
        &self,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        digest: Digest,
        have: u64,
    ) -> Result<(), Stopped> {
        let size = self.parts.package_size;
        let have = have.min(size);
        let from: ArtifactReader = if have < size {
            self.artifacts.open_package(digest, have).await.map_err(Stopped::Store)?
        } else {
            Box::pin(tokio::io::empty())
        };
        let unread = |err| Stopped::Store(unreadable(digest, err));
        self.entry(to, from, size - have, unread).await
    }

    /// Sends `size` bytes as the entry from which the package is made.
    async fn entry(
        &self,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        mut from: ArtifactReader,
        size: u64,
        unread: impl Fn(io::Error) -> Stopped,
    ) -> Result<(), Stopped> {
        let (header, padding) = AttemptParts::package_frame(size);
        self.write(to, &header).await?;
        let (mut left, mut buffer) = (size, vec![0; PIECE]);
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
            let read = from.read(buffer.get_mut(..room).unwrap_or_default()).await;
            let read = read.map_err(&unread)?;
            if read == 0 {
                return Err(unread(io::ErrorKind::UnexpectedEof.into()));
            }
            self.write(to, buffer.get(..read).unwrap_or_default()).await?;
            left -= read as u64;
        }
        Ok(self.write(to, &padding).await?)
    }

    async fn write(
        &self,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        bytes: &[u8],
    ) -> io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            to.write_all(piece).await?;
            self.patience.renew(self.clock.now());
        }
        Ok(())
    }
}
