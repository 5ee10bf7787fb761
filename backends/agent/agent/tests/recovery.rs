//! What becomes of attempts when agent, shim or host are lost.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod support;

use deploy_agent::{Followed, HostSide as _};
use deploy_agent_protocol::v1::{self, Outcome, Refusal, answer::Kind};
use deploy_core::{backend::ArtifactStore as _, digest::Digest};
use prost::Message as _;
use rustix::process::Signal;
use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use support::{Fixture, FromFolder, scripts::*};
use tokio::io::AsyncReadExt as _;

#[tokio::test]
async fn an_attempt_whose_shim_was_killed_is_over_and_nothing_of_it_is_left() {
    for cgroups in ["unified", "freezer", "none"] {
        let fixture = Fixture::new(cgroups).await;
        let script = "(trap '' TERM; setsid sleep 1000 & while :; do sleep 1; done) &
            printf before; echo up >$P_DIR/up; sleep 1000";
        let order = fixture.order(1, &[("fetch", "true"), ("install", script)]).await;
        fixture.start(&order).await.unwrap();
        fixture.wait_for("up").await;
        eventually("the log is kept", || {
            fs::read(fixture.attempt(1).join("log")).is_ok_and(|it| it == b"before")
        })
        .await;
        signal(fixture.shim(1), Signal::KILL);
        let told = told(&fixture.host(), &order).await;
        let Followed::Died(died) = &told.end else { panic!("{told:?}") };
        assert_eq!((&*died.reason, &*died.step), ("shim_lost", "install"));
        assert!(died.survivors.is_empty(), "{cgroups}: {died:?}");
        assert_eq!(told.log, b"before");
        assert_eq!(fixture.processes(), [0; 0], "{cgroups}");
        // The answer stays, and the next attempt is free to go.
        let Kind::Died(again) = fixture.host().probe(probe_of(&order)).await else { panic!() };
        assert_eq!(&again, died);
        let order = fixture.order(2, &[("install", "true")]).await;
        assert_eq!(fixture.run(&order).await.ended().outcome(), Outcome::Succeeded);
    }
}

#[tokio::test]
async fn a_shim_that_was_killed_while_nobody_looked_is_noticed() {
    let fixture = Fixture::new("auto").await;
    let order = fixture.order(1, &[("install", "echo up >$P_DIR/up; sleep 1000")]).await;
    fixture.start(&order).await.unwrap();
    fixture.wait_for("up").await;
    fixture.host().shutdown().await;
    signal(fixture.shim(1), Signal::KILL);
    fixture.reopen().await;
    let told = told(&fixture.host(), &order).await;
    assert!(matches!(&told.end, Followed::Died(died) if died.reason == "shim_lost"), "{told:?}");
    assert_eq!(fixture.processes(), [0; 0]);
}

#[tokio::test]
async fn an_attempt_whose_order_was_lost_with_its_shim_is_over_and_nothing_of_it_is_left() {
    let fixture = Fixture::new("none").await;
    let order = fixture.order(1, &[("install", "echo up >$P_DIR/up; sleep 1000")]).await;
    fixture.start(&order).await.unwrap();
    fixture.wait_for("up").await;
    fixture.host().shutdown().await;
    signal(fixture.shim(1), Signal::KILL);
    // It is not synced: what the journal knows is enough.
    fs::write(fixture.attempt(1).join("order"), "").unwrap();
    fixture.reopen().await;
    let told = told(&fixture.host(), &order).await;
    assert!(matches!(&told.end, Followed::Died(died) if died.reason == "shim_lost"), "{told:?}");
    assert_eq!(fixture.processes(), [0; 0]);
}

#[tokio::test]
async fn an_attempt_ends_while_no_agent_is_there() {
    let fixture = Fixture::new("auto").await;
    let script = "echo up >$P_DIR/up; until [ -e $P_DIR/go ]; do sleep 0.01; done; echo done";
    let order = fixture.order(1, &[("install", script), ("start", "echo started")]).await;
    fixture.start(&order).await.unwrap();
    fixture.wait_for("up").await;
    fixture.host().shutdown().await;
    fs::write(fixture.dir.path().join("go"), "").unwrap();
    eventually("the shim ends", || fixture.attempt(1).join("ended").exists()).await;
    fixture.reopen().await;
    let told = told(&fixture.host(), &order).await;
    assert_eq!(told.outcome(), (Outcome::Succeeded, 0, ""));
    assert_eq!((&*told.text(), told.steps.len()), ("done\nstarted\n", 2));
    assert_eq!(fixture.host().open().len(), 1);
    let id = fixture.host().open().remove(0);
    fixture.host().confirm_end(&id).await;
    fixture.reopen().await;
    assert_eq!(fixture.host().open(), []);
    let Kind::Ended(_) = fixture.host().probe(probe_of(&order)).await else { panic!() };
}

