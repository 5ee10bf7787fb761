//! From the words of the wire to values that can be relied on.
mod build;

use crate::problem::invalid;
use deploy_core::{
    host::{Connection, Host, Labels, SshConnection},
    id::{HostName, ServiceName},
    spec::{self, Confirm, OnDrift, OnFailure, Order, Staging, WaveSize, Waves},
};
use deploy_wire::{self as wire, Problem};
use std::{collections::BTreeMap, fmt::Display, num::NonZeroU32, str::FromStr, time::Duration};

/// What the text of a field means.
///
/// # Errors
/// If it means nothing: the problem names the field.
pub fn field<T: FromStr<Err: Display>>(name: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|err| refused(name, err))
}

fn optional<T: FromStr<Err: Display>>(
    name: &str,
    text: Option<&String>,
) -> Result<Option<T>, Problem> {
    text.map(|it| field(name, it)).transpose()
}

fn each<T: FromStr<Err: Display>>(name: &str, texts: &[String]) -> Result<Vec<T>, Problem> {
    let texts = texts.iter().enumerate();
    texts.map(|(at, text)| field(&format!("{name}[{at}]"), text)).collect()
}

/// A field that cannot be meant like that.
pub(crate) fn refused(name: &str, why: impl Display) -> Problem {
    invalid(format_args!("`{name}`: {why}")).with_context("field", name)
}

fn positive(name: &str, number: Option<u32>) -> Result<Option<NonZeroU32>, Problem> {
    let parse = |it| NonZeroU32::new(it).ok_or_else(|| refused(name, "it must be more than 0"));
    number.map(parse).transpose()
}

/// The service that is asked for.
///
/// # Errors
/// If a field means nothing, or the fields do not go together.
pub fn service(name: ServiceName, asked: &wire::ServiceSpec) -> Result<spec::Service, Problem> {
    // Hosts know the builds of a service `web` as the service `builds-of-web`.
    if name.as_str().starts_with("builds-of-") {
        return Err(refused(
            "name",
            "names that begin with `builds-of-` are those of builds on hosts",
        ));
    }
    let mut service = spec::Service::new(
        name,
        field("owner", &asked.owner)?,
        field("deploy_path", &asked.deploy_path)?,
        field("selector", &asked.selector)?,
    );
    service.account = optional("account", asked.account.as_ref())?;
    service.count = positive("count", asked.count)?;
    service.build = asked.build.as_ref().map(build::spec).transpose()?;
    Ok(service.with_strategy(strategy(&asked.strategy)?).with_repair(repair(&asked.repair)?))
}

fn repair(asked: &wire::Repair) -> Result<spec::Repair, Problem> {
    let drift = match asked.drift.as_str() {
        "repair" => OnDrift::Repair,
        "report" => OnDrift::Report,
        _ => return Err(refused("repair.drift", "it must be `report` or `repair`")),
    };
    if asked.debt_ms == Some(0) {
        return Err(refused("repair.debt_ms", "it must be longer than 0"));
    }
    let mut repair = spec::Repair::default().with_drift(drift);
    repair.debt = asked.debt_ms.map(Duration::from_millis);
    Ok(repair)
}

/// The strategy that is asked for.
///
/// # Errors
/// If a field means nothing, or the fields do not go together.
pub fn strategy(asked: &wire::Strategy) -> Result<spec::Strategy, Problem> {
    let mut strategy = spec::Strategy::new();
    let sizes: Vec<WaveSize> = each("strategy.waves", &asked.waves)?;
    strategy.waves = Waves::try_from(sizes).map_err(|err| refused("strategy.waves", err))?;
    strategy.max_parallel = positive("strategy.max_parallel", asked.max_parallel)?;
    strategy.staging = asked.staging.as_ref().map_or(Ok(None), staging)?;
    strategy.confirm = confirm(&asked.confirm)?;
    strategy.on_failure = on_failure(&asked.on_failure)?;
    strategy.order = order(&asked.order)?;
    strategy.failure_budget.rollout =
        budget("strategy.failure_budget.rollout", &asked.failure_budget.rollout)?;
    let wave = asked.failure_budget.wave.as_ref();
    strategy.failure_budget.wave =
        wave.map(|it| budget("strategy.failure_budget.wave", it)).transpose()?;
    strategy.schedule.windows = each("strategy.windows", &asked.windows)?;
    strategy.schedule.freezes = each("strategy.freezes", &asked.freezes)?;
    times(&mut strategy, asked)?;
    Ok(strategy)
}

