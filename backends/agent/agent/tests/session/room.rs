//! What a host says of its room is what its attempts are refused by, to the byte and to the inode.
use crate::{
    delivery::{Lab, PLAIN},
    link::{Link, Served, h1},
    support::{Fixture, scripts::eventually},
};
use deploy_core::{
    access::{Action, Resource},
    backend::{AttemptReport, AttemptRequest, Executor as _, ExecutorCapabilities},
    conformance::{executor::planned, permit},
    error::{BackendResult, ErrorKind},
    host::{Connection, Host},
    id::Seq,
    plan::DiskRoom,
};
use deploy_test_support::mounts::{Memory, own_mounts};
use std::{fs, path::PathBuf};

/// What has to stay free.
const RESERVE: (u64, u64) = (64 << 20, 1_000);
const PAGE: u64 = 4_096;

impl Lab {
    /// As a plan does, which first says what is sent, and has parts made for that.
    async fn ask(&self, attempt: &AttemptRequest) -> BackendResult<Vec<DiskRoom>> {
        let delivery = attempt.delivery().unwrap();
        self.executor.transfer(&attempt.on.host, &delivery).await?;
        let observe = permit(Action::HostObserve, Resource::System).await;
        self.executor.room(&observe, attempt).await
    }

    /// What is said of the file system of the service.
    async fn room(&self, attempt: &AttemptRequest) -> DiskRoom {
        self.ask(attempt).await.unwrap().pop().unwrap()
    }

    fn has_fetched(&self, attempt: &AttemptRequest) -> bool {
        let artifacts = self.fixture.state().join("artifacts");
        attempt.artifacts().iter().any(|it| artifacts.join(it.digest.hex()).exists())
    }
}

fn in_own_mounts(name: &str, test: impl Future<Output = ()>) {
    if own_mounts(name) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }
}

/// A lab whose services lie on a small file system of their own.
async fn small(options: &str) -> (Lab, PathBuf, Memory) {
    let lab = Lab::with_policy("free_mib = 64\n").await;
    let folder = lab.fixture.dir.path().join("root/srv");
    fs::create_dir_all(&folder).unwrap();
    let disk = Memory::over(&folder, options).unwrap();
    (lab, folder, disk)
}

async fn refused(lab: &Lab, attempt: &AttemptRequest) -> String {
    let err = lab.attempted(attempt).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NoSpace);
    assert!(!lab.has_fetched(attempt), "it was fetched before it was refused");
    err.chain()
}

#[test]
fn a_host_that_lacks_one_block_says_so_and_refuses() {
    in_own_mounts("room::a_host_that_lacks_one_block_says_so_and_refuses", async {
        let (lab, folder, disk) = small("80m,mode=755").await;
        let one = lab.release("one", 1, PLAIN).await;
        let attempt = lab.attempt(&one, None);
        let empty = lab.room(&attempt).await;
        assert!(empty.needed_bytes > RESERVE.0 && !empty.is_short(), "{empty:?}");
        assert_eq!(PathBuf::from(&empty.folder), folder.join("web"));

        let ballast = fs::File::create(folder.join("ballast")).unwrap();
        let spare = (empty.free_bytes - empty.needed_bytes) / PAGE * PAGE;
        rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, spare + PAGE)
            .unwrap();
        let short = lab.room(&attempt).await;
        assert_eq!(short.needed_bytes, empty.needed_bytes);
        assert!((1..=PAGE).contains(&short.missing_bytes()), "{short:?}");
        let why = refused(&lab, &attempt).await;
        let lacking = format!("short of {} bytes and 0 inodes", short.missing_bytes());
        assert!(why.contains(&lacking), "{why}");

        ballast.set_len(spare).unwrap();
        assert!(!lab.room(&attempt).await.is_short());
        assert_eq!(lab.attempted(&attempt).await.unwrap(), AttemptReport::Succeeded);
        drop(disk);
    });
}