#[tokio::test]
async fn an_agent_is_alone_in_its_folder() {
    let fixture = Fixture::new("auto").await;
    let policy = deploy_agent::Policy::parse(&fixture.policy).unwrap();
    let options = deploy_agent::HostOptions::new("h1", fixture.state(), policy);
    let refused = deploy_agent::JournaledHost::open(options).await.unwrap_err();
    assert!(refused.to_string().contains("another agent works in"), "{refused}");
}

#[tokio::test]
async fn a_full_disk_refuses_an_attempt_before_it_starts() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can mount a small disk");
        return;
    }
    let fixture = Fixture::new("auto").await;
    fixture.host().shutdown().await;
    let disk = SmallDisk::mount(&fixture.state(), "80m");
    fixture.reopen().await;
    let order = fixture.order(1, &[("install", "echo ran >>$P_DIR/ran")]).await;
    let ballast = fixture.state().join("ballast");
    fs::write(&ballast, vec![1; 30 << 20]).unwrap();
    let refused = fixture.start(&order).await.unwrap_err();
    assert_eq!(refused.code(), Refusal::NoSpace, "{}", refused.message);
    assert_eq!(fixture.trace("ran"), "");
    fs::remove_file(ballast).unwrap();
    assert_eq!(fixture.run(&order).await.outcome(), (Outcome::Succeeded, 0, ""));
    fixture.host().shutdown().await;
    drop(disk);
}

#[tokio::test]
async fn a_disk_that_fills_up_hides_no_result() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can mount a small disk");
        return;
    }
    let fixture = Fixture::new("auto").await;
    fixture.host().shutdown().await;
    let disk = SmallDisk::mount(&fixture.state(), "80m");
    fixture.reopen().await;
    let script =
        "echo up >$P_DIR/up; until [ -e $P_DIR/go ]; do sleep 0.01; done; echo lost; exit 5";
    let order = fixture.order(1, &[("install", script)]).await;
    fixture.start(&order).await.unwrap();
    fixture.wait_for("up").await;
    let ballast = fs::File::create(fixture.state().join("ballast")).unwrap();
    let mut full = io::BufWriter::new(ballast);
    while io::Write::write_all(&mut full, &[1; 4096]).is_ok() {}
    drop(full.into_parts());
    fs::write(fixture.dir.path().join("go"), "").unwrap();
    let told = told(&fixture.host(), &order).await;
    assert_eq!(told.outcome(), (Outcome::Failed, 5, "exit_code"));
    fixture.reopen().await;
    let Kind::Ended(ended) = fixture.host().probe(probe_of(&order)).await else { panic!() };
    assert_eq!(ended.code, 5);
    fixture.host().shutdown().await;
    drop(disk);
}

#[tokio::test]
async fn a_check_that_a_power_cut_has_emptied_is_not_believed() {
    let fixture = Fixture::new("auto").await;
    let mut order = fixture.order(1, &[("install", "exit 3"), ("post", "exit 1")]).await;
    order.steps[0].check = "post.sh".to_owned();
    fixture.run(&order).await;
    let ask = || async {
        let resolve = v1::Resolve {
            place: order.place.clone(),
            generation: 1,
            step: "install".to_owned(),
            timeout_s: 5,
        };
        fixture.host().resolve(resolve).await
    };
    let Kind::Resolved(resolved) = ask().await else { panic!() };
    assert_eq!(resolved.resolution(), v1::Resolution::NotDone);
    fs::write(fixture.attempt(1).join("work/descriptor/post.sh"), "").unwrap();
    let Kind::Refused(refused) = ask().await else { panic!("an empty script was believed") };
    assert_eq!(refused.code(), Refusal::Failing);
}

