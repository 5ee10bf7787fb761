use super::*;
use crate::ArtifactBytes;
use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent_protocol::v1::SwarmReply;
use std::time::Duration;
use tempfile::TempDir;

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

    async fn swarm(&self, _: Digest) -> io::Result<Option<SwarmReply>> {
        Ok(None)
    }
}

fn artifact(bytes: &[u8]) -> Artifact {
    Artifact { digest: Digest::of(bytes), size: bytes.len() as u64 }
}

fn source(bytes: &[u8], breaks_at: &[usize]) -> Source {
    let breaks_at = Mutex::new(breaks_at.iter().rev().copied().collect());
    Source { bytes: bytes.to_vec(), breaks_at, ..Source::default() }
}

fn cache(dir: &TempDir, limit: u64) -> Cache {
    let [artifacts, pins] = ["artifacts", "pins"].map(|it| dir.path().join(it));
    fs::create_dir(&artifacts).unwrap();
    fs::create_dir(&pins).unwrap();
    Cache::new(artifacts, limit, Pins::new(pins), None)
}

fn file(dir: &TempDir, artifact: Artifact) -> PathBuf {
    dir.path().join("artifacts").join(artifact.digest.hex())
}

/// So many seconds older than it is.
fn age(path: &Path, seconds: u64) {
    let file = File::open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified - Duration::from_secs(seconds)).unwrap();
}

#[tokio::test]
async fn fetching_goes_on_where_it_was_cut() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir, 1_000);
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
    let cache = cache(&dir, 1_000);
    let wanted = artifact(b"right");
    for wrong in [&b"wrong"[..], b"right and more", b"rig"] {
        assert!(cache.get(wanted, &source(wrong, &[])).await.is_err());
    }
    // A part of something else is no reason to give up.
    fs::write(file(&dir, wanted).with_extension("part"), "wr").unwrap();
    cache.get(wanted, &source(b"right", &[])).await.unwrap();
    // What has changed on the disk since is fetched again.
    fs::write(file(&dir, wanted), "wrong").unwrap();
    let path = cache.get(wanted, &source(b"right", &[])).await.unwrap();
    assert_eq!(fs::read(path).unwrap(), b"right");
}

#[tokio::test]
async fn the_oldest_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir, 25);
    let all = [&b"aaaaaaaaaa"[..], b"bbbbbbbbbb", b"cccccccccc"];
    for (bytes, seconds) in all.iter().zip([30, 20, 10]) {
        let path = cache.get(artifact(bytes), &source(bytes, &[])).await.unwrap();
        age(&path, seconds);
    }
    let there = |bytes: &[u8]| file(&dir, artifact(bytes)).exists();
    assert_eq!(all.map(there), [false, true, true]);
}

#[tokio::test]
async fn what_is_pinned_gives_way_last() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir, 25);
    let all = [&b"aaaaaaaaaa"[..], b"bbbbbbbbbb", b"cccccccccc", b"dddddddddd", b"eeeeeeeeee"];
    let [a, b, c, d, e] = all.map(artifact);
    let there = || [a, b, c, d, e].map(|it| file(&dir, it).exists());
    let get = async |wanted: Artifact, seconds: u64| {
        let bytes = all.iter().find(|it| artifact(it) == wanted).unwrap();
        let path = cache.get(wanted, &source(bytes, &[])).await.unwrap();
        age(&path, seconds);
    };
    let [web, db] = ["web", "db"].map(|it| it.parse().unwrap());
    cache.pin(&web, &[a]).unwrap();
    get(a, 50).await;
    get(b, 40).await;
    get(c, 30).await;
    assert_eq!(there(), [true, false, true, false, false], "`a` is older, and pinned");

    age(&dir.path().join("pins/web"), 60);
    cache.pin(&db, &[c]).unwrap();
    get(d, 20).await;
    assert_eq!(there(), [false, false, true, true, false], "both are pinned, `a` for longer");

    cache.pin(&db, &[d]).unwrap();
    get(e, 10).await;
    assert_eq!(there(), [false, false, false, true, true], "`d` was staged in the place of `c`");
}

