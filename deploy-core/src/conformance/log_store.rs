//! Cases for [`LogStore`](crate::backend::LogStore). They need no more than a [`Harness`](super::Harness).

/// One test for each case of [`LogStore`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! log_store_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::log_store_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(log_store, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(log_store, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(log_store, $harness;); };
}
