//! A process that puts, holds and collects, killed anywhere: nothing that is needed is lost, and nothing half is visible.
use crate::{
    garbage::END,
    s3::{Server, open},
    support::{child, digest, files, noise, permit, put},
};
use deploy_artifacts::{CollectGarbage, ObjectArtifactStore};
use deploy_core::{
    backend::{ArtifactStore as _, Holder, ListArtifacts, ObsoleteHolds},
    conformance::sample::name,
    digest::Digest,
    id::ReleaseId,
};
use deploy_test_support::strace;
use std::{
    collections::BTreeSet,
    io::Write as _,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

/// How many points of each kind of store; `CRASH_POINTS` says otherwise.
const POINTS: usize = 100;
const CHILD: &str = "killed::child_puts_holds_and_collects";
/// Where the child works: a folder, or a place in a bucket.
const ROOT: &str = "DEPLOY_TEST_ROOT";
/// Which round the child works on.
const ROUND: &str = "DEPLOY_TEST_ROUND";
const COLLECTING: &str = "collecting";
/// More than what is put in one request.
const LARGE: usize = 11 << 20;
const SMALL: usize = 300_000;

fn release(round: u64) -> ReleaseId {
    name(&format!("r-{round}"))
}

async fn opened(root: &str) -> ObjectArtifactStore {
    match root.parse() {
        Ok(place) => open(&place).await,
        Err(_) => ObjectArtifactStore::open_local(root).unwrap(),
    }
}

/// What is needed, as far as the child has said.
#[derive(Default)]
struct Promised {
    held: BTreeSet<Digest>,
}

impl Promised {
    fn hear(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("held", digest)) => drop(self.held.insert(digest.parse().unwrap())),
            // From here on only what this round holds is needed.
            Some((COLLECTING, digest)) => {
                let digest: Digest = digest.parse().unwrap();
                self.held.retain(|it| *it == digest);
            }
            _ => {}
        }
    }

    /// Looks at a store from which the child is gone.
    async fn check(&self, root: &str, what: &str) {
        let store = opened(root).await;
        let listed = store.list(&ListArtifacts::new()).await.unwrap();
        for entry in &listed {
            let verified = store.verify(&entry.meta.digest).await;
            verified.unwrap_or_else(|err| panic!("{what}: listed: {}", err.chain()));
        }
        for digest in &self.held {
            let verified = store.verify(digest).await;
            verified.unwrap_or_else(|err| panic!("{what}: held: {}", err.chain()));
            assert!(listed.iter().any(|it| it.meta.digest == *digest), "{what}: {digest}");
            let holders = store.holders(digest).await.unwrap();
            assert!(holders.iter().any(|it| matches!(it, Holder::Release(_))), "{what}: {digest}");
        }
    }
}

/// Runs a child for one round, and says how it ended.
fn run(mut command: Command, round: u64, promised: &mut Promised) -> ExitStatus {
    command.env(ROUND, round.to_string()).stderr(Stdio::null());
    let ended = command.output().unwrap();
    String::from_utf8_lossy(&ended.stdout).lines().for_each(|line| promised.hear(line));
    ended.status
}

/// Has one child after another work at `root`, each killed just before it makes one of these calls for the N-th time; looks at the store
/// each time. Gives how many rounds there were.
async fn kill_in(root: &str, calls: &[&str]) -> u64 {
    let wanted = strace::asked_for("CRASH_POINTS", POINTS).unwrap();
    let trace = tempfile::NamedTempFile::new().unwrap();
    let plain = child(CHILD, Path::new(root));
    let behind = |words: &[String]| {
        let mut command = strace::behind(words, Path::new(plain.get_program()));
        command.args(plain.get_args()).env(ROOT, root);
        command
    };
    let mut promised = Promised::default();
    for (round, words) in [(0, Vec::new()), (1, strace::counting(trace.path()))] {
        let ended = run(behind(&words), round, &mut promised);
        assert!(ended.success(), "{ended}");
    }
    let mut counts = strace::counted(trace.path()).unwrap();
    counts.retain(|call, _| calls.contains(&call.as_str()));
    let (mut killed, mut round) = (0, 1);
    for point in strace::spread(&counts, wanted) {
        round += 1;
        let what = format!("{point:?} in round {round}");
        let ended = run(behind(&strace::killing(&point)), round, &mut promised);
        let was_killed = ended.signal() == Some(9);
        assert!(was_killed || ended.success(), "{what}: {ended}");
        killed += usize::from(was_killed);
        promised.check(root, &what).await;
        // So that each round begins like the one in which calls were counted: with what the round before holds.
        collect(&opened(root).await, round).await;
        promised.hear(&format!("{COLLECTING} {}", digest(&small(round))));
    }
    eprintln!("{root}: killed at {killed} of {wanted} points of {counts:?}");
    // One that makes fewer calls than the one they were counted in is not killed.
    assert!(killed >= wanted - wanted / 4, "killed at {killed} of {wanted} points only");
    round
}

#[tokio::test]
async fn a_folder_whose_process_is_killed_at_its_nth_system_call_loses_nothing() {
    if !strace::is_there("the crash points of a folder of artifacts") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let rounds = kill_in(root, strace::CALLS).await;
    // Whatever was left over, a collection can remove.
    collect(&opened(root).await, rounds + 1).await;
    assert_eq!(files(folder.path()), ["format", "lock", "partial/lock"]);
}

/// A bucket changes by what is sent to it, and by nothing else.
#[tokio::test]
async fn a_bucket_whose_process_is_killed_before_its_nth_request_loses_nothing() {
    if !strace::is_there("the crash points of a bucket of artifacts") {
        return;
    }
    let Some(server) = Server::start() else { return };
    let place = server.address_of_a_place();
    let rounds = kill_in(&place, &["sendmsg", "sendto", "writev"]).await;
    let store = opened(&place).await;
    collect(&store, rounds + 1).await;
    assert_eq!(store.list(&ListArtifacts::new()).await.unwrap(), []);
}

/// Collects all that is held by nobody, or by rounds before this one.
async fn collect(store: &ObjectArtifactStore, round: u64) {
    let before = ObsoleteHolds::default().with_releases((0..round).map(release).collect());
    let request = CollectGarbage::new(0, END).with_min_age(Duration::ZERO).with_obsolete(before);
    store.collect(&permit().await, request).await.unwrap();
}

fn small(round: u64) -> Vec<u8> {
    noise(2 * round + 1, SMALL)
}

#[tokio::test]
#[ignore = "started by the tests above"]
async fn child_puts_holds_and_collects() {
    let root = std::env::var(ROOT).expect("started by another test");
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let store = opened(&root).await;
    let permit = permit().await;
    let large = noise(2 * round + 2, LARGE);
    let digest = put(&store, &small(round), &format!("{round}"), round).await.unwrap();
    store.hold(&permit, &digest, &Holder::Release(release(round))).await.unwrap();
    say("held", &digest);
    put(&store, &large, &format!("{round}-large"), round).await.unwrap();
    say(COLLECTING, &digest);
    collect(&store, round).await;
}

/// Says it to the test that has started this one, at once.
fn say(what: &str, digest: &Digest) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{what} {digest}").unwrap();
    out.flush().unwrap();
}
