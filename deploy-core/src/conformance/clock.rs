//! Cases for [`Clock`].
use super::Harness;
use crate::backend::Clock;
use std::time::Duration;

/// Can let time pass.
pub trait ClockHarness: Harness<dyn Clock> {
    /// Lets at least `by` pass on the clock, with everything that waits for it woken.
    fn pass(&self, guard: &Self::Guard, by: Duration) -> impl Future<Output = ()> + Send;
}

/// One test for each case of [`Clock`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! clock_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::clock_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(clock, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(clock, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(clock, $harness;); };
}
