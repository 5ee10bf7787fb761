//! Cases for [`ArtifactStore`].
use super::{ConcurrentHarness, DurableHarness, Harness, permit, race, refused, sample};
use crate::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactEntry, ArtifactKind, ArtifactMeta, ArtifactStore, ArtifactStoreExt as _,
        BackendResult, ChannelKey, Holder, ListArtifacts, PutArtifact, Revision,
    },
    digest::Digest,
    error::ErrorKind,
};
use sample::{at, name, noise};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};

/// Can damage what a store keeps.
///
/// ```
/// # use deploy_core::{backend::ArtifactStore, conformance::Harness, digest::Digest, memory::MemoryArtifactStore};
/// # use std::sync::Arc;
/// use deploy_core::conformance::artifact_store::ArtifactStoreHarness;
/// # struct InMemory;
/// # impl Harness<dyn ArtifactStore> for InMemory {
/// #     type Guard = Arc<MemoryArtifactStore>;
/// #     async fn fresh(&self) -> (Arc<dyn ArtifactStore>, Arc<MemoryArtifactStore>) {
/// #         let store = Arc::new(MemoryArtifactStore::new());
/// #         (store.clone(), store)
/// #     }
/// # }
///
/// impl ArtifactStoreHarness for InMemory {
///     async fn rot(&self, store: &Arc<MemoryArtifactStore>, digest: &Digest) {
///         store.rot(digest);
///     }
/// }
///
/// deploy_core::artifact_store_conformance!(InMemory, core);
/// ```
pub trait ArtifactStoreHarness: Harness<dyn ArtifactStore> {
    /// Changes one byte of a stored artifact behind the store's back, and leaves its length as it is.
    fn rot(&self, guard: &Self::Guard, digest: &Digest) -> impl Future<Output = ()> + Send;
}

type Store = Arc<dyn ArtifactStore>;

async fn write() -> Permit {
    permit(Action::ArtifactWrite, Resource::System).await
}

/// All of `bytes`, as `version` of the packages of `web`.
fn package(bytes: &[u8], version: &str) -> PutArtifact {
    let (size, kind) = (bytes.len().try_into().unwrap(), ArtifactKind::Package);
    PutArtifact::new(Digest::of(bytes), size, name("web"), kind, name(version), at(1))
}

async fn try_put(
    store: &Store,
    request: PutArtifact,
    mut body: &[u8],
) -> BackendResult<ArtifactMeta> {
    store.put(&write().await, request, &mut body).await
}

async fn put(store: &Store, bytes: &[u8], version: &str) -> Digest {
    try_put(store, package(bytes, version), bytes).await.unwrap().digest
}

async fn versions(store: &Store) -> Vec<String> {
    let all = store.list(&ListArtifacts::new()).await.unwrap();
    all.into_iter().map(|it| it.version.to_string()).collect()
}

async fn is_not_there(store: &Store, bytes: &[u8]) {
    refused(store.head(&Digest::of(bytes)).await, ErrorKind::NotFound);
    assert_eq!(versions(store).await, Vec::<String>::new());
}

/// A body that gives its bytes and then fails.
struct Torn<'a>(&'a [u8]);

impl AsyncRead for Torn<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.0.is_empty() {
            return Poll::Ready(Err(std::io::Error::other("the connection was cut")));
        }
        let (now, later) = self.0.split_at(self.0.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.0 = later;
        Poll::Ready(Ok(()))
    }
}

/// > `put` is atomic and durable: a reader sees all of the body or nothing
pub async fn put_shows_all_or_nothing<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let bytes = noise(100_000);
    let (mut sender, mut body) = tokio::io::duplex(1_000);
    let request = package(&bytes, "1");
    let putting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.put(&write().await, request, &mut body).await })
    };
    sender.write_all(&bytes[..60_000]).await.unwrap();
    is_not_there(&store, &bytes).await;
    sender.write_all(&bytes[60_000..]).await.unwrap();
    drop(sender);
    let meta = putting.await.unwrap().unwrap();
    assert_eq!(meta, ArtifactMeta::new(Digest::of(&bytes), 100_000));
    assert_eq!(store.head(&meta.digest).await.unwrap(), meta);
    assert!(store.read_all(&meta.digest, 100_000).await.unwrap() == bytes, "other bytes came back");
    assert_eq!(versions(&store).await, ["1"]);
}

