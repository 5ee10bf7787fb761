//! The conformance kit of executors, over a real SSH server whose connections are cut.
use crate::support::options;
use deploy_core::{
    access::{Action, Resource},
    backend::{ArtifactKind, ArtifactStore, Executor, HostRequest, PutArtifact, Resolution},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness,
        executor::{Act, ExecutorHarness, ScriptedStep},
        permit, sample,
    },
    digest::Digest,
    host::{Connection, Host, SshConnection},
    memory::{MemoryArtifactStore, SystemClock},
    plan::PlannedRelease,
    spec::{ArtifactRef, Release, StepName},
};
use deploy_host::{
    archive::{Limits, PackedFile, pack_files},
    descriptor,
};
use deploy_ssh::{SshExecutor, SshTransport};
use deploy_test_support::sshd::Sshd;
use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

/// An SSH server, and what is to be installed.
struct Fixture {
    sshd: Sshd,
    store: Arc<MemoryArtifactStore>,
}

impl Fixture {
    fn executor(&self) -> Arc<SshExecutor> {
        let store: Arc<dyn ArtifactStore> = Arc::<MemoryArtifactStore>::clone(&self.store);
        let transport = SshTransport::new(options(&self.sshd));
        let executor = SshExecutor::new(transport, store, Arc::new(SystemClock::new()));
        Arc::new(executor.with_reconnect_for(Duration::from_secs(20)))
    }
}

struct Ssh;

impl Harness<dyn Executor> for Ssh {
    type Guard = Fixture;

    async fn fresh(&self) -> (Arc<dyn Executor>, Fixture) {
        let fixture = Fixture { sshd: Sshd::start().unwrap(), store: Arc::default() };
        (fixture.executor(), fixture)
    }
}

impl DurableHarness<dyn Executor> for Ssh {
    async fn reopen(&self, executor: Arc<dyn Executor>, guard: &Fixture) -> Arc<dyn Executor> {
        guard.sshd.cut_connections().unwrap();
        drop(executor);
        guard.executor()
    }
}

impl ConcurrentHarness<dyn Executor> for Ssh {
    async fn another(&self, guard: &Fixture) -> Arc<dyn Executor> {
        guard.executor()
    }
}

impl ExecutorHarness for Ssh {
    fn on(&self, guard: &Fixture) -> HostRequest {
        let connection = SshConnection::new()
            .with_address(guard.sshd.addresses()[0].to_string())
            .with_port(guard.sshd.port().unwrap())
            .with_root(guard.sshd.root(0).unwrap().to_str().unwrap());
        let host = Host::new(sample::name("h1"), Connection::Ssh(connection));
        HostRequest::new(host, sample::name("web"), "/srv/web".parse().unwrap())
    }

    async fn release(&self, guard: &Fixture, id: &str, steps: &[ScriptedStep]) -> PlannedRelease {
        let mark = guard.sshd.folder().to_str().unwrap();
        let packed = pack(steps, guard.sshd.folder());
        let bundle = descriptor::read(&packed).unwrap();
        let given = BTreeMap::from([("MARK".parse().unwrap(), mark.to_owned())]);
        let release = Release::new(
            sample::name(id),
            sample::name("web"),
            sample::name(id),
            put(&guard.store, &packed).await,
            bundle.descriptor.steps(),
            sample::at(0),
            sample::principal("kit"),
        )
        .with_parameters(bundle.descriptor.resolve(&given).unwrap());
        let mut release = PlannedRelease::from(&release);
        release.steps = steps.iter().map(|it| it.step.clone()).collect();
        release.steps.sort_by_key(|it| it.name);
        release
    }

    async fn runs(&self, guard: &Fixture, step: StepName) -> u32 {
        let runs = fs::read(guard.sshd.folder().join(format!("runs.{step}"))).unwrap_or_default();
        u32::try_from(runs.len()).unwrap()
    }

    async fn unblock(&self, guard: &Fixture) {
        fs::write(guard.sshd.folder().join("go"), "").unwrap();
    }

