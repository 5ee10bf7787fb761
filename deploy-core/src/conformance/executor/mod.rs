//! Cases for [`Executor`].
mod collect;
mod confirm;
mod control;
mod room;
mod run;
mod scene;
mod stage;

use super::{Harness, sample};
use crate::{
    backend::{Executor, HostRequest, Resolution},
    id::ReleaseId,
    memory::{HostFaults, MemoryExecutor, Script},
    plan::PlannedRelease,
    spec::{Effect, Step, StepName},
};
use std::time::Duration;

pub use crate::memory::Act;
pub use collect::*;
pub use confirm::*;
pub use control::*;
pub use room::*;
pub use run::*;
pub use stage::*;

/// Makes executors that reach a host of their own, and releases that behave as a case needs it.
///
/// A harness for real hosts turns [`ScriptedStep`]s into shell scripts of a descriptor; one for a simulated host simulates
/// them. All that steps leave behind for the harness to look at lies outside the service's own folder.
///
/// ```
/// # use deploy_core::{
/// #     backend::{Executor, HostRequest}, conformance::{Harness, executor::planned, sample},
/// #     memory::{MemoryExecutor, SystemClock}, plan::PlannedRelease, spec::StepName,
/// # };
/// # use std::sync::Arc;
/// use deploy_core::conformance::executor::{ExecutorHarness, ScriptedStep};
/// # struct Mine;
/// # impl Harness<dyn Executor> for Mine {
/// #     type Guard = MemoryExecutor;
/// #     async fn fresh(&self) -> (Arc<dyn Executor>, MemoryExecutor) {
/// #         let hosts = MemoryExecutor::new(Arc::new(SystemClock::new()));
/// #         (Arc::new(hosts.clone()), hosts)
/// #     }
/// # }
///
/// impl ExecutorHarness for Mine {
///     fn on(&self, _hosts: &MemoryExecutor) -> HostRequest {
///         HostRequest::new(sample::host("h1"), sample::name("web"), sample::name("/srv/web"))
///     }
///
///     async fn release(&self, hosts: &MemoryExecutor, id: &str, steps: &[ScriptedStep]) -> PlannedRelease {
///         for step in steps {
///             hosts.script(step.script(sample::name(id)));
///         }
///         planned(id, steps)
///     }
///
///     async fn runs(&self, hosts: &MemoryExecutor, step: StepName) -> u32 {
///         hosts.runs(&sample::name("h1"), step)
///     }
///
///     async fn unblock(&self, hosts: &MemoryExecutor) {
///         hosts.unblock();
///     }
///
///     async fn processes(&self, hosts: &MemoryExecutor) -> usize {
///         hosts.processes(&sample::name("h1"))
///     }
/// }
///
/// deploy_core::executor_conformance!(Mine, core);
/// ```
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

    /// Leaves no room on the host for anything more, and says whether that can be done.
    fn fill(&self, _guard: &Self::Guard) -> impl Future<Output = bool> + Send {
        async { false }
    }

    /// Cuts every connection to the host that is open now, where there is such a thing.
    fn cut(&self, _guard: &Self::Guard) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// A harness of executors that reach the simulated hosts of a [`MemoryExecutor`], such as something around one. It is an
/// [`ExecutorHarness`] and has no more to say.
///
/// ```
/// use deploy_core::{
///     backend::Executor,
///     conformance::{Harness, executor::SimulatedHosts},
///     layer::{Layered, LimitLayer},
///     memory::{MemoryExecutor, SystemClock},
/// };
/// use std::{num::NonZeroUsize, sync::Arc};
///
/// struct Limited;
///
/// impl Harness<dyn Executor> for Limited {
///     type Guard = MemoryExecutor;
///
///     async fn fresh(&self) -> (Arc<dyn Executor>, MemoryExecutor) {
///         let hosts = MemoryExecutor::new(Arc::new(SystemClock::new()));
///         (Arc::new(Layered::new(hosts.clone(), LimitLayer::new(NonZeroUsize::MIN))), hosts)
///     }
/// }
///
/// impl SimulatedHosts for Limited {}
///
/// deploy_core::executor_conformance!(Limited, core);
/// ```
pub trait SimulatedHosts: Harness<dyn Executor, Guard = MemoryExecutor> {}

