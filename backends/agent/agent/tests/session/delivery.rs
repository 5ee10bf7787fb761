//! Packages come to hosts as what is missing there.
use crate::{
    link::{Agent, Link, Served, h1},
    sessions::Unread,
    support::{Fixture, FromStore, scripts::eventually},
};
use deploy_agent::HostSide as _;
use deploy_agent_gateway::{AgentExecutor, GatewayOptions};
use deploy_agent_protocol::v1;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactKind, AttemptReport, AttemptRequest, Executor as _, HostRequest, StageRequest,
    },
    conformance::{permit, sample},
    digest::Digest,
    error::BackendResult,
    host::{Connection, Host},
    id::Seq,
    plan::PlannedRelease,
    spec::Direction,
};
use deploy_parts::{PartStore, PartStoreOptions};
use deploy_test_support::releases::{pack, put, release};
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// More than any delta of these tests has.
pub(crate) const LITTLE: u64 = 20_000;
const LARGE: usize = 600_000;

/// A host with an agent, and a gateway that knows the parts of packages.
pub(crate) struct Lab {
    pub(crate) fixture: Fixture,
    executor: AgentExecutor,
    permit: Permit,
    generation: AtomicU64,
    served: Served,
    link: Link,
    agent: Agent,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with_policy("").await
    }

    /// Whose host has this in its `host.toml`.
    pub(crate) async fn with_policy(policy: &str) -> Self {
        let fixture = Fixture::with_policy(&format!("cgroups = 'none'\n{policy}")).await;
        let parts = fixture.dir.path().join("parts");
        let packages = Arc::clone(&fixture.store) as _;
        let parts = PartStore::open(parts, packages, PartStoreOptions::default()).unwrap();
        let options = GatewayOptions::default().with_parts(parts);
        let served = Served::with(Arc::clone(&fixture.store) as _, options).await;
        let link = Link::new(&served).await;
        let agent = link.agent(fixture.host(), "boot 1");
        let permit = permit(Action::HostExecute, Resource::System).await;
        let executor = served.executor();
        eventually("the agent is there", || served.gateway.connected() == [h1()]).await;
        let generation = AtomicU64::new(1);
        Self { fixture, executor, permit, generation, served, link, agent }
    }

    /// As if the agent had been started anew.
    pub(crate) async fn restart(&mut self) {
        self.fixture.reopen().await;
        self.agent = self.link.agent(self.fixture.host(), "boot 1");
        eventually("the agent is back", || self.served.gateway.connected() == [h1()]).await;
    }

    fn deploy_path(&self) -> PathBuf {
        self.fixture.dir.path().join("root/srv/web")
    }

    /// A release of a package with one large file, which `changed` changes a little.
    pub(crate) async fn release(
        &self,
        id: &str,
        changed: u8,
        scripts: &[(&str, &[u8])],
    ) -> PlannedRelease {
        let store = &*self.fixture.store;
        let mut program = noise(LARGE);
        program.splice(300_000..300_001, [changed]);
        let files: [(&str, &[u8]); 2] = [("bin/web.sh", &program), ("motd", b"the same\n")];
        let package = put(store, ArtifactKind::Package, &pack(&files).unwrap()).await.unwrap();
        let release = release(store, id, scripts, &[]).await.unwrap().with_package(package);
        PlannedRelease::from(&release)
    }

    pub(crate) fn attempt(
        &self,
        release: &PlannedRelease,
        previous: Option<&PlannedRelease>,
    ) -> AttemptRequest {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed);
        let on = self.fixture.on();
        let path = self.deploy_path().to_str().unwrap().parse().unwrap();
        let on = HostRequest::new(Host::new(h1(), Connection::Agent), on.service, path)
            .with_account(on.account);
        let token = format!("{:016x}{generation:016x}", self.fixture.number);
        let (rollout, generation) = (sample::name("r1"), Seq::new(generation));
        let mut request = AttemptRequest::new(on, rollout, generation, token, release.clone());
        request.previous = previous.cloned();
        request.health.min_healthy_time = Duration::ZERO;
        request
    }

    /// How many bytes it takes to have all that an attempt needs.
    async fn stage(&self, attempt: &AttemptRequest) -> u64 {
        let request = StageRequest::new(attempt.on.clone(), attempt.artifacts())
            .with_deliveries(attempt.delivery().into_iter().collect());
        self.executor.stage(&self.permit, &request).await.unwrap().fetched
    }

    /// Runs it, and gives the number of bytes that it took.
    pub(crate) async fn deploy(
        &self,
        release: &PlannedRelease,
        previous: Option<&PlannedRelease>,
    ) -> u64 {
        self.run(self.attempt(release, previous)).await
    }

    /// Has the host start what an order says.
    pub(crate) async fn start(&self, order: v1::Attempt) -> Result<v1::Accepted, v1::Refused> {
        let store = FromStore(Arc::clone(&self.fixture.store) as _);
        self.fixture.host().start(order, &store).await
    }

    /// Runs an attempt, whatever comes of it.
    pub(crate) async fn attempted(&self, attempt: &AttemptRequest) -> BackendResult<AttemptReport> {
        self.executor.run(&self.permit, attempt, &Unread).await
    }

    async fn run(&self, attempt: AttemptRequest) -> u64 {
        let fetched = self.stage(&attempt).await;
        let ran = self.executor.run(&self.permit, &attempt, &Unread).await.unwrap();
        assert_eq!(ran, AttemptReport::Succeeded);
        let current = fs::read_link(self.deploy_path().join("current")).unwrap();
        assert_eq!(current, Path::new("releases").join(attempt.release.id.as_str()));
        fetched
    }

    fn program(&self) -> Vec<u8> {
        fs::read(self.deploy_path().join("current/bin/web.sh")).unwrap()
    }
}

