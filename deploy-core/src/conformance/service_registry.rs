//! Cases for [`ServiceRegistry`](crate::backend::ServiceRegistry). They need no more than a [`Harness`](super::Harness).

/// One test for each case of [`ServiceRegistry`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! service_registry_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::service_registry_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(service_registry, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(service_registry, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(service_registry, $harness;); };
}
