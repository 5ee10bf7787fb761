//! Packages that come as patches, to folders that pass for hosts over SSH.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod support;

use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit},
    backend::{ArtifactStore, AttemptReport, AttemptRequest, Clock, Delivery, Executor as _},
    conformance::sample,
    error::BackendResult,
    host::{Connection, Host, SshConnection},
    memory::{MemoryArtifactStore, SystemClock},
    plan::{PlannedRelease, TransferWay},
    spec::Direction,
    time::Timestamp,
};
use deploy_host::{
    executor::ShellExecutor,
    transport::{HostCommand, HostProcess, Transport},
};
use deploy_local::LocalTransport;
use deploy_parts::Patches;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use support::{CutTransport, Fixture, Log, run};

/// What travels with every attempt, and is no package, has fewer bytes.
const WITHOUT_PACKAGE: u64 = 110_000;
const WHOLE: usize = 1_000_000;

/// Reaches folders of this machine as if they were elsewhere.
#[derive(Debug)]
struct Far(LocalTransport);

#[async_trait]
impl Transport for Far {
    async fn open(
        &self,
        host: &Host,
        command: &HostCommand,
    ) -> BackendResult<Box<dyn HostProcess>> {
        let mut near = host.clone();
        near.connection = Connection::Local { root: "/".to_owned() };
        self.0.open(&near, command).await
    }
}

/// A clock for which the minute that an attempt waits for a patch is over at once. Counts these.
#[derive(Debug)]
struct Hasty(SystemClock, Arc<AtomicUsize>);

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, at: Timestamp) {
        let minute = Duration::from_secs(50)..=Duration::from_secs(60);
        if minute.contains(&at.since(self.now())) {
            self.1.fetch_add(1, Ordering::SeqCst);
        } else {
            self.0.sleep_until(at).await;
        }
    }
}

struct Lab {
    fixture: Fixture,
    executor: ShellExecutor<CutTransport<Far>>,
    permit: Permit,
}

impl Lab {
    async fn new() -> Self {
        Self::with_clock(SystemClock::new()).await
    }

    async fn with_clock(clock: impl Clock) -> Self {
        let fixture = Fixture::new();
        let store: Arc<dyn ArtifactStore> = Arc::<MemoryArtifactStore>::clone(&fixture.store);
        let patches = patches_of(&fixture);
        let transport =
            CutTransport::new(Far(LocalTransport::new()), Arc::clone(&fixture.scissors));
        let executor = ShellExecutor::new(transport, store, Arc::new(clock))
            .with_reconnect_for(Duration::from_secs(20))
            .with_patches(patches);
        let permit = fixture.permit(Action::HostExecute).await;
        Self { fixture, executor, permit }
    }

    fn far_host(&self) -> Host {
        let root = self.fixture.dir.path().join("host's root").to_str().unwrap().to_owned();
        Host::new(sample::name("h1"), Connection::Ssh(SshConnection::new().with_root(root)))
    }

    /// The release `web-N`, of which `changed` bytes are in no other.
    async fn release(&self, number: u64, toml: &str, changed: usize) -> PlannedRelease {
        let mut program = noise(1, WHOLE);
        program.splice(300_000..300_000 + changed, noise(number, changed));
        let files: &[(&str, &[u8])] =
            &[("program", &program), ("version", &[b'0' + number.to_le_bytes()[0]])];
        let scripts: &[(&str, &str)] = if toml.contains("script") {
            &[("install.sh", "test -s \"$DEPLOY_PACKAGE\" && . \"$DEPLOY_LIB\" && du_install\n")]
        } else {
            &[]
        };
        self.fixture.release(&format!("web-{number}"), toml, scripts, Some(files), &[]).await
    }

    fn upgrade(
        &self,
        generation: u64,
        to: &PlannedRelease,
        from: Option<&PlannedRelease>,
    ) -> AttemptRequest {
        let mut request = self.fixture.attempt(generation, to);
        request.on.host = self.far_host();
        request.previous = from.cloned();
        request
    }