fn times(strategy: &mut spec::Strategy, asked: &wire::Strategy) -> Result<(), Problem> {
    for (name, millis) in [
        ("healthy_deadline_ms", asked.healthy_deadline_ms),
        ("check_interval_ms", asked.check_interval_ms),
        ("progress_deadline_ms", asked.progress_deadline_ms),
    ] {
        if millis == 0 {
            return Err(refused(&format!("strategy.{name}"), "it must be longer than 0"));
        }
    }
    if asked.confirm_timeout_ms == Some(0) {
        return Err(refused("strategy.confirm_timeout_ms", "it must be longer than 0"));
    }
    if asked.min_healthy_time_ms >= asked.healthy_deadline_ms {
        let why = "it must be shorter than `healthy_deadline_ms`";
        return Err(refused("strategy.min_healthy_time_ms", why));
    }
    if asked.retries.backoff_ms > asked.retries.max_backoff_ms {
        let why = "it must not be longer than `max_backoff_ms`";
        return Err(refused("strategy.retries.backoff_ms", why));
    }
    strategy.bake_time = Duration::from_millis(asked.bake_time_ms);
    strategy.progress_deadline = Duration::from_millis(asked.progress_deadline_ms);
    strategy.health.min_healthy_time = Duration::from_millis(asked.min_healthy_time_ms);
    strategy.health.healthy_deadline = Duration::from_millis(asked.healthy_deadline_ms);
    strategy.health.check_interval = Duration::from_millis(asked.check_interval_ms);
    strategy.health.confirm_timeout = asked.confirm_timeout_ms.map(Duration::from_millis);
    strategy.retries.retries = asked.retries.retries;
    strategy.retries.backoff = Duration::from_millis(asked.retries.backoff_ms);
    strategy.retries.max_backoff = Duration::from_millis(asked.retries.max_backoff_ms);
    strategy.stagger.fixed = Duration::from_millis(asked.stagger.fixed_ms);
    strategy.stagger.random = Duration::from_millis(asked.stagger.random_ms);
    Ok(())
}

fn confirm(text: &str) -> Result<Confirm, Problem> {
    Ok(match text {
        "after_first" => Confirm::AfterFirst,
        "every_wave" => Confirm::EveryWave,
        "never" => Confirm::Never,
        _ => {
            let why = "it must be `never`, `after_first` or `every_wave`";
            return Err(refused("strategy.confirm", why));
        }
    })
}

fn on_failure(text: &str) -> Result<OnFailure, Problem> {
    Ok(match text {
        "abort" => OnFailure::Abort,
        "pause" => OnFailure::Pause,
        "rollback" => OnFailure::Rollback,
        _ => {
            let why = "it must be `pause`, `rollback` or `abort`";
            return Err(refused("strategy.on_failure", why));
        }
    })
}

fn order(asked: &wire::Order) -> Result<Order, Problem> {
    let labels = each("strategy.order.labels", &asked.labels)?;
    match (asked.by.as_str(), labels.is_empty()) {
        ("name", true) => Ok(Order::Name),
        ("name", false) => Err(refused("strategy.order.labels", "`name` goes by no label")),
        ("group" | "spread", true) => Err(refused("strategy.order.labels", "it names no label")),
        ("group", false) => Ok(Order::Group(labels)),
        ("spread", false) => Ok(Order::Spread(labels)),
        _ => Err(refused("strategy.order.by", "it must be `name`, `group` or `spread`")),
    }
}

fn staging(asked: &wire::Staging) -> Result<Option<Staging>, Problem> {
    let max_parallel = positive("strategy.staging.max_parallel", Some(asked.max_parallel))?;
    let min_staged = optional("strategy.staging.min_staged", asked.min_staged.as_ref())?;
    let staging = max_parallel.map(Staging::new);
    Ok(staging.map(|it| min_staged.map_or(it, |min_staged| it.with_min_staged(min_staged))))
}

