//! A process that is killed while it puts leaves nothing half visible.
use crate::support::{child, child_root, files, noise, permit, put, request};
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::backend::{ArtifactStore as _, ListArtifacts};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

const SIZE: usize = 6 << 20;
const ROUNDS: u64 = 24;

fn body(number: u64) -> Vec<u8> {
    noise(number + 1, SIZE)
}

#[tokio::test]
async fn a_killed_put_is_not_there_or_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let (mut acknowledged, mut resumed) = (0, 0);
    for round in 0..ROUNDS {
        let mut command = child("crash::child_puts_until_it_is_killed", folder.path());
        let mut putting = command.stdout(Stdio::piped()).spawn().unwrap();
        acknowledged = acknowledged.max(kill_in_the_middle(&mut putting, folder.path(), round));

        let store = ObjectArtifactStore::open_local(folder.path()).unwrap();
        let listed = store.list(&ListArtifacts::new()).await.unwrap();
        assert!(listed.len() as u64 >= acknowledged, "{} of {acknowledged}", listed.len());
        for entry in &listed {
            store.verify(&entry.meta.digest).await.unwrap();
        }
        for file in files(folder.path()).iter().filter(|it| it.starts_with("blobs/")) {
            let hex = file.rsplit('/').next().unwrap();
            store.verify(&format!("sha256:{hex}").parse().unwrap()).await.unwrap();
        }
        resumed += u64::from(go_on(&store, listed.len() as u64).await);
    }
    assert!(resumed > 0, "no put was ever cut off in the middle");
}

/// Completes what was cut off; says whether anything had been kept.
async fn go_on(store: &ObjectArtifactStore, number: u64) -> bool {
    let bytes = body(number);
    let asked = request(&bytes, &number.to_string(), number);
    let kept = store.partial(&asked.digest).await.unwrap();
    let from = usize::try_from(kept).unwrap();
    store.put(&permit().await, asked.with_offset(kept), &mut &bytes[from..]).await.unwrap();
    kept > 0
}

/// Kills `putting` when it has written a part of an artifact that differs from round to round, and says how many puts
/// have been acknowledged by then.
fn kill_in_the_middle(putting: &mut Child, root: &Path, round: u64) -> u64 {
    let mut lines = BufReader::new(putting.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while said.len() as u64 <= round % 3 {
        said.extend(lines.next().unwrap().unwrap().strip_prefix("put ").map(str::to_owned));
    }
    let enough = (SIZE as u64 / ROUNDS) * (round + 1);
    while longest_partial(root) < enough && putting.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    putting.kill().unwrap();
    putting.wait().unwrap();
    let rest = lines.map_while(Result::ok);
    said.extend(rest.filter_map(|line| line.strip_prefix("put ").map(str::to_owned)));
    said.last().unwrap().parse().unwrap()
}

fn longest_partial(root: &Path) -> u64 {
    let entries = fs::read_dir(root.join("partial")).into_iter().flatten();
    let lengths = entries.filter_map(|it| it.ok()?.metadata().ok()).map(|it| it.len());
    lengths.max().unwrap_or(0)
}

#[tokio::test]
#[ignore = "started by a_killed_put_is_not_there_or_all_there"]
#[expect(clippy::print_stdout, reason = "this is how it tells the test that started it")]
async fn child_puts_until_it_is_killed() {
    let store = ObjectArtifactStore::open_local(child_root()).unwrap();
    let first = store.list(&ListArtifacts::new()).await.unwrap().len() as u64;
    println!("\nput {first}");
    for number in first..first + 100 {
        put(&store, &body(number), &number.to_string(), number).await.unwrap();
        println!("\nput {}", number + 1);
    }
}
