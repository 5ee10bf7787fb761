use super::*;
use crate::host::ArtifactBytes;
use async_trait::async_trait;
use deploy_agent_protocol::v1::SwarmReply;
use deploy_core::{memory::SystemClock, time::Timestamp};
use deploy_distribution::Outboard;
use std::sync::Mutex;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const BLOCK: usize = 256 << 10;

/// Gives an artifact in pieces that end nowhere near the ends of blocks; `breaks_at` is where it does once.
#[derive(Debug)]
struct Source {
    bytes: Bytes,
    breaks_at: Mutex<Option<usize>>,
    asked: Mutex<Vec<u64>>,
    given: Arc<Mutex<u64>>,
}

struct Pieces {
    left: Bytes,
    breaks: bool,
    given: Arc<Mutex<u64>>,
}

#[async_trait]
impl ArtifactBytes for Pieces {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.left.is_empty() {
            return if self.breaks { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(None) };
        }
        let piece = self.left.split_to(self.left.len().min(100_003));
        *self.given.lock().unwrap() += piece.len() as u64;
        Ok(Some(piece))
    }
}

#[async_trait]
impl FetchArtifact for Source {
    async fn fetch(&self, _: Digest, offset: u64) -> io::Result<Box<dyn ArtifactBytes>> {
        self.asked.lock().unwrap().push(offset);
        let breaks_at = self.breaks_at.lock().unwrap().take();
        let end = breaks_at.unwrap_or(self.bytes.len());
        let left = self.bytes.slice(usize::try_from(offset).unwrap()..end);
        let given = Arc::clone(&self.given);
        Ok(Box::new(Pieces { left, breaks: breaks_at.is_some(), given }))
    }

    async fn swarm(&self, _: Digest) -> io::Result<Option<SwarmReply>> {
        Ok(None)
    }
}

/// An artifact of seven blocks and a bit.
fn bytes() -> Vec<u8> {
    (0..7 * BLOCK + 1_000).map(|it| u8::try_from(it % 251).unwrap()).collect()
}

fn artifact(bytes: &[u8]) -> Artifact {
    Artifact { digest: Digest::of(bytes), size: bytes.len() as u64 }
}

fn source(bytes: &[u8], breaks_at: Option<usize>) -> Source {
    let bytes = Bytes::copy_from_slice(bytes);
    let breaks_at = Mutex::new(breaks_at);
    Source { bytes, breaks_at, asked: Mutex::default(), given: Arc::default() }
}

/// Has these blocks come.
fn begin(folder: &Path, bytes: &[u8], blocks: &[u32]) {
    let outboard = Outboard::compute(bytes.len() as u64, bytes).unwrap();
    let file = BlobFile::open(folder, outboard).unwrap();
    for number in blocks {
        let block = file.blob().block(*number).unwrap().bytes();
        let [start, end] = [block.start, block.end].map(|it| usize::try_from(it).unwrap());
        file.put(*number, &bytes[start..end], NOW).unwrap();
    }
}

#[tokio::test]
async fn only_what_is_missing_is_fetched_of_the_server() {
    let (dir, bytes) = (tempfile::tempdir().unwrap(), bytes().repeat(4));
    // The first two are near each other, and the third one is not.
    let missing = [1, 4, 20];
    let blocks = u32::try_from(bytes.len().div_ceil(BLOCK)).unwrap();
    let had: Vec<u32> = (0..blocks).filter(|it| !missing.contains(it)).collect();
    begin(dir.path(), &bytes, &had);
    let source = source(&bytes, None);
    let clock = SystemClock::new();
    let path = complete(artifact(&bytes), &source, dir.path(), &clock).await.unwrap().unwrap();
    assert!(fs::read(path).unwrap() == bytes);
    assert_eq!(*source.asked.lock().unwrap(), [1, 20].map(|it| it * BLOCK as u64));
    let (given, wanted) = (*source.given.lock().unwrap(), 5 * BLOCK as u64);
    assert!(given < wanted + 2 * 100_003, "{given} bytes were given, and {wanted} were wanted");
}

#[tokio::test]
async fn what_came_of_the_server_stays_when_that_breaks() {
    let (dir, bytes) = (tempfile::tempdir().unwrap(), bytes());
    begin(dir.path(), &bytes, &[0]);
    let source = source(&bytes, Some(3 * BLOCK + 5));
    let clock = SystemClock::new();
    let broken = complete(artifact(&bytes), &source, dir.path(), &clock).await.unwrap_err();
    assert!(matches!(broken, NotTaken::Away(_)), "{broken}");
    complete(artifact(&bytes), &source, dir.path(), &clock).await.unwrap().unwrap();
    assert_eq!(*source.asked.lock().unwrap(), [1, 3].map(|it| it * BLOCK as u64));
}

#[tokio::test]
async fn what_does_not_fit_to_the_blocks_is_not_put_among_them() {
    let (dir, bytes) = (tempfile::tempdir().unwrap(), bytes());
    begin(dir.path(), &bytes, &[0]);
    let other: Vec<u8> = bytes.iter().map(|it| !it).collect();
    let (clock, source) = (SystemClock::new(), source(&other, None));
    let wrong = complete(artifact(&bytes), &source, dir.path(), &clock).await.unwrap_err();
    assert!(matches!(wrong, NotTaken::File(BlobFileError::WrongBlock { .. })), "{wrong}");
    assert!(wrong.no_room().is_none());
}

#[tokio::test]
async fn where_nothing_was_begun_there_is_no_rest() {
    let (dir, bytes) = (tempfile::tempdir().unwrap(), bytes());
    let (clock, source) = (SystemClock::new(), source(&bytes, None));
    let missing = dir.path().join("blocks");
    for folder in [missing.as_path(), dir.path()] {
        let rest = complete(artifact(&bytes), &source, folder, &clock).await.unwrap();
        assert_eq!(rest, None);
    }
    // Of another size, it is something else.
    begin(dir.path(), &bytes[1..], &[0]);
    let rest = complete(artifact(&bytes), &source, dir.path(), &clock).await.unwrap();
    assert_eq!(rest, None);
    assert!(source.asked.lock().unwrap().is_empty());
}

#[test]
fn the_blocks_of_something_else_are_not_kept() {
    let (dir, bytes) = (tempfile::tempdir().unwrap(), bytes());
    begin(dir.path(), &bytes, &[0]);
    let right = Outboard::compute(bytes.len() as u64, &bytes[..]).unwrap().blob();
    begin(dir.path(), &bytes[1..], &[0]);
    keep_only(dir.path(), right).unwrap();
    let left = fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name());
    let left: Vec<_> = left.map(|it| it.into_string().unwrap()).collect();
    assert!(
        left.len() == 3 && left.iter().all(|it| it.starts_with(&right.to_string())),
        "{left:?}"
    );
}
