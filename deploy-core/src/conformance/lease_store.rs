//! Cases for [`LeaseStore`].
use super::{ConcurrentHarness, DurableHarness, Harness, race, refused};
use crate::{
    backend::{AcquireLease, Lease, LeaseStore},
    error::ErrorKind,
};
use std::{sync::Arc, time::Duration};

/// Can let time pass on the store's own clock.
///
/// ```
/// # use deploy_core::{backend::LeaseStore, conformance::Harness, memory::{ManualClock, MemoryLeaseStore}, time::Timestamp};
/// # use std::{sync::Arc, time::Duration};
/// use deploy_core::conformance::lease_store::LeaseStoreHarness;
/// # struct InMemory;
/// # impl Harness<dyn LeaseStore> for InMemory {
/// #     type Guard = Arc<ManualClock>;
/// #     async fn fresh(&self) -> (Arc<dyn LeaseStore>, Arc<ManualClock>) {
/// #         let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
/// #         (Arc::new(MemoryLeaseStore::new(clock.clone())), clock)
/// #     }
/// # }
///
/// impl LeaseStoreHarness for InMemory {
///     async fn pass(&self, clock: &Arc<ManualClock>, by: Duration) {
///         clock.advance(by);
///     }
/// }
///
/// deploy_core::lease_store_conformance!(InMemory, core);
/// ```
pub trait LeaseStoreHarness: Harness<dyn LeaseStore> {
    /// Lets at least `by` pass on the clock that the store goes by.
    fn pass(&self, guard: &Self::Guard, by: Duration) -> impl Future<Output = ()> + Send;
}

/// Long enough that a slow machine does not let it expire.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(200);

fn web(holder: &str, ttl: Duration) -> AcquireLease {
    AcquireLease::new("service/web", holder).with_ttl(ttl)
}

async fn acquire(leases: &Arc<dyn LeaseStore>, holder: &str, ttl: Duration) -> Lease {
    leases.acquire(&web(holder, ttl)).await.unwrap()
}

/// > `acquire` of a free or expired lease succeeds, with an epoch one higher than the last one.
pub async fn the_epoch_grows_with_every_owner<H: LeaseStoreHarness>(harness: &H) {
    let (leases, guard) = harness.fresh().await;
    let one = acquire(&leases, "ann", SHORT).await;
    assert_eq!((one.name.as_str(), one.holder.as_str()), ("service/web", "ann"));
    harness.pass(&guard, SHORT * 2).await;
    let two = acquire(&leases, "bob", SHORT).await;
    assert_eq!((two.holder.as_str(), two.epoch), ("bob", one.epoch + 1));
    harness.pass(&guard, SHORT * 2).await;
    let three = acquire(&leases, "bob", LONG).await;
    assert_eq!(three.epoch, two.epoch + 1, "who has lost a lease comes back under a new epoch");
    leases.release(&three).await.unwrap();
    assert_eq!(acquire(&leases, "bob", LONG).await.epoch, three.epoch + 1);
    let other = leases.acquire(&AcquireLease::new("service/db", "ann")).await.unwrap();
    assert_eq!(other.epoch, one.epoch, "each name counts its own epochs");
}

/// > `acquire` by the holder renews: the same epoch, a later end.
pub async fn the_holder_renews<H: LeaseStoreHarness>(harness: &H) {
    let (leases, guard) = harness.fresh().await;
    let one = acquire(&leases, "ann", LONG).await;
    harness.pass(&guard, Duration::from_millis(20)).await;
    let two = acquire(&leases, "ann", LONG).await;
    assert_eq!((two.epoch, two.holder.as_str()), (one.epoch, "ann"));
    assert!(two.expires_at > one.expires_at, "{} is not after {}", two.expires_at, one.expires_at);
    assert_eq!(leases.current("service/web").await.unwrap(), Some(two));
}

/// > `acquire` of what another holds is `Conflict` and names the holder
pub async fn another_holder_is_a_conflict<H: LeaseStoreHarness>(harness: &H) {
    let (leases, _guard) = harness.fresh().await;
    let mine = acquire(&leases, "ann-7f3", LONG).await;
    let err = leases.acquire(&web("bob", LONG)).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    assert!(err.to_string().contains("ann-7f3"), "`{err}` does not name the holder");
    assert_eq!(leases.current("service/web").await.unwrap(), Some(mine));
}

/// > unless `dead` names that very holder.
pub async fn the_lease_of_the_dead_is_free<H: LeaseStoreHarness>(harness: &H) {
    let (leases, _guard) = harness.fresh().await;
    let mine = acquire(&leases, "ann", LONG).await;
    let other = leases.acquire(&web("bob", LONG).with_dead("cleo")).await;
    refused(other, ErrorKind::Conflict);
    let theirs = leases.acquire(&web("bob", LONG).with_dead("ann")).await.unwrap();
    assert_eq!((theirs.holder.as_str(), theirs.epoch), ("bob", mine.epoch + 1));
    refused(leases.acquire(&web("ann", LONG)).await, ErrorKind::Conflict);
}

