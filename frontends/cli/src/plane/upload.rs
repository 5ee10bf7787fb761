//! Uploads that show how far they are.
use super::Place;
use crate::{
    fetch::showing,
    output::{Output, size},
    packages::Packed,
};
use deploy_client::{ArtifactUpload, Client, ClientError};
use deploy_wire::Artifact;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};

/// Uploads what is packed, going on where an upload before was cut off.
pub(super) async fn upload(
    client: &Client,
    output: &Output,
    packed: Packed,
    place: &Place,
) -> Result<Artifact, ClientError> {
    let what = ArtifactUpload {
        digest: packed.digest.to_string(),
        size: packed.size,
        repository: place.repository.to_string(),
        kind: place.kind.as_str().to_owned(),
        version: place.version.to_string(),
    };
    let reached = Arc::new(AtomicU64::new(0));
    let (file, begin) = (Arc::new(packed.file), packed.begin);
    let open = || {
        let (file, reached) = (Arc::clone(&file), Arc::clone(&reached));
        async move {
            let file = tokio::fs::File::from_std(file.try_clone()?);
            Ok(Counted { file, begin, reached })
        }
    };
    let line = || {
        let done = size(reached.load(Ordering::Relaxed));
        let (all, ArtifactUpload { kind, repository, version, .. }) = (size(what.size), &what);
        format!("uploading {kind} {repository} {version}: {done} of {all}")
    };
    showing(output, line, client.upload(&what, open)).await
}

/// A file that counts how far it was read.
#[derive(Debug)]
struct Counted {
    file: tokio::fs::File,
    /// Where in the file the upload begins.
    begin: u64,
    reached: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.file).poll_read(context, buffer);
        let read = buffer.filled().len().saturating_sub(before);
        self.reached.fetch_add(u64::try_from(read).unwrap_or(0), Ordering::Relaxed);
        polled
    }
}

impl AsyncSeek for Counted {
    fn start_seek(mut self: Pin<&mut Self>, mut position: io::SeekFrom) -> io::Result<()> {
        if let io::SeekFrom::Start(at) = &mut position {
            self.reached.store(*at, Ordering::Relaxed);
            *at = at.saturating_add(self.begin);
        }
        Pin::new(&mut self.file).start_seek(position)
    }

    fn poll_complete(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Pin::new(&mut self.file).poll_complete(context)
    }
}
