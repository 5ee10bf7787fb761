use crate::support::lock;
use async_trait::async_trait;
use deploy_core::backend::{
    AcquireLease, BackendError, BackendResult, Clock, ErrorKind, Lease, LeaseStore,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

/// Keeps the newest lease of each name, and whether it was given up.
#[derive(Debug)]
pub(crate) struct MapLeases {
    clock: Arc<dyn Clock>,
    leases: Mutex<BTreeMap<String, (Lease, bool)>>,
}

impl MapLeases {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, leases: Mutex::default() }
    }
}

#[async_trait]
impl LeaseStore for MapLeases {
    async fn acquire(&self, request: &AcquireLease) -> BackendResult<Lease> {
        let now = self.clock.now();
        let mut leases = lock(&self.leases);
        let newest = leases.get(&request.name);
        let mut end = now.after(request.ttl);
        let mut epoch = newest.map_or(0, |it| it.0.epoch);
        match newest {
            Some((held, false)) if held.expires_at > now => {
                if held.holder == request.holder {
                    end = end.max(held.expires_at);
                } else if request.dead.as_ref() == Some(&held.holder) {
                    epoch += 1;
                } else {
                    return Err(BackendError::new(ErrorKind::Conflict, "lease.acquire")
                        .with("lease", &request.name)
                        .with("holder", &held.holder));
                }
            }
            Some(_) | None => epoch += 1,
        }
        let lease = Lease::new(&request.name, &request.holder, epoch, end);
        leases.insert(request.name.clone(), (lease.clone(), false));
        Ok(lease)
    }

    async fn release(&self, lease: &Lease) -> BackendResult<()> {
        if let Some((held, is_free)) = lock(&self.leases).get_mut(&lease.name) {
            *is_free |= (&held.holder, held.epoch) == (&lease.holder, lease.epoch);
        }
        Ok(())
    }

    async fn current(&self, name: &str) -> BackendResult<Option<Lease>> {
        let held = lock(&self.leases).get(name).filter(|it| !it.1).map(|it| it.0.clone());
        Ok(held)
    }
}
