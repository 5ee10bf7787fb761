//! What goes, and what stays.
use crate::support::{Pieces, blob, files, noise, permit, put, request};
use deploy_artifacts::{CollectGarbage, GarbageReport, ObjectArtifactStore};
use deploy_core::{
    backend::{ArtifactStore as _, Holder, ListArtifacts},
    conformance::sample::{at, name},
    time::Timestamp,
};
use std::{fs, time::Duration};
use tempfile::TempDir;

/// Later than any file of a test.
pub(crate) const END: Timestamp = at(100_000_000_000);

fn local() -> (TempDir, ObjectArtifactStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
    (folder, store)
}

async fn collect(store: &ObjectArtifactStore, keep: usize) -> GarbageReport {
    store.collect(&permit().await, CollectGarbage::new(keep, END)).await.unwrap()
}

async fn versions(store: &ObjectArtifactStore) -> Vec<String> {
    let listed = store.list(&ListArtifacts::new()).await.unwrap();
    listed.iter().map(|it| it.version.to_string()).collect()
}

#[tokio::test]
async fn the_newest_versions_stay_and_so_do_held_ones() {
    let (_folder, store) = local();
    let mut digests = Vec::new();
    for second in 1..=5_u8 {
        let version = format!("1.{second}");
        digests.push(put(&store, &[second; 10], &version, second.into()).await.unwrap());
    }
    let holder = Holder::Release(name("web-1"));
    store.hold(&permit().await, &digests[1], &holder).await.unwrap();
    let report = collect(&store, 2).await;
    assert_eq!(versions(&store).await, ["1.5", "1.4", "1.2"]);
    assert_eq!(report.held.len(), 1);
    assert_eq!(report.entries.len(), 2);
    assert_eq!(report.artifacts, [digests[0], digests[2]].into());
    assert_eq!(report.bytes, 20);
    assert_eq!(collect(&store, 2).await.entries, []);
    for digest in &digests[3..] {
        store.verify(digest).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_pinned_or_not_old_enough_stays() {
    let (_folder, store) = local();
    let mut digests = Vec::new();
    for hour in 1..=5_u8 {
        let version = format!("1.{hour}");
        let second = u64::from(hour) * 3_600;
        digests.push(put(&store, &[hour; 10], &version, second).await.unwrap());
    }
    let pin = Holder::Pin(name("audit"));
    store.hold(&permit().await, &digests[0], &pin).await.unwrap();
    let request = CollectGarbage::new(1, at(5 * 3_600)).with_older_than(Duration::from_hours(3));
    let report = store.collect(&permit().await, request).await.unwrap();
    assert_eq!(versions(&store).await, ["1.5", "1.4", "1.3", "1.1"]);
    assert_eq!((report.held.len(), report.artifacts), (1, [digests[1]].into()));

    store.let_go(&permit().await, &digests[0], &pin).await.unwrap();
    assert_eq!(collect(&store, 3).await.artifacts, [digests[0]].into());
}

#[tokio::test]
async fn what_is_needed_stays_and_so_does_its_version() {
    let (_folder, store) = local();
    let mut digests = Vec::new();
    for second in 1..=3_u8 {
        let version = format!("1.{second}");
        digests.push(put(&store, &[second; 10], &version, second.into()).await.unwrap());
    }
    let request = CollectGarbage::new(1, END).with_needed([digests[0]].into());
    let report = store.collect(&permit().await, request).await.unwrap();
    assert_eq!(versions(&store).await, ["1.3", "1.1"]);
    assert_eq!((report.held.len(), report.artifacts), (1, [digests[1]].into()));
    store.verify(&digests[0]).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_says_what_would_go_and_leaves_it_there() {
    let (folder, store) = local();
    for second in 1..=5_u8 {
        put(&store, &[second; 10], &format!("1.{second}"), second.into()).await.unwrap();
    }
    // This one is listed twice, and only one of the two is old: it stays.
    put(&store, &[1; 10], "1.6", 6).await.unwrap();
    let held = put(&store, &[2; 10], "1.2", 2).await.unwrap();
    store.hold(&permit().await, &held, &Holder::Release(name("web-1"))).await.unwrap();
    let bytes = noise(9, 5_000);
    let mut cut = Pieces::new(&bytes[..3_000], vec![1_000], true);
    store.put(&permit().await, request(&bytes, "9", 9), &mut cut).await.unwrap_err();
    let before = files(folder.path());
    assert!(before.iter().any(|it| it.starts_with("partial/") && it.ends_with(".0")), "{before:?}");
    let request = CollectGarbage::new(2, END);
    let dry = request.clone().with_dry_run(true);
    let would = store.collect(&permit().await, dry).await.unwrap();
    assert_eq!(files(folder.path()), before);
    let did = store.collect(&permit().await, request).await.unwrap();
    assert_eq!(would, did);
    assert_eq!((did.entries.len(), did.artifacts.len(), did.bytes, did.partials), (3, 2, 20, 1));
}

#[tokio::test]
async fn an_artifact_stays_while_another_version_names_it() {
    let (_folder, store) = local();
    let digest = put(&store, b"same", "1", 1).await.unwrap();
    put(&store, b"same", "2", 2).await.unwrap();
    assert!(collect(&store, 1).await.artifacts.is_empty());
    assert_eq!(versions(&store).await, ["2"]);
    store.verify(&digest).await.unwrap();
}

#[tokio::test]
async fn what_a_crash_left_goes_when_it_is_old() {
    let (folder, store) = local();
    let orphan = put(&store, b"orphan", "1", 1).await.unwrap();
    fs::remove_file(folder.path().join("entries/web/package/1.json")).unwrap();
    fs::write(folder.path().join("entries/web/package/2.json#1"), "{").unwrap();
    let bytes = noise(1, 5_000);
    let mut body = Pieces::new(&bytes[..3_000], vec![1_000], true);
    store.put(&permit().await, request(&bytes, "3", 3), &mut body).await.unwrap_err();

    let modified = fs::metadata(blob(folder.path(), &orphan)).unwrap().modified().unwrap();
    let written = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    let written = Timestamp::from_millis(u64::try_from(written.as_millis()).unwrap());
    let day = Duration::from_hours(24);
    let young = CollectGarbage::new(9, written.after(day / 2)).with_min_age(day);
    let report = store.collect(&permit().await, young).await.unwrap();
    assert_eq!((report.artifacts.len(), report.partials), (0, 0));
    assert_eq!(store.partial(&request(&bytes, "3", 3).digest).await.unwrap(), 3_000);

    let old = CollectGarbage::new(9, written.after(day * 2)).with_min_age(day);
    let report = store.collect(&permit().await, old).await.unwrap();
    assert_eq!(report.artifacts, [orphan].into());
    assert_eq!(report.partials, 1);
    assert_eq!(files(folder.path()), ["format", "lock", "partial/lock"]);
}

#[tokio::test]
async fn a_put_under_way_survives() {
    let (_folder, store) = local();
    let bytes = noise(1, 3_000_000);
    let asked = request(&bytes, "1", 1);
    let (mut writer, mut body) = tokio::io::duplex(1 << 16);
    let permit = permit().await;
    let at_once = CollectGarbage::new(0, END).with_min_age(Duration::ZERO);
    let put = store.put(&permit, asked.clone(), &mut body);
    let other = async {
        for piece in bytes.chunks(700_000) {
            tokio::io::AsyncWriteExt::write_all(&mut writer, piece).await.unwrap();
            assert_eq!(store.collect(&permit, at_once.clone()).await.unwrap().partials, 0);
        }
        drop(writer);
    };
    let (put, ()) = tokio::join!(put, other);
    put.unwrap();
    store.verify(&asked.digest).await.unwrap();
}
