//! Cases for [`Scheduler`](crate::backend::Scheduler). They need no more than a [`Harness`](super::Harness).

/// One test for each case of [`Scheduler`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! scheduler_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::scheduler_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(scheduler, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(scheduler, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(scheduler, $harness;); };
}
