//! A folder as a store.
use crate::support::{files, noise, permit, put, request};
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::{
    backend::{ArtifactStore as _, ErrorKind, Holder, ListArtifacts},
    conformance::sample::name,
};
use std::fs;

#[tokio::test]
async fn the_layout_is_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectArtifactStore::open_local(folder.path().join("new/store")).unwrap();
    let digest = put(&store, b"hello", "1.4.2+build.7", 1).await.unwrap();
    store.hold(&permit().await, &digest, &Holder::Release(name("web-1.4.2"))).await.unwrap();
    let hex = digest.hex();
    assert_eq!(
        files(&folder.path().join("new/store")),
        [
            format!("blobs/sha256/{}/{hex}", &hex[..2]),
            "entries/web/package/1.4.2+build.7.json".to_owned(),
            "format".to_owned(),
            format!("holds/{hex}/release/web-1.4.2"),
            "lock".to_owned(),
            "partial/lock".to_owned(),
        ]
    );
}

#[tokio::test]
async fn removing_leaves_no_folders_behind() {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
    let permit = permit().await;
    let holder = Holder::Release(name("web-1"));
    let digest = put(&store, b"hello", "1", 1).await.unwrap();
    store.hold(&permit, &digest, &holder).await.unwrap();
    store.let_go(&permit, &digest, &holder).await.unwrap();
    store.delete(&permit, &digest).await.unwrap();
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["format", "lock", "partial"]);
}

#[test]
fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("format"), "deploy-artifacts 2\n").unwrap();
    let err = ObjectArtifactStore::open_local(folder.path()).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported);
    let text = err.chain();
    assert!(text.contains("`deploy-artifacts 2`") && text.contains("backup"), "{text}");
    assert!(text.contains(folder.path().to_str().unwrap()), "{text}");
}

#[test]
fn a_file_is_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "").unwrap();
    let err = ObjectArtifactStore::open_local(&path).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput, "{}", err.chain());
    assert!(err.to_string().contains(path.to_str().unwrap()), "{err}");
}

#[tokio::test]
async fn files_of_others_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
    for path in ["blobs/sha256/readme", "partial/notes.txt", "holds/readme", "partial/x.0"] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "mine").unwrap();
    }
    let before = files(folder.path());
    let request = deploy_artifacts::CollectGarbage::new(0, crate::garbage::END);
    let request = request.with_min_age(std::time::Duration::ZERO);
    store.collect(&permit().await, request).await.unwrap();
    let mut after = files(folder.path());
    after.retain(|it| it != "partial/lock");
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_holder_of_an_unknown_kind_holds() {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
    let digest = put(&store, b"hello", "1", 1).await.unwrap();
    let holds = folder.path().join("holds").join(digest.hex()).join("build");
    fs::create_dir_all(&holds).unwrap();
    fs::write(holds.join("77"), "").unwrap();
    let err = store.delete(&permit().await, &digest).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    assert!(err.to_string().contains("build/77"), "{err}");
    assert_eq!(store.holders(&digest).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn of_two_artifacts_for_one_version_one_is_stored() {
    for seed in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
        let other = ObjectArtifactStore::open_local(folder.path()).unwrap();
        let (one, two) = (noise(seed, 1_000), noise(seed + 100, 1_000));
        let results = tokio::join!(put(&store, &one, "1", 1), put(&other, &two, "1", 1));
        let (won, lost) = match results {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => (won, lost),
            both => panic!("{both:?}"),
        };
        assert_eq!(lost.kind(), ErrorKind::AlreadyExists);
        let listed = store.list(&ListArtifacts::new()).await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].meta.digest, won);
        let blobs = files(&folder.path().join("blobs"));
        assert_eq!(blobs.len(), 1, "{blobs:?}");
        assert_eq!(files(&folder.path().join("partial")), ["lock"]);
    }
}

#[tokio::test]
async fn a_permit_for_one_repository_does_not_open_another() {
    use deploy_core::access::{Action, Resource};
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
    let elsewhere = Resource::Repository(name("other"));
    let permit = deploy_core::conformance::permit(Action::ArtifactWrite, elsewhere).await;
    let put = store.put(&permit, request(b"hello", "1", 1), &mut &b"hello"[..]).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let collect = deploy_artifacts::CollectGarbage::new(0, crate::garbage::END);
    let collected = store.collect(&permit, collect).await;
    assert_eq!(collected.unwrap_err().kind(), ErrorKind::PermissionDenied);
}
