//! Cases for [`HostInventory`](crate::backend::HostInventory). They need no more than a [`Harness`](super::Harness).

/// One test for each case of [`HostInventory`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! host_inventory_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::host_inventory_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(host_inventory, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(host_inventory, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(host_inventory, $harness;); };
}
