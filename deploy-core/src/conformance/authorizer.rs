//! Cases for [`Authorizer`].
use crate::{
    access::{Action, Resource},
    backend::Authorizer,
    id::Principal,
};
use std::sync::Arc;

/// Makes authorizers that go by given rules.
pub trait AuthorizerHarness: Send + Sync {
    /// What has to live as long as the authorizer.
    type Guard: Send + Sync;

    /// Makes an authorizer with these rules and no others.
    fn with_rules(
        &self,
        rules: &[GivenRule],
    ) -> impl Future<Output = (Arc<dyn Authorizer>, Self::Guard)> + Send;
}

/// A rule about exactly one principal, action and resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenRule {
    /// Whether it denies; else it allows.
    pub denies: bool,
    /// Whom it is about.
    pub principal: Principal,
    /// What it is about.
    pub action: Action,
    /// A service, or [`Resource::System`] for everything.
    pub resource: Resource,
}

/// One test for each case of [`Authorizer`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! authorizer_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::authorizer_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(authorizer, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(authorizer, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(authorizer, $harness;); };
}
