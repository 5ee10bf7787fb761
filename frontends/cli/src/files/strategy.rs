use super::{Human, Position, Source, staging::StagingFile};
use deploy_core::spec::{
    Budget, Confirm, FailureBudget, Limit, OnFailure, Order, Strategy, WaveSize, Waves,
};
use deploy_wire::Problem;
use serde::{Deserialize, Deserializer, de};
use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};
use toml::Spanned;

/// The `[strategy]` table, as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct StrategyFile {
    waves: Option<Spanned<Vec<Spanned<String>>>>,
    max_parallel: Option<NonZeroU32>,
    staging: Option<StagingFile>,
    confirm: Option<Confirm>,
    bake_time: Option<Human>,
    min_healthy_time: Option<Spanned<Human>>,
    healthy_deadline: Option<Spanned<Human>>,
    check_interval: Option<Spanned<Human>>,
    confirm_timeout: Option<Spanned<Human>>,
    progress_deadline: Option<Spanned<Human>>,
    failure_budget: Option<FailureBudgetFile>,
    on_failure: Option<OnFailure>,
    retries: Option<u32>,
    retry_backoff: Option<Spanned<Human>>,
    retry_max_backoff: Option<Spanned<Human>>,
    order: Option<Spanned<Order>>,
    stagger: Option<StaggerFile>,
    windows: Option<Vec<Spanned<String>>>,
    freezes: Option<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StaggerFile {
    fixed: Option<Human>,
    random: Option<Human>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureBudgetFile {
    max_failed: Option<LimitFile>,
    max_unreachable: Option<LimitFile>,
    max_timed_out: Option<LimitFile>,
    max_consecutive: Option<LimitFile>,
    max_unknown: Option<LimitFile>,
    wave: Option<BudgetFile>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct BudgetFile {
    max_failed: Option<LimitFile>,
    max_unreachable: Option<LimitFile>,
    max_timed_out: Option<LimitFile>,
    max_consecutive: Option<LimitFile>,
    max_unknown: Option<LimitFile>,
}

/// A [`Limit`], which a file may also write as a plain number.
#[derive(Clone, Copy)]
pub(super) struct LimitFile(pub(super) Limit);

impl<'de> Deserialize<'de> for LimitFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = LimitFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number such as 3, or a share such as \"10%\"")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<LimitFile, E> {
                let count = u32::try_from(number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))?;
                Ok(LimitFile(Limit::Count(count)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<LimitFile, E> {
                text.parse().map(LimitFile).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl StrategyFile {
    /// The strategy that it says, if that can be carried out.
    pub(super) fn check(self, source: &Source) -> Result<Strategy, Problem> {
        let mut strategy = Strategy::new();
        self.timing(&mut strategy, source)?;
        self.repetition(&mut strategy, source)?;
        if let Some(waves) = self.waves {
            let at = position(source, &waves);
            if waves.get_ref().is_empty() {
                let message = "`waves` names no size: there must be at least one, such as \"100%\"";
                return Err(source.problem(Some(at), message));
            }
            let sizes: Vec<WaveSize> = parse_each(source, &waves.into_inner())?;
            strategy.waves = Waves::try_from(sizes).map_err(|err| source.problem(Some(at), err))?;
        }
        if let Some(order) = self.order {
            let at = position(source, &order);
            strategy.order = order.into_inner();
            if let Order::Group(labels) | Order::Spread(labels) = &strategy.order
                && labels.is_empty()
            {
                return Err(source.problem(Some(at), "`order` names no label"));
            }
        }
        strategy.max_parallel = self.max_parallel;
        strategy.staging = self.staging.and_then(|it| it.0);
        strategy.confirm = self.confirm.unwrap_or(strategy.confirm);
        strategy.on_failure = self.on_failure.unwrap_or(strategy.on_failure);
        strategy.failure_budget =
            self.failure_budget.map_or(strategy.failure_budget, FailureBudgetFile::into_budget);
        strategy.schedule.windows = parse_each(source, &self.windows.unwrap_or_default())?;
        strategy.schedule.freezes = parse_each(source, &self.freezes.unwrap_or_default())?;
        Ok(strategy)
    }

    fn timing(&self, strategy: &mut Strategy, source: &Source) -> Result<(), Problem> {
        let health = &mut strategy.health;
        set(&mut health.min_healthy_time, self.min_healthy_time.as_ref());
        set(&mut health.healthy_deadline, self.healthy_deadline.as_ref());
        set(&mut health.check_interval, self.check_interval.as_ref());
        health.confirm_timeout = self.confirm_timeout.as_ref().map(|it| it.get_ref().0);
        set(&mut strategy.progress_deadline, self.progress_deadline.as_ref());
        strategy.bake_time = self.bake_time.map_or(strategy.bake_time, |it| it.0);
        for (field, given) in [
            ("healthy_deadline", &self.healthy_deadline),
            ("check_interval", &self.check_interval),
            ("confirm_timeout", &self.confirm_timeout),
            ("progress_deadline", &self.progress_deadline),
        ] {
            if let Some(given) = given
                && given.get_ref().0.is_zero()
            {
                let message = format!("`{field}` must be longer than 0");
                return Err(source.problem(Some(position(source, given)), message));
            }
        }
        if health.min_healthy_time >= health.healthy_deadline {
            let at = self.min_healthy_time.as_ref().or(self.healthy_deadline.as_ref());
            let message = format!(
                "`min_healthy_time` ({}) must be shorter than `healthy_deadline` ({})",
                Human(health.min_healthy_time),
                Human(health.healthy_deadline)
            );
            return Err(source.problem(at.map(|it| position(source, it)), message));
        }
        Ok(())
    }

    fn repetition(&self, strategy: &mut Strategy, source: &Source) -> Result<(), Problem> {
        let retries = &mut strategy.retries;
        retries.retries = self.retries.unwrap_or(retries.retries);
        set(&mut retries.backoff, self.retry_backoff.as_ref());
        set(&mut retries.max_backoff, self.retry_max_backoff.as_ref());
        if retries.backoff > retries.max_backoff {
            let at = self.retry_backoff.as_ref().or(self.retry_max_backoff.as_ref());
            let message = format!(
                "`retry_backoff` ({}) must not be longer than `retry_max_backoff` ({})",
                Human(retries.backoff),
                Human(retries.max_backoff)
            );
            return Err(source.problem(at.map(|it| position(source, it)), message));
        }
        if let Some(StaggerFile { fixed, random }) = self.stagger {
            strategy.stagger.fixed = fixed.map_or(Duration::ZERO, |it| it.0);
            strategy.stagger.random = random.map_or(Duration::ZERO, |it| it.0);
        }
        Ok(())
    }
}

impl FailureBudgetFile {
    fn into_budget(self) -> FailureBudget {
        let rollout = BudgetFile {
            max_failed: self.max_failed,
            max_unreachable: self.max_unreachable,
            max_timed_out: self.max_timed_out,
            max_consecutive: self.max_consecutive,
            max_unknown: self.max_unknown,
        };
        let mut budget = FailureBudget::default();
        budget.rollout = rollout.into_budget();
        budget.wave = self.wave.map(BudgetFile::into_budget);
        budget
    }
}

impl BudgetFile {
    fn into_budget(self) -> Budget {
        let limit = |given: Option<LimitFile>| given.map_or_else(Limit::default, |it| it.0);
        let mut budget = Budget::default();
        budget.max_failed = limit(self.max_failed);
        budget.max_unreachable = limit(self.max_unreachable);
        budget.max_timed_out = limit(self.max_timed_out);
        budget.max_consecutive = self.max_consecutive.map(|it| it.0);
        budget.max_unknown = limit(self.max_unknown);
        budget
    }
}

fn set(field: &mut Duration, given: Option<&Spanned<Human>>) {
    if let Some(given) = given {
        *field = given.get_ref().0;
    }
}

/// Parses the elements of a list. Each is its own text, so that a complaint names the place of the element.
fn parse_each<T: FromStr<Err: fmt::Display>>(
    source: &Source,
    texts: &[Spanned<String>],
) -> Result<Vec<T>, Problem> {
    let parse = |text: &Spanned<String>| {
        text.get_ref().parse().map_err(|err| source.problem(Some(position(source, text)), err))
    };
    texts.iter().map(parse).collect()
}

fn position<T>(source: &Source, spanned: &Spanned<T>) -> Position {
    source.position_of(spanned.span().start)
}
