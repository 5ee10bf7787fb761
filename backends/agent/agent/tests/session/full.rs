//! Hosts whose disk becomes full while they fetch, or put together what they have fetched.
use crate::{
    delivery,
    peers::{LARGE, Lab},
    support::scripts::eventually,
};
use deploy_core::{
    backend::{AttemptReport, BackendError},
    error::ErrorKind,
};
use deploy_test_support::mounts::{Memory, own_mounts};
use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

/// How much room there is.
const DISK: &str = "160m,mode=711";

/// A file that leaves no room for anything else.
struct Ballast(PathBuf);

impl Ballast {
    fn fill(disk: &Path) -> Self {
        let path = disk.join("ballast");
        let mut file = File::create(&path).unwrap();
        for piece in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; piece]).is_ok() {}
        }
        Self(path)
    }

    fn remove(self) {
        fs::remove_file(self.0).unwrap();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// A plane with one host, whose disk is small.
async fn lab() -> (Lab, Memory) {
    let mut lab = Lab::new(0, "").await;
    let state = tempfile::tempdir().unwrap();
    let disk = Memory::over(state.path(), DISK).unwrap();
    lab.join_in(state, 0, "download_mbit = 40").await;
    (lab, disk)
}

/// Says where there is no room, how much there is, and how much is lacking: all that has to stay free, and so many bytes.
fn says_what_is_lacking(err: &BackendError, mount: &Path, bytes: u64) {
    assert_eq!(err.kind(), ErrorKind::NoSpace, "{}", err.chain());
    let says = err.chain();
    assert!(says.contains(&format!("{} has ", mount.display())), "{says}");
    let number = |after: &str| {
        let rest = says.split_once(after).unwrap_or_else(|| panic!("no `{after}`: {says}")).1;
        rest.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let (short, free) = (number("is short of "), number(&format!("{} has ", mount.display())));
    assert_eq!(short + free, (64 << 20) + bytes, "{says}");
    assert!(free < 1 << 20, "{says}");
}

#[test]
fn what_finds_no_room_is_refused_at_once_and_what_has_begun_comes() {
    if own_mounts("full::what_finds_no_room_is_refused_at_once_and_what_has_begun_comes") {
        runtime().block_on(fill_in_between());
    }
}

async fn fill_in_between() {
    let (lab, disk) = lab().await;
    let noise = delivery::noise(2 * LARGE);
    let (one, two) = (lab.release_of(&noise[..LARGE]).await, lab.release_of(&noise[LARGE..]).await);
    let (host, state) = (&lab.hosts[0].name, lab.hosts[0].state.path());
    let fill = async {
        eventually("half of one has come", || lab.given() > LARGE as u64 / 2).await;
        Ballast::fill(state)
    };
    let both = [&one, &two];
    let (err, ballast) = tokio::join!(lab.try_stage(host, &both), fill);
    // The first has all its room since it has begun.
    let [first] = lab.hosts[0].large()[..] else { panic!("{:?} came", lab.hosts[0].large()) };
    assert_eq!(lab.given(), first, "nothing of the second one has come");
    assert_eq!(lab.hosts[0].came(), 0, "the second one was begun over the session");
    ballast.remove();
    lab.try_stage(host, &both).await.unwrap();
    let all: u64 = lab.hosts[0].large().iter().sum();
    assert_eq!((lab.hosts[0].large().len(), lab.given()), (2, all));
    says_what_is_lacking(&err.unwrap_err(), state, all - first);
    drop((lab, disk));
}

#[test]
fn what_was_cut_by_a_full_disk_is_gone_on_with() {
    if own_mounts("full::what_was_cut_by_a_full_disk_is_gone_on_with") {
        runtime().block_on(fill_and_go_on());
    }
}

async fn fill_and_go_on() {
    let (mut lab, disk) = lab().await;
    let release = lab.release().await;
    let blocks = lab.hosts[0].policy.clone();
    let door = format!("[gateway]\nvia = ['{}']\n", lab.plane.door);
    lab.hosts[0].policy.push_str(&door);
    lab.hosts[0].kill();
    lab.start_again().await;
    // What comes over the session takes its room as it comes.
    let (host, state) = (lab.hosts[0].name.clone(), lab.hosts[0].state.path().to_owned());
    let fill = async {
        eventually("half of it has come", || lab.hosts[0].came() > LARGE as u64 / 2).await;
        Ballast::fill(&state)
    };
    let releases = [&release];
    let (err, ballast) = tokio::join!(lab.try_stage(&host, &releases), fill);
    let came = lab.hosts[0].came();
    assert!(came > LARGE as u64 / 2, "{came} bytes are left of what has come");
    // It is refused before anything of it is fetched, for as long as there is no room.
    let refused = lab.try_stage(&host, &[&release]).await.unwrap_err();
    ballast.remove();
    lab.hosts[0].policy = blocks;
    lab.hosts[0].kill();
    lab.start_again().await;
    lab.stage(&host, &release).await;
    let [size] = lab.hosts[0].large()[..] else { panic!("{:?} came", lab.hosts[0].large()) };
    let (given, missing) = (lab.given(), size - came);
    says_what_is_lacking(&err.unwrap_err(), &state, missing);
    says_what_is_lacking(&refused, &state, missing);
    assert!(given <= missing + (256 << 10), "{given} bytes, and {missing} were missing");
    drop((lab, disk));
}

#[test]
fn a_package_that_finds_no_room_is_named_with_what_is_lacking() {
    if own_mounts("full::a_package_that_finds_no_room_is_named_with_what_is_lacking") {
        runtime().block_on(fill_before_it_is_installed());
    }
}

async fn fill_before_it_is_installed() {
    let lab = delivery::Lab::new().await;
    let root = lab.fixture.dir.path().join("root");
    let disk = Memory::over(&root, "80m").unwrap();
    let descriptor = b"format = 1\n[steps.fetch]\nscript = \"fill.sh\"\n";
    let script = b"head -c 200000000 /dev/zero >ballast 2>/dev/null\n[ -s ballast ]\n";
    let files: &[(&str, &[u8])] = &[("descriptor.toml", descriptor), ("fill.sh", script)];
    let release = lab.release("one", 1, files).await;
    let ended = lab.attempted(&lab.attempt(&release, None)).await.unwrap();
    let AttemptReport::Failed { step, code, reason } = ended else { panic!("{ended:?}") };
    assert_eq!((step.as_str(), code), ("install", 126), "{reason}");
    for says in
        ["no room for the files of the package", "is short of ", &root.display().to_string()]
    {
        assert!(reason.contains(says), "{reason}");
    }
    let free: u64 =
        reason.split_once(" has ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    assert!(free < 600_000, "{reason}");
    drop((lab, disk));
}