impl<H: SimulatedHosts> ExecutorHarness for H {
    fn on(&self, _: &MemoryExecutor) -> HostRequest {
        HostRequest::new(sample::host(SIMULATED), sample::name("web"), sample::name("/srv/web"))
    }

    async fn release(
        &self,
        hosts: &MemoryExecutor,
        id: &str,
        steps: &[ScriptedStep],
    ) -> PlannedRelease {
        steps.iter().for_each(|it| hosts.script(it.script(sample::name(id))));
        planned(id, steps)
    }

    async fn runs(&self, hosts: &MemoryExecutor, step: StepName) -> u32 {
        hosts.runs(&sample::name(SIMULATED), step)
    }

    async fn unblock(&self, hosts: &MemoryExecutor) {
        hosts.unblock();
    }

    async fn processes(&self, hosts: &MemoryExecutor) -> usize {
        hosts.processes(&sample::name(SIMULATED))
    }

    async fn fill(&self, hosts: &MemoryExecutor) -> bool {
        hosts.set_faults(&sample::name(SIMULATED), HostFaults::new().with_full());
        true
    }

    async fn cut(&self, hosts: &MemoryExecutor) {
        hosts.cut(&sample::name(SIMULATED));
    }
}

/// The simulated host that cases use.
const SIMULATED: &str = "h1";

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
        Self { step: Step::new(name), acts: acts.into(), check: None }
    }

    /// That may take `timeout`.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.step.timeout = timeout;
        self
    }

    /// Whose read-only check says `check`.
    #[must_use]
    pub const fn with_check(mut self, check: Resolution) -> Self {
        self.step.effect = Effect::Check;
        self.check = Some(check);
        self
    }

    /// As a simulated host plays it for the release `id`.
    #[must_use]
    pub fn script(&self, id: ReleaseId) -> Script {
        let script = Script::new(self.step.name, self.acts.clone()).of_release(id);
        match self.check {
            Some(check) => script.with_check(check),
            None => script,
        }
    }
}

/// The release `id` that consists of `steps`, for a harness whose hosts need no descriptor.
#[must_use]
pub fn planned(id: &str, steps: &[ScriptedStep]) -> PlannedRelease {
    let mut release = sample::release("web", id, sample::at(1));
    release.steps = steps.iter().map(|it| it.step.clone()).collect();
    PlannedRelease::from(&release)
}

/// One test for each case of [`Executor`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! executor_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::executor_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            executor, $harness;
            run_starts_an_attempt_at_most_once
            many_callers_share_an_attempt
            attaching_delivers_from_an_offset
            an_older_generation_is_fenced
            of_racing_starts_one_takes_place
            one_attempt_at_a_time
            steps_run_in_order
            a_step_that_fails_ends_the_attempt
            an_attempt_begins_at_its_first_step
            the_log_is_exact
            the_log_survives_a_cut
            what_is_refused_starts_nothing
            an_attempt_outlives_its_caller
            what_never_started_never_will
            probe_leaves_an_attempt_alone
            kill_leaves_no_process
            kill_ends_what_ignores_term
            kill_keeps_an_attempt_from_starting
            a_step_has_a_time_limit
            looking_changes_nothing
            check_tells_ill_from_healthy
            resolve_asks_the_step
            results_are_kept
            what_is_confirmed_stays
            what_nobody_confirms_goes_back
            nothing_is_confirmed_in_advance
            kill_takes_back_what_waits
            a_way_back_that_fails_is_told
            a_host_has_one_verdict
            hosts_that_stay_say_so
            what_is_staged_does_not_run
            what_is_there_is_not_fetched_again
            hosts_that_stage_nothing_say_so
            asking_for_room_takes_none
            what_has_no_room_is_refused
            hosts_that_tell_no_room_say_so
            what_steps_leave_is_collected
            what_was_not_left_is_not_found
            hosts_that_give_nothing_back_say_so
            capabilities_tell_the_truth
            reaching_a_host_takes_a_permit
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            executor, $harness;
            an_attempt_outlives_the_executor
            a_host_waits_without_an_executor
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            executor, $harness;
            two_processes_start_an_attempt_once
        }
    };
}
