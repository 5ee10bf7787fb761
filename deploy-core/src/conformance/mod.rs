//! Proves a backend: one module a trait, one case a promise of its contract.
//!
//! Implement [`Harness`] (and what the trait's own module asks for beyond it), then let the macro of the trait make one
//! `#[test]` a case. Every test gets a fresh backend. A tier is run where it is named, and naming one that the harness does
//! not offer does not compile:
//!
//! | tier | needs | what is proved |
//! |---|---|---|
//! | `core` | [`Harness`] | every promise that one process can see |
//! | `durable` | [`DurableHarness`] | what was promised is there after a crash |
//! | `concurrent` | [`ConcurrentHarness`] | two handles on the same state do not break a promise |
//!
//! ```
//! use deploy_core::{backend::Journal, conformance::{Harness, journal::JournalHarness}, memory::MemoryJournal};
//! use std::sync::Arc;
//!
//! struct InMemory;
//!
//! impl Harness<dyn Journal> for InMemory {
//!     type Guard = ();
//!     async fn fresh(&self) -> (Arc<dyn Journal>, ()) {
//!         (Arc::new(MemoryJournal::new()), ())
//!     }
//! }
//!
//! impl JournalHarness for InMemory {}
//!
//! deploy_core::journal_conformance!(InMemory, core);
//! ```
//!
//! Cases are added in minor releases: for tests only.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed case panics, as tests do"
)]
pub mod agent_registry;
pub mod answer_store;
pub mod artifact_store;
pub mod authorizer;
pub mod builder;
pub mod clock;
pub mod credential_store;
pub mod executor;
pub mod host_inventory;
pub mod journal;
pub mod lease_store;
pub mod log_store;
pub mod notifier;
pub mod sample;
pub mod scheduler;
pub mod service_registry;

use crate::{
    access::{AccessRequest, Action, Decision, Permit, Resource},
    backend::{Authorizer, BackendResult, authorize},
    error::ErrorKind,
};
use async_trait::async_trait;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{sync::Barrier, task::JoinSet};

/// Makes fresh, empty backends.
///
/// ```
/// use deploy_core::{backend::HostInventory, conformance::Harness, memory::MemoryHostInventory};
/// use std::sync::Arc;
///
/// struct InMemory;
///
/// impl Harness<dyn HostInventory> for InMemory {
///     type Guard = ();
///
///     async fn fresh(&self) -> (Arc<dyn HostInventory>, ()) {
///         (Arc::new(MemoryHostInventory::new()), ())
///     }
/// }
///
/// deploy_core::host_inventory_conformance!(InMemory, core);
/// ```
pub trait Harness<T: ?Sized + Send + Sync>: Send + Sync {
    /// What has to live as long as the backend: a temporary folder, a server, the clock it goes by.
    type Guard: Send + Sync;

    /// Makes a backend that shares nothing with any other.
    fn fresh(&self) -> impl Future<Output = (Arc<T>, Self::Guard)> + Send;
}

/// Can crash a backend. Naming the tier `durable` asks for it.
///
/// ```
/// use deploy_core::{
///     backend::Executor,
///     conformance::{DurableHarness, Harness, executor::SimulatedHosts},
///     memory::{MemoryExecutor, SystemClock},
/// };
/// use std::sync::Arc;
///
/// struct InMemory;
///
/// impl Harness<dyn Executor> for InMemory {
///     type Guard = MemoryExecutor;
///
///     async fn fresh(&self) -> (Arc<dyn Executor>, MemoryExecutor) {
///         let hosts = MemoryExecutor::new(Arc::new(SystemClock::new()));
///         (Arc::new(hosts.clone()), hosts)
///     }
/// }
///
/// impl SimulatedHosts for InMemory {}
///
/// impl DurableHarness<dyn Executor> for InMemory {
///     async fn reopen(&self, executor: Arc<dyn Executor>, hosts: &MemoryExecutor) -> Arc<dyn Executor> {
///         drop(executor); // the hosts live on
///         Arc::new(hosts.clone())
///     }
/// }
///
/// deploy_core::executor_conformance!(InMemory, core, durable);
/// ```
pub trait DurableHarness<T: ?Sized + Send + Sync>: Harness<T> {
    /// Drops `backend` without closing it, as a crash of its process would, and opens what it left.
    fn reopen(&self, backend: Arc<T>, guard: &Self::Guard) -> impl Future<Output = Arc<T>> + Send;
}

