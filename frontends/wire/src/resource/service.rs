use super::{BuildSpec, millis};
use deploy_core::spec;
use serde::{Deserialize, Serialize};

/// A service: `service apply` and `service show` print one, `service list` and `service history` a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Who answers for it.
    pub owner: String,
    /// Where it lies on hosts.
    pub deploy_path: String,
    /// The account its steps run as.
    pub account: Option<String>,
    /// Which hosts it belongs on.
    pub selector: String,
    /// On how many of them; null is all.
    pub count: Option<u32>,
    /// How a rollout goes.
    pub strategy: Strategy,
    /// What is made good after a rollout.
    #[serde(default)]
    pub repair: Repair,
    /// How it is built; left out if that happens elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildSpec>,
    /// Counts the changes of the service.
    pub revision: u64,
}

impl Service {
    /// `service` at `revision`.
    #[must_use]
    pub fn new(service: &spec::Service, revision: u64) -> Self {
        Self {
            name: service.name.to_string(),
            owner: service.owner.to_string(),
            deploy_path: service.deploy_path.to_string(),
            account: service.account.as_ref().map(ToString::to_string),
            selector: service.selector.to_string(),
            count: service.count.map(Into::into),
            strategy: Strategy::from(&service.strategy),
            repair: Repair::from(&service.repair),
            build: service.build.as_ref().map(BuildSpec::from),
            revision,
        }
    }
}

/// How a rollout goes. `docs/files.md` says what each field means. What is left out is as it is without a strategy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Strategy {
    /// The wave expressions.
    pub waves: Vec<String>,
    /// How many targets of a wave are worked on at a time; null is the whole wave.
    pub max_parallel: Option<u32>,
    /// How hosts fetch what they are to run before their waves begin; left out if they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub staging: Option<Staging>,
    /// `never`, `after_first` or `every_wave`.
    pub confirm: String,
    /// How long a finished wave is watched.
    pub bake_time_ms: u64,
    /// How long `verify` has to pass on end.
    pub min_healthy_time_ms: u64,
    /// How long a host has to get there.
    pub healthy_deadline_ms: u64,
    /// How often a host is checked while its wave is watched.
    pub check_interval_ms: u64,
    /// How long a healthy host waits to be confirmed before it goes back by itself; left out if it need not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirm_timeout_ms: Option<u64>,
    /// How long a rollout may go without any target succeeding.
    pub progress_deadline_ms: u64,
    /// How much may go wrong.
    pub failure_budget: FailureBudget,
    /// `pause`, `rollback` or `abort`.
    pub on_failure: String,
    /// How often a step is tried again.
    pub retries: Retries,
    /// How targets follow one another.
    pub order: Order,
    /// The wait between two starts.
    pub stagger: Stagger,
    /// When a start is allowed; always if empty.
    pub windows: Vec<String>,
    /// When no start is allowed.
    pub freezes: Vec<String>,
}

/// What is made good after a rollout, without anybody asking. `docs/repair.md` says how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Repair {
    /// How long hosts that a rollout left behind get the release by themselves; null is not at all.
    pub debt_ms: Option<u64>,
    /// What follows when a host runs something else: `report` or `repair`.
    pub drift: String,
}

/// How much may go wrong: counts such as `3`, or shares such as `10%`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct FailureBudget {
    /// Over the whole rollout.
    pub rollout: Budget,
    /// Over each wave, if that is limited apart.
    pub wave: Option<Budget>,
}

/// How many targets may end in each way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Budget {
    /// Whose steps failed.
    pub max_failed: String,
    /// That could not be reached.
    pub max_unreachable: String,
    /// Whose steps took too long.
    pub max_timed_out: String,
    /// That failed in any way one after another; null is no limit.
    pub max_consecutive: Option<String>,
    /// Whose outcome nobody knows.
    pub max_unknown: String,
}

/// How often a step is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Retries {
    /// Tries after the first.
    pub retries: u32,
    /// The wait before the first of them.
    pub backoff_ms: u64,
    /// The longest wait.
    pub max_backoff_ms: u64,
}

/// How targets follow one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Order {
    /// `name`, `group` or `spread`.
    pub by: String,
    /// The labels it goes by; empty for `name`.
    pub labels: Vec<String>,
}