    /// Runs an attempt; gives its log, and how many bytes went to the host beside what goes every time.
    async fn run(&self, request: &AttemptRequest) -> (String, u64) {
        let (log, before) = (Log::default(), self.sent());
        let report = self.executor.run(&self.permit, request, &log).await.unwrap();
        assert_eq!(report, AttemptReport::Succeeded, "{}", log.text());
        let installed = self.fixture.read("current/version");
        assert!(request.release.id.as_str().ends_with(&installed), "{installed}");
        (log.text(), (self.sent() - before).saturating_sub(WITHOUT_PACKAGE))
    }

    /// The same for one whose package has to go whole; gives its log.
    async fn run_whole(&self, request: &AttemptRequest) -> String {
        let (log, sent) = self.run(request).await;
        assert!(sent > WHOLE as u64 - WITHOUT_PACKAGE, "{sent}");
        log
    }

    fn sent(&self) -> u64 {
        self.fixture.scissors.sent.load(Ordering::SeqCst)
    }

    fn package(&self, release: &PlannedRelease, kind: &str) -> PathBuf {
        let digest = release.package.unwrap().digest.hex();
        self.fixture.path(&format!(".deploy/packages/{digest}.{kind}.gz"))
    }
}

fn patches_of(fixture: &Fixture) -> Patches {
    let store = Arc::<MemoryArtifactStore>::clone(&fixture.store);
    Patches::new(fixture.dir.path().join("patches"), store)
}

