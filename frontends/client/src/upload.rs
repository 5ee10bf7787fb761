//! Uploads that go on where they were cut off.
use crate::{
    ClientError,
    http::{Asked, Http, is_passing},
    query::{encoded, with_query},
};
use bytes::Bytes;
use deploy_wire::{Artifact, Upload};
use futures_util::TryStreamExt as _;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Method,
    body::Frame,
    header::{self, HeaderName, HeaderValue},
};
use std::{io::SeekFrom, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncSeek, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

/// How often on end an upload is tried that gets no further.
const TRIES: u32 = 5;
/// The wait between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// How much is read at a time, in bytes.
const PIECE: usize = 128 << 10;

/// What is uploaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever uploads says all of it")]
pub struct ArtifactUpload {
    /// `sha256:` and 64 hexadecimal digits: what the bytes must hash to.
    pub digest: String,
    /// How many bytes there are.
    pub size: u64,
    /// Where it is to be listed.
    pub repository: String,
    /// `package` or `descriptor`.
    pub kind: String,
    /// Which version it is.
    pub version: String,
}

impl ArtifactUpload {
    fn path(&self) -> String {
        format!("/api/v1/artifacts/{}/upload", encoded(&self.digest))
    }

    fn whole_path(&self) -> String {
        let size = self.size.to_string();
        with_query(
            &self.path(),
            &[
                ("repository", Some(self.repository.as_str())),
                ("kind", Some(self.kind.as_str())),
                ("version", Some(self.version.as_str())),
                ("size", Some(size.as_str())),
            ],
        )
    }
}

/// Uploads what `open` gives, which is asked for anew for each try.
pub(crate) async fn upload<R, F>(
    http: &Http,
    what: &ArtifactUpload,
    mut open: impl FnMut() -> F + Send,
) -> Result<Artifact, ClientError>
where
    R: AsyncRead + AsyncSeek + Send + Sync + Unpin + 'static,
    F: Future<Output = std::io::Result<R>> + Send,
{
    let (mut failures, mut reached) = (0, 0);
    loop {
        let state: Upload = http.json(Asked::new(Method::GET, what.path())).await?;
        // What is there whole is still to be listed as this version, and the server lists nothing whose bytes it was not shown.
        let offset = if state.complete { 0 } else { state.offset };
        if offset > reached {
            (failures, reached) = (0, offset);
        }
        match send(http, what, open().await?, offset).await {
            Err(err) if is_passing(&err) && failures < TRIES => failures += 1,
            done => return done,
        }
        http.clock.sleep_until(http.clock.now().after(PAUSE)).await;
    }
}

async fn send<R>(
    http: &Http,
    what: &ArtifactUpload,
    mut from: R,
    offset: u64,
) -> Result<Artifact, ClientError>
where
    R: AsyncRead + AsyncSeek + Send + Sync + Unpin + 'static,
{
    from.seek(SeekFrom::Start(offset)).await?;
    let length = what.size.saturating_sub(offset);
    let pieces = ReaderStream::with_capacity(from.take(length), PIECE);
    let body = StreamBody::new(pieces.map_ok(|it: Bytes| Frame::data(it))).boxed();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_LENGTH, HeaderValue::from(length)),
        (HeaderName::from_static("upload-offset"), HeaderValue::from(offset)),
    ];
    let answer = http.send(&Method::PUT, &what.whole_path(), &headers, body).await?;
    http.read(answer).await
}
