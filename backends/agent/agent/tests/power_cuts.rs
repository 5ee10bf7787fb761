//! The power goes, again and again, while an agent takes attempts in: nothing that it has said is forgotten.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod support;

use deploy_agent::{Followed, HostOptions, HostSide as _, JournaledHost, Policy};
use deploy_agent_protocol::v1::{self, answer::Kind};
use deploy_core::{backend::ArtifactStore as _, digest::Digest};
use deploy_test_support::{
    disk::{Disk, has_power},
    mounts::own_mounts,
    strace::asked_for,
};
use prost::Message as _;
use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs,
    future::pending,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use support::{Fixture, FromFolder, scripts::*};
use tokio::{io::AsyncReadExt as _, time::timeout};

/// Where the agent finds what it needs, which survives the power.
const FOLDER: &str = "DEPLOY_TEST_POWER_FOLDER";
/// How many of the newest attempts are asked about: older ones may be forgotten.
const ASKED: usize = 12;
/// How long a host waits to be told to keep what an attempt did, in milliseconds.
const WAITS: u64 = 40;

/// Two hundred cuts, or as many as `POWER_CUTS` says.
#[test]
fn a_power_cut_takes_back_nothing_that_an_agent_has_said() {
    const NAME: &str = "a_power_cut_takes_back_nothing_that_an_agent_has_said";
    if has_power("the power cuts of agents") && own_mounts(NAME) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(cut_power(asked_for("POWER_CUTS", 200).unwrap()));
    }
}

async fn cut_power(cuts: usize) {
    let fixture = Fixture::new("none").await;
    let folder = fixture.dir.path();
    put_order(&fixture).await;
    let disk = Disk::new(folder, 256).unwrap();
    let (mut said, mut checked) = (Vec::<String>::new(), 0);
    let mut verdicts = BTreeSet::new();
    for cut in 0..cuts {
        let newest = said.len().saturating_sub(2 * ASKED);
        fs::write(folder.join("said"), said.split_off(newest).join("\n")).unwrap();
        said =
            fs::read_to_string(folder.join("said")).unwrap().lines().map(str::to_owned).collect();
        let switch = disk.switch().unwrap();
        let mut agent = Agent::start(folder);
        checked += agent.checked();
        // Of what it says after that nothing is known.
        let (before, wanted) = (said.len(), 1 + cut * 7 % 5);
        said.extend(agent.says().take(wanted));
        assert_eq!(said.len() - before, wanted, "the agent has ended by itself");
        verdicts.extend(said.iter().filter_map(|it| verdict(it)));
        switch.cut_power().unwrap();
        agent.end(folder);
        disk.pull_out().unwrap();
        disk.plug_in().unwrap();
    }
    let mut last = Agent::start(folder);
    checked += last.checked();
    last.end(folder);
    disk.pull_out().unwrap();
    let ran = fixture.trace("ran");
    let (runs, attempts) = (ran.lines().count(), ran.lines().collect::<BTreeSet<_>>().len());
    assert_eq!(runs, attempts, "something ran twice");
    let back = check_verdicts(&fixture, &verdicts);
    eprintln!("{cuts} power cuts, {checked} answers as they were, {back} times back");
    assert!(checked > cuts, "only {checked} answers were looked at");
}

/// Of what an agent has said that was a verdict: which attempt, and whether the host went back from it.
fn verdict(said: &str) -> Option<(String, bool)> {
    let (generation, what) = said.split_once(' ')?;
    let went_back = what.starts_with("ended SelfReverted");
    let is_one = went_back || what.starts_with("ended Succeeded");
    is_one.then(|| (generation.to_owned(), went_back))
}

/// Looks whether the host went back from all that it says to have gone back from, and from nothing that it says to keep. Says how often it has.
fn check_verdicts(fixture: &Fixture, verdicts: &BTreeSet<(String, bool)>) -> usize {
    let back = fixture.trace("back");
    let times = back.lines().count();
    let back: BTreeSet<_> = back.lines().map(str::to_owned).collect();
    assert_eq!(times, back.len(), "a way back was gone twice");
    for (generation, went_back) in verdicts {
        assert_eq!(back.contains(generation), *went_back, "attempt {generation}");
    }
    times
}

/// Puts an attempt where the agent finds it: all are alike but for their generation, and whether and how they are confirmed.
async fn put_order(fixture: &Fixture) {
    let folder = fixture.dir.path();
    let script = "echo $DEPLOY_GENERATION >>$P_DIR/ran; sync $P_DIR/ran";
    let mut order = fixture.order(1, &[("install", script)]).await;
    let script = "echo $DEPLOY_GENERATION >>$P_DIR/back; sync $P_DIR/back";
    let mut back = fixture.order(1, &[("rollback", script)]).await;
    "back".clone_into(&mut back.direction);
    "web-0".clone_into(&mut back.release);
    for order in [&order, &back] {
        let digest = order.descriptor.as_ref().unwrap().digest.as_slice().try_into().unwrap();
        let digest = Digest::from_bytes(digest);
        let mut bytes = Vec::new();
        fixture.store.open(&digest, 0).await.unwrap().read_to_end(&mut bytes).await.unwrap();
        fs::write(folder.join(digest.hex()), bytes).unwrap();
    }
    order.revert = Some(Box::new(v1::Revert { after_ms: WAITS, back: Some(Box::new(back)) }));
    fs::write(folder.join("order"), order.encode_to_vec()).unwrap();
    fs::write(folder.join("policy"), &fixture.policy).unwrap();
}

