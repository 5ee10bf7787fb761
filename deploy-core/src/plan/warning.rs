//! What may not be as intended about a plan that can be carried out all the same.
use super::{OutReason, Plan, PlanInput, Work};
use crate::{
    id::{HostName, ReleaseId},
    spec::{Budget, Limit, Order},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

/// What was seen longer ago than this may well have changed.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Something about a plan that may not be as intended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "warning", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Warning {
    /// More than half of all targets are in the first wave.
    BigFirstWave {
        /// How many are.
        size: u32,
        /// How many there are.
        total: u32,
    },
    /// A share that was meant to allow something allows nothing.
    BudgetRoundsToZero {
        /// The name of the strategy's field.
        field: &'static str,
        /// What it says.
        limit: Limit,
        /// Of how many targets it is none.
        of: u32,
    },
    /// The first wave is too small to have a target of every stratum of a spread order.
    CanariesMissStrata {
        /// How many targets it has.
        size: u32,
        /// How many strata there are.
        strata: usize,
    },
    /// These hosts cannot fetch anything ahead of their attempts, and the strategy wants them to.
    CannotStage {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// Fewer hosts were found than the service wants.
    CountMissing {
        /// How many it wants.
        wanted: u32,
        /// How many there are.
        placed: usize,
    },
    /// Hosts that should go back are no longer in the inventory.
    Gone {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// No window ever opens.
    NeverAllowed,
    /// These hosts have no room for what they would get: as they are now, they refuse it.
    NoRoom {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// What these hosts run was never looked at.
    NotSeen {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// What these hosts run was looked at more than a day ago.
    SeenLongAgo {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// The service does not belong on these hosts, and they run it.
    StillRuns {
        /// Which.
        hosts: Vec<HostName>,
    },
    /// Hosts run a release that nobody can describe.
    Unregistered {
        /// Which release.
        release: ReleaseId,
        /// Which hosts.
        hosts: Vec<HostName>,
    },
}

impl Warning {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BigFirstWave { .. } => "big_first_wave",
            Self::BudgetRoundsToZero { .. } => "budget_rounds_to_zero",
            Self::CanariesMissStrata { .. } => "canaries_miss_strata",
            Self::CannotStage { .. } => "cannot_stage",
            Self::CountMissing { .. } => "count_missing",
            Self::Gone { .. } => "gone",
            Self::NeverAllowed => "never_allowed",
            Self::NoRoom { .. } => "no_room",
            Self::NotSeen { .. } => "not_seen",
            Self::SeenLongAgo { .. } => "seen_long_ago",
            Self::StillRuns { .. } => "still_runs",
            Self::Unregistered { .. } => "unregistered",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BigFirstWave { size, total } => {
                write!(f, "the first wave has {size} of {total} targets: begin with fewer")
            }
            Self::BudgetRoundsToZero { field, limit, of } => {
                write!(f, "`{field}` is {limit}, which of {of} targets is none")
            }
            Self::CanariesMissStrata { size, strata } => write!(
                f,
                "the first wave has {size} targets and cannot cover all {strata} values of the labels in `order`"
            ),
            Self::CannotStage { hosts } => write!(
                f,
                "`staging` needs an agent, and there is none on {}: packages get there with the attempts",
                Named(hosts)
            ),
            Self::CountMissing { wanted, placed } => {
                write!(f, "the service wants {wanted} hosts, and there are {placed} for it")
            }
            Self::Gone { hosts } => {
                write!(f, "{} should go back and left the inventory", Named(hosts))
            }
            Self::NeverAllowed => {
                f.write_str("windows and freezes leave no time to start within two years")
            }
            Self::NoRoom { hosts } => write!(
                f,
                "there is no room on {}: before anything is fetched, the attempt is refused unless room was made by then",
                Named(hosts)
            ),
            Self::NotSeen { hosts } => {
                write!(f, "nobody looked yet at what {} runs: taken for nothing", Named(hosts))
            }
            Self::SeenLongAgo { hosts } => {
                write!(
                    f,
                    "it is more than a day ago that anybody looked at what {} runs",
                    Named(hosts)
                )
            }
            Self::StillRuns { hosts } => write!(
                f,
                "the service does not belong on {}, which runs it and goes on running it",
                Named(hosts)
            ),
            Self::Unregistered { release, hosts } => write!(
                f,
                "{} runs `{release}`, which the registry does not know: going back takes the service off",
                Named(hosts)
            ),
        }
    }
}

/// Some hosts, the first three by name.
struct Named<'a>(&'a [HostName]);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        f.write_str(if self.0.len() == 1 { "host " } else { "each of the hosts " })?;
        for (at, host) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}`{host}`", if at == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// All there are about `plan`, which leaves `out` out and goes by labels that have `strata` values.
pub(super) fn of(
    input: &PlanInput,
    plan: &Plan,
    out: &[(HostName, OutReason)],
    strata: usize,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    warnings.extend(of_hosts(input, out));
    if input.work != Work::Run {
        warnings.extend(of_knowledge(input, plan));
    }
    warnings.extend(of_waves(plan, strata));
    warnings.extend(of_budget(plan));
    let schedule = &plan.strategy.schedule;
    warnings
        .extend(schedule.next_allowed(plan.created_at).is_none().then_some(Warning::NeverAllowed));
    warnings
}

fn of_hosts(input: &PlanInput, out: &[(HostName, OutReason)]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let (Work::Release, Some(wanted), Some(placed)) =
        (input.work, input.service.count, &input.placed)
        && placed.len() < usize::try_from(wanted.get()).unwrap_or(usize::MAX)
    {
        warnings.push(Warning::CountMissing { wanted: wanted.get(), placed: placed.len() });
    }
    let there: BTreeSet<&HostName> = input.hosts.iter().map(|it| &it.name).collect();
    let gone: Vec<HostName> =
        input.back_to.keys().filter(|it| !there.contains(it)).cloned().collect();
    if !gone.is_empty() {
        warnings.push(Warning::Gone { hosts: gone });
    }
    let runs = |host: &HostName| input.installed.get(host).is_some_and(|it| it.release.is_some());
    let stray: Vec<HostName> = match input.work {
        Work::Release => {
            out.iter().map(|(host, _)| host).filter(|host| runs(host)).cloned().collect()
        }
        Work::Rollback | Work::Run => Vec::new(),
    };
    if !stray.is_empty() {
        warnings.push(Warning::StillRuns { hosts: stray });
    }
    warnings
}

fn of_knowledge(input: &PlanInput, plan: &Plan) -> Vec<Warning> {
    let mut selected: Vec<&HostName> =
        plan.targets().map(|it| &it.host.name).chain(&plan.no_ops).collect();
    selected.sort_unstable();
    let (mut unseen, mut old) = (Vec::new(), Vec::new());
    for host in selected {
        match input.installed.get(host) {
            None => unseen.push(host.clone()),
            Some(seen) if input.created_at.since(seen.seen_at) > OLD => old.push(host.clone()),
            Some(_) => {}
        }
    }
    let mut unregistered: BTreeMap<&ReleaseId, Vec<HostName>> = BTreeMap::new();
    for target in plan.targets() {
        if let Some(release) = &target.unregistered {
            unregistered.entry(release).or_default().push(target.host.name.clone());
        }
    }
    let mut warnings = Vec::new();
    if !unseen.is_empty() {
        warnings.push(Warning::NotSeen { hosts: unseen });
    }
    if !old.is_empty() {
        warnings.push(Warning::SeenLongAgo { hosts: old });
    }
    warnings.extend(unregistered.into_iter().map(|(release, mut hosts)| {
        hosts.sort_unstable();
        Warning::Unregistered { release: release.clone(), hosts }
    }));
    warnings
}

fn of_waves(plan: &Plan, strata: usize) -> Vec<Warning> {
    let total = plan.target_count();
    let Some(first) = plan.waves.first() else {
        return Vec::new();
    };
    let size = u32::try_from(first.len()).unwrap_or(u32::MAX);
    let mut warnings = Vec::new();
    if total > 1 && size > total / 2 {
        warnings.push(Warning::BigFirstWave { size, total });
    }
    if matches!(plan.strategy.order, Order::Spread(_)) && first.len() < strata {
        warnings.push(Warning::CanariesMissStrata { size, strata });
    }
    warnings
}

/// Over all targets, and over the largest wave: what is none of that is none of any other.
fn of_budget(plan: &Plan) -> Vec<Warning> {
    let budget = &plan.strategy.failure_budget;
    let largest = plan.waves.iter().map(Vec::len).max().unwrap_or(0);
    let largest = u32::try_from(largest).unwrap_or(u32::MAX);
    let mut warnings = Vec::new();
    if largest > 0 {
        warnings.extend(rounded(&ROLLOUT_FIELDS, &budget.rollout, plan.target_count()));
        warnings.extend(budget.wave.iter().flat_map(|it| rounded(&WAVE_FIELDS, it, largest)));
    }
    warnings
}

const ROLLOUT_FIELDS: [&str; 5] = [
    "failure_budget.max_failed",
    "failure_budget.max_unreachable",
    "failure_budget.max_timed_out",
    "failure_budget.max_consecutive",
    "failure_budget.max_unknown",
];
const WAVE_FIELDS: [&str; 5] = [
    "failure_budget.wave.max_failed",
    "failure_budget.wave.max_unreachable",
    "failure_budget.wave.max_timed_out",
    "failure_budget.wave.max_consecutive",
    "failure_budget.wave.max_unknown",
];

fn rounded(fields: &[&'static str; 5], budget: &Budget, of: u32) -> Vec<Warning> {
    let limits = [
        Some(budget.max_failed),
        Some(budget.max_unreachable),
        Some(budget.max_timed_out),
        budget.max_consecutive,
        Some(budget.max_unknown),
    ];
    let given = fields.iter().zip(limits).filter_map(|(field, limit)| Some((*field, limit?)));
    given
        .filter(|(_, limit)| matches!(limit, Limit::Percent(1..)) && limit.of(of) == 0)
        .map(|(field, limit)| Warning::BudgetRoundsToZero { field, limit, of })
        .collect()
}
