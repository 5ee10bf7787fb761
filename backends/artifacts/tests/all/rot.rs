//! Damage is found, named and repaired.
use crate::support::{blob, files, noise, permit, put, request};
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::{
    backend::{ArtifactStore as _, BackendError, ErrorKind},
    digest::Digest,
};
use proptest::prelude::*;
use std::{fs, path::Path};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

/// More than two chunks of the reader.
const SIZE: usize = 1_200_000;

async fn stored(bytes: &[u8]) -> (TempDir, ObjectArtifactStore, Digest) {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
    let digest = put(&store, bytes, "1.4.2", 1).await.unwrap();
    (folder, store, digest)
}

async fn damage_of(store: &ObjectArtifactStore, digest: &Digest) -> BackendError {
    let err = store.verify(digest).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Corrupt, "{}", err.chain());
    err
}

#[tokio::test]
async fn damage_is_reported_with_repository_version_and_digest() {
    let (folder, store, digest) = stored(&noise(1, SIZE)).await;
    fs::write(blob(folder.path(), &digest), noise(2, SIZE)).unwrap();
    let err = damage_of(&store, &digest).await;
    let said = err.to_string();
    for fact in ["repository=`web`", "version=`1.4.2`", &digest.to_string()] {
        assert!(said.contains(fact), "{said}");
    }
}

#[tokio::test]
async fn a_truncated_artifact_is_damaged() {
    for left in [0, 1, SIZE as u64 - 1] {
        let (folder, store, digest) = stored(&noise(1, SIZE)).await;
        let file = fs::File::options().write(true).open(blob(folder.path(), &digest));
        file.unwrap().set_len(left).unwrap();
        damage_of(&store, &digest).await;
    }
}

#[tokio::test]
async fn a_listed_artifact_whose_bytes_are_gone_is_damaged() {
    let (folder, store, digest) = stored(&noise(1, SIZE)).await;
    fs::remove_file(blob(folder.path(), &digest)).unwrap();
    damage_of(&store, &digest).await;
    let err = store.open(&digest, 0).await.err().unwrap();
    assert_eq!(err.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn a_reader_that_stops_at_the_last_byte_sees_the_damage_too() {
    let (folder, store, digest) = stored(&noise(1, SIZE)).await;
    flip(&blob(folder.path(), &digest), 7);
    let mut reader = store.open(&digest, 0).await.unwrap();
    let mut bytes = vec![0; SIZE];
    let err = reader.read_exact(&mut bytes).await.unwrap_err();
    assert_eq!(err.kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn damage_before_the_offset_is_seen() {
    let (folder, store, digest) = stored(&noise(1, SIZE)).await;
    flip(&blob(folder.path(), &digest), 7);
    let mut reader = store.open(&digest, SIZE as u64 - 10).await.unwrap();
    let err = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(err.kind(), std::io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_put_repairs_damage_under_any_version() {
    let bytes = noise(1, SIZE);
    let (folder, store, digest) = stored(&bytes).await;
    for version in ["1.4.2", "1.4.3"] {
        flip(&blob(folder.path(), &digest), 7);
        damage_of(&store, &digest).await;
        put(&store, &bytes, version, 1).await.unwrap();
        store.verify(&digest).await.unwrap();
    }
    fs::remove_file(blob(folder.path(), &digest)).unwrap();
    put(&store, &bytes, "1.4.2", 1).await.unwrap();
    store.verify(&digest).await.unwrap();
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_named() {
    let (folder, store, _) = stored(b"hello").await;
    let entry = folder.path().join("entries/web/package/1.4.2.json");
    let newer = fs::read_to_string(&entry).unwrap().replace(r#""format":1"#, r#""format":2"#);
    for text in ["{", "", newer.as_str()] {
        fs::write(&entry, text).unwrap();
        let err = store.list(&deploy_core::backend::ListArtifacts::new()).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Corrupt);
        assert!(err.to_string().contains("entries/web/package/1.4.2.json"), "{err}");
    }
}

#[tokio::test]
async fn a_wrong_body_does_not_replace_the_bytes_of_its_digest() {
    let (folder, store, digest) = stored(b"hello").await;
    let before = files(folder.path());
    let again = request(b"hello", "1.4.3", 2);
    let put = store.put(&permit().await, again, &mut &b"world"[..]).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(files(folder.path()), before);
    store.verify(&digest).await.unwrap();
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(path, bytes).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_flipped_bit_is_found(size in 1_usize..1_100_000, place in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (folder, store, digest) = stored(&noise(3, size)).await;
            let path = blob(folder.path(), &digest);
            let mut bytes = fs::read(&path).unwrap();
            bytes[place.index(size)] ^= 1 << bit;
            fs::write(path, bytes).unwrap();
            damage_of(&store, &digest).await;
            let mut reader = store.open(&digest, 0).await.unwrap();
            assert!(reader.read_exact(&mut vec![0; size]).await.is_err());
        });
    }
}
