//! What is wrong on purpose, and has to be noticed.
use deploy_core::{
    plan::Plan,
    spec::{Budget, Confirm, Limit, Staging},
};
use std::time::Duration;

/// A machine, a driver or a host that does not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// All do what they should.
    None,
    BudgetOffByOne,
    ConfirmsUnasked,
    DecidesForTheHost,
    DispatchBeforeJournal,
    ForgetsTheTimer,
    ForgetsTheWayBack,
    ForgetsToAsk,
    ForgetsToRevert,
    ForgetsToStagger,
    ForgetsToStopStaging,
    ForgetsToWaitForStaging,
    ForgetsToWatch,
    ForgetsWindows,
    GivesUpEarly,
    NoFence,
    ProbeDoesNotFence,
    RetriesTooOften,
    RowOffByOne,
    RunsWhatIsStaged,
    StagesTooMany,
    TakesTwoVerdicts,
    TooManyAtOnce,
    TrustsThatItIsStaged,
    UnknownIsFailed,
    WaveOverlap,
}

impl Mutant {
    pub(crate) const ALL: [Self; 25] = [
        Self::BudgetOffByOne,
        Self::ConfirmsUnasked,
        Self::DecidesForTheHost,
        Self::DispatchBeforeJournal,
        Self::ForgetsTheTimer,
        Self::ForgetsTheWayBack,
        Self::ForgetsToAsk,
        Self::ForgetsToRevert,
        Self::ForgetsToStagger,
        Self::ForgetsToStopStaging,
        Self::ForgetsToWaitForStaging,
        Self::ForgetsToWatch,
        Self::ForgetsWindows,
        Self::GivesUpEarly,
        Self::NoFence,
        Self::ProbeDoesNotFence,
        Self::RetriesTooOften,
        Self::RowOffByOne,
        Self::RunsWhatIsStaged,
        Self::StagesTooMany,
        Self::TakesTwoVerdicts,
        Self::TooManyAtOnce,
        Self::TrustsThatItIsStaged,
        Self::UnknownIsFailed,
        Self::WaveOverlap,
    ];

    /// The plan that the machine is given instead of the one that the checker knows.
    pub(crate) fn plan(self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        let total = plan.target_count();
        let strategy = &mut plan.strategy;
        let budgets =
            [Some(&mut strategy.failure_budget.rollout), strategy.failure_budget.wave.as_mut()];
        match self {
            Self::BudgetOffByOne => budgets.into_iter().flatten().for_each(|it| raise(it, total)),
            Self::ForgetsToAsk => strategy.confirm = Confirm::Never,
            Self::ForgetsToStagger => strategy.stagger.fixed = Duration::ZERO,
            Self::ForgetsToWaitForStaging => {
                strategy.staging = strategy.staging.map(|it| Staging::new(it.max_parallel));
            }
            Self::ForgetsToWatch => strategy.bake_time = Duration::ZERO,
            Self::ForgetsWindows => strategy.schedule.windows.clear(),
            Self::GivesUpEarly => strategy.progress_deadline /= 2,
            Self::RetriesTooOften => strategy.retries.retries += 1,
            Self::RowOffByOne => budgets.into_iter().flatten().for_each(|it| {
                it.max_consecutive = it.max_consecutive.map(|it| Limit::Count(it.of(total) + 1));
            }),
            Self::StagesTooMany => strategy.staging = strategy.staging.map(|_| Staging::default()),
            Self::TooManyAtOnce => strategy.max_parallel = None,
            Self::WaveOverlap => overlap(&mut plan),
            Self::ConfirmsUnasked
            | Self::DecidesForTheHost
            | Self::DispatchBeforeJournal
            | Self::ForgetsTheTimer
            | Self::ForgetsTheWayBack
            | Self::ForgetsToRevert
            | Self::ForgetsToStopStaging
            | Self::NoFence
            | Self::None
            | Self::ProbeDoesNotFence
            | Self::RunsWhatIsStaged
            | Self::TakesTwoVerdicts
            | Self::TrustsThatItIsStaged
            | Self::UnknownIsFailed => {}
        }
        plan
    }
}

fn raise(budget: &mut Budget, total: u32) {
    for limit in [&mut budget.max_failed, &mut budget.max_timed_out, &mut budget.max_unreachable] {
        *limit = Limit::Count(limit.of(total) + 1);
    }
}

/// A target of the second wave goes with the first.
fn overlap(plan: &mut Plan) {
    if plan.waves.len() > 1 && plan.waves[1].len() > 1 {
        let early = plan.waves[1].remove(0);
        plan.waves[0].push(early);
    }
}