pub(crate) const PLAIN: &[(&str, &[u8])] = &[("descriptor.toml", b"format = 1\n")];

/// Bytes that cannot be packed.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let digests = (0_u64..).flat_map(|it| Digest::of(&it.to_be_bytes()).as_bytes().to_vec());
    digests.take(size).collect()
}

#[tokio::test]
async fn an_upgrade_takes_what_is_new_and_a_way_back_takes_nothing() {
    let lab = Lab::new().await;
    let (one, two) = (lab.release("one", 1, PLAIN).await, lab.release("two", 2, PLAIN).await);
    assert!(lab.deploy(&one, None).await > LARGE as u64);
    assert_eq!(lab.program()[300_000], 1);

    let fetched = lab.deploy(&two, Some(&one)).await;
    assert!(fetched < LITTLE, "{fetched}");
    assert_eq!(lab.program()[300_000], 2);
    let file = lab.deploy_path().join("current/bin/web.sh");
    let owner = fs::metadata(lab.deploy_path()).unwrap().uid();
    let meta = fs::metadata(file).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o777), (owner, 0o755), "it is the service's own");

    let mut back = lab.attempt(&one, Some(&two));
    back.direction = Direction::Back;
    back.first_step = deploy_core::spec::StepName::Rollback;
    let fetched = lab.run(back).await;
    assert!(fetched < 1_000, "the descriptor at most: {fetched}");
    assert_eq!(lab.program()[300_000], 1);
    let left = fs::read_dir(lab.deploy_path().join("releases")).unwrap();
    assert_eq!(left.count(), 2, "nothing is left of what was being put together");
}

#[tokio::test]
async fn a_release_with_the_same_package_takes_no_bytes_of_it() {
    let lab = Lab::new().await;
    let one = lab.release("one", 1, PLAIN).await;
    let other: &[(&str, &[u8])] = &[("descriptor.toml", b"format = 1\n# other\n")];
    let again = lab.release("again", 1, other).await;
    lab.deploy(&one, None).await;
    let fetched = lab.deploy(&again, Some(&one)).await;
    assert!(fetched < 1_000, "{fetched}");
    assert_eq!(lab.program()[300_000], 1);
}