/// > Of any number of takers of a free lease, one wins.
pub async fn one_of_many_takers_wins<H: LeaseStoreHarness>(harness: &H) {
    let (leases, _guard) = harness.fresh().await;
    one_wins(&vec![leases; 8]).await;
}

async fn one_wins(handles: &[Arc<dyn LeaseStore>]) {
    let takers = handles.iter().enumerate().map(|(at, leases)| {
        let leases = Arc::clone(leases);
        async move { leases.acquire(&web(&format!("taker-{at}"), LONG)).await }
    });
    let mut won = Vec::new();
    for done in race(takers).await {
        match done {
            Ok(lease) => won.push(lease),
            Err(err) => assert_eq!(err.kind(), ErrorKind::Conflict, "{}", err.chain()),
        }
    }
    assert_eq!(won.len(), 1, "{} takers won", won.len());
    for leases in handles {
        assert_eq!(leases.current("service/web").await.unwrap().as_ref(), won.first());
    }
}

/// > `release` frees a lease of that holder and epoch; one that has moved on stays as it is, which is no error.
pub async fn release_frees_only_that_lease<H: LeaseStoreHarness>(harness: &H) {
    let (leases, _guard) = harness.fresh().await;
    let mine = acquire(&leases, "ann", LONG).await;
    leases.release(&mine).await.unwrap();
    leases.release(&mine).await.unwrap();
    let theirs = acquire(&leases, "bob", LONG).await;
    leases.release(&mine).await.unwrap();
    let old = Lease::new("service/web", "bob", mine.epoch, theirs.expires_at);
    leases.release(&old).await.unwrap();
    leases.release(&Lease::new("service/none", "bob", 1, theirs.expires_at)).await.unwrap();
    assert_eq!(leases.current("service/web").await.unwrap(), Some(theirs));
    refused(leases.acquire(&web("ann", LONG)).await, ErrorKind::Conflict);
}

/// > `current` gives the lease as it is, expired or not; `None` if it was never taken or was released.
pub async fn current_gives_the_lease_as_it_is<H: LeaseStoreHarness>(harness: &H) {
    let (leases, guard) = harness.fresh().await;
    assert_eq!(leases.current("service/web").await.unwrap(), None);
    let mine = acquire(&leases, "ann", SHORT).await;
    assert_eq!(leases.current("service/web").await.unwrap(), Some(mine.clone()));
    harness.pass(&guard, SHORT * 2).await;
    assert_eq!(leases.current("service/web").await.unwrap(), Some(mine.clone()));
    leases.release(&mine).await.unwrap();
    assert_eq!(leases.current("service/web").await.unwrap(), None);
}

/// > Expiry goes by the store's own clock.
pub async fn expiry_goes_by_the_clock_of_the_store<H: LeaseStoreHarness>(harness: &H) {
    let (leases, guard) = harness.fresh().await;
    let short = acquire(&leases, "ann", Duration::from_secs(1)).await;
    let long =
        leases.acquire(&AcquireLease::new("service/db", "ann").with_ttl(LONG)).await.unwrap();
    let apart = long.expires_at.since(short.expires_at);
    assert!(apart >= Duration::from_secs(59), "the leases end {apart:?} apart");
    refused(leases.acquire(&web("bob", LONG)).await, ErrorKind::Conflict);
    harness.pass(&guard, Duration::from_millis(1_100)).await;
    acquire(&leases, "bob", LONG).await;
    let db = leases.acquire(&AcquireLease::new("service/db", "bob")).await;
    refused(db, ErrorKind::Conflict);
}

/// > with an epoch one higher than the last one.
pub async fn a_lease_survives_a_crash<H: LeaseStoreHarness + DurableHarness<dyn LeaseStore>>(
    harness: &H,
) {
    let (leases, guard) = harness.fresh().await;
    let mine = acquire(&leases, "ann", LONG).await;
    let leases = harness.reopen(leases, &guard).await;
    assert_eq!(leases.current("service/web").await.unwrap(), Some(mine.clone()));
    refused(leases.acquire(&web("bob", LONG)).await, ErrorKind::Conflict);
    leases.release(&mine).await.unwrap();
    let leases = harness.reopen(leases, &guard).await;
    assert_eq!(acquire(&leases, "bob", LONG).await.epoch, mine.epoch + 1);
}

/// > Of any number of takers of a free lease, one wins.
pub async fn one_of_two_processes_wins<H: LeaseStoreHarness + ConcurrentHarness<dyn LeaseStore>>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    one_wins(&[&one, &two, &one, &two, &one, &two].map(Arc::clone)).await;
}

/// One test for each case of [`LeaseStore`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! lease_store_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::lease_store_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            lease_store, $harness;
            the_epoch_grows_with_every_owner
            the_holder_renews
            another_holder_is_a_conflict
            the_lease_of_the_dead_is_free
            one_of_many_takers_wins
            release_frees_only_that_lease
            current_gives_the_lease_as_it_is
            expiry_goes_by_the_clock_of_the_store
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            lease_store, $harness;
            a_lease_survives_a_crash
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            lease_store, $harness;
            one_of_two_processes_wins
        }
    };
}