fn budget(name: &str, asked: &wire::Budget) -> Result<spec::Budget, Problem> {
    let limit = |of: &str, text: &str| field(&format!("{name}.{of}"), text);
    let mut budget = spec::Budget::default();
    budget.max_failed = limit("max_failed", &asked.max_failed)?;
    budget.max_unreachable = limit("max_unreachable", &asked.max_unreachable)?;
    budget.max_timed_out = limit("max_timed_out", &asked.max_timed_out)?;
    budget.max_unknown = limit("max_unknown", &asked.max_unknown)?;
    let consecutive = asked.max_consecutive.as_ref();
    budget.max_consecutive = consecutive.map(|it| limit("max_consecutive", it)).transpose()?;
    Ok(budget)
}

/// The host that is asked for.
///
/// # Errors
/// If a field means nothing, or the fields do not go together.
pub fn host(name: HostName, asked: &wire::HostSpec) -> Result<Host, Problem> {
    Ok(Host::new(name, connection(&asked.connection)?).with_labels(labels(&asked.labels)?))
}

pub(crate) fn labels(asked: &BTreeMap<String, String>) -> Result<Labels, Problem> {
    let parse = |(key, value): (&String, &String)| {
        Ok((field("labels", key)?, field(&format!("labels.{key}"), value)?))
    };
    asked.iter().map(parse).collect()
}

fn connection(asked: &wire::Connection) -> Result<Connection, Problem> {
    let root: Option<spec::AbsolutePath> = optional("connection.root", asked.root.as_ref())?;
    let others = asked.address.is_some() || asked.port.is_some() || asked.user.is_some();
    match asked.via.as_str() {
        "agent" if others || root.is_some() => {
            Err(refused("connection", "an agent connects by itself: there is nothing more to say"))
        }
        "agent" => Ok(Connection::Agent),
        "local" => {
            if others {
                return Err(refused("connection", "a local host has nothing but a `root`"));
            }
            let root = root.ok_or_else(|| refused("connection.root", "a local host needs one"))?;
            Ok(Connection::Local { root: root.into() })
        }
        "ssh" => {
            let mut ssh = SshConnection::new();
            ssh.address =
                optional::<Address>("connection.address", asked.address.as_ref())?.map(|it| it.0);
            if asked.port == Some(0) {
                return Err(refused("connection.port", "it must be more than 0"));
            }
            ssh.port = asked.port;
            ssh.user = optional("connection.user", asked.user.as_ref())?;
            ssh.root = root.map(Into::into);
            Ok(Connection::Ssh(ssh))
        }
        _ => Err(refused("connection.via", "it must be `ssh`, `agent` or `local`")),
    }
}

/// A name or an address of a machine.
struct Address(String);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        check_address(text).map(|()| Self(text.to_owned()))
    }
}