/// Can open a backend a second time. Naming the tier `concurrent` asks for it.
///
/// ```
/// use deploy_core::{
///     backend::LogStore,
///     conformance::{ConcurrentHarness, Harness},
///     memory::MemoryLogStore,
/// };
/// use std::sync::Arc;
///
/// struct InMemory;
///
/// impl Harness<dyn LogStore> for InMemory {
///     type Guard = Arc<MemoryLogStore>;
///
///     async fn fresh(&self) -> (Arc<dyn LogStore>, Arc<MemoryLogStore>) {
///         let logs = Arc::new(MemoryLogStore::new());
///         (logs.clone(), logs)
///     }
/// }
///
/// impl ConcurrentHarness<dyn LogStore> for InMemory {
///     async fn another(&self, logs: &Arc<MemoryLogStore>) -> Arc<dyn LogStore> {
///         logs.clone()
///     }
/// }
///
/// deploy_core::log_store_conformance!(InMemory, core, concurrent);
/// ```
pub trait ConcurrentHarness<T: ?Sized + Send + Sync>: Harness<T> {
    /// A second handle on the same state, as another process would have it.
    fn another(&self, guard: &Self::Guard) -> impl Future<Output = Arc<T>> + Send;
}

/// Runs a case to its end on a runtime of its own with several threads, and fails it after two minutes.
pub fn run(case: impl Future<Output = ()>) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let limited = async { tokio::time::timeout(Duration::from_secs(120), case).await };
    assert!(runtime.unwrap().block_on(limited).is_ok(), "the case did not end within two minutes");
}

/// A permit for `action` on `resource`, for somebody who may do everything.
pub async fn permit(action: Action, resource: Resource) -> Permit {
    authorize(&Anybody, sample::principal("kit"), action, resource).await.unwrap()
}

#[derive(Debug)]
struct Anybody;

#[async_trait]
impl Authorizer for Anybody {
    async fn authorize(&self, _: &AccessRequest) -> BackendResult<Decision> {
        Ok(Decision::Allow(vec!["the kit may do everything".to_owned()]))
    }
}

/// Fails the case unless `result` is an error of the kind `want`.
#[track_caller]
fn refused<T: fmt::Debug>(result: BackendResult<T>, want: ErrorKind) {
    match result {
        Ok(value) => panic!("gave {value:?} where `{}` was due", want.as_str()),
        Err(err) => assert_eq!(err.kind(), want, "{}", err.chain()),
    }
}

/// Runs all of `tasks` at once, and gives what came of each.
async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    tasks: impl Iterator<Item = F> + Send,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.collect();
    let start = Arc::new(Barrier::new(tasks.len()));
    let racers = tasks.into_iter().map(|task| {
        let start = Arc::clone(&start);
        async move {
            start.wait().await;
            task.await
        }
    });
    racers.collect::<JoinSet<_>>().join_all().await
}

/// Waits until `predicate` holds; fails the case, or whatever test waits with it, after half a minute.
#[expect(clippy::disallowed_methods, reason = "cases wait on real hosts and real time")]
pub async fn eventually<F: Future<Output = bool> + Send>(
    what: &str,
    mut predicate: impl FnMut() -> F + Send,
) {
    for _ in 0..3_000 {
        if predicate().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited half a minute for this, and it did not come: {what}");
}

/// One `#[test]` for each case of a suite, so that a failure has a name.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_tests {
    ($suite:ident, $harness:expr; $($case:ident)*) => { $(
        #[test]
        fn $case() {
            $crate::conformance::run($crate::conformance::$suite::$case(&$harness));
        }
    )* };
}
