//! Disks that are full, disks that cannot be written to, and memory that stays small.
use crate::support::{child, child_root, files, noise, permit, put};
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::{
    backend::{ArtifactKind, ArtifactStore as _, ErrorKind, ListArtifacts, PutArtifact},
    conformance::sample::{at, name},
    digest::Digest,
};
use sha2::{Digest as _, Sha256};
use std::{fs, path::Path, process::Command};
use tokio::io::AsyncReadExt as _;

/// Runs the ignored test `name` with a tmpfs at `root` that nobody else sees.
fn run_on_tmpfs(name: &str, root: &Path, options: &str) {
    let child = child(name, root);
    let script = r#"mount -t tmpfs -o "$1" tmpfs "$2" && shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh", options]);
    command.arg(root).arg(child.get_program()).args(child.get_args());
    command.env("DEPLOY_TEST_ROOT", root);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn a_full_disk_is_said_and_nothing_of_the_put_stays() {
    let folder = tempfile::tempdir().unwrap();
    run_on_tmpfs("disk::child_fills_its_disk", folder.path(), "size=8m");
}

#[tokio::test]
#[ignore = "started by a_full_disk_is_said_and_nothing_of_the_put_stays"]
async fn child_fills_its_disk() {
    let root = child_root();
    let store = ObjectArtifactStore::open_local(&root).unwrap();
    let small = put(&store, &noise(1, 3 << 20), "1", 1).await.unwrap();
    for _ in 0..3 {
        let err = put(&store, &noise(2, 20 << 20), "2", 2).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::NoSpace, "{}", err.chain());
        assert!(err.to_string().contains(root.to_str().unwrap()), "{err}");
    }
    put(&store, &noise(3, 3 << 20), "3", 3).await.unwrap();
    store.verify(&small).await.unwrap();
    assert_eq!(store.list(&ListArtifacts::new()).await.unwrap().len(), 2);
    assert_eq!(files(&root.join("partial")), ["lock"]);
}

#[test]
fn a_disk_without_room_for_another_file_is_said() {
    let folder = tempfile::tempdir().unwrap();
    run_on_tmpfs("disk::child_runs_out_of_inodes", folder.path(), "nr_inodes=12");
}

#[tokio::test]
#[ignore = "started by a_disk_without_room_for_another_file_is_said"]
async fn child_runs_out_of_inodes() {
    let store = ObjectArtifactStore::open_local(child_root()).unwrap();
    let mut err = None;
    for number in 0..9_u8 {
        let put = put(&store, &[number], &number.to_string(), number.into()).await;
        err = err.or_else(|| put.err());
    }
    assert_eq!(err.unwrap().kind(), ErrorKind::NoSpace);
    for entry in store.list(&ListArtifacts::new()).await.unwrap() {
        store.verify(&entry.meta.digest).await.unwrap();
    }
}

#[test]
fn a_disk_that_cannot_be_written_to_is_said_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    run_on_tmpfs("disk::child_has_a_read_only_disk", folder.path(), "ro");
}

#[tokio::test]
#[ignore = "started by a_disk_that_cannot_be_written_to_is_said_when_the_store_is_opened"]
async fn child_has_a_read_only_disk() {
    let root = child_root().join("store");
    let err = ObjectArtifactStore::open_local(&root).unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{}", err.chain());
    let said = err.to_string();
    assert!(said.contains(root.to_str().unwrap()) && said.contains("allowed"), "{said}");
}

#[test]
fn two_hundred_mebibytes_pass_through_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let output = child("disk::child_streams", folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "started by two_hundred_mebibytes_pass_through_little_memory"]
async fn child_streams() {
    const SIZE: u64 = 200 << 20;
    let mut hasher = Sha256::new();
    let block = [7; 1 << 16];
    for _ in 0..SIZE / block.len() as u64 {
        hasher.update(block);
    }
    let digest = Digest::from_bytes(hasher.finalize().into());
    let store = ObjectArtifactStore::open_local(child_root()).unwrap();
    let request =
        PutArtifact::new(digest, SIZE, name("web"), ArtifactKind::Package, name("1"), at(1));
    store.put(&permit().await, request, &mut tokio::io::repeat(7).take(SIZE)).await.unwrap();
    let mut reader = store.open(&digest, 0).await.unwrap();
    let read = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await.unwrap();
    assert_eq!(read, SIZE);
    let peak = peak_kibibytes();
    assert!(peak < 48 << 10, "{peak} KiB");
}

/// The most memory that this process ever had.
fn peak_kibibytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}