/// > `put` of what is there already succeeds; it adds the entry if that is new, and changes nothing else.
pub async fn put_again_adds_only_an_entry<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let digest = put(&store, b"one", "1").await;
    let before = store.list(&ListArtifacts::new()).await.unwrap();
    let mut later = package(b"one", "1");
    later.at = at(9);
    try_put(&store, later, b"one").await.unwrap();
    assert_eq!(store.list(&ListArtifacts::new()).await.unwrap(), before);
    assert_eq!(put(&store, b"one", "2").await, digest);
    assert_eq!(versions(&store).await, ["1", "2"]);
    assert_eq!(store.read_all(&digest, 3).await.unwrap(), b"one");
}

/// > `put` of a body that does not match its digest or size is `InvalidInput`, stores nothing and lists nothing.
pub async fn a_body_has_to_match<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    for body in [&b"two"[..], b"on", b"one and more", b""] {
        refused(try_put(&store, package(b"one", "1"), body).await, ErrorKind::InvalidInput);
        is_not_there(&store, b"one").await;
        refused(store.head(&Digest::of(body)).await, ErrorKind::NotFound);
    }
    let mut wrong = package(b"one", "1");
    wrong.size = 4;
    refused(try_put(&store, wrong, b"one").await, ErrorKind::InvalidInput);
    is_not_there(&store, b"one").await;
    put(&store, b"one", "1").await;
    put(&store, b"", "empty").await;
    assert_eq!(store.read_all(&Digest::of(b""), 0).await.unwrap(), b"");
}

/// > To know a digest is not to have its bytes: `put` reads and compares its body also where the digest is there already.
pub async fn a_known_digest_is_not_its_bytes<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let bytes = noise(100_000);
    let digest = put(&store, &bytes, "1").await;
    let mut theirs = package(&bytes, "2");
    theirs.repository = name("db");
    for request in [package(&bytes, "1"), package(&bytes, "2"), theirs] {
        for body in [&b""[..], b"another", &bytes[..99_999], &noise(100_001)] {
            refused(try_put(&store, request.clone(), body).await, ErrorKind::InvalidInput);
        }
        let torn = store.put(&write().await, request, &mut Torn(&bytes[..50_000])).await;
        torn.expect_err("half of the bytes were taken for all of them");
    }
    assert_eq!(versions(&store).await, ["1"]);
    assert!(store.read_all(&digest, 100_000).await.unwrap() == bytes, "other bytes came back");
}

/// > `put` of another digest under a version that is listed already is `AlreadyExists`, and stores nothing.
pub async fn a_version_names_one_artifact<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let one = put(&store, b"one", "1").await;
    refused(try_put(&store, package(b"two", "1"), b"two").await, ErrorKind::AlreadyExists);
    refused(store.head(&Digest::of(b"two")).await, ErrorKind::NotFound);
    let listed = store.list(&ListArtifacts::new()).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.meta.digest).collect::<Vec<_>>(), [one]);
    let mut other = package(b"two", "1");
    other.kind = ArtifactKind::Descriptor;
    try_put(&store, other, b"two").await.unwrap();
    let mut other = package(b"three", "1");
    other.repository = name("db");
    try_put(&store, other, b"three").await.unwrap();
}

/// > An interrupted `put` (the body fails) is no artifact; where `resume` is offered, `partial` says how much is kept
pub async fn an_interrupted_put_goes_on<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let bytes = noise(200_000);
    let digest = Digest::of(&bytes);
    let mut torn = Torn(&bytes[..150_000]);
    store.put(&write().await, package(&bytes, "1"), &mut torn).await.unwrap_err();
    is_not_there(&store, &bytes).await;
    let kept = store.partial(&digest).await.unwrap();
    if store.capabilities().resume {
        assert!((1..=150_000).contains(&kept), "{kept} bytes of 150,000 are kept");
        let rest = &bytes[usize::try_from(kept).unwrap()..];
        try_put(&store, package(&bytes, "1").with_offset(kept), rest).await.unwrap();
    } else {
        assert_eq!(kept, 0);
        put(&store, &bytes, "1").await;
    }
    assert_eq!(store.partial(&digest).await.unwrap(), 0);
    assert!(store.read_all(&digest, 200_000).await.unwrap() == bytes, "other bytes came back");
    assert_eq!(versions(&store).await, ["1"]);
}

