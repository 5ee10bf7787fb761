//! Cases for [`LeaseStore`].
use super::Harness;
use crate::backend::LeaseStore;
use std::time::Duration;

/// Can let time pass on the store's own clock.
pub trait LeaseStoreHarness: Harness<dyn LeaseStore> {
    /// Lets at least `by` pass on the clock that the store goes by.
    fn pass(&self, guard: &Self::Guard, by: Duration) -> impl Future<Output = ()> + Send;
}

/// One test for each case of [`LeaseStore`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! lease_store_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::lease_store_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(lease_store, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(lease_store, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(lease_store, $harness;); };
}