/// Whether `address` can be one: a name, or an IP address.
///
/// # Errors
/// What is wrong with it.
pub fn check_address(address: &str) -> Result<(), String> {
    let valid = !address.is_empty()
        && address.len() <= 253
        && address.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:%".contains(c))
        && !address.starts_with('-');
    if valid {
        return Ok(());
    }
    let shown: String = address.chars().take(80).collect();
    Err(format!(
        "`{}` is not an address: it must be a host name or an IP address",
        shown.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked() -> wire::ServiceSpec {
        wire::ServiceSpec {
            owner: "ann".to_owned(),
            deploy_path: "/srv/web".to_owned(),
            account: None,
            selector: "role=web".to_owned(),
            count: None,
            strategy: wire::Strategy::default(),
            repair: wire::Repair::default(),
            build: None,
        }
    }

    fn named(change: impl FnOnce(&mut wire::ServiceSpec)) -> String {
        let mut asked = asked();
        change(&mut asked);
        let problem = service("web".parse().unwrap(), &asked).unwrap_err();
        assert_eq!(problem.code, wire::ProblemCode::InvalidInput);
        problem.context["field"].clone()
    }

    #[test]
    fn names_of_builds_on_hosts_are_kept_for_them() {
        let problem = service("builds-of-web".parse().unwrap(), &asked()).unwrap_err();
        assert_eq!(problem.context["field"], "name");
        assert!(service("builds".parse().unwrap(), &asked()).is_ok());
    }

    #[test]
    fn a_strategy_comes_back_as_it_went() {
        let mut there = spec::Strategy::new();
        there.order = Order::Spread(vec!["zone".parse().unwrap()]);
        there.max_parallel = NonZeroU32::new(3);
        there.failure_budget.rollout.max_failed = "10%".parse().unwrap();
        there.failure_budget.wave = Some(spec::Budget::default());
        there.schedule.windows = vec!["mon-fri 09:00-17:00 Europe/Berlin".parse().unwrap()];
        there.stagger.random = Duration::from_millis(7);
        assert_eq!(strategy(&wire::Strategy::from(&there)).unwrap(), there);
        assert_eq!(strategy(&wire::Strategy::default()).unwrap(), spec::Strategy::new());
    }

    #[test]
    fn what_is_to_be_made_good_comes_back_as_it_went() {
        let week = Duration::from_secs(7 * 86_400);
        for there in [
            spec::Repair::default(),
            spec::Repair::default().with_debt(week).with_drift(OnDrift::Repair),
        ] {
            assert_eq!(repair(&wire::Repair::from(&there)).unwrap(), there);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(named(|it| it.deploy_path = "srv".to_owned()), "deploy_path");
        assert_eq!(named(|it| it.count = Some(0)), "count");
        assert_eq!(named(|it| it.strategy.waves = vec![]), "strategy.waves");
        assert_eq!(named(|it| it.strategy.waves[0] = "x".to_owned()), "strategy.waves[0]");
        assert_eq!(named(|it| it.strategy.confirm = "maybe".to_owned()), "strategy.confirm");
        assert_eq!(named(|it| it.strategy.order.by = "group".to_owned()), "strategy.order.labels");
        assert_eq!(named(|it| it.repair.drift = "forget".to_owned()), "repair.drift");
        assert_eq!(named(|it| it.repair.debt_ms = Some(0)), "repair.debt_ms");
        assert_eq!(
            named(|it| it.strategy.min_healthy_time_ms = 600_000),
            "strategy.min_healthy_time_ms"
        );
        assert_eq!(
            named(|it| it.strategy.failure_budget.rollout.max_failed = "-1".to_owned()),
            "strategy.failure_budget.rollout.max_failed"
        );
    }

    #[test]
    fn a_connection_is_one_of_three() {
        let parsed = |connection| {
            let asked = wire::HostSpec { connection, labels: BTreeMap::new() };
            host("h1".parse().unwrap(), &asked)
        };
        let local = wire::Connection {
            via: "local".to_owned(),
            root: Some("/srv/h1".to_owned()),
            ..wire::Connection::default()
        };
        assert!(parsed(local.clone()).is_ok());
        let field = |problem: Problem| problem.context["field"].clone();
        let agent = wire::Connection { via: "agent".to_owned(), ..wire::Connection::default() };
        assert_eq!(parsed(agent.clone()).unwrap().connection, Connection::Agent);
        let more = wire::Connection { root: Some("/srv".to_owned()), ..agent };
        assert_eq!(field(parsed(more).unwrap_err()), "connection");
        let both = wire::Connection { port: Some(22), ..local.clone() };
        assert_eq!(field(parsed(both).unwrap_err()), "connection");
        let other = wire::Connection { via: "post".to_owned(), ..local };
        assert_eq!(field(parsed(other).unwrap_err()), "connection.via");
        let option = wire::Connection {
            via: "ssh".to_owned(),
            address: Some("-oProxyCommand=x".to_owned()),
            ..wire::Connection::default()
        };
        assert_eq!(field(parsed(option).unwrap_err()), "connection.address");
    }

    proptest! {
        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,40}") {
            let mut asked = asked();
            asked.strategy.waves = vec![text.clone()];
            asked.strategy.windows = vec![text.clone()];
            asked.selector = text;
            drop(service("web".parse().unwrap(), &asked));
        }
    }
}
