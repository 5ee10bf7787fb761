//! The conformance kit on real processes of this machine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
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
use std::{sync::Arc, time::Duration};
use support::Fixture;

/// A host that is a folder, reached over connections that can be cut.
struct Local;

impl Harness<dyn Executor> for Local {
    type Guard = Fixture;

    async fn fresh(&self) -> (Arc<dyn Executor>, Fixture) {
        let fixture = Fixture::new();
        (Arc::<_>::clone(&fixture.executor) as _, fixture)
    }
}

impl DurableHarness<dyn Executor> for Local {
    async fn reopen(&self, executor: Arc<dyn Executor>, guard: &Fixture) -> Arc<dyn Executor> {
        guard.scissors.cut();
        drop(executor);
        self.another(guard).await
    }
}

impl ConcurrentHarness<dyn Executor> for Local {
    async fn another(&self, guard: &Fixture) -> Arc<dyn Executor> {
        Arc::new(guard.new_executor(Duration::from_secs(20)))
    }
}

impl ExecutorHarness for Local {
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
        guard.scissors.cut();
    }
}

mod executor {
    deploy_core::executor_conformance!(super::Local, core, durable, concurrent);
}
