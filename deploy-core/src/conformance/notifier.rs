//! Cases for [`Notifier`].
use super::Harness;
use crate::backend::{Notification, Notifier};

/// Sees what people are told.
pub trait NotifierHarness: Harness<dyn Notifier> {
    /// All that was delivered so far.
    fn delivered(&self, guard: &Self::Guard) -> impl Future<Output = Vec<Notification>> + Send;
}

/// One test for each case of [`Notifier`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! notifier_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::notifier_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(notifier, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(notifier, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(notifier, $harness;); };
}
