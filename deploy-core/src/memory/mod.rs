//! A strict in-memory reference of every backend trait: for tests, for demonstrations, and to compare a real backend with.
//!
//! Strict means that what a contract leaves open is refused rather than let through.
mod agent_registry;
mod answer_store;
mod artifact_store;
mod authorizer;
mod builder;
mod clock;
mod credential_store;
mod executor;
mod host_inventory;
mod journal;
mod lease_store;
mod log_store;
mod notifier;
mod scheduler;
mod service_registry;

pub use agent_registry::MemoryAgentRegistry;
pub use answer_store::MemoryAnswerStore;
pub use artifact_store::MemoryArtifactStore;
pub use authorizer::{MemoryAuthorizer, PrincipalPattern, Rule};
pub use builder::MemoryBuilder;
pub use clock::{ManualClock, SystemClock, TokioClock};
pub use credential_store::MemoryCredentialStore;
pub use executor::{Act, HostFaults, MemoryExecutor, Script};
pub use host_inventory::MemoryHostInventory;
pub use journal::MemoryJournal;
pub use lease_store::MemoryLeaseStore;
pub use log_store::MemoryLogStore;
pub use notifier::MemoryNotifier;
pub use scheduler::SpreadScheduler;
pub use service_registry::MemoryServiceRegistry;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mutex guards, also after a panic: every change under these locks is all or nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