/// A disk of memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path, size: &str) -> Self {
        let options = format!("size={size},mode=711");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at);
        assert!(mount.status().unwrap().success());
        Self(at.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

const FOLDER: &str = "DEPLOY_TEST_FOLDER";

/// The agent of the tests below, in a process of its own: runs all orders it finds, one after another, and writes down how they ended.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by other tests"]
async fn agent_process() {
    let Ok(folder) = std::env::var(FOLDER).map(PathBuf::from) else { return };
    let policy = fs::read_to_string(folder.join("policy")).unwrap();
    let policy = deploy_agent::Policy::parse(&policy).unwrap();
    let options = deploy_agent::HostOptions::new("h1", folder.join("state"), policy)
        .with_program(env!("CARGO_BIN_EXE_deploy-agent"));
    let host = deploy_agent::JournaledHost::open(options).await.unwrap();
    let artifacts = FromFolder(folder.join("stored"));
    let done = |generation: u64| folder.join(format!("done.{generation}"));
    for generation in 1.. {
        let Ok(bytes) = fs::read(folder.join(format!("order.{generation}"))) else { break };
        if done(generation).exists() {
            continue;
        }
        let order = v1::Attempt::decode(&*bytes).unwrap();
        let end = match host.start(order.clone(), &artifacts).await {
            Ok(_) => match told_or_failed(&host, &order).await {
                None => break,
                Some(Followed::Ended(ended)) => format!("{:?} {}", ended.outcome(), ended.code),
                Some(Followed::Died(died)) => format!("Died {}", died.reason),
                Some(_) => "NeverStarted".to_owned(),
            },
            // It was withdrawn before this order came again.
            Err(refused) if refused.code() == Refusal::Fenced => "NeverStarted".to_owned(),
            Err(refused) => format!("Refused {:?} {}", refused.code(), refused.message),
        };
        let new = folder.join("done.new");
        fs::write(&new, end).unwrap();
        fs::rename(new, done(generation)).unwrap();
        host.confirm_end(&v1::AttemptId { service: "web".to_owned(), generation }).await;
    }
    host.shutdown().await;
}

/// How an attempt ended, unless the agent can write nothing down any more: then it is its end.
async fn told_or_failed(
    host: &deploy_agent::JournaledHost,
    order: &v1::Attempt,
) -> Option<Followed> {
    tokio::select! {
        told = told(host, order) => Some(told.end),
        _ = host.failed() => None,
    }
}

/// Puts orders where the process finds them.
async fn put_orders(fixture: &Fixture, scripts: impl Iterator<Item = String>) {
    let folder = fixture.dir.path();
    fs::create_dir(folder.join("stored")).unwrap();
    fs::write(folder.join("policy"), &fixture.policy).unwrap();
    for (generation, script) in (1..).zip(scripts) {
        let order = fixture.order(generation, &[("install", &script)]).await;
        let digest = order.descriptor.as_ref().unwrap().digest.as_slice().try_into().unwrap();
        let digest = Digest::from_bytes(digest);
        let mut bytes = Vec::new();
        fixture.store.open(&digest, 0).await.unwrap().read_to_end(&mut bytes).await.unwrap();
        fs::write(folder.join("stored").join(digest.hex()), bytes).unwrap();
        fs::write(folder.join(format!("order.{generation}")), order.encode_to_vec()).unwrap();
    }
    fixture.host().shutdown().await;
}

fn spawn_agent(folder: &Path, before: &[&str]) -> Child {
    let own = std::env::current_exe().unwrap();
    let mut words: Vec<_> = before.iter().map(Into::into).collect();
    words.push(own.into_os_string());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["--exact", "agent_process", "--ignored", "--nocapture"]);
    command.env(FOLDER, folder).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "a process is killed at any moment")]
async fn whenever_an_agent_is_killed_nothing_runs_twice() {
    const ATTEMPTS: u64 = 40;
    let fixture = Fixture::new("auto").await;
    let folder = fixture.dir.path().to_owned();
    let script = |it| format!("echo {it} >>$P_DIR/ran; printf 'line {it}'");
    put_orders(&fixture, (1..=ATTEMPTS).map(script)).await;
    let all_done = || (1..=ATTEMPTS).all(|it| folder.join(format!("done.{it}")).exists());
    let random = RandomState::new();
    let mut kills = 0;
    while !all_done() {
        let mut agent = spawn_agent(&folder, &[]);
        // Long enough to get somewhere, and seldom to the end: later ones live longer, for a busy machine takes long to begin.
        let moment = Duration::from_micros(random.hash_one(kills) % (120_000 + kills * 2_000));
        tokio::time::sleep(Duration::from_millis(10) + moment).await;
        agent.kill().unwrap();
        agent.wait().unwrap();
        kills += 1;
        assert!(kills < 1_000, "it does not get on");
    }
    let ran = fixture.trace("ran");
    for attempt in 1..=ATTEMPTS {
        let runs = ran.lines().filter(|it| *it == attempt.to_string()).count();
        let end = fixture.trace(&format!("done.{attempt}"));
        match end.as_str() {
            "Succeeded 0" => assert_eq!(runs, 1, "attempt {attempt}"),
            "NeverStarted" => assert_eq!(runs, 0, "attempt {attempt}"),
            other => panic!("attempt {attempt} ended as {other}, and ran {runs} times"),
        }
    }
    eprintln!("{kills} kills");
    assert!(kills >= 5, "only {kills} kills");
}

