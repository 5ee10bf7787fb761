//! The conformance kit of executors, over a real SSH server whose connections are cut.
use crate::support::options;
use deploy_core::{
    backend::{ArtifactStore, Executor, HostRequest},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness,
        executor::{ExecutorHarness, ScriptedStep},
        sample,
    },
    host::{Connection, Host, SshConnection},
    memory::{MemoryArtifactStore, SystemClock},
    plan::PlannedRelease,
    spec::StepName,
};
use deploy_ssh::{SshExecutor, SshTransport};
use deploy_test_support::{scripted::Traces, sshd::Sshd};
use std::{sync::Arc, time::Duration};

/// An SSH server, and what is to be installed.
pub(crate) struct Fixture {
    pub(crate) sshd: Sshd,
    pub(crate) store: Arc<MemoryArtifactStore>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self { sshd: Sshd::start().unwrap(), store: Arc::default() }
    }

    pub(crate) fn executor(&self) -> Arc<SshExecutor> {
        let store: Arc<dyn ArtifactStore> = Arc::<MemoryArtifactStore>::clone(&self.store);
        let transport = SshTransport::new(options(&self.sshd));
        let executor = SshExecutor::new(transport, store, Arc::new(SystemClock::new()));
        Arc::new(executor.with_reconnect_for(Duration::from_secs(20)))
    }

    pub(crate) fn on(&self) -> HostRequest {
        let connection = SshConnection::new()
            .with_address(self.sshd.addresses()[0].to_string())
            .with_port(self.sshd.port().unwrap())
            .with_root(self.sshd.root(0).unwrap().to_str().unwrap());
        let host = Host::new(sample::name("h1"), Connection::Ssh(connection));
        HostRequest::new(host, sample::name("web"), "/srv/web".parse().unwrap())
    }

    fn traces(&self) -> Traces {
        Traces::of(self.sshd.folder())
    }
}

struct Ssh;

impl Harness<dyn Executor> for Ssh {
    type Guard = Fixture;

    async fn fresh(&self) -> (Arc<dyn Executor>, Fixture) {
        let fixture = Fixture::new();
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
        guard.on()
    }

    async fn release(&self, guard: &Fixture, id: &str, steps: &[ScriptedStep]) -> PlannedRelease {
        guard.traces().release(&*guard.store, id, steps).await.unwrap()
    }

    async fn runs(&self, guard: &Fixture, step: StepName) -> u32 {
        guard.traces().runs(step)
    }

    async fn unblock(&self, guard: &Fixture) {
        guard.traces().unblock().unwrap();
    }

    async fn processes(&self, guard: &Fixture) -> usize {
        guard.traces().processes().unwrap()
    }

    async fn cut(&self, guard: &Fixture) {
        guard.sshd.cut_connections().unwrap();
    }
}

mod executor {
    deploy_core::executor_conformance!(super::Ssh, core, durable, concurrent);
}