/// > An interrupted `put` (the body fails) is no artifact
pub async fn an_interrupted_put_can_begin_again<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let bytes = noise(200_000);
    store
        .put(&write().await, package(&bytes, "1"), &mut Torn(&bytes[..150_000]))
        .await
        .unwrap_err();
    put(&store, &bytes, "1").await;
    assert!(store.read_all(&Digest::of(&bytes), 200_000).await.unwrap() == bytes);
}

/// > A `put` with any other offset than 0 or what `partial` says is `Conflict`.
pub async fn another_offset_is_a_conflict<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let bytes = noise(200_000);
    let stray = try_put(&store, package(&bytes, "1").with_offset(5), &bytes[5..]).await;
    refused(stray, ErrorKind::Conflict);
    store
        .put(&write().await, package(&bytes, "1"), &mut Torn(&bytes[..150_000]))
        .await
        .unwrap_err();
    let kept = store.partial(&Digest::of(&bytes)).await.unwrap();
    for offset in [kept + 1, kept.saturating_sub(1).max(1)].into_iter().filter(|it| *it != kept) {
        let rest = &bytes[usize::try_from(offset).unwrap()..];
        let put = try_put(&store, package(&bytes, "1").with_offset(offset), rest).await;
        refused(put, ErrorKind::Conflict);
    }
    is_not_there(&store, &bytes).await;
}

/// > A missing artifact is `NotFound`, from `head`, `open`, `verify`, `hold` and `delete` alike.
pub async fn what_is_missing_is_not_found<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    put(&store, b"one", "1").await;
    let none = Digest::of(b"none");
    let permit = write().await;
    refused(store.head(&none).await, ErrorKind::NotFound);
    refused(store.open(&none, 0).await.map(|_| ()), ErrorKind::NotFound);
    refused(store.verify(&none).await, ErrorKind::NotFound);
    refused(store.hold(&permit, &none, &holder("r1")).await, ErrorKind::NotFound);
    if store.capabilities().delete {
        refused(store.delete(&permit, &none).await, ErrorKind::NotFound);
    }
}

/// > `open` at an offset gives the bytes from there; past the end is `InvalidInput`.
pub async fn open_begins_at_an_offset<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let bytes = noise(100_000);
    let digest = put(&store, &bytes, "1").await;
    for offset in [0, 1, 65_536, 99_999, 100_000] {
        let mut read = Vec::new();
        let mut reader = store.open(&digest, offset).await.unwrap();
        reader.read_to_end(&mut read).await.unwrap();
        assert!(read == bytes[usize::try_from(offset).unwrap()..], "wrong bytes from {offset}");
    }
    refused(store.open(&digest, 100_001).await.map(|_| ()), ErrorKind::InvalidInput);
}

/// > Reading a whole artifact that has rotted ends in an error
pub async fn rot_is_not_taken_for_the_artifact<H: ArtifactStoreHarness>(harness: &H) {
    let (store, guard) = harness.fresh().await;
    let digest = put(&store, &noise(100_000), "1").await;
    harness.rot(&guard, &digest).await;
    if let Ok(mut reader) = store.open(&digest, 0).await {
        let read = reader.read_to_end(&mut Vec::new()).await;
        read.expect_err("what has rotted was read to its end without an error");
    }
}

