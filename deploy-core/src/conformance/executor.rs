//! Cases for [`Executor`].
use super::Harness;
use crate::{
    backend::{Executor, HostRequest, Resolution},
    plan::PlannedRelease,
    spec::{Step, StepName},
};

pub use crate::memory::Act;

/// Makes executors that reach a host of their own, and releases that behave as a case needs it.
///
/// A harness for real hosts turns [`ScriptedStep`]s into shell scripts of a descriptor; one for a simulated host simulates
/// them. All that steps leave behind for the harness to look at lies outside the service's own folder.
pub trait ExecutorHarness: Harness<dyn Executor> {
    /// A service on a host on which nothing was done yet. Always the same for one guard.
    fn on(&self, guard: &Self::Guard) -> HostRequest;

    /// A release without a package whose descriptor does this, made available to the executor.
    fn release(
        &self,
        guard: &Self::Guard,
        id: &str,
        steps: &[ScriptedStep],
    ) -> impl Future<Output = PlannedRelease> + Send;

    /// How often `step` was started on the host, by any attempt.
    fn runs(&self, guard: &Self::Guard, step: StepName) -> impl Future<Output = u32> + Send;

    /// Lets every step go on that is at [`Act::Block`] or comes to one.
    fn unblock(&self, guard: &Self::Guard) -> impl Future<Output = ()> + Send;

    /// How many processes that steps have started live on the host: the steps' own, and daemons.
    fn processes(&self, guard: &Self::Guard) -> impl Future<Output = usize> + Send;

    /// Cuts every connection to the host that is open now, where there is such a thing.
    fn cut(&self, _guard: &Self::Guard) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A step of a descriptor, and what its script does.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScriptedStep {
    /// The step.
    pub step: Step,
    /// What its script does, one after another, after it has counted its run. At their end it exits with 0.
    pub acts: Vec<Act>,
    /// What its read-only check says; `None` if it has none.
    pub check: Option<Resolution>,
}

impl ScriptedStep {
    /// The step `name`, which does this.
    #[must_use]
    pub fn new(name: StepName, acts: impl Into<Vec<Act>>) -> Self {
        Self {
            step: Step::new(name),
            acts: acts.into(),
            check: None,
        }
    }
}

/// One test for each case of [`Executor`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! executor_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::executor_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(executor, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(executor, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(executor, $harness;); };
}
