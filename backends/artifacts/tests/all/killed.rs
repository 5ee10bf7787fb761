//! A process that puts, holds and collects, killed anywhere: nothing that is needed is lost, and nothing half is visible.
use crate::{
    garbage::END,
    s3::{Server, open},
    support::{child, files, noise, permit, put},
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
    sync::mpsc,
    time::{Duration, Instant},
};

/// How many points of each kind of store; `CRASH_POINTS` says otherwise.
const POINTS: usize = 24;
const CHILD: &str = "killed::child_puts_holds_and_collects";
/// Where the child works: a folder, or a place in a bucket.
const ROOT: &str = "DEPLOY_TEST_ROOT";
/// Which round the child works on.
const ROUND: &str = "DEPLOY_TEST_ROUND";
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
            Some(("collecting", digest)) => {
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

/// Runs the child for one round; `kill` may end it, and says so.
fn run(
    mut command: Command,
    round: u64,
    promised: &mut Promised,
    kill: Option<Duration>,
) -> ExitStatus {
    command.env(ROUND, round.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command.spawn().unwrap();
    let lines = std::io::BufReader::new(process.stdout.take().unwrap());
    let (ended, end) = mpsc::channel();
    std::thread::scope(|scope| {
        let hearing = scope.spawn(move || {
            let said: Vec<String> = std::io::BufRead::lines(lines).map_while(Result::ok).collect();
            // Nobody listens where nobody was going to kill.
            let _unheard = ended.send(());
            said
        });
        if let Some(after) = kill
            && end.recv_timeout(after).is_err()
        {
            process.kill().unwrap();
        }
        let status = process.wait().unwrap();
        hearing.join().unwrap().iter().for_each(|line| promised.hear(line));
        status
    })
}

fn was_killed(status: ExitStatus, what: &str) -> bool {
    let killed = status.signal() == Some(9);
    assert!(killed || status.success(), "{what}: {status}");
    killed
}

#[tokio::test]
async fn a_folder_whose_process_is_killed_at_its_nth_system_call_loses_nothing() {
    if !strace::is_there("the crash points of the store") {
        return;
    }
    let wanted = strace::asked_for("CRASH_POINTS", POINTS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (root, trace) = (folder.path().join("store"), folder.path().join("trace"));
    let text = root.to_str().unwrap();
    let mut promised = Promised::default();
    let plain = child(CHILD, &root);
    let behind = |words: &[String]| {
        let mut command = strace::behind(words, Path::new(plain.get_program()));
        command.args(plain.get_args()).env(ROOT, &root);
        command
    };
    for (round, words) in [(0, Vec::new()), (1, strace::counting(&trace))] {
        let ended = run(behind(&words), round, &mut promised, None);
        assert!(ended.success(), "{ended}");
    }
    let counts = strace::counted(&trace).unwrap();
    let (mut killed, mut round) = (0, 2);
    for point in strace::spread(&counts, wanted) {
        let what = format!("{point:?} in round {round}");
        let status = run(behind(&strace::killing(&point)), round, &mut promised, None);
        killed += usize::from(was_killed(status, &what));
        promised.check(text, &what).await;
        round += 1;
    }
    eprintln!(
        "a folder: killed at {killed} of {wanted} points, in {} kinds of calls",
        counts.len()
    );
    assert!(killed >= wanted - wanted / 4, "killed at {killed} of {wanted} points only");
    // Whatever was left over, a collection can remove.
    clear(&opened(text).await, round).await;
    assert_eq!(files(&root), ["format", "lock", "partial/lock"]);
}

#[tokio::test]
async fn a_bucket_whose_process_is_killed_at_any_moment_loses_nothing() {
    let Some(server) = Server::start() else { return };
    let wanted = strace::asked_for("CRASH_POINTS", POINTS).unwrap();
    let place = server.address_of_a_place();
    let mut promised = Promised::default();
    let command = || child(CHILD, Path::new(&place));
    let begun = now();
    let ended = run(command(), 0, &mut promised, None);
    assert!(ended.success(), "{ended}");
    let whole = begun.elapsed();
    let (mut killed, mut chance) = (0, 0x9e37_79b9_7f4a_7c15_u64);
    for round in 1..=wanted as u64 {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        let after = whole.mul_f64((chance >> 11) as f64 / (1_u64 << 53) as f64);
        let what = format!("after {after:?} of {whole:?} in round {round}");
        let status = run(command(), round, &mut promised, Some(after));
        killed += usize::from(was_killed(status, &what));
        promised.check(&place, &what).await;
    }
    eprintln!("a bucket: killed at {killed} of {wanted} moments");
    assert!(killed >= wanted / 2, "killed at {killed} of {wanted} moments only");
    let store = opened(&place).await;
    clear(&store, wanted as u64 + 1).await;
    assert_eq!(store.list(&ListArtifacts::new()).await.unwrap(), []);
}

#[expect(clippy::disallowed_methods, reason = "how long a round takes says when one may be killed")]
fn now() -> Instant {
    Instant::now()
}

/// Collects everything, whoever held it.
async fn clear(store: &ObjectArtifactStore, rounds: u64) {
    let all = ObsoleteHolds::default().with_releases((0..=rounds).map(release).collect());
    let everything = CollectGarbage::new(0, END).with_min_age(Duration::ZERO).with_obsolete(all);
    store.collect(&permit().await, everything).await.unwrap();
}

#[tokio::test]
#[ignore = "started by the tests above"]
async fn child_puts_holds_and_collects() {
    let root = std::env::var(ROOT).expect("started by another test");
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let store = opened(&root).await;
    let permit = permit().await;
    let (small, large) = (noise(2 * round + 1, SMALL), noise(2 * round + 2, LARGE));
    let digest = put(&store, &small, &format!("{round}"), round).await.unwrap();
    store.hold(&permit, &digest, &Holder::Release(release(round))).await.unwrap();
    say("held", &digest);
    put(&store, &large, &format!("{round}-large"), round).await.unwrap();
    let old = ObsoleteHolds::default().with_releases((0..round).map(release).collect());
    say("collecting", &digest);
    let request = CollectGarbage::new(0, END).with_min_age(Duration::ZERO).with_obsolete(old);
    store.collect(&permit, request).await.unwrap();
}

/// Says it to the test that has started this one, at once.
fn say(what: &str, digest: &Digest) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{what} {digest}").unwrap();
    out.flush().unwrap();
}