#[tokio::test]
async fn what_is_pinned_for_too_long_is_like_all_else() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir, 15);
    let [old, new] = [&b"aaaaaaaaaa"[..], b"bbbbbbbbbb"];
    let [web, db] = ["web", "db"].map(|it| it.parse().unwrap());
    cache.pin(&web, &[artifact(old)]).unwrap();
    cache.pin(&db, &[artifact(new)]).unwrap();
    age(&dir.path().join("pins/web"), 8 * 24 * 60 * 60);
    cache.get(artifact(old), &source(old, &[])).await.unwrap();
    cache.get(artifact(new), &source(new, &[])).await.unwrap();
    assert_eq!([old, new].map(|it| file(&dir, artifact(it)).exists()), [false, true]);
    assert!(!dir.path().join("pins/web").exists() && dir.path().join("pins/db").exists());
}

#[tokio::test]
async fn what_is_missing_is_what_has_to_be_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir, 1_000);
    let bytes = b"what is installed on the host";
    let wanted = artifact(bytes);
    assert_eq!(cache.missing(wanted).unwrap(), 29);
    cache.get(wanted, &source(bytes, &[10])).await.unwrap_err();
    assert_eq!(cache.missing(wanted).unwrap(), 19);
    cache.get(wanted, &source(bytes, &[])).await.unwrap();
    assert_eq!(cache.missing(wanted).unwrap(), 0);
}

#[tokio::test]
async fn what_is_coming_has_room_made_for_it_before_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir, 25);
    let [old, kept, new] = [&b"aaaaaaaaaa"[..], b"bbbbbbbbbb", b"cccccccccc"];
    for (bytes, seconds) in [(old, 30), (kept, 20)] {
        age(&cache.get(artifact(bytes), &source(bytes, &[])).await.unwrap(), seconds);
    }
    assert_eq!(cache.spare(5).unwrap(), 0);
    assert_eq!(cache.spare(10).unwrap(), 10, "the oldest will go");
    let held = cache.hold(&[artifact(old)]);
    assert_eq!(cache.spare(30).unwrap(), 10, "what somebody holds will not");
    drop(held);
    // It breaks before all of it is there.
    cache.get(artifact(new), &source(new, &[7])).await.unwrap_err();
    assert_eq!([old, kept].map(|it| file(&dir, artifact(it)).exists()), [false, true]);
}

#[tokio::test]
async fn what_was_begun_and_is_wanted_no_longer_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir, 25);
    let [part, blocks, whole, new] =
        [&b"aaaaaaaaaa"[..], b"bbbbbbbbbb", b"cccccccccc", b"dddddddddddddd"];
    cache.get(artifact(part), &source(part, &[9])).await.unwrap_err();
    let part = file(&dir, artifact(part)).with_extension("part");
    let folder = file(&dir, artifact(blocks)).with_extension("blocks");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("part"), &blocks[..6]).unwrap();
    age(&part, 30);
    age(&folder, 40);
    age(&folder.join("part"), 20);
    let whole = cache.get(artifact(whole), &source(whole, &[])).await.unwrap();
    age(&whole, 10);
    let there = || [&*part, &*folder, &*whole].map(Path::exists);
    assert_eq!(there(), [true; 3], "all of it fits");
    cache.get(artifact(new), &source(new, &[5])).await.unwrap_err();
    assert_eq!(there(), [false, false, true], "a folder is as old as what is in it");
    // Nor is it kept by an agent that begins anew and may keep less.
    let less =
        Cache::new(dir.path().join("artifacts"), 10, Pins::new(dir.path().join("pins")), None);
    less.sweep().unwrap();
    let left = fs::read_dir(dir.path().join("artifacts")).unwrap();
    assert_eq!(left.map(|it| weigh(&it.unwrap().path()).unwrap().1).sum::<u64>(), 5);
}
