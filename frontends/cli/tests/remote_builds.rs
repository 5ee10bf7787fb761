//! Builds on hosts, by the program that is built: the kit, and what may go wrong on the way.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
use deploy_build::{BuildHosts, LocalBuilder, RemoteBuilder};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        Build, BuildFault, BuildOutput, BuildRequest, BuildState, Builder, Expect,
        HostInventory as _,
    },
    conformance::{Harness, builder::BuilderHarness, eventually, permit, sample},
    host::{Connection, Host},
    memory::{MemoryArtifactStore, MemoryAuthorizer, MemoryHostInventory, Rule, SystemClock},
    spec::{Recipe, Source},
};
use deploy_local::{LocalExecutor, LocalTransport};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

/// The program that hosts build with.
const PROGRAM: &str = env!("CARGO_BIN_EXE_deploy");
/// A command that waits until the lab lets it go.
const GO: &str = "until [ -e $DEPLOY_CACHE/go ]; do sleep 0.05; done";

/// A repository, and a host that is a folder.
struct Lab {
    dir: TempDir,
}

impl Lab {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn host_root(&self) -> PathBuf {
        self.dir.path().join("host")
    }

    /// Where the host keeps its builds.
    fn host_builds(&self) -> PathBuf {
        self.host_root().join("var/lib/deploy/builds")
    }

    fn lets_go(&self) {
        fs::write(self.host_builds().join("cache/web/go"), "").unwrap();
    }

    async fn builder(&self, program: &str) -> RemoteBuilder {
        let clock = Arc::new(SystemClock::new());
        let (artifacts, inventory) =
            (Arc::new(MemoryArtifactStore::new()), Arc::new(MemoryHostInventory::new()));
        let root = self.host_root().display().to_string();
        let labels = [(sample::name("role"), sample::name("builder"))].into();
        let host = Host::new(sample::name("h1"), Connection::Local { root }).with_labels(labels);
        let may = permit(Action::HostWrite, Resource::System).await;
        inventory.put(&may, host, Expect::Absent).await.unwrap();
        let executor = LocalExecutor::new(
            LocalTransport::new(),
            Arc::<_>::clone(&artifacts) as _,
            Arc::<_>::clone(&clock) as _,
        );
        let hosts = BuildHosts {
            executor: Arc::new(executor),
            inventory,
            artifacts,
            authorizer: Arc::new(MemoryAuthorizer::new(vec![Rule::allow(
                sample::name("*"),
                [Action::HostExecute],
            )])),
        };
        let (folder, on) = (self.dir.path().join("remote"), sample::name("role=builder"));
        RemoteBuilder::open(folder, hosts, on, clock).unwrap().with_program(program)
    }

    fn commit(&self, input: &str) -> Source {
        let repository = self.dir.path().join("repository");
        fs::create_dir_all(&repository).unwrap();
        fs::write(repository.join("input"), input).unwrap();
        let identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"];
        for arguments in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "--all"],
            &["commit", "--quiet", "--allow-empty", "--message", input],
        ] {
            let mut git = Command::new("git");
            let git = git.args(identity).args(arguments).current_dir(&repository).status();
            assert!(git.unwrap().success());
        }
        Source::new(format!("file://{}", repository.display()).parse().unwrap())
    }

    fn request(&self, commands: &[&str]) -> BuildRequest {
        let commands = commands.iter().map(|it| (*it).to_owned()).collect();
        let recipe =
            Recipe::new(commands, [(sample::name("output"), sample::name("output"))].into());
        BuildRequest::new(sample::name("web"), self.commit("one"), sample::name("main"), recipe)
    }

    /// A program that does `then` with the folder of outputs as `$7`, after it has built.
    fn program_that(&self, then: &str) -> String {
        let path = self.dir.path().join("program");
        fs::write(&path, format!("#!/bin/sh\n'{PROGRAM}' \"$@\" || exit\n{then}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }
}

async fn may_build() -> Permit {
    permit(Action::BuildRun, Resource::System).await
}

async fn over(builder: &dyn Builder, build: &Build) -> Build {
    let so = || async { builder.build(&build.id).await.unwrap().state.is_over() };
    eventually("the build is over", so).await;
    builder.build(&build.id).await.unwrap()
}

async fn built(builder: &dyn Builder, request: &BuildRequest) -> Build {
    let build = builder.submit(&may_build().await, request).await.unwrap();
    over(builder, &build).await
}

async fn log(builder: &dyn Builder, build: &Build) -> String {
    String::from_utf8(builder.log(&build.id, 0, 1 << 20).await.unwrap().bytes).unwrap()
}

/// How many processes have `word` among their arguments.
fn processes(word: &str) -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let has = |path: &Path| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.split(|it| *it == 0).any(|it| it == word.as_bytes())
    };
    all.filter(|it| has(&it.path())).count()
}