#[tokio::test]
async fn nothing_is_built_upon_what_somebody_has_changed() {
    let lab = Lab::new().await;
    let (one, two) = (lab.release("one", 1, PLAIN).await, lab.release("two", 2, PLAIN).await);
    lab.deploy(&one, None).await;
    let mut program = lab.program();
    program[7] ^= 1;
    fs::write(lab.deploy_path().join("releases/one/bin/web.sh"), program).unwrap();
    assert!(lab.deploy(&two, Some(&one)).await > LARGE as u64);
    assert_eq!((lab.program()[300_000], lab.program()[7]), (2, noise(8)[7]));
}

#[tokio::test]
async fn what_no_manifest_says_anything_of_is_not_built_upon() {
    for spoilt in [None, Some(&b"{}"[..])] {
        let lab = Lab::new().await;
        let (one, two) = (lab.release("one", 1, PLAIN).await, lab.release("two", 2, PLAIN).await);
        lab.deploy(&one, None).await;
        let manifest = lab.deploy_path().join("releases/one/.deploy-manifest");
        fs::remove_file(&manifest).unwrap();
        if let Some(spoilt) = spoilt {
            fs::write(&manifest, spoilt).unwrap();
        }
        assert!(lab.deploy(&two, Some(&one)).await > LARGE as u64);
    }
}

#[tokio::test]
async fn a_script_that_wants_the_archive_has_it() {
    let lab = Lab::new().await;
    let one = lab.release("one", 1, PLAIN).await;
    lab.deploy(&one, None).await;
    let descriptor = b"format = 1\n[steps.post]\nscript = \"post.sh\"\n";
    let script = b"set -e\n[ -z \"${DEPLOY_TREE:-}\" ]\nsha256sum \"$DEPLOY_PACKAGE\" | grep -q \"^$DEPLOY_PACKAGE_DIGEST\"\n";
    let files: &[(&str, &[u8])] = &[("descriptor.toml", descriptor), ("post.sh", script)];
    let two = lab.release("two", 2, files).await;
    assert!(lab.deploy(&two, Some(&one)).await > LARGE as u64);
    assert_eq!(lab.program()[300_000], 2);
}

#[tokio::test]
async fn a_script_of_its_own_that_installs_has_the_tree() {
    let lab = Lab::new().await;
    let one = lab.release("one", 1, PLAIN).await;
    lab.deploy(&one, None).await;
    let descriptor = b"format = 1\n[steps.install]\nscript = \"install.sh\"\n";
    let script = b". \"$DEPLOY_LIB\"\n[ -d \"$DEPLOY_TREE\" ] && du_install\n";
    let files: &[(&str, &[u8])] = &[("descriptor.toml", descriptor), ("install.sh", script)];
    let two = lab.release("two", 2, files).await;
    let fetched = lab.deploy(&two, Some(&one)).await;
    assert!(fetched < LITTLE, "{fetched}");
    assert_eq!(lab.program()[300_000], 2);
}

#[tokio::test]
async fn parts_that_are_gone_are_no_reason_not_to_come() {
    let lab = Lab::new().await;
    let (one, two) = (lab.release("one", 1, PLAIN).await, lab.release("two", 2, PLAIN).await);
    lab.deploy(&one, None).await;
    let attempt = lab.attempt(&two, Some(&one));
    // What is there when an order is given may be gone when its host comes for it: here, because nothing can be kept at all.
    let parts = lab.fixture.dir.path().join("parts");
    fs::remove_dir_all(&parts).unwrap();
    fs::write(&parts, "no folder").unwrap();
    assert!(lab.run(attempt).await > LARGE as u64);
    assert_eq!(lab.program()[300_000], 2);
}
