//! What is staged is there when the attempt comes, whatever has become of the store by then.
use crate::{
    delivery::noise,
    link::{Agent, Link, Served, h1},
    sessions::Unread,
    support::{Fixture, scripts::eventually},
    valve::Valve,
};
use deploy_agent_gateway::AgentExecutor;
use deploy_agent_protocol::LONGEST_CHUNK;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactKind, AttemptReport, AttemptRequest, BackendResult, Executor as _, HostRequest,
        ProbeRequest, StageReport, StageRequest,
    },
    conformance::{
        executor::{Act, ScriptedStep},
        permit, sample,
    },
    digest::Digest,
    error::ErrorKind,
    host::{Connection, Host},
    id::Seq,
    spec::{ArtifactRef, StepName},
};
use deploy_test_support::releases::{pack, put};
use std::{sync::Arc, time::Duration};

/// A host with an agent, and a gateway whose store can be shut.
struct Lab {
    fixture: Fixture,
    valve: Arc<Valve>,
    executor: AgentExecutor,
    link: Link,
    permit: Permit,
    _served: Served,
    _agent: Agent,
}

impl Lab {
    async fn new() -> Self {
        Self::with_policy("").await
    }

    async fn with_policy(policy: &str) -> Self {
        let fixture = Fixture::with_policy(&format!("cgroups = 'none'\n{policy}")).await;
        let valve = Arc::new(Valve::new(Arc::clone(&fixture.store)));
        let served = Served::over(Arc::clone(&valve) as _).await;
        let link = Link::new(&served).await;
        let agent = link.agent(fixture.host(), "boot 1");
        let permit = permit(Action::HostExecute, Resource::System).await;
        let executor = served.executor();
        eventually("the agent is there", || served.gateway.connected() == [h1()]).await;
        Self { fixture, valve, executor, link, permit, _served: served, _agent: agent }
    }

    fn on(&self) -> HostRequest {
        let path = self.fixture.dir.path().join("root/srv/web");
        let on = self.fixture.on();
        let host = Host::new(h1(), Connection::Agent);
        HostRequest::new(host, on.service, path.to_str().unwrap().parse().unwrap())
            .with_account(on.account)
    }

    /// The attempt `generation` at a release with a package of about so many bytes.
    async fn attempt(&self, generation: u64, size: usize) -> AttemptRequest {
        let steps = [ScriptedStep::new(StepName::Install, [Act::Activate])];
        let store = &*self.fixture.store;
        let mut release = self.fixture.traces().release(store, "one", &steps).await.unwrap();
        let package = pack(&[("bin/web", &noise(size))]).unwrap();
        release.package = Some(put(store, ArtifactKind::Package, &package).await.unwrap());
        let token = format!("{:016x}{generation:016x}", self.fixture.number);
        let generation = Seq::new(generation);
        let mut request =
            AttemptRequest::new(self.on(), sample::name("r1"), generation, token, release);
        request.health.min_healthy_time = Duration::ZERO;
        request
    }

    async fn stage(&self, artifacts: Vec<ArtifactRef>) -> BackendResult<StageReport> {
        self.executor.stage(&self.permit, &StageRequest::new(self.on(), artifacts)).await
    }

    async fn run(&self, request: &AttemptRequest) -> BackendResult<AttemptReport> {
        self.executor.run(&self.permit, request, &Unread).await
    }

    fn part_of(&self, artifact: ArtifactRef) -> u64 {
        let file = self.fixture.state().join("artifacts").join(artifact.digest.hex());
        std::fs::metadata(file.with_extension("part")).map_or(0, |it| it.len())
    }
}

fn size_of(artifacts: &[ArtifactRef]) -> u64 {
    artifacts.iter().map(|it| it.size).sum()
}

#[tokio::test]
async fn an_attempt_needs_no_store_once_it_is_staged() {
    let lab = Lab::new().await;
    let attempt = lab.attempt(3, 100_000).await;
    // The gateway reads the release by itself, for an order that the host refuses before it fetches anything.
    let fence = ProbeRequest::new(lab.on(), Seq::new(2), attempt.token.clone());
    lab.executor.probe(&lab.permit, &fence).await.unwrap();
    let mut stale = attempt.clone();
    stale.generation = Seq::new(1);
    assert_eq!(lab.run(&stale).await.unwrap_err().kind(), ErrorKind::Fenced);

    let staged = lab.stage(attempt.artifacts()).await.unwrap();
    assert_eq!(staged.fetched, size_of(&attempt.artifacts()));
    lab.valve.shut();
    assert_eq!(lab.stage(attempt.artifacts()).await.unwrap().fetched, 0);
    assert_eq!(lab.run(&attempt).await.unwrap(), AttemptReport::Succeeded);
    assert_eq!(lab.fixture.traces().runs(StepName::Install), 1);
}

