use super::lock;
use crate::{
    backend::{AcquireLease, Clock, Lease, LeaseStore},
    error::{BackendError, BackendResult, ErrorKind},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Keeps leases in memory.
#[derive(Debug)]
pub struct MemoryLeaseStore {
    clock: Arc<dyn Clock>,
    slots: Mutex<BTreeMap<String, Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The last epoch there was, also when nobody holds the lease.
    epoch: u64,
    lease: Option<Lease>,
}

impl MemoryLeaseStore {
    /// A store without leases that goes by `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, slots: Mutex::default() }
    }
}

#[async_trait]
impl LeaseStore for MemoryLeaseStore {
    async fn acquire(&self, request: &AcquireLease) -> BackendResult<Lease> {
        check(request)?;
        let now = self.clock.now();
        let mut slots = lock(&self.slots);
        let slot = slots.entry(request.name.clone()).or_default();
        let mut end = now.after(request.ttl);
        match slot.lease.as_ref().filter(|it| it.expires_at > now) {
            Some(mine) if mine.holder == request.holder => end = end.max(mine.expires_at),
            Some(theirs) if request.dead.as_ref() != Some(&theirs.holder) => {
                return Err(BackendError::new(ErrorKind::Conflict, "lease.acquire")
                    .with("lease", &request.name)
                    .with("holder", &theirs.holder));
            }
            Some(_) | None => slot.epoch += 1,
        }
        let lease = Lease::new(&request.name, &request.holder, slot.epoch, end);
        slot.lease = Some(lease.clone());
        Ok(lease)
    }

    async fn release(&self, lease: &Lease) -> BackendResult<()> {
        if let Some(slot) = lock(&self.slots).get_mut(&lease.name) {
            let same = |it: &mut Lease| it.holder == lease.holder && it.epoch == lease.epoch;
            slot.lease.take_if(same);
        }
        Ok(())
    }

    async fn current(&self, name: &str) -> BackendResult<Option<Lease>> {
        Ok(lock(&self.slots).get(name).and_then(|it| it.lease.clone()))
    }
}

fn check(request: &AcquireLease) -> BackendResult<()> {
    let refused = |key, value: String| {
        Err(BackendError::new(ErrorKind::InvalidInput, "lease.acquire").with(key, value))
    };
    if request.name.is_empty() {
        return refused("name", String::new());
    }
    if request.holder.is_empty() {
        return refused("holder", String::new());
    }
    if request.ttl.is_zero() {
        return refused("ttl", "0s".to_owned());
    }
    Ok(())
}
