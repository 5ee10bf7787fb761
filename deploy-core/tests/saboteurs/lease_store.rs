use async_trait::async_trait;
use deploy_core::{
    backend::{AcquireLease, BackendError, BackendResult, ErrorKind, Lease, LeaseStore},
    conformance::{Harness, lease_store::LeaseStoreHarness, sample},
    memory::{ManualClock, MemoryLeaseStore},
};
use std::{sync::Arc, time::Duration};

sabotages! {
    BuriesTheLiving,
    CountsRenewals,
    ForgetsAtACrash,
    ForgetsEpochs,
    GivesToAnybody,
    GoesByAnotherClock,
    HidesTheHolder,
    IgnoresTheDead,
    IsAlone,
    ReleasesAnyLease,
    ShowsReleasedLeases,
}

type State = (Arc<ManualClock>, Arc<MemoryLeaseStore>);

saboteurs!(LeaseStore, State);

fn state(sabotage: Sabotage) -> State {
    let clock = Arc::new(ManualClock::at(sample::at(100)));
    let other = Arc::new(ManualClock::at(sample::at(100)));
    let store_clock = if sabotage == Sabotage::GoesByAnotherClock { other } else { clock.clone() };
    (clock, Arc::new(MemoryLeaseStore::new(store_clock)))
}

fn open(sabotage: Sabotage, (_, plain): &State) -> Arc<dyn LeaseStore> {
    Arc::new(Saboteur(plain.clone(), sabotage))
}

impl LeaseStoreHarness for Bad {
    async fn pass(&self, (clock, _): &State, by: Duration) {
        clock.advance(by);
    }
}

#[derive(Debug)]
struct Saboteur(Arc<MemoryLeaseStore>, Sabotage);

#[async_trait]
impl LeaseStore for Saboteur {
    async fn acquire(&self, request: &AcquireLease) -> BackendResult<Lease> {
        let Self(inner, sabotage) = self;
        let mut request = request.clone();
        let there = inner.current(&request.name).await?;
        match (sabotage, there) {
            (Sabotage::BuriesTheLiving, Some(there)) if request.dead.is_some() => {
                request.dead = Some(there.holder);
            }
            (Sabotage::CountsRenewals, Some(there)) if there.holder == request.holder => {
                inner.release(&there).await?;
            }
            (Sabotage::GivesToAnybody, Some(there)) => request.dead = Some(there.holder),
            (Sabotage::IgnoresTheDead, _) => request.dead = None,
            _ => {}
        }
        let mut lease = inner.acquire(&request).await.map_err(|err| match sabotage {
            Sabotage::HidesTheHolder => BackendError::new(ErrorKind::Conflict, "lease.acquire"),
            _ => err,
        })?;
        if *sabotage == Sabotage::ForgetsEpochs {
            lease.epoch = 1;
        }
        Ok(lease)
    }

    async fn release(&self, lease: &Lease) -> BackendResult<()> {
        match (self.1, self.0.current(&lease.name).await?) {
            (Sabotage::ReleasesAnyLease, Some(there)) => self.0.release(&there).await,
            _ => self.0.release(lease).await,
        }
    }

    async fn current(&self, name: &str) -> BackendResult<Option<Lease>> {
        let current = self.0.current(name).await?;
        if self.1 == Sabotage::ShowsReleasedLeases && current.is_none() {
            return Ok(Some(Lease::new(name, "nobody", 0, sample::at(0))));
        }
        Ok(current)
    }
}
