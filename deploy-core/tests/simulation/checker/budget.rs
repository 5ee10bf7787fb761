//! The failure budget, counted anew at every fact.
use super::{Checker, Hold, Last};
use deploy_core::{
    id::HostName,
    rollout::BudgetColumn,
    spec::{Budget, Direction, OnFailure},
};

/// The hosts that ended badly one after another, and their waves.
#[derive(Debug, Default)]
pub(super) struct Row(Vec<(HostName, u32)>);

impl Row {
    fn len(&self, wave: Option<u32>) -> usize {
        self.0.iter().filter(|(_, of)| wave.is_none_or(|it| it == *of)).count()
    }
}

impl Checker {
    /// Whether the budget is used up now that `host` is at `last`; then something has to follow before anything starts.
    pub(super) fn weigh(&mut self, host: &HostName, last: Last) {
        let wave = self.wave_of[host];
        self.row.0.retain(|(it, _)| it != host);
        match last {
            Last::Failed(_) => self.row.0.push((host.clone(), wave)),
            Last::Succeeded => self.row.0.clear(),
            Last::InFlight(_) | Last::Open | Last::Settled => {}
        }
        let stops = self.direction == Direction::Forward && !self.aborting;
        let pauses = self.plan.strategy.on_failure == OnFailure::Pause;
        if !matches!(last, Last::Failed(_)) || !stops || self.hold == Hold::ByBudget && pauses {
            return;
        }
        let budget = &self.plan.strategy.failure_budget;
        let of_rollout = self.over(&budget.rollout, None);
        let of_wave = budget.wave.as_ref().and_then(|it| self.over(it, Some(wave)));
        self.unanswered = of_rollout.or(of_wave).or_else(|| self.unanswered.take());
    }

    fn over(&self, budget: &Budget, wave: Option<u32>) -> Option<String> {
        let hosts = || self.wave_of.iter().filter(|(_, of)| wave.is_none_or(|it| it == **of));
        let total = u32::try_from(hosts().count()).unwrap();
        let count = |column: BudgetColumn| {
            let is_it = |host: &HostName| {
                self.last.get(&(Direction::Forward, host.clone())) == Some(&Last::Failed(column))
            };
            hosts().filter(|(host, _)| is_it(host)).count()
        };
        let columns = [
            (BudgetColumn::Failed, Some(budget.max_failed)),
            (BudgetColumn::TimedOut, Some(budget.max_timed_out)),
            (BudgetColumn::Unknown, Some(budget.max_unknown)),
            (BudgetColumn::Unreachable, Some(budget.max_unreachable)),
            (BudgetColumn::Consecutive, budget.max_consecutive),
        ];
        columns.into_iter().find_map(|(column, limit)| {
            let row = column == BudgetColumn::Consecutive;
            let count = if row { self.row.len(wave) } else { count(column) };
            let limit = usize::try_from(limit?.of(total)).unwrap();
            let name = column.as_str();
            (count > limit).then(|| format!("{name} is {count}, and {limit} are allowed"))
        })
    }
}
