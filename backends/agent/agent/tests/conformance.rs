//! The conformance kit over the host side of an agent, with each kind of control groups that this machine has.
//!
//! As root the steps run as another account; as anybody else, as that.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod support;

use deploy_core::{
    backend::{Executor, HostRequest},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness,
        executor::{ExecutorHarness, ScriptedStep},
    },
    plan::PlannedRelease,
    spec::StepName,
};
use std::sync::Arc;
use support::Fixture;

/// A host in this process, whose control groups are of this kind.
struct Agent(&'static str);

impl Harness<dyn Executor> for Agent {
    type Guard = Fixture;

    async fn fresh(&self) -> (Arc<dyn Executor>, Fixture) {
        let fixture = Fixture::new(self.0).await;
        (fixture.executor(), fixture)
    }
}

impl DurableHarness<dyn Executor> for Agent {
    async fn reopen(&self, executor: Arc<dyn Executor>, guard: &Fixture) -> Arc<dyn Executor> {
        drop(executor);
        guard.reopen().await;
        guard.executor()
    }
}

impl ConcurrentHarness<dyn Executor> for Agent {
    async fn another(&self, guard: &Fixture) -> Arc<dyn Executor> {
        guard.executor()
    }
}

impl ExecutorHarness for Agent {
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
}

mod unified {
    deploy_core::executor_conformance!(super::Agent("unified"), core, durable, concurrent);
}

mod freezer {
    deploy_core::executor_conformance!(super::Agent("freezer"), core, durable, concurrent);
}

mod without_groups {
    deploy_core::executor_conformance!(super::Agent("none"), core, durable, concurrent);
}
