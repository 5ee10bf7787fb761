//! Networks that lose, hold back and repeat, hosts that run out of everything, and crowds: the faults of `docs/faults.md` that a session can have.
use crate::{
    crash::{
        Site as _,
        agents::AgentSite,
        subject::{End, Subject},
    },
    enrolled::Plane,
    link::{Link, Passes, Served, h1},
    mischief::Mischief,
    support::{Fixture, scripts::eventually},
};
use deploy_agent_gateway::GatewayOptions;
use deploy_core::{
    backend::{AttemptReport, HostRequest, KillReport},
    conformance::sample,
    error::ErrorKind,
    host::{Connection, Host},
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;

const OPEN: Passes = Passes { to_agent: true, from_agent: true };
const NOTHING: Passes = Passes { to_agent: false, from_agent: false };

impl AgentSite {
    /// Makes steps wait, or lets them go on.
    pub(crate) fn hold_steps(&self, hold: bool) {
        let wait = self.subject.fixture.dir.path().join("wait");
        if hold { fs::write(wait, "").unwrap() } else { fs::remove_file(wait).unwrap() }
    }

    /// Waits until an attempt runs its first step.
    pub(crate) async fn runs(&self, generation: u64) {
        let begun = format!("{generation} install");
        let trace = || self.subject.fixture.trace("ran").lines().any(|it| it == begun);
        eventually("the step runs", trace).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_in_any_direction_is_healed_without_a_repeat() {
    let mut site = AgentSite::open().await;
    let _agent = site.agent(&[]);
    let ways = [
        NOTHING,
        Passes { to_agent: false, from_agent: true },
        Passes { to_agent: true, from_agent: false },
    ];
    for (generation, passes) in (1..).zip(ways) {
        site.hold_steps(true);
        let asking = site.subject.next();
        let end = tokio::spawn(asking.clone().settle());
        site.runs(generation).await;
        site.link.let_pass(passes);
        // What runs goes on, whether anybody hears of it or not.
        site.hold_steps(false);
        let ran = || site.subject.fixture.trace("ran").lines().count() as u64 == 2 * generation;
        eventually("both steps have run", ran).await;
        if !passes.from_agent {
            eventually("the gateway notices", || site.plane.gateway.connected().is_empty()).await;
        }
        site.link.cut();
        site.link.let_pass(OPEN);
        let end = end.await.unwrap();
        assert!(site.subject.check(&asking, &end, &format!("{passes:?}")), "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_back_and_asked_again_runs_once() {
    let mut site = AgentSite::open().await;
    let _agent = site.agent(&[]);
    for _ in 0..5 {
        let asking = site.subject.next();
        site.link.let_pass(NOTHING);
        let first = tokio::spawn(asking.clone().settle());
        // The order is on its way, and another gets there before it.
        site.link.cut();
        site.link.let_pass(OPEN);
        let again = site.subject.again();
        let second = tokio::spawn(again.clone().settle());
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert!(site.subject.check(&asking, &first, "held back"), "{first:?}");
        assert!(site.subject.check(&again, &second, "asked again"), "{second:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_late_twice_and_out_of_order_change_nothing() {
    let fixture = Fixture::new("none").await;
    let served = Served::new(Arc::clone(&fixture.store)).await;
    let mischief = Mischief::before(served.address).await;
    let link = Link::to(mischief.address).await;
    let _agent = link.agent(fixture.host(), "boot 1");
    let path = fixture.dir.path().join("root/srv/web").display().to_string();
    let host = Host::new(h1(), Connection::Agent);
    let on = HostRequest::new(host, sample::name("web"), path.parse().unwrap())
        .with_account(fixture.account.clone());
    let mut subject = Subject::new(fixture, Arc::new(served.executor()), on).await;
    let mut undisturbed = 0;
    for _ in 0..40 {
        let asking = subject.next();
        let end = asking.clone().settle().await;
        undisturbed += usize::from(subject.check(&asking, &end, "disturbed"));
    }
    let (doubled, held) = mischief.done();
    assert!(doubled > 40 && held > 20, "{doubled} came twice, {held} late");
    // An order that came behind a later one is refused, and was then never started.
    assert!(undisturbed >= 20, "only {undisturbed} of 40 attempts came to their end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_carries_nothing_is_given_up_and_slows_nobody() {
    let fixture = Fixture::new("none").await;
    let served = Served::new(Arc::clone(&fixture.store)).await;
    let [silent, other] = [Link::new(&served).await, Link::new(&served).await];
    let _silent = silent.agent_of("silent", fixture.host(), "boot 1");
    let _other = other.agent_of("other", fixture.host(), "boot 1");
    let connected = |count: usize| served.gateway.connected().len() == count;
    eventually("both are there", || connected(2)).await;
    silent.let_pass(NOTHING);
    eventually("the gateway notices", || connected(1)).await;
    assert_eq!(served.gateway.connected(), ["other".parse().unwrap()]);
    silent.cut();
    silent.let_pass(OPEN);
    eventually("it is back", || connected(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_while_the_host_is_away_is_carried_out_when_it_is_back() {
    let mut site = AgentSite::open().await;
    let agent = site.agent(&[]);
    site.hold_steps(true);
    let asking = site.subject.next();
    let end = tokio::spawn(asking.clone().settle());
    site.runs(1).await;
    drop(agent);
    eventually("it is away", || site.plane.gateway.connected().is_empty()).await;
    let kill = tokio::spawn({
        let asking = asking.clone();
        async move { asking.kill().await }
    });
    let _agent = site.agent(&[]);
    assert_eq!(kill.await.unwrap().unwrap(), KillReport::Killed);
    assert_eq!(end.await.unwrap(), End::Reported(AttemptReport::Killed));
    assert_eq!(site.subject.fixture.processes(), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_a_host_that_stays_away_says_so() {
    let mut site = AgentSite::open().await;
    let err = site.subject.next().kill().await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable, "{}", err.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_files_to_open_refuses_and_goes_on() {
    let mut site = AgentSite::open().await;
    let mut agent = site.agent(&[]);
    let pid = agent.id().unwrap();
    let first = site.subject.next();
    let end = first.clone().settle().await;
    assert!(site.subject.check(&first, &end, "before"), "{end:?}");
    limit_files(pid, 1);
    let starved = site.subject.next();
    let refused = starved.run_once().await;
    refused.expect_err("an agent that can open nothing has started something");
    assert!(agent.try_wait().unwrap().is_none(), "it has ended");
    limit_files(pid, 1024);
    let last = site.subject.next();
    let end = last.clone().settle().await;
    assert!(site.subject.check(&last, &end, "afterwards"), "{end:?}");
    assert_eq!(site.subject.fixture.trace("ran").lines().count(), 4, "nothing ran meanwhile");
}

/// Lets a process have so few files open.
fn limit_files(pid: u32, files: u32) {
    let mut prlimit = Command::new("prlimit");
    prlimit.args([format!("--pid={pid}"), format!("--nofile={files}:4096")]);
    assert!(prlimit.stdout(Stdio::null()).status().unwrap().success());
    assert!(Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_comes_back_at_once_over_tls_is_let_in() {
    const CROWD: u32 = 120;
    // Not so often that a busy machine has no time for anything else.
    let options = GatewayOptions::default().with_heartbeat(Duration::from_secs(5));
    let fixture = Fixture::new("none").await;
    let mut plane = Plane::with(&fixture, options).await;
    let link = Link::to(plane.door.parse().unwrap()).await;
    plane.door = link.address().to_string();
    let token = plane.token(CROWD).await;
    let mut crowd = JoinSet::new();
    for number in 0..CROWD {
        let state = fixture.dir.path().join(format!("agent-{number}"));
        let session = plane.enrolled(&fixture, &state, number, &token).await;
        crowd.spawn(async move { session.run().await });
    }
    let there = || plane.gateway.connected().len() as u32;
    eventually("all are there", || there() == CROWD).await;
    for _ in 0..3 {
        link.let_pass(NOTHING);
        link.cut();
        eventually("all have gone", || there() == 0).await;
        link.cut();
        link.let_pass(OPEN);
        eventually("all are back", || there() == CROWD).await;
    }
}
