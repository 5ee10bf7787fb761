//! The conformance kit on real processes, over a session.
use crate::{
    executor_host::ExecutorHost,
    link::{Agent, Link, Served, h1},
};
use deploy_core::{
    backend::{Executor, HostRequest},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness,
        executor::{ExecutorHarness, ScriptedStep},
        sample,
    },
    host::{Connection, Host},
    memory::{MemoryArtifactStore, SystemClock},
    plan::PlannedRelease,
    spec::StepName,
};
use deploy_host::executor::ShellExecutor;
use deploy_local::LocalTransport;
use deploy_test_support::scripted::Traces;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A host with an agent, which is connected to a gateway.
struct ByAgent;

/// All that belongs to one host.
pub(crate) struct Fixture {
    dir: TempDir,
    store: Arc<MemoryArtifactStore>,
    served: Mutex<Arc<Served>>,
    link: Link,
    _agent: Agent,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(MemoryArtifactStore::new());
        let served = Arc::new(Served::new(Arc::clone(&store)).await);
        let link = Link::new(&served).await;
        let root = dir.path().join("root").to_str().unwrap().to_owned();
        let host = Host::new(h1(), Connection::Local { root });
        let on = HostRequest::new(host, sample::name("web"), sample::name("/srv/web"));
        let clock = Arc::new(SystemClock::new());
        let local = ShellExecutor::new(LocalTransport::new(), Arc::clone(&store) as _, clock);
        let agent = link.agent(Arc::new(ExecutorHost::new(Arc::new(local), on)), "boot 1");
        Self { dir, store, served: Mutex::new(served), link, _agent: agent }
    }

    fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.lock().unwrap())
    }

    fn traces(&self) -> Traces {
        Traces::of(self.dir.path())
    }
}

impl Harness<dyn Executor> for ByAgent {
    type Guard = Fixture;

    async fn fresh(&self) -> (Arc<dyn Executor>, Fixture) {
        let fixture = Fixture::new().await;
        (Arc::new(fixture.served().executor()), fixture)
    }
}

impl DurableHarness<dyn Executor> for ByAgent {
    async fn reopen(&self, executor: Arc<dyn Executor>, guard: &Fixture) -> Arc<dyn Executor> {
        drop(executor);
        let another = Arc::new(Served::new(Arc::clone(&guard.store)).await);
        guard.link.lead_to(&another);
        *guard.served.lock().unwrap() = another;
        self.another(guard).await
    }
}

impl ConcurrentHarness<dyn Executor> for ByAgent {
    async fn another(&self, guard: &Fixture) -> Arc<dyn Executor> {
        Arc::new(guard.served().executor())
    }
}

impl ExecutorHarness for ByAgent {
    fn on(&self, _: &Fixture) -> HostRequest {
        let host = Host::new(h1(), Connection::Agent);
        HostRequest::new(host, sample::name("web"), sample::name("/srv/web"))
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
        guard.link.cut();
    }
}

mod executor {
    deploy_core::executor_conformance!(super::ByAgent, core, durable, concurrent);
}