/// Bytes that do not get smaller, and are others for each seed.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// A zstd that ends the launcher which has called it: the folder of that is named after it.
const ENDS_ITS_SESSION: &str = "#!/bin/sh
for it; do
    case $it in
    -H) echo --patch-from ;;
    --patch-from=*) it=${it%/*} && kill -s KILL \"${it##*.}\" ;;
    esac
done
";
const PLAIN: &str = "format = 1\n[steps.verify]\nenabled = false\n";
const WANTS_ARCHIVE: &str =
    "format = 1\n[steps.verify]\nenabled = false\n[steps.install]\nscript = 'install.sh'\n";

#[test]
fn an_upgrade_goes_up_as_a_patch_and_the_ways_back_and_forth_as_nothing() {
    run(async {
        let lab = Lab::new().await;
        let [one, two] = [lab.release(1, PLAIN, 1).await, lab.release(2, PLAIN, 5_000).await];
        let (_, sent) = lab.run(&lab.upgrade(1, &one, None)).await;
        assert!(sent > WHOLE as u64 - WITHOUT_PACKAGE, "{sent}");
        let (log, sent) = lab.run(&lab.upgrade(2, &two, Some(&one))).await;
        assert!(sent < 20_000, "{sent}");
        assert!(log.starts_with("the package came as a patch of "), "{log}");
        assert!(lab.package(&two, "tree").exists() && !lab.package(&two, "tar").exists());

        let mut back = lab.upgrade(3, &one, Some(&two));
        back.direction = Direction::Back;
        assert_eq!(lab.run(&back).await.1, 0);
        fs::remove_dir_all(lab.fixture.path("releases/web-2")).unwrap();
        let (log, sent) = lab.run(&lab.upgrade(4, &two, Some(&one))).await;
        assert_eq!(sent, 0, "{log}");
    });
}

#[test]
fn a_plan_knows_what_a_patch_comes_to_and_to_whom_none_goes() {
    run(async {
        let lab = Lab::new().await;
        let [one, two] = [lab.release(1, PLAIN, 1).await, lab.release(2, PLAIN, 5_000).await];
        let archive = lab.release(3, WANTS_ARCHIVE, 5_000).await;
        let (far, near) = (lab.far_host(), lab.fixture.on().host);
        let to = |it: &PlannedRelease| Delivery::new(it.descriptor, it.package.unwrap());
        let upgrade = to(&two).with_previous(one.package);
        let way = async |host: &Host, delivery: &Delivery| {
            let transfer = lab.executor.transfer(host, delivery).await.unwrap();
            (transfer.way, transfer.bytes)
        };
        let whole = two.package.unwrap().size;
        assert_eq!(way(&far, &upgrade.back(true)).await, (TransferWay::Whole, whole));
        let (by, bytes) = way(&far, &upgrade).await;
        assert!(by == TransferWay::Delta && bytes < 20_000, "{by} {bytes}");
        assert_eq!(way(&far, &upgrade.back(true)).await, (by, bytes), "it is there now");
        assert_eq!(way(&near, &upgrade).await, (TransferWay::Whole, whole));
        assert_eq!(way(&far, &to(&two)).await, (TransferWay::Whole, whole));
        assert_eq!(
            way(&far, &to(&two).with_previous(two.package)).await,
            (TransferWay::Nothing, 0)
        );
        let size = archive.package.unwrap().size;
        let archive = to(&archive).with_previous(one.package);
        assert_eq!(way(&far, &archive).await, (TransferWay::Whole, size));
        let again = archive.with_previous(Some(archive.package));
        assert_eq!(way(&far, &again).await, (TransferWay::Whole, size));

        // What is sent is what was planned.
        lab.run(&lab.upgrade(1, &one, None)).await;
        let without = lab.sent();
        let (log, _) = lab.run(&lab.upgrade(2, &two, Some(&one))).await;
        assert!(log.contains(&format!("as a patch of {bytes} bytes")), "{log}");
        assert!(lab.sent() - without < bytes + WITHOUT_PACKAGE);
    });
}

#[test]
fn what_was_not_made_in_time_is_waited_for_once_and_used_when_it_is_made() {
    run(async {
        let waits = Arc::<AtomicUsize>::default();
        let lab = Lab::with_clock(Hasty(SystemClock::new(), Arc::clone(&waits))).await;
        let [one, two] = [lab.release(1, PLAIN, 1).await, lab.release(2, PLAIN, 5_000).await];
        lab.run(&lab.upgrade(1, &one, None)).await;
        let (_, sent) = lab.run(&lab.upgrade(2, &two, Some(&one))).await;
        assert!(sent > WHOLE as u64 - WITHOUT_PACKAGE, "{sent}");
        lab.run(&lab.upgrade(3, &two, Some(&one))).await;
        assert_eq!(waits.load(Ordering::SeqCst), 1);

        // Another process has made it meanwhile.
        patches_of(&lab.fixture)
            .patch(two.package.unwrap(), one.package.unwrap())
            .await
            .unwrap()
            .unwrap();
        let upgrade = Delivery::new(two.descriptor, two.package.unwrap());
        let upgrade = upgrade.with_previous(one.package);
        let transfer = lab.executor.transfer(&lab.far_host(), &upgrade).await.unwrap();
        assert_eq!(transfer.way, TransferWay::Delta);
        assert_eq!(waits.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_patch_that_was_cut_goes_on_where_it_was() {
    run(async {
        let lab = Lab::new().await;
        let [one, two] = [lab.release(1, PLAIN, 1).await, lab.release(2, PLAIN, 400_000).await];
        lab.run(&lab.upgrade(1, &one, None)).await;
        lab.fixture.scissors.limit(&[(30_000, u64::MAX), (200_000, u64::MAX), (220_000, u64::MAX)]);
        let (log, sent) = lab.run(&lab.upgrade(2, &two, Some(&one))).await;
        assert!(log.starts_with("the package came as a patch of 40"), "{log}");
        // The patch once, and what goes with each of four connections.
        assert!(sent < 405_000 + 3 * WITHOUT_PACKAGE, "{sent}");
        let left = fs::read_dir(lab.fixture.path(".deploy/packages")).unwrap();
        let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
        assert!(left.iter().all(|it| !it.to_str().unwrap().contains("patch")), "{left:?}");
    });
}

#[test]
fn where_the_package_before_is_damaged_the_whole_comes_in_the_same_attempt() {
    run(async {
        let lab = Lab::new().await;
        let [one, two] = [lab.release(1, PLAIN, 1).await, lab.release(2, PLAIN, 5_000).await];
        lab.run(&lab.upgrade(1, &one, None)).await;
        let mut bytes = fs::read(lab.package(&one, "tar")).unwrap();
        bytes.iter_mut().skip(100_000).take(100_000).for_each(|it| *it ^= 1);
        fs::write(lab.package(&one, "tar"), &bytes).unwrap();
        let log = lab.run_whole(&lab.upgrade(2, &two, Some(&one))).await;
        let first = log.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("the package came whole: a patch did not fit the package before it"),
            "{log}"
        );
        assert!(lab.package(&two, "tar").exists());
    });
}

#[test]
fn a_host_without_zstd_gets_the_whole() {
    run(async {
        let lab = Lab::new().await;
        let [one, two] = [lab.release(1, PLAIN, 1).await, lab.release(2, PLAIN, 5_000).await];
        lab.run(&lab.upgrade(1, &one, None)).await;
        let bin = lab.fixture.dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for program in fs::read_dir("/usr/bin").unwrap().map(Result::unwrap) {
            if !program.file_name().to_str().unwrap().contains("zst") {
                symlink(program.path(), bin.join(program.file_name())).unwrap();
            }
        }
        *lab.fixture.scissors.prefix.lock().unwrap() = format!("PATH='{}'; ", bin.display());
        let log = lab.run_whole(&lab.upgrade(2, &two, Some(&one))).await;
        assert!(log.starts_with("the package came whole: there is no zstd here"), "{log}");
    });
}

#[test]
fn a_descriptor_that_wants_the_archive_gets_it() {
    run(async {
        let lab = Lab::new().await;
        let one = lab.release(1, PLAIN, 1).await;
        let two = lab.release(2, WANTS_ARCHIVE, 5_000).await;
        lab.run(&lab.upgrade(1, &one, None)).await;
        let log = lab.run_whole(&lab.upgrade(2, &two, Some(&one))).await;
        assert!(!log.contains("the package came"), "{log}");
        let digest = two.package.unwrap().digest;
        let there = fs::read(lab.package(&two, "tar")).unwrap();
        assert_eq!(deploy_core::digest::Digest::of(&there), digest);
    });
}

/// It had to make room after it was made, and before it was read.
#[test]
fn where_a_patch_is_gone_the_whole_comes_in_the_same_attempt() {
    run(async {
        let lab = Lab::new().await;
        let [one, two] = [lab.release(1, PLAIN, 1).await, lab.release(2, PLAIN, 5_000).await];
        lab.run(&lab.upgrade(1, &one, None)).await;
        let blobs = lab.fixture.dir.path().join("patches/blobs");
        *lab.fixture.scissors.prefix.lock().unwrap() = format!("rm -rf '{}'; ", blobs.display());
        let log = lab.run_whole(&lab.upgrade(2, &two, Some(&one))).await;
        assert!(log.starts_with("the package came whole: it is gone"), "{log}");
    });
}

/// As where all of a session is ended because memory runs out.
#[test]
fn where_applying_a_patch_ends_the_session_the_whole_comes_in_the_same_attempt() {
    run(async {
        let lab = Lab::new().await;
        let [one, two] = [lab.release(1, PLAIN, 1).await, lab.release(2, PLAIN, 5_000).await];
        lab.run(&lab.upgrade(1, &one, None)).await;
        let bin = lab.fixture.dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        fs::write(bin.join("zstd"), ENDS_ITS_SESSION).unwrap();
        fs::set_permissions(bin.join("zstd"), Permissions::from_mode(0o755)).unwrap();
        *lab.fixture.scissors.prefix.lock().unwrap() = format!("PATH='{}':$PATH; ", bin.display());
        let log = lab.run_whole(&lab.upgrade(2, &two, Some(&one))).await;
        assert!(
            log.starts_with("the package came whole: the connection ended while it was applied"),
            "{log}"
        );
        let left = fs::read_dir(lab.fixture.path(".deploy")).unwrap();
        let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
        assert!(left.iter().all(|it| !it.to_str().unwrap().contains("incoming")), "{left:?}");
    });
}
