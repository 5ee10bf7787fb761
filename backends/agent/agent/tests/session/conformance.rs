//! The conformance kit over a session, whose connection is cut and whose ends are started anew.
use crate::{
    link::{Agent, Link, Served, h1},
    support::{Fixture, scripts::eventually},
};
use deploy_core::{
    backend::{Executor, HostRequest},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness,
        executor::{ExecutorHarness, ScriptedStep},
    },
    host::{Connection, Host},
    plan::PlannedRelease,
    spec::StepName,
};
use std::sync::{Arc, Mutex};

/// A host with an agent, which is connected to a gateway.
struct Connected;

/// All that belongs to one host.
struct Lab {
    fixture: Fixture,
    served: Mutex<Arc<Served>>,
    link: Link,
    agent: Mutex<Agent>,
}

impl Lab {
    fn served(&self) -> Arc<Served> {
        Arc::clone(&self.served.lock().unwrap())
    }
}

impl Harness<dyn Executor> for Connected {
    type Guard = Lab;

    async fn fresh(&self) -> (Arc<dyn Executor>, Lab) {
        let fixture = Fixture::new("none").await;
        let served = Arc::new(Served::new(Arc::clone(&fixture.store)).await);
        let link = Link::new(&served).await;
        let agent = Mutex::new(link.agent(fixture.host(), "boot 1"));
        let executor = Arc::new(served.executor());
        // Nobody who asks for room waits for that.
        eventually("the agent is there", || served.gateway.connected() == [h1()]).await;
        (executor, Lab { fixture, served: Mutex::new(served), link, agent })
    }
}

impl DurableHarness<dyn Executor> for Connected {
    /// The server is another one, and the agent was killed and started again.
    async fn reopen(&self, executor: Arc<dyn Executor>, guard: &Lab) -> Arc<dyn Executor> {
        drop(executor);
        let another = Arc::new(Served::new(Arc::clone(&guard.fixture.store)).await);
        guard.link.lead_to(&another);
        *guard.served.lock().unwrap() = another;
        guard.fixture.reopen().await;
        *guard.agent.lock().unwrap() = guard.link.agent(guard.fixture.host(), "boot 1");
        self.another(guard).await
    }
}

impl ConcurrentHarness<dyn Executor> for Connected {
    async fn another(&self, guard: &Lab) -> Arc<dyn Executor> {
        Arc::new(guard.served().executor())
    }
}

impl ExecutorHarness for Connected {
    fn on(&self, guard: &Lab) -> HostRequest {
        let path = guard.fixture.dir.path().join("root/srv/web");
        let on = guard.fixture.on();
        let host = Host::new(h1(), Connection::Agent);
        HostRequest::new(host, on.service, path.to_str().unwrap().parse().unwrap())
            .with_account(on.account)
    }

    async fn release(&self, guard: &Lab, id: &str, steps: &[ScriptedStep]) -> PlannedRelease {
        guard.fixture.traces().release(&*guard.fixture.store, id, steps).await.unwrap()
    }

    async fn runs(&self, guard: &Lab, step: StepName) -> u32 {
        guard.fixture.traces().runs(step)
    }

    async fn unblock(&self, guard: &Lab) {
        guard.fixture.traces().unblock().unwrap();
    }

    async fn processes(&self, guard: &Lab) -> usize {
        guard.fixture.traces().processes().unwrap()
    }

    async fn cut(&self, guard: &Lab) {
        guard.link.cut();
    }
}

mod executor {
    deploy_core::executor_conformance!(super::Connected, core, durable, concurrent);
}