#[test]
fn a_host_that_lacks_inodes_says_so_and_refuses() {
    in_own_mounts("room::a_host_that_lacks_inodes_says_so_and_refuses", async {
        let (lab, _, disk) = small("80m,mode=755,nr_inodes=1002").await;
        let one = lab.release("one", 1, PLAIN).await;
        let attempt = lab.attempt(&one, None);
        let short = lab.room(&attempt).await;
        assert!(short.needed_inodes > RESERVE.1 && short.missing_inodes() > 0, "{short:?}");
        assert_eq!(short.missing_bytes(), 0);
        let why = refused(&lab, &attempt).await;
        let lacking = format!("short of 0 bytes and {} inodes", short.missing_inodes());
        assert!(why.contains(&lacking), "{why}");
        drop(disk);
    });
}

#[tokio::test]
async fn what_a_host_has_takes_no_room() {
    let lab = Lab::with_policy("free_mib = 64\n").await;
    let (one, two) = (lab.release("one", 1, PLAIN).await, lab.release("two", 2, PLAIN).await);
    let first = lab.room(&lab.attempt(&one, None)).await;
    lab.deploy(&one, None).await;
    let again = lab.room(&lab.attempt(&one, None)).await;
    assert_eq!((again.needed_bytes, again.needed_inodes), RESERVE);
    let upgrade = lab.room(&lab.attempt(&two, Some(&one))).await;
    let more = upgrade.needed_bytes - RESERVE.0;
    assert!(more > 0 && more < first.needed_bytes - RESERVE.0, "{more}");
    let again = lab.room(&lab.attempt(&two, Some(&one))).await;
    assert_eq!(again.needed_bytes, upgrade.needed_bytes, "what was asked for was fetched");
    let fetched = lab.deploy(&two, Some(&one)).await;
    assert!(fetched < more, "{fetched} bytes were fetched, and there was to be room for {more}");
}

#[tokio::test]
async fn a_question_believes_what_is_installed_and_an_attempt_does_not() {
    let lab = Lab::with_policy("free_mib = 64\n").await;
    let (one, two) = (lab.release("one", 1, PLAIN).await, lab.release("two", 2, PLAIN).await);
    lab.deploy(&one, None).await;
    lab.deploy(&two, Some(&one)).await;
    lab.deploy(&one, Some(&two)).await;
    let three = lab.release("three", 2, PLAIN).await;
    let before = lab.room(&lab.attempt(&three, Some(&one))).await;
    let releases = lab.fixture.dir.path().join("root/srv/web/releases");
    for release in ["one", "two"] {
        let program = releases.join(release).join("bin/web.sh");
        let size = fs::metadata(&program).unwrap().len();
        fs::remove_file(&program).unwrap();
        fs::write(&program, vec![0; usize::try_from(size).unwrap()]).unwrap();
    }
    let after = lab.room(&lab.attempt(&three, Some(&one))).await;
    assert_eq!(after.needed_bytes, before.needed_bytes, "installed files were read");
    lab.deploy(&three, Some(&one)).await;
}

#[tokio::test]
async fn what_the_host_would_refuse_for_something_else_is_told() {
    let lab = Lab::with_policy("free_mib = 64\n").await;
    let one = lab.release("one", 1, PLAIN).await;
    let mut elsewhere = lab.attempt(&one, None);
    elsewhere.on.deploy_path = "/etc/web".parse().unwrap();
    let err = lab.ask(&elsewhere).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
}

#[tokio::test]
async fn nobody_waits_for_an_agent_that_is_not_connected_or_too_old() {
    let fixture = Fixture::new("none").await;
    let served = Served::new(std::sync::Arc::clone(&fixture.store)).await;
    let executor = served.executor();
    let mut on = fixture.on();
    on.host = Host::new(h1(), Connection::Agent);
    let token = "0".repeat(32);
    let rollout = "r1".parse().unwrap();
    let attempt = AttemptRequest::new(on, rollout, Seq::new(1), token, planned("one", &[]));
    let observe = permit(Action::HostObserve, Resource::System).await;
    let err = executor.room(&observe, &attempt).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable);

    let link = Link::new(&served).await;
    let _agent = link.older_agent().await;
    eventually("the agent is there", || served.gateway.connected() == [h1()]).await;
    let ExecutorCapabilities { room, .. } = executor.capabilities_on(&attempt.on.host);
    assert!(!room && executor.capabilities().room);
    let err = executor.room(&observe, &attempt).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported);
}