#[tokio::test]
async fn a_folder_that_was_made_and_not_opened_to_the_account_is_opened() {
    let fixture = Fixture::new("auto").await;
    let order = fixture.order(1, &[("post", "exit 0")]).await;
    let folder = fixture.attempt(1);
    let parent = folder.parent().unwrap();
    fs::create_dir(parent).unwrap();
    fs::set_permissions(parent, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(fixture.run(&order).await.outcome(), (Outcome::Succeeded, 0, ""));
}

/// Kills agent and shim at each of their first calls of every kind that leaves something on the disk.
#[tokio::test]
async fn at_every_point_where_something_is_written_a_crash_is_survived() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no strace to kill a process at a system call");
        return;
    }
    let mut points = 0;
    for (call, times) in [
        ("fdatasync", 5),
        ("fsync", 8),
        ("pwrite64", 4),
        ("write", 10),
        ("rename", 2),
        ("linkat", 1),
    ] {
        for time in 1..=times {
            let fixture = Fixture::new("auto").await;
            let folder = fixture.dir.path().to_owned();
            let script = "echo ran >>$P_DIR/ran; printf line".to_owned();
            put_orders(&fixture, [script].into_iter()).await;
            let inject = format!("inject={call}:signal=SIGKILL:when={time}");
            let trace = format!("trace={call}");
            let strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            // It ends when all that it follows has.
            spawn_agent(&folder, &strace).wait().unwrap();
            assert!(spawn_agent(&folder, &[]).wait().unwrap().success());
            let runs = fixture.trace("ran").lines().count();
            let end = fixture.trace("done.1");
            let expected = match end.as_str() {
                "Succeeded 0" => 1..=1,
                "Died shim_lost" => 0..=1,
                "NeverStarted" => 0..=0,
                other if other.starts_with("Refused Fenced") => 0..=0,
                other => {
                    let log = fs::read_to_string(fixture.attempt(1).join("log"));
                    panic!("{call} {time}: it ended as {other}, and ran {runs} times: {log:?}")
                }
            };
            assert!(expected.contains(&runs), "{call} {time}: {end}, and it ran {runs} times");
            assert_eq!(fixture.processes(), [0; 0], "{call} {time}");
            points += 1;
        }
    }
    eprintln!("{points} crash points");
}

#[tokio::test]
async fn a_disk_that_fails_poisons_the_journal() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        eprintln!("SKIPPED: there is no strace to make a system call fail");
        return;
    }
    // Of the thread that writes: the first makes the promise durable, the second that it is kept, the third how it ended.
    for (time, runs, end) in [(2, 0, "NeverStarted"), (3, 1, "Succeeded 0")] {
        let fixture = Fixture::new("auto").await;
        let folder = fixture.dir.path().to_owned();
        let script = "echo ran >>$P_DIR/ran".to_owned();
        put_orders(&fixture, [script].into_iter()).await;
        let inject = format!("inject=fdatasync:error=EIO:when={time}");
        let strace =
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", &inject];
        assert!(spawn_agent(&folder, &strace).wait().unwrap().success());
        assert_eq!(fixture.trace("done.1"), "", "it said what it could not write down");
        // What it wrote may be on the disk or not; here it is.
        assert!(spawn_agent(&folder, &[]).wait().unwrap().success());
        assert_eq!(fixture.trace("done.1"), end);
        assert_eq!(fixture.trace("ran").lines().count(), runs);
    }
}

#[tokio::test]
async fn an_attempt_does_not_outlive_its_host() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can give a process another boot id");
        return;
    }
    let fixture = Fixture::new("auto").await;
    let folder = fixture.dir.path().to_owned();
    let script = "echo $$ >$P_DIR/ran; exec sleep 1000".to_owned();
    put_orders(&fixture, [script].into_iter()).await;
    let mut agent = spawn_agent(&folder, &[]);
    fixture.wait_for("ran").await;
    agent.kill().unwrap();
    agent.wait().unwrap();
    // A power cut ends all processes, and tells nobody.
    signal(fixture.shim(1), Signal::KILL);
    let of_boot = folder.join("boot_id");
    fs::write(&of_boot, "00000000-0000-4000-8000-000000000000\n").unwrap();
    let bind = format!(
        "mount --bind {} /proc/sys/kernel/random/boot_id && exec \"$@\"",
        of_boot.display()
    );
    let mut agent = spawn_agent(&folder, &["unshare", "-m", "sh", "-c", &bind, "sh"]);
    assert!(agent.wait().unwrap().success());
    assert_eq!(fixture.trace("done.1"), "Died rebooted");
    let left = fixture.trace("ran").trim().parse().unwrap();
    signal(left, Signal::KILL);
}
