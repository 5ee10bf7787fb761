//! Bodies in any pieces, broken anywhere, come to the same artifact.
use crate::support::{Pieces, files, noise, permit, request};
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::backend::{ArtifactStore as _, ArtifactStoreExt as _, ErrorKind, ListArtifacts};
use object_store::memory::InMemory;
use proptest::prelude::*;
use std::sync::Arc;

fn local() -> (tempfile::TempDir, ObjectArtifactStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
    (folder, store)
}

/// Puts `bytes`, breaking off at each of `breaks`, and opens the store anew each time if `reopen`.
async fn put_with_breaks(bytes: &[u8], lengths: &[usize], breaks: &[usize], reopen: bool) {
    let (folder, mut store) = local();
    let permit = permit().await;
    let request = request(bytes, "1", 1);
    for until in breaks {
        let kept = store.partial(&request.digest).await.unwrap();
        let from = usize::try_from(kept).unwrap();
        let until = from + until % (bytes.len() - from + 1);
        let mut body = Pieces::new(&bytes[from..until], lengths.to_vec(), true);
        let err = store.put(&permit, request.clone().with_offset(kept), &mut body).await;
        assert_eq!(err.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(store.partial(&request.digest).await.unwrap(), until as u64);
        assert!(store.list(&ListArtifacts::new()).await.unwrap().is_empty());
        assert_eq!(store.head(&request.digest).await.unwrap_err().kind(), ErrorKind::NotFound);
        if reopen {
            store = ObjectArtifactStore::open_local(folder.path()).unwrap();
        }
    }
    let kept = store.partial(&request.digest).await.unwrap();
    let mut rest = Pieces::new(&bytes[usize::try_from(kept).unwrap()..], lengths.to_vec(), false);
    store.put(&permit, request.clone().with_offset(kept), &mut rest).await.unwrap();
    assert_eq!(store.read_all(&request.digest, u64::MAX).await.unwrap(), bytes);
    assert_eq!(store.partial(&request.digest).await.unwrap(), 0);
    assert_eq!(files(&folder.path().join("partial")), ["lock"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_pieces_and_any_breaks(
        size in prop_oneof![0_usize..5_000, 1_000_000_usize..2_200_000],
        lengths in prop::collection::vec(1_usize..400_000, 1..6),
        breaks in prop::collection::vec(any::<usize>(), 0..4),
        reopen in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(put_with_breaks(&noise(5, size), &lengths, &breaks, reopen));
    }

    #[test]
    fn any_offset_reads_the_rest(size in 0_usize..1_600_000, place in any::<prop::sample::Index>(), remote in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bytes = noise(6, size);
            let (_folder, store) = local();
            let store = if remote { ObjectArtifactStore::new(Arc::new(InMemory::new())) } else { store };
            let digest = crate::support::put(&store, &bytes, "1", 1).await.unwrap();
            let offset = place.index(size + 1);
            let mut read = Vec::new();
            let mut reader = store.open(&digest, offset as u64).await.unwrap();
            tokio::io::copy(&mut reader, &mut read).await.unwrap();
            assert!(read == bytes[offset..]);
            let past = store.open(&digest, size as u64 + 1).await;
            assert_eq!(past.err().unwrap().kind(), ErrorKind::InvalidInput);
        });
    }
}

#[tokio::test]
async fn a_resumed_put_that_does_not_fit_leaves_nothing() {
    let bytes = noise(1, 10_000);
    let (folder, store) = local();
    let (permit, request) = (permit().await, request(&bytes, "1", 1));
    let mut wrong = noise(2, 5_000);
    let mut body = Pieces::new(&wrong, vec![999], true);
    store.put(&permit, request.clone(), &mut body).await.unwrap_err();
    wrong.copy_from_slice(&bytes[5_000..]);
    let rest = store.put(&permit, request.clone().with_offset(5_000), &mut &*wrong).await;
    assert_eq!(rest.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(store.partial(&request.digest).await.unwrap(), 0);
    assert_eq!(files(folder.path()), ["format", "lock", "partial/lock"]);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read_to_its_end() {
    let bytes = noise(1, 10_000);
    let (folder, store) = local();
    let mut body = tokio::io::repeat(7);
    let put = store.put(&permit().await, request(&bytes, "1", 1), &mut body).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(files(folder.path()), ["format", "lock", "partial/lock"]);
}

#[tokio::test]
async fn two_puts_of_the_same_bytes_do_not_disturb_each_other() {
    let bytes = noise(1, 3_000_000);
    let (folder, store) = local();
    let other = ObjectArtifactStore::open_local(folder.path()).unwrap();
    let permit = permit().await;
    let (mut one, mut two) =
        (Pieces::new(&bytes, vec![70_001], false), Pieces::new(&bytes, vec![1_048_576, 3], false));
    let (one, two) = tokio::join!(
        store.put(&permit, request(&bytes, "1", 1), &mut one),
        other.put(&permit, request(&bytes, "2", 2), &mut two),
    );
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(store.list(&ListArtifacts::new()).await.unwrap().len(), 2);
    assert_eq!(files(&folder.path().join("partial")), ["lock"]);
}

#[tokio::test]
async fn a_put_under_way_is_not_offered_for_going_on() {
    let bytes = noise(1, 3_000_000);
    let (_folder, store) = local();
    let store = Arc::new(store);
    let (permit, request) = (permit().await, request(&bytes, "1", 1));
    let (mut writer, mut body) = tokio::io::duplex(1 << 16);
    let (putting, asked) = (Arc::clone(&store), request.clone());
    let put = tokio::spawn(async move { putting.put(&permit, asked, &mut body).await });
    tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes[..2_000_000]).await.unwrap();
    assert_eq!(store.partial(&request.digest).await.unwrap(), 0);
    tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes[2_000_000..]).await.unwrap();
    drop(writer);
    put.await.unwrap().unwrap();
    store.verify(&request.digest).await.unwrap();
}

#[tokio::test]
async fn a_put_that_nobody_waits_for_any_more_is_kept() {
    let bytes = noise(1, 3_000_000);
    let (folder, store) = local();
    let store = Arc::new(store);
    let (permit, request) = (permit().await, request(&bytes, "1", 1));
    let (mut writer, mut body) = tokio::io::duplex(1 << 16);
    let (putting, asked, allowed) = (Arc::clone(&store), request.clone(), permit.clone());
    let put = tokio::spawn(async move { putting.put(&allowed, asked, &mut body).await });
    tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes[..2_900_000]).await.unwrap();
    put.abort();
    assert!(put.await.unwrap_err().is_cancelled());
    // A write that was under way ends in its own time, and lets go of the file then.
    let mut kept = 0;
    while kept == 0 {
        kept = store.partial(&request.digest).await.unwrap();
    }
    let from = usize::try_from(kept).unwrap();
    let rest = request.clone().with_offset(kept);
    store.put(&permit, rest, &mut &bytes[from..]).await.unwrap();
    store.verify(&request.digest).await.unwrap();
    assert_eq!(files(&folder.path().join("partial")), ["lock"]);
}