struct OnHosts;

impl Harness<dyn Builder> for OnHosts {
    type Guard = Lab;

    async fn fresh(&self) -> (Arc<dyn Builder>, Lab) {
        let lab = Lab::new();
        (Arc::new(lab.builder(PROGRAM).await), lab)
    }
}

impl BuilderHarness for OnHosts {
    async fn commit(&self, lab: &Lab, input: &str) -> Source {
        lab.commit(input)
    }
}

deploy_core::builder_conformance!(OnHosts, core);

#[tokio::test]
async fn a_host_builds_what_this_machine_would_build() {
    let lab = Lab::new();
    let request = lab.request(&["cp input output"]);
    let remote = lab.builder(PROGRAM).await;
    let there = built(&remote, &request).await;
    assert_eq!(there.state, BuildState::Succeeded, "{there:?}\n{}", log(&remote, &there).await);
    assert_eq!(there.host, Some(sample::name("h1")));
    let here = LocalBuilder::open(lab.dir.path().join("here"), Arc::new(SystemClock::new()));
    let here = built(&here.unwrap(), &request).await;
    assert_eq!((&here.commit, &here.state), (&there.commit, &BuildState::Succeeded));
    assert_eq!(here.report.unwrap().package, there.report.unwrap().package);
    let mut statement = String::new();
    let mut reader = remote.open(&there.id, BuildOutput::Provenance).await.unwrap();
    reader.read_to_string(&mut statement).await.unwrap();
    assert!(statement.contains("builder/host/h1"), "{statement}");
}

#[tokio::test]
async fn a_cancel_ends_all_processes_on_the_host() {
    let lab = Lab::new();
    let builder = lab.builder(PROGRAM).await;
    let word = format!("1000.{}", std::process::id());
    let request = lab.request(&[&format!("setsid sleep {word} & sleep {word}")]);
    let build = builder.submit(&may_build().await, &request).await.unwrap();
    eventually("it runs", || async { processes(&word) >= 2 }).await;
    builder.cancel(&may_build().await, &build.id).await.unwrap();
    assert_eq!(over(&builder, &build).await.state, BuildState::Cancelled);
    assert_eq!(processes(&word), 0, "{}", log(&builder, &build).await);
    assert!(log(&builder, &build).await.ends_with("== cancelled\n"));
}

#[tokio::test]
async fn a_host_that_lies_is_not_believed() {
    for (lie, said) in [
        (
            "printf x >\"$7/new\"; cat \"$7/package\" >>\"$7/new\"; mv \"$7/new\" \"$7/package\"",
            "its package is not",
        ),
        ("rm \"$7/provenance\"; printf '{}' >\"$7/provenance\"", "its provenance is not"),
        (
            "sed -i 's/cp input/cp other/' \"$7/report.json\"",
            "something else than it was asked for",
        ),
        ("printf x >\"$7/report.json\"", "its report cannot be read"),
        ("sed -i 's/\"format\":1/\"format\":9/' \"$7/report.json\"", "written in format 9"),
    ] {
        let lab = Lab::new();
        let builder = lab.builder(&lab.program_that(lie)).await;
        let build = built(&builder, &lab.request(&["cp input output"])).await;
        let failure = build.failure.unwrap();
        assert_eq!((build.state, failure.fault), (BuildState::Failed, BuildFault::HostUntrue));
        assert!(failure.message.contains(said), "{lie}: {}", failure.message);
        assert!(builder.open(&build.id, BuildOutput::Package).await.is_err());
    }
}

