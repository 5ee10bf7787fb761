//! Cases for [`ArtifactStore`].
use super::Harness;
use crate::{backend::ArtifactStore, digest::Digest};

/// Can damage what a store keeps.
pub trait ArtifactStoreHarness: Harness<dyn ArtifactStore> {
    /// Changes one byte of a stored artifact behind the store's back, and leaves its length as it is.
    fn rot(&self, guard: &Self::Guard, digest: &Digest) -> impl Future<Output = ()> + Send;
}

/// One test for each case of [`ArtifactStore`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! artifact_store_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::artifact_store_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(artifact_store, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(artifact_store, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(artifact_store, $harness;); };
}