/// > `list` is ordered by repository, kind, then newest put first (ties by version)
pub async fn list_is_ordered<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let (descriptor, package) = (ArtifactKind::Descriptor, ArtifactKind::Package);
    let entries = [
        ("a", descriptor, "1", 9),
        ("a", package, "new", 3),
        ("a", package, "b", 2),
        ("a", package, "c", 2),
        ("a", package, "old", 1),
        ("b", descriptor, "1", 1),
        ("b", package, "1", 1),
    ];
    let mut expected = Vec::new();
    for (at_, (repository, kind, version, seconds)) in entries.iter().enumerate() {
        let bytes = vec![u8::try_from(at_).unwrap(); 3];
        let meta = ArtifactMeta::new(Digest::of(&bytes), 3);
        let (repository, version) = (name(repository), name(version));
        let entry = ArtifactEntry::new(repository, *kind, version, meta, at(*seconds));
        expected.push((entry, bytes));
    }
    for place in [3, 0, 6, 4, 1, 5, 2] {
        let (ArtifactEntry { repository, kind, version, meta, put_at }, bytes) =
            expected[place].clone();
        let request = PutArtifact::new(meta.digest, 3, repository, kind, version, put_at);
        try_put(&store, request, &bytes).await.unwrap();
    }
    let expected: Vec<_> = expected.into_iter().map(|(entry, _)| entry).collect();
    let list = async |request: ListArtifacts| store.list(&request).await.unwrap();
    assert_eq!(list(ListArtifacts::new()).await, expected);
    assert_eq!(list(ListArtifacts::new().with_repository(name("a"))).await, expected[..5]);
    let packages = list(ListArtifacts::new().with_repository(name("a")).with_kind(package)).await;
    assert_eq!(packages, expected[1..5]);
    assert_eq!(list(ListArtifacts::new().with_repository(name("c"))).await, []);
}

fn holder(release: &str) -> Holder {
    Holder::Release(name(release))
}

/// > `delete` of what somebody holds is `Conflict` and names a holder; `hold` and `let_go` are idempotent.
pub async fn what_is_held_stays<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let permit = write().await;
    let digest = put(&store, b"one", "1").await;
    for holder in [holder("rel-7"), holder("rel-7"), holder("rel-8")] {
        store.hold(&permit, &digest, &holder).await.unwrap();
    }
    let both = [holder("rel-7"), holder("rel-8")];
    assert_eq!(store.holders(&digest).await.unwrap(), both.clone().into());
    let channel = ChannelKey::new(name("web"), ArtifactKind::Package, name("rel-7"));
    let others = [
        Holder::Pin(name("rel-7")),
        Holder::Channel(channel.clone(), Revision::new(1)),
        Holder::Channel(channel, Revision::new(12)),
    ];
    for other in &others {
        store.hold(&permit, &digest, other).await.unwrap();
    }
    let all = both.into_iter().chain(others.clone()).collect();
    assert_eq!(store.holders(&digest).await.unwrap(), all);
    for other in &others {
        store.let_go(&permit, &digest, other).await.unwrap();
    }
    for _ in 0..2 {
        store.let_go(&permit, &digest, &holder("rel-8")).await.unwrap();
    }
    assert_eq!(store.holders(&digest).await.unwrap(), [holder("rel-7")].into());
    if !store.capabilities().delete {
        return;
    }
    let err = store.delete(&permit, &digest).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    assert!(err.to_string().contains("rel-7"), "`{err}` does not name the holder");
    assert_eq!(store.read_all(&digest, 3).await.unwrap(), b"one");
    store.let_go(&permit, &digest, &holder("rel-7")).await.unwrap();
    store.delete(&permit, &digest).await.unwrap();
}

/// > `delete` removes the artifact and all its entries.
pub async fn delete_removes_all_of_it<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    if !store.capabilities().delete {
        return;
    }
    let digest = put(&store, b"one", "1").await;
    put(&store, b"one", "2").await;
    put(&store, b"two", "3").await;
    store.delete(&write().await, &digest).await.unwrap();
    refused(store.head(&digest).await, ErrorKind::NotFound);
    refused(store.open(&digest, 0).await.map(|_| ()), ErrorKind::NotFound);
    assert_eq!(versions(&store).await, ["3"]);
    put(&store, b"new", "1").await;
    assert_eq!(store.read_all(&Digest::of(b"two"), 3).await.unwrap(), b"two");
}

