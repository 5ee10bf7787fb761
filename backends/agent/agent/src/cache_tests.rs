use super::*;
use crate::ArtifactBytes;
use async_trait::async_trait;
use bytes::Bytes;

/// Gives artifacts in pieces, each time up to a byte where it breaks.
#[derive(Debug, Default)]
struct Source {
    bytes: Vec<u8>,
    breaks_at: Mutex<Vec<usize>>,
    offsets: Mutex<Vec<u64>>,
}

struct Pieces(Vec<io::Result<Bytes>>);

#[async_trait]
impl ArtifactBytes for Pieces {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.0.pop().transpose()
    }
}

#[async_trait]
impl FetchArtifact for Source {
    async fn fetch(&self, _: Digest, offset: u64) -> io::Result<Box<dyn ArtifactBytes>> {
        self.offsets.lock().unwrap().push(offset);
        let breaks_at = self.breaks_at.lock().unwrap().pop();
        let end = breaks_at.unwrap_or(self.bytes.len());
        let bytes = &self.bytes[usize::try_from(offset).unwrap()..end];
        let pieces = bytes.chunks(7).map(|it| Ok(Bytes::copy_from_slice(it)));
        let broken = breaks_at.map(|_| Err(io::ErrorKind::ConnectionReset.into()));
        let mut pieces: Vec<_> = pieces.chain(broken).collect();
        pieces.reverse();
        Ok(Box::new(Pieces(pieces)))
    }
}

fn artifact(bytes: &[u8]) -> Artifact {
    Artifact { digest: Digest::of(bytes), size: bytes.len() as u64 }
}

fn source(bytes: &[u8], breaks_at: &[usize]) -> Source {
    let breaks_at = Mutex::new(breaks_at.iter().rev().copied().collect());
    Source { bytes: bytes.to_vec(), breaks_at, ..Source::default() }
}

#[tokio::test]
async fn fetching_goes_on_where_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().to_owned(), 1_000);
    let bytes = b"what is installed on the host";
    let source = source(bytes, &[10, 20]);
    for _ in 0..2 {
        let cut = cache.get(artifact(bytes), &source).await.unwrap_err();
        assert!(matches!(cut, FetchError::Fetch { .. }), "{cut}");
    }
    for _ in 0..2 {
        let path = cache.get(artifact(bytes), &source).await.unwrap();
        assert_eq!(fs::read(path).unwrap(), bytes);
    }
    assert_eq!(*source.offsets.lock().unwrap(), [0, 10, 20], "it was fetched again");
}

#[tokio::test]
async fn what_is_not_what_its_digest_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().to_owned(), 1_000);
    let wanted = artifact(b"right");
    for wrong in [&b"wrong"[..], b"right and more", b"rig"] {
        assert!(cache.get(wanted, &source(wrong, &[])).await.is_err());
    }
    // A part of something else is no reason to give up.
    fs::write(dir.path().join(wanted.digest.hex()).with_extension("part"), "wr").unwrap();
    cache.get(wanted, &source(b"right", &[])).await.unwrap();
    // What has changed on the disk since is fetched again.
    fs::write(dir.path().join(wanted.digest.hex()), "wrong").unwrap();
    let path = cache.get(wanted, &source(b"right", &[])).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), b"right");
}

#[tokio::test]
async fn the_oldest_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().to_owned(), 25);
    let all = [&b"aaaaaaaaaa"[..], b"bbbbbbbbbb", b"cccccccccc"];
    for (bytes, age) in all.iter().zip([3, 2, 1]) {
        let path = cache.get(artifact(bytes), &source(bytes, &[])).await.unwrap();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(10 - age))
            .unwrap();
    }
    let there = |bytes: &[u8]| dir.path().join(Digest::of(bytes).hex()).exists();
    assert_eq!(all.map(there), [false, true, true]);
}