/// How hosts fetch what they are to run before their waves begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Staging {
    /// How many hosts fetch at a time.
    pub max_parallel: u32,
    /// How many targets of a wave have to be staged before it begins, such as `90%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_staged: Option<String>,
}

/// The wait between two starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct Stagger {
    /// At least this long.
    pub fixed_ms: u64,
    /// And up to this much longer.
    pub random_ms: u64,
}

impl Default for Strategy {
    fn default() -> Self {
        Self::from(&spec::Strategy::new())
    }
}

impl Default for Repair {
    fn default() -> Self {
        Self::from(&spec::Repair::default())
    }
}

impl Default for FailureBudget {
    fn default() -> Self {
        Strategy::default().failure_budget
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::from(&spec::Budget::default())
    }
}

impl Default for Retries {
    fn default() -> Self {
        Strategy::default().retries
    }
}

impl Default for Order {
    fn default() -> Self {
        Self::from(&spec::Order::default())
    }
}

impl From<&spec::Strategy> for Strategy {
    fn from(strategy: &spec::Strategy) -> Self {
        let confirm = match strategy.confirm {
            spec::Confirm::AfterFirst => "after_first",
            spec::Confirm::EveryWave => "every_wave",
            spec::Confirm::Never => "never",
        };
        let on_failure = match strategy.on_failure {
            spec::OnFailure::Abort => "abort",
            spec::OnFailure::Pause => "pause",
            spec::OnFailure::Rollback => "rollback",
        };
        Self {
            waves: Vec::from(strategy.waves.clone()).into_iter().map(String::from).collect(),
            max_parallel: strategy.max_parallel.map(Into::into),
            staging: strategy.staging.map(|it| Staging {
                max_parallel: it.max_parallel.into(),
                min_staged: it.min_staged.as_ref().map(ToString::to_string),
            }),
            confirm: confirm.to_owned(),
            bake_time_ms: millis(strategy.bake_time),
            min_healthy_time_ms: millis(strategy.health.min_healthy_time),
            healthy_deadline_ms: millis(strategy.health.healthy_deadline),
            check_interval_ms: millis(strategy.health.check_interval),
            confirm_timeout_ms: strategy.health.confirm_timeout.map(millis),
            progress_deadline_ms: millis(strategy.progress_deadline),
            failure_budget: FailureBudget {
                rollout: Budget::from(&strategy.failure_budget.rollout),
                wave: strategy.failure_budget.wave.as_ref().map(Budget::from),
            },
            on_failure: on_failure.to_owned(),
            retries: Retries {
                retries: strategy.retries.retries,
                backoff_ms: millis(strategy.retries.backoff),
                max_backoff_ms: millis(strategy.retries.max_backoff),
            },
            order: Order::from(&strategy.order),
            stagger: Stagger {
                fixed_ms: millis(strategy.stagger.fixed),
                random_ms: millis(strategy.stagger.random),
            },
            windows: strategy.schedule.windows.iter().map(ToString::to_string).collect(),
            freezes: strategy.schedule.freezes.iter().map(ToString::to_string).collect(),
        }
    }
}

impl From<&spec::Repair> for Repair {
    fn from(repair: &spec::Repair) -> Self {
        let drift = match repair.drift {
            spec::OnDrift::Repair => "repair",
            spec::OnDrift::Report => "report",
        };
        Self { debt_ms: repair.debt.map(millis), drift: drift.to_owned() }
    }
}

impl From<&spec::Budget> for Budget {
    fn from(budget: &spec::Budget) -> Self {
        Self {
            max_failed: budget.max_failed.to_string(),
            max_unreachable: budget.max_unreachable.to_string(),
            max_timed_out: budget.max_timed_out.to_string(),
            max_consecutive: budget.max_consecutive.map(|it| it.to_string()),
            max_unknown: budget.max_unknown.to_string(),
        }
    }
}

impl From<&spec::Order> for Order {
    fn from(order: &spec::Order) -> Self {
        let (by, labels) = match order {
            spec::Order::Group(labels) => ("group", labels.as_slice()),
            spec::Order::Name => ("name", [].as_slice()),
            spec::Order::Spread(labels) => ("spread", labels.as_slice()),
        };
        Self { by: by.to_owned(), labels: labels.iter().map(ToString::to_string).collect() }
    }
}