/// > `verify` reads all bytes and is `Corrupt` if they are not what was put.
pub async fn verify_finds_rot<H: ArtifactStoreHarness>(harness: &H) {
    let (store, guard) = harness.fresh().await;
    let good = put(&store, b"good", "1").await;
    let bad = put(&store, &noise(100_000), "2").await;
    store.verify(&bad).await.unwrap();
    harness.rot(&guard, &bad).await;
    refused(store.verify(&bad).await, ErrorKind::Corrupt);
    store.verify(&good).await.unwrap();
}

/// > What the capabilities leave out is `Unsupported`, never a silent success.
pub async fn capabilities_tell_the_truth<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let digest = put(&store, b"one", "1").await;
    let deleted = store.delete(&write().await, &digest).await;
    if store.capabilities().delete {
        deleted.unwrap();
        refused(store.head(&digest).await, ErrorKind::NotFound);
    } else {
        refused(deleted, ErrorKind::Unsupported);
        assert_eq!(store.head(&digest).await.unwrap().size, 3);
    }
}

/// > A permit for another action is `PermissionDenied`
pub async fn writing_takes_a_permit<H: ArtifactStoreHarness>(harness: &H) {
    let (store, _guard) = harness.fresh().await;
    let web = Resource::Repository(name("web"));
    let wrong = [
        permit(Action::ServiceWrite, Resource::System).await,
        permit(Action::ArtifactWrite, Resource::Repository(name("db"))).await,
    ];
    for permit in &wrong {
        let put = store.put(permit, package(b"one", "1"), &mut &b"one"[..]).await;
        refused(put, ErrorKind::PermissionDenied);
    }
    is_not_there(&store, b"one").await;
    let mine = permit(Action::ArtifactWrite, web).await;
    let digest = store.put(&mine, package(b"one", "1"), &mut &b"one"[..]).await.unwrap().digest;
    store.hold(&mine, &digest, &holder("r1")).await.unwrap();
    let other = permit(Action::ServiceWrite, Resource::Service(name("web"))).await;
    for permit in [&wrong[0], &other] {
        refused(store.hold(permit, &digest, &holder("r2")).await, ErrorKind::PermissionDenied);
    }
    for permit in wrong.iter().chain([&mine]) {
        refused(store.let_go(permit, &digest, &holder("r1")).await, ErrorKind::PermissionDenied);
        let deleted = store.delete(permit, &digest).await.unwrap_err().kind();
        assert!(matches!(deleted, ErrorKind::PermissionDenied | ErrorKind::Unsupported));
    }
    assert_eq!(store.holders(&digest).await.unwrap(), [holder("r1")].into());
}

/// > or nothing, also after a crash.
pub async fn what_was_put_survives_a_crash<
    H: ArtifactStoreHarness + DurableHarness<dyn ArtifactStore>,
>(
    harness: &H,
) {
    let (store, guard) = harness.fresh().await;
    let bytes = noise(100_000);
    let digest = put(&store, &bytes, "1").await;
    store.hold(&write().await, &digest, &holder("r1")).await.unwrap();
    let before = store.list(&ListArtifacts::new()).await.unwrap();
    let store = harness.reopen(store, &guard).await;
    assert!(store.read_all(&digest, 100_000).await.unwrap() == bytes, "other bytes came back");
    assert_eq!(store.list(&ListArtifacts::new()).await.unwrap(), before);
    assert_eq!(store.holders(&digest).await.unwrap(), [holder("r1")].into());
}

/// > An interrupted `put` (the body fails) is no artifact
pub async fn a_crash_in_a_put_leaves_no_artifact<
    H: ArtifactStoreHarness + DurableHarness<dyn ArtifactStore>,
>(
    harness: &H,
) {
    let (store, guard) = harness.fresh().await;
    let bytes = noise(200_000);
    let (mut sender, mut body) = tokio::io::duplex(1_000);
    let request = package(&bytes, "1");
    let putting = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.put(&write().await, request, &mut body).await })
    };
    sender.write_all(&bytes[..150_000]).await.unwrap();
    putting.abort();
    assert!(putting.await.unwrap_err().is_cancelled());
    let store = harness.reopen(store, &guard).await;
    is_not_there(&store, &bytes).await;
    let kept = store.partial(&Digest::of(&bytes)).await.unwrap();
    assert!(kept <= 150_000, "{kept} bytes are kept of 150,000");
    let rest = &bytes[usize::try_from(kept).unwrap()..];
    try_put(&store, package(&bytes, "1").with_offset(kept), rest).await.unwrap();
    assert!(store.read_all(&Digest::of(&bytes), 200_000).await.unwrap() == bytes);
}