    /// Those whose environment holds the mark of this host: steps and all that they have started.
    async fn processes(&self, guard: &Fixture) -> usize {
        let mark = format!("P_MARK={}", guard.sshd.folder().display());
        let marked = |path: &Path| {
            let environ = fs::read(path.join("environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|it| it == mark.as_bytes())
        };
        fs::read_dir("/proc").unwrap().filter(|it| marked(&it.as_ref().unwrap().path())).count()
    }

    async fn cut(&self, guard: &Fixture) {
        guard.sshd.cut_connections().unwrap();
    }
}

async fn put(store: &MemoryArtifactStore, bytes: &[u8]) -> ArtifactRef {
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    let (service, id) = (sample::name("web"), sample::name(&digest.short()));
    let put = PutArtifact::new(digest, size, service, ArtifactKind::Descriptor, id, sample::at(0));
    let permit = permit(Action::ArtifactWrite, Resource::System).await;
    store.put(&permit, put, &mut &*bytes).await.unwrap();
    ArtifactRef::new(digest, size)
}

/// A descriptor whose steps do as `steps` say, and leave their traces in `outside`.
fn pack(steps: &[ScriptedStep], outside: &Path) -> Vec<u8> {
    let mut toml = "format = 1\n[parameters.MARK]\n".to_owned();
    let mut files = BTreeMap::new();
    for scripted in steps {
        let name = scripted.step.name;
        writeln!(toml, "[steps.{name}]\nscript = '{name}.sh'").unwrap();
        files.insert(format!("{name}.sh"), script(scripted, outside));
        if let Some(check) = scripted.check {
            writeln!(toml, "effect = 'check'\ncheck = '{name}.check.sh'").unwrap();
            files.insert(format!("{name}.check.sh"), format!("exit {}\n", code(check)));
        }
    }
    let scripted = |name| steps.iter().any(|it| it.step.name == name);
    for name in [StepName::Fetch, StepName::Install, StepName::Rollback] {
        if !scripted(StepName::Run) && !scripted(name) {
            writeln!(toml, "[steps.{name}]\nenabled = false").unwrap();
        }
    }
    files.insert("descriptor.toml".into(), toml);
    let files = files.iter().map(|(path, text)| PackedFile {
        path,
        executable: path.ends_with(".sh"),
        bytes: text.as_bytes(),
    });
    pack_files(files, Limits::PACKAGE, Vec::new()).unwrap()
}

fn code(check: Resolution) -> u8 {
    match check {
        Resolution::CannotTell => 3,
        Resolution::Done => 0,
        Resolution::NotDone => 1,
    }
}

fn script(scripted: &ScriptedStep, outside: &Path) -> String {
    let outside = outside.display();
    let mut text = format!("printf x >>'{outside}/runs.{}'\n", scripted.step.name);
    for act in &scripted.acts {
        match act {
            Act::Activate => text.push_str(
                "mkdir -p \"$DEPLOY_RELEASE_DIR\"\nln -sfn \"releases/$DEPLOY_RELEASE\" \"$DEPLOY_PATH/new\"\n\
                 mv -T \"$DEPLOY_PATH/new\" \"$DEPLOY_PATH/current\"\n",
            ),
            // Not for ever: a test that fails does not come to unblock it.
            Act::Block => writeln!(
                text,
                "n=0\nwhile [ ! -e '{outside}/go' ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n + 1)); done"
            )
            .unwrap(),
            Act::Exit(code) => writeln!(text, "exit {code}").unwrap(),
            Act::IgnoreTerm => text.push_str("trap '' TERM\n"),
            Act::LeaveDaemon => text.push_str("setsid sleep 60 </dev/null >/dev/null 2>&1 &\n"),
            Act::Print(bytes) => {
                for piece in bytes.chunks(1_000) {
                    let octal: String = piece.iter().map(|b| format!("\\{b:03o}")).collect();
                    writeln!(text, "printf '{octal}'").unwrap();
                }
            }
        }
    }
    text
}

mod executor {
    deploy_core::executor_conformance!(super::Ssh, core, durable, concurrent);
}