#[tokio::test]
async fn an_agent_of_the_version_before_is_not_asked_to() {
    let fixture = Fixture::new("none").await;
    let served = Served::new(Arc::clone(&fixture.store)).await;
    let link = Link::new(&served).await;
    let _agent = link.older_agent().await;
    eventually("the agent is there", || served.gateway.connected() == [h1()]).await;
    let executor = served.executor();
    let on = fixture.on();
    assert!(executor.capabilities().stage && !executor.capabilities_on(&on.host).stage);
    let permit = permit(Action::HostExecute, Resource::System).await;
    let err = executor.stage(&permit, &StageRequest::new(on, Vec::new())).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported);
    assert!(err.chain().contains("its agent is too old to stage"), "{}", err.chain());
}

#[tokio::test]
async fn what_cannot_be_fetched_is_not_staged() {
    let lab = Lab::new().await;
    let attempt = lab.attempt(1, 1_000).await;
    lab.valve.shut();
    let err = lab.stage(attempt.artifacts()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    let missing = ArtifactRef::new(Digest::of(b"nothing"), 7);
    lab.valve.open();
    let err = lab.stage(vec![missing]).await.unwrap_err();
    assert!(err.chain().contains("cannot be fetched"), "{}", err.chain());
    assert!(lab.stage(attempt.artifacts()).await.unwrap().fetched > 0);
}

#[tokio::test]
async fn staging_goes_on_where_it_was_cut() {
    const FIRST: u64 = LONGEST_CHUNK as u64;
    let lab = Lab::new().await;
    let attempt = lab.attempt(1, 100_000).await;
    let package = attempt.release.package.unwrap();
    lab.valve.narrow(FIRST);
    let cut = async {
        eventually("a part of it is there", || lab.part_of(package) == FIRST).await;
        lab.link.cut();
    };
    let (err, ()) = tokio::join!(lab.stage(vec![package]), cut);
    assert_eq!(err.unwrap_err().kind(), ErrorKind::Unavailable);
    lab.valve.open();
    let staged = lab.stage(vec![package]).await.unwrap();
    assert_eq!(staged.fetched, package.size - FIRST);
    assert_eq!(lab.valve.opened(&package.digest), [0, FIRST]);
}

#[tokio::test]
async fn what_has_no_room_is_not_fetched() {
    let huge = ArtifactRef::new(Digest::of(b"huge"), 1 << 50);
    for (policy, says) in [
        ("cache_mib = 4294967295\n", "the file system is short of"),
        ("cache_mib = 1\n", "`cache_mib`"),
    ] {
        let lab = Lab::with_policy(policy).await;
        let err = lab.stage(vec![huge]).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::NoSpace);
        assert!(err.chain().contains(says), "{}", err.chain());
        assert_eq!(lab.valve.opened(&huge.digest), [0_u64; 0]);
    }
}

#[tokio::test]
async fn what_is_staged_outlives_what_is_used_meanwhile() {
    let lab = Lab::with_policy("cache_mib = 1\n").await;
    let attempt = lab.attempt(9, 400_000).await;
    lab.stage(attempt.artifacts()).await.unwrap();
    for generation in 1..=3 {
        let size = 400_001 + usize::try_from(generation).unwrap();
        let other = lab.attempt(generation, size).await;
        assert_eq!(lab.run(&other).await.unwrap(), AttemptReport::Succeeded);
    }
    assert_eq!(lab.stage(attempt.artifacts()).await.unwrap().fetched, 0);
}

#[tokio::test]
async fn the_host_says_where_anything_may_be_deployed_to() {
    let lab = Lab::new().await;
    let attempt = lab.attempt(1, 1_000).await;
    let mut elsewhere = StageRequest::new(lab.on(), attempt.artifacts());
    elsewhere.on.deploy_path = sample::name("/etc/web");
    let err = lab.executor.stage(&lab.permit, &elsewhere).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
    assert_eq!(lab.part_of(attempt.release.descriptor), 0);
}