#[tokio::test]
async fn a_host_without_the_program_says_so() {
    let lab = Lab::new();
    let builder = lab.builder("no-such-program").await;
    let build = built(&builder, &lab.request(&["cp input output"])).await;
    let failure = build.failure.unwrap();
    assert_eq!((build.state, failure.fault), (BuildState::Failed, BuildFault::HostMissing));
    let wanted =
        "host `h1` cannot build (exit code 127): this host has no program `no-such-program`";
    assert!(failure.message.starts_with(wanted), "{}", failure.message);
}

/// The process that works on a build is gone, and another one goes on with the attempt that there is.
#[test]
fn a_build_goes_on_without_who_asked_for_it() {
    let lab = Lab::new();
    let first = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let build = first.block_on(async {
        let builder = lab.builder(PROGRAM).await;
        let request = lab.request(&["echo one", GO, "echo two", "cp input output"]);
        let build = builder.submit(&may_build().await, &request).await.unwrap();
        let printed = || async { log(&builder, &build).await.contains("\none\n") };
        eventually("it prints", printed).await;
        build
    });
    first.shutdown_background();
    let second = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    second.block_on(async {
        // Its configuration is another one meanwhile, which is for what comes.
        let builder = lab.builder("no-such-program").await;
        let taken_over = || async { builder.resume().await.unwrap() == 1 };
        eventually("the build is taken over", taken_over).await;
        lab.lets_go();
        let build = over(&builder, &build).await;
        let text = log(&builder, &build).await;
        assert_eq!(build.state, BuildState::Succeeded, "{build:?}\n{text}");
        assert_eq!(
            (text.matches("\none\n").count(), text.matches("\ntwo\n").count()),
            (1, 1),
            "{text}"
        );
    });
    let records = fs::read_dir(lab.host_builds().join("records")).unwrap().count();
    assert_eq!(records, 1, "it was built more than once");
}

/// What waits is placed as whoever asked for it said, by whoever takes it over; also where its process died after it had forgotten its host.
#[test]
fn what_waits_is_built_as_was_asked_for() {
    let lab = Lab::new();
    let first = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (running, waiting) = first.block_on(async {
        let builder = lab.builder(PROGRAM).await;
        let may = may_build().await;
        let slow = lab.request(&["echo one", GO, "cp input output"]);
        let running = builder.submit(&may, &slow).await.unwrap();
        let printed = || async { log(&builder, &running).await.contains("\none\n") };
        eventually("it prints", printed).await;
        let mut next = slow.clone();
        next.recipe.commands = vec!["cp input output".to_owned()];
        (running, builder.submit(&may, &next).await.unwrap())
    });
    first.shutdown_timeout(std::time::Duration::from_secs(5));
    let record = lab.dir.path().join(format!("remote/records/{}/build.json", waiting.id));
    let text = fs::read_to_string(&record).unwrap();
    assert!(text.contains("\"state\":\"queued\""), "{text}");
    fs::write(&record, text.replace("\"queued\"", "\"fetching\"")).unwrap();
    let second = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    second.block_on(async {
        let builder = lab.builder("no-such-program").await;
        assert_eq!(builder.resume().await.unwrap(), 2);
        lab.lets_go();
        for build in [&running, &waiting] {
            let build = over(&builder, build).await;
            let text = log(&builder, &build).await;
            assert_eq!(build.state, BuildState::Succeeded, "{build:?}\n{text}");
        }
    });
}
