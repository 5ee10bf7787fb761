//! What the in-memory reference offers beyond the contracts: faults, rules about hosts, clocks for tests.
use crate::harness::Nowhere;
use crate::harness::Through;
use deploy_core::{
    access::{AccessRequest, Action, Decision, Permit, Resource},
    backend::{
        AttemptReport, AttemptRequest, Authorizer as _, BackendResult, Clock as _, ErrorKind,
        Executor, Expect, HostInventory as _, KillReport, KillRequest, PlacementRequest,
        ProbeReport, ProbeRequest, Scheduler as _,
    },
    conformance::{
        executor::{Act, ExecutorHarness as _, planned},
        permit, sample,
    },
    host::{Host, Labels},
    id::Seq,
    memory::{
        HostFaults, ManualClock, MemoryAuthorizer, MemoryExecutor, MemoryHostInventory, Rule,
        Script, SpreadScheduler, TokioClock,
    },
    spec::{Step, StepName},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::JoinHandle;

/// A simulated host, and one attempt that nobody has made yet.
struct Scene {
    hosts: MemoryExecutor,
    clock: Arc<ManualClock>,
    permit: Permit,
    attempt: AttemptRequest,
}

impl Scene {
    async fn new(script: Script) -> Self {
        let clock = Arc::new(ManualClock::at(sample::at(0)));
        let hosts = MemoryExecutor::new(clock.clone());
        hosts.script(script);
        let on = Through::<dyn Executor>(|it| it).on(&hosts);
        let mut release = planned("one", &[]);
        release.steps = vec![Step::new(StepName::Install), Step::new(StepName::Start)];
        let (rollout, token) = (sample::name("r1"), "0".repeat(32));
        let attempt = AttemptRequest::new(on, rollout, Seq::new(1), token, release);
        let permit = permit(Action::HostExecute, Resource::System).await;
        Self { hosts, clock, permit, attempt }
    }

    fn set_faults(&self, faults: HostFaults) {
        self.hosts.set_faults(&self.attempt.on.host.name, faults);
    }

    async fn run(&self) -> BackendResult<AttemptReport> {
        self.hosts.run(&self.permit, &self.attempt, &Nowhere).await
    }

    fn follow(&self) -> JoinHandle<BackendResult<AttemptReport>> {
        let (hosts, permit) = (self.hosts.clone(), self.permit.clone());
        let attempt = self.attempt.clone();
        tokio::spawn(async move { hosts.run(&permit, &attempt, &Nowhere).await })
    }

    async fn probe(&self) -> ProbeReport {
        let AttemptRequest { on, generation, token, .. } = self.attempt.clone();
        let request = ProbeRequest::new(on, generation, token);
        self.hosts.probe(&self.permit, &request).await.unwrap()
    }

    fn runs(&self) -> u32 {
        self.hosts.runs(&self.attempt.on.host.name, StepName::Install)
    }
}

/// Lets every task go as far as it can.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

fn blocking() -> Script {
    Script::new(StepName::Install, [Act::Block])
}

#[tokio::test]
async fn an_unreachable_host_starts_nothing() {
    let scene = Scene::new(Script::new(StepName::Install, [])).await;
    scene.set_faults(HostFaults::new().with_unreachable());
    assert_eq!(scene.run().await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(scene.runs(), 0);
    scene.set_faults(HostFaults::new());
    assert_eq!(scene.run().await.unwrap(), AttemptReport::Succeeded);
}

#[tokio::test]
async fn who_loses_a_request_or_a_reply_cannot_tell_them_apart() {
    let scene = Scene::new(Script::new(StepName::Install, [])).await;
    scene.set_faults(HostFaults::new().with_lost_requests(1).with_lost_replies(1));
    assert_eq!(scene.run().await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(scene.runs(), 0);
    assert_eq!(scene.run().await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    settle().await;
    assert_eq!(scene.runs(), 1);
    assert_eq!(scene.run().await.unwrap(), AttemptReport::Succeeded);
    assert_eq!(scene.runs(), 1);
}

#[tokio::test]
async fn a_request_takes_as_long_as_the_way_is() {
    let scene = Scene::new(Script::new(StepName::Install, []).taking(Duration::from_secs(2))).await;
    scene.set_faults(HostFaults::new().with_delay(Duration::from_secs(3)));
    let follower = scene.follow();
    for (passed, runs, over) in [(0, 0, false), (3, 1, false), (5, 1, true)] {
        scene.clock.advance(sample::at(passed).since(scene.clock.now()));
        settle().await;
        assert_eq!((scene.runs(), follower.is_finished()), (runs, over), "after {passed} s");
    }
    assert_eq!(follower.await.unwrap().unwrap(), AttemptReport::Succeeded);
}

#[tokio::test]
async fn a_cut_hides_an_attempt_that_goes_on() {
    let scene = Scene::new(blocking()).await;
    let follower = scene.follow();
    settle().await;
    scene.hosts.cut(&scene.attempt.on.host.name);
    let err = follower.await.unwrap().unwrap_err();
    assert_eq!(err.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(scene.probe().await, ProbeReport::Running);
    scene.hosts.unblock();
    assert_eq!(scene.run().await.unwrap(), AttemptReport::Succeeded);
}

#[tokio::test]
async fn a_restart_loses_what_was_under_way() {
    let scene = Scene::new(Script::new(StepName::Install, [Act::LeaveDaemon, Act::Block])).await;
    let follower = scene.follow();
    settle().await;
    let host = &scene.attempt.on.host.name;
    assert_eq!(scene.hosts.processes(host), 2);
    scene.hosts.reboot(host);
    assert_eq!(follower.await.unwrap().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(scene.hosts.processes(host), 0);
    let ProbeReport::Ended(AttemptReport::Lost { step, .. }) = scene.probe().await else {
        panic!("the attempt is not lost");
    };
    assert_eq!(step, Some(StepName::Install));
}

#[tokio::test]
async fn what_no_kill_can_end_is_named() {
    let scene = Scene::new(blocking()).await;
    let survivors = vec!["4242:nfsd".to_owned()];
    scene.set_faults(HostFaults::new().with_survivors(survivors.clone()));
    let follower = scene.follow();
    settle().await;
    let AttemptRequest { on, generation, token, .. } = scene.attempt.clone();
    let request = KillRequest::new(on, generation, token);
    let killed = scene.hosts.kill(&scene.permit, &request).await.unwrap();
    assert_eq!(killed, KillReport::KillFailed { survivors: survivors.clone() });
    assert_eq!(follower.await.unwrap().unwrap(), AttemptReport::KillFailed { survivors });
}

#[tokio::test(start_paused = true)]
async fn verify_has_to_pass_for_long_enough_on_end() {
    let hosts = MemoryExecutor::new(Arc::new(TokioClock::at(sample::at(0))));
    let on = Through::<dyn Executor>(|it| it).on(&hosts);
    let mut release = planned("one", &[]);
    release.steps = vec![Step::new(StepName::Verify)];
    let (rollout, token) = (sample::name("r1"), "0".repeat(32));
    let mut attempt = AttemptRequest::new(on, rollout, Seq::new(1), token, release);
    attempt.health.min_healthy_time = Duration::from_secs(10);
    let permit = permit(Action::HostExecute, Resource::System).await;
    let report = hosts.run(&permit, &attempt, &Nowhere).await.unwrap();
    assert_eq!(report, AttemptReport::Succeeded);
    assert_eq!(hosts.runs(&attempt.on.host.name, StepName::Verify), 11);
    hosts.script(Script::new(StepName::Verify, [Act::Exit(1)]));
    attempt.generation = Seq::new(2);
    attempt.health.healthy_deadline = Duration::from_secs(60);
    let report = hosts.run(&permit, &attempt, &Nowhere).await.unwrap();
    assert_eq!(report, AttemptReport::TimedOut { step: StepName::Verify });
    assert_eq!(hosts.runs(&attempt.on.host.name, StepName::Verify), 11 + 61);
}

fn in_zone(name: &str, zone: &str) -> Host {
    sample::host(name).with_labels(Labels::from([(sample::name("zone"), sample::name(zone))]))
}

async fn inventory() -> Arc<MemoryHostInventory> {
    let inventory = Arc::new(MemoryHostInventory::new());
    let permit = permit(Action::HostWrite, Resource::System).await;
    for host in [in_zone("a1", "a"), in_zone("b1", "b")] {
        inventory.put(&permit, host, Expect::Absent).await.unwrap();
    }
    inventory
}

async fn decide(authorizer: &MemoryAuthorizer, resource: Resource) -> bool {
    let request = AccessRequest::new(sample::principal("ann"), Action::HostExecute, resource);
    matches!(authorizer.authorize(&request).await.unwrap(), Decision::Allow(_))
}

fn host(name: &str) -> Resource {
    Resource::Host(sample::name(name), Some(sample::name("web")))
}

#[tokio::test]
async fn a_rule_can_select_hosts() {
    let rule = Rule::allow(sample::name("ann"), [Action::HostExecute]);
    let rules = vec![rule.on_hosts(sample::name("zone=a"))];
    let authorizer = MemoryAuthorizer::new(rules).with_inventory(inventory().await);
    assert!(decide(&authorizer, host("a1")).await);
    assert!(!decide(&authorizer, host("b1")).await, "the rule does not select it");
    assert!(!decide(&authorizer, host("c1")).await, "nobody knows its labels");
    assert!(!decide(&authorizer, Resource::Service(sample::name("web"))).await);
}

#[tokio::test]
async fn a_rule_that_denies_some_hosts_denies_every_permit_that_covers_them() {
    let all = Rule::allow(sample::name("*"), [Action::HostExecute]);
    let some = Rule::deny(sample::name("ann"), [Action::HostExecute]);
    let rules = vec![all, some.on_hosts(sample::name("zone=a"))];
    let authorizer = MemoryAuthorizer::new(rules).with_inventory(inventory().await);
    assert!(decide(&authorizer, host("b1")).await);
    assert!(!decide(&authorizer, host("a1")).await);
    assert!(!decide(&authorizer, host("c1")).await, "an unknown host might be selected");
    assert!(!decide(&authorizer, Resource::Service(sample::name("web"))).await);
    assert!(!decide(&authorizer, Resource::System).await);
}

#[tokio::test]
async fn without_an_inventory_a_rule_about_hosts_cannot_be_checked() {
    let rule = Rule::allow(sample::name("ann"), [Action::HostExecute]);
    let authorizer = MemoryAuthorizer::new(vec![rule.on_hosts(sample::name("zone=a"))]);
    let request = AccessRequest::new(sample::principal("ann"), Action::HostExecute, host("a1"));
    let err = authorizer.authorize(&request).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn hosts_are_spread_over_zones() {
    let zones = [("a", 10), ("b", 6), ("c", 2)];
    let hosts = zones
        .iter()
        .flat_map(|(zone, count)| (0..*count).map(move |at| in_zone(&format!("{zone}{at}"), zone)));
    let hosts: Vec<_> = hosts.collect();
    for (count, expected) in [(3, [1, 1, 1]), (6, [2, 2, 2]), (10, [4, 4, 2]), (18, [10, 6, 2])] {
        for seed in 0..20 {
            let request = PlacementRequest::new(sample::name("web"), count, hosts.clone());
            let request = request.with_spread(vec![sample::name("zone")]).with_seed(seed);
            let placement = SpreadScheduler::new().place(&request).await.unwrap();
            let mut counts = BTreeMap::from([("a", 0), ("b", 0), ("c", 0)]);
            for (host, _) in &placement.chosen {
                *counts.get_mut(&host.as_str()[..1]).unwrap() += 1;
            }
            assert_eq!(counts.into_values().collect::<Vec<_>>(), expected, "seed {seed}");
        }
    }
}

#[tokio::test]
async fn a_clock_knows_who_waits_for_it() {
    let clock = Arc::new(ManualClock::at(sample::at(0)));
    let sleeper = {
        let clock = clock.clone();
        tokio::spawn(async move { clock.sleep_until(sample::at(5)).await })
    };
    settle().await;
    assert_eq!(clock.sleepers(), 1);
    clock.advance(Duration::from_secs(5));
    sleeper.await.unwrap();
    assert_eq!(clock.sleepers(), 0);
}