/// The attempt `generation`: of three, one that is not to be confirmed.
fn order_of(template: &v1::Attempt, generation: u64) -> v1::Attempt {
    let token = format!("{}{generation:016x}", &template.token[..16]);
    let release = format!("web-{generation}");
    let mut order = v1::Attempt { generation, token: token.clone(), release, ..template.clone() };
    let revert = order.revert.take().filter(|_| !generation.is_multiple_of(3));
    order.revert = revert.map(|mut it| {
        let back = it.back.as_mut().unwrap();
        (back.generation, back.token) = (generation, token);
        it
    });
    order
}

/// Follows an attempt to its end, and tells the host to keep what it did: of three, in one. `None` if nobody knows how it ended.
async fn end(host: &JournaledHost, order: &v1::Attempt) -> Option<v1::Ended> {
    let v1::Follow { place, generation, token, .. } = follow_of(order);
    let mut waits = false;
    loop {
        let end = told(host, order).await.end;
        if end == Followed::AwaitsConfirm && !waits {
            waits = true;
            say(&format!("{generation} waits"));
        }
        match end {
            Followed::Ended(ended) => return Some(ended),
            Followed::AwaitsConfirm if generation % 3 == 1 => {
                let (place, token) = (place.clone(), token.clone());
                host.confirm(v1::Confirm { place, generation, token }).await;
            }
            Followed::AwaitsConfirm => {
                // What is waited for is the end of its time.
                let _elapsed = timeout(Duration::from_millis(WAITS / 8), pending::<()>()).await;
            }
            Followed::Died(died) => {
                let lost = died.reverting && died.step != "rollback";
                assert!(!lost, "the host waited, and has lost its way back: {died:?}");
                return None;
            }
            _ => return None,
        }
    }
}

/// An agent that runs.
struct Agent {
    process: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Agent {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["agent_process", "--exact", "--ignored", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = lines.filter_map(|it| it.split_once("said ").map(|(_, it)| it.to_owned()));
        Self { process, lines: Box::new(said) }
    }

    /// How many of the answers of earlier agents it has found to be as they were.
    fn checked(&mut self) -> usize {
        let line = self.lines.next().unwrap_or_else(|| panic!("something was forgotten"));
        line.strip_prefix("checked ").unwrap().parse().unwrap()
    }

    fn says(&mut self) -> impl Iterator<Item = String> {
        &mut self.lines
    }

    /// Ends it, with all that it has started: nothing outlives a power cut.
    fn end(mut self, folder: &Path) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let folder = folder.to_string_lossy().into_owned();
        let mark = folder.as_bytes();
        let running = |pid: &i32| {
            let of = |file| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let words = [of("cmdline"), of("environ")].concat();
            words.windows(mark.len()).any(|it| it == mark)
        };
        loop {
            let all = fs::read_dir("/proc").unwrap().flatten();
            let numbers = all.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
            let left: Vec<_> = numbers.filter(running).collect();
            if left.is_empty() {
                return;
            }
            for pid in left {
                let pid = rustix::process::Pid::from_raw(pid).unwrap();
                // It may have ended meanwhile.
                let _gone = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// The agent, in a process of its own: looks whether all is as earlier ones have said, and runs attempts until it is killed.
#[tokio::test]
#[ignore = "the other half of the test above, which starts it"]
async fn agent_process() {
    let Ok(folder) = env::var(FOLDER).map(PathBuf::from) else { return };
    let policy = fs::read_to_string(folder.join("policy")).unwrap();
    let options =
        HostOptions::new("h1", folder.join("disk/state"), Policy::parse(&policy).unwrap())
            .with_program(env!("CARGO_BIN_EXE_deploy-agent"));
    let host = JournaledHost::open(options).await.unwrap();
    let template = v1::Attempt::decode(&*fs::read(folder.join("order")).unwrap()).unwrap();
    let order = |generation| order_of(&template, generation);
    let said = fs::read_to_string(folder.join("said")).unwrap();
    let fence = check(&host, &said, order).await;
    say(&format!("checked {}", said.lines().count()));
    // The last one may wait still, or be on its way back.
    if fence > 0 {
        end(&host, &order(fence)).await;
    }
    for generation in fence + 1.. {
        let order = order(generation);
        host.start(order.clone(), &FromFolder(folder.clone())).await.unwrap();
        say(&format!("{generation} accepted"));
        let ended = end(&host, &order).await.unwrap();
        say(&format!("{generation} ended {:?} {}", ended.outcome(), ended.log_length));
    }
}

/// Looks whether all is as it was said, and gives the newest generation that the host has seen.
async fn check(host: &JournaledHost, said: &str, order: impl Fn(u64) -> v1::Attempt) -> u64 {
    let place = order(1).place;
    let Kind::Observed(seen) = host.observe(v1::Observe { place }).await else { panic!() };
    for line in said.lines() {
        let (generation, what) = line.split_once(' ').unwrap();
        let generation = generation.parse().unwrap();
        assert!(seen.fence >= generation, "{line}: the fence is at {}", seen.fence);
        let mut now = String::new();
        if let Kind::Ended(ended) = host.probe(probe_of(&order(generation))).await {
            write!(now, "ended {:?} {}", ended.outcome(), ended.log_length).unwrap();
        }
        assert!(what == "accepted" || what == "waits" || what == now, "{line}: and now `{now}`");
    }
    seen.fence
}

fn say(what: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "said {what}").unwrap();
    out.flush().unwrap();
}
