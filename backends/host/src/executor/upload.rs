//! Sends an attempt to a host.
use super::{
    attempt::AttemptParts,
    call::Patience,
    releases::{Releases, unreadable},
};
use deploy_core::{backend::Clock, digest::Digest, error::BackendError};
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
    /// The package cannot be read here.
    Store(BackendError),
}

impl From<io::Error> for Stopped {
    fn from(_: io::Error) -> Self {
        Self::Host
    }
}

/// An upload, and what it tells others while it runs.
#[derive(Debug)]
pub(super) struct Upload<'a> {
    pub(super) parts: &'a AttemptParts,
    pub(super) artifacts: &'a Releases,
    pub(super) clock: &'a dyn Clock,
    pub(super) patience: &'a Patience,
    /// Set before the first byte goes out with which the host could start something.
    pub(super) may_start: &'a AtomicBool,
}

impl Upload<'_> {
    /// Sends everything but the package's first `have` bytes.
    pub(super) async fn send(
        &self,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        have: u64,
    ) -> Result<(), Stopped> {
        for piece in &self.parts.head {
            self.write(to, piece).await?;
        }
        if let Some(digest) = self.parts.package {
            self.package(to, digest, have.min(self.parts.package_size)).await?;
        }
        self.may_start.store(true, Ordering::SeqCst);
        self.write(to, &self.parts.tail).await?;
        Ok(to.shutdown().await?)
    }

    async fn package(
        &self,
        to: &mut (dyn AsyncWrite + Send + Unpin),
        digest: Digest,
        have: u64,
    ) -> Result<(), Stopped> {
        let (header, padding) = self.parts.package_frame(have);
        self.write(to, &header).await?;
        let mut left = self.parts.package_size.saturating_sub(have);
        if left > 0 {
            let mut from =
                self.artifacts.open_package(digest, have).await.map_err(Stopped::Store)?;
            let mut buffer = vec![0; PIECE];
            while left > 0 {
                let room = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
                let read = from.read(buffer.get_mut(..room).unwrap_or_default()).await;
                let read = read.map_err(|err| Stopped::Store(unreadable(digest, err)))?;
                if read == 0 {
                    let err = io::Error::from(io::ErrorKind::UnexpectedEof);
                    return Err(Stopped::Store(unreadable(digest, err)));
                }
                self.write(to, buffer.get(..read).unwrap_or_default()).await?;
                left -= read as u64;
            }
        }
        self.write(to, &padding).await?;
        Ok(())
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