/// > and shows an entry once its `put` has returned.
pub async fn another_process_sees_a_put<
    H: ArtifactStoreHarness + ConcurrentHarness<dyn ArtifactStore>,
>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    let digest = put(&one, b"one", "1").await;
    assert_eq!(versions(&two).await, ["1"]);
    assert_eq!(two.read_all(&digest, 3).await.unwrap(), b"one");
    put(&two, b"one", "2").await;
    assert_eq!(versions(&one).await, ["1", "2"]);
}

/// > `delete` of what somebody holds is `Conflict`
pub async fn another_process_sees_a_hold<
    H: ArtifactStoreHarness + ConcurrentHarness<dyn ArtifactStore>,
>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    let permit = write().await;
    let digest = put(&one, b"one", "1").await;
    one.hold(&permit, &digest, &holder("r1")).await.unwrap();
    assert_eq!(two.holders(&digest).await.unwrap(), [holder("r1")].into());
    if !two.capabilities().delete {
        return;
    }
    refused(two.delete(&permit, &digest).await, ErrorKind::Conflict);
    assert_eq!(one.read_all(&digest, 3).await.unwrap(), b"one");
    two.let_go(&permit, &digest, &holder("r1")).await.unwrap();
    one.delete(&permit, &digest).await.unwrap();
    is_not_there(&two, b"one").await;
}

/// > `put` of another digest under a version that is listed already is `AlreadyExists`
pub async fn one_of_two_processes_takes_a_version<
    H: ArtifactStoreHarness + ConcurrentHarness<dyn ArtifactStore>,
>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    let putters =
        [&one, &two, &one, &two].map(Arc::clone).into_iter().enumerate().map(|(at, store)| {
            let bytes = vec![u8::try_from(at).unwrap(); 50_000];
            async move { try_put(&store, package(&bytes, "1"), &bytes).await }
        });
    let mut won = Vec::new();
    for done in race(putters).await {
        match done {
            Ok(meta) => won.push(meta),
            Err(err) => assert_eq!(err.kind(), ErrorKind::AlreadyExists, "{}", err.chain()),
        }
    }
    assert_eq!(won.len(), 1, "{} puts won", won.len());
    let listed = two.list(&ListArtifacts::new()).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.meta).collect::<Vec<_>>(), won);
}

/// > `put` of what is there already succeeds
pub async fn two_processes_put_the_same<
    H: ArtifactStoreHarness + ConcurrentHarness<dyn ArtifactStore>,
>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    let putters = [&one, &two, &one, &two].map(Arc::clone).into_iter().map(|store| async move {
        try_put(&store, package(&noise(100_000), "1"), &noise(100_000)).await
    });
    for done in race(putters).await {
        done.unwrap();
    }
    assert_eq!(versions(&one).await, ["1"]);
    two.verify(&Digest::of(&noise(100_000))).await.unwrap();
}

/// One test for each case of [`ArtifactStore`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! artifact_store_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::artifact_store_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            artifact_store, $harness;
            put_shows_all_or_nothing
            put_again_adds_only_an_entry
            a_body_has_to_match
            a_known_digest_is_not_its_bytes
            a_version_names_one_artifact
            an_interrupted_put_goes_on
            an_interrupted_put_can_begin_again
            another_offset_is_a_conflict
            what_is_missing_is_not_found
            open_begins_at_an_offset
            rot_is_not_taken_for_the_artifact
            list_is_ordered
            what_is_held_stays
            delete_removes_all_of_it
            verify_finds_rot
            capabilities_tell_the_truth
            writing_takes_a_permit
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            artifact_store, $harness;
            what_was_put_survives_a_crash
            a_crash_in_a_put_leaves_no_artifact
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            artifact_store, $harness;
            another_process_sees_a_put
            another_process_sees_a_hold
            one_of_two_processes_takes_a_version
            two_processes_put_the_same
        }
    };
}
