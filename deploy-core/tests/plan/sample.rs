//! Services, releases and hosts to plan with.
use deploy_core::{
    digest::Digest,
    host::{Connection, Host, Installed},
    id::{HostName, Seq},
    plan::{Plan, PlanInput, PlanReport, plan},
    spec::{ArtifactRef, Release, Service, Step, StepName, Strategy},
    time::Timestamp,
};
use std::{collections::BTreeMap, fmt::Debug, str::FromStr};

pub(crate) fn parse<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|err| panic!("{text}: {err:?}"))
}

/// 2026-11-22, a Sunday.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_795_320_000_000);

/// Its labels are given as `zone=a,rack=b`.
pub(crate) fn host(name: &str, labels: &str) -> Host {
    let labels = labels.split(',').filter_map(|it| it.split_once('='));
    let labels = labels.map(|(key, value)| (parse(key), parse(value))).collect();
    let connection = Connection::Local { root: format!("/nowhere/{name}") };
    Host::new(parse(name), connection).with_labels(labels)
}

pub(crate) fn hosts(names: &[&str]) -> Vec<Host> {
    names.iter().map(|name| host(name, "")).collect()
}

pub(crate) fn package(release: &str) -> ArtifactRef {
    ArtifactRef::new(Digest::of(release.as_bytes()), 1_000)
}

/// Made `number` seconds after the epoch.
pub(crate) fn release(number: u64) -> Release {
    let id = format!("web-{number}");
    let steps = vec![Step::new(StepName::Install), Step::new(StepName::Start)];
    let descriptor = ArtifactRef::new(Digest::of(b"descriptor"), 10);
    let created_at = Timestamp::from_millis(number * 1_000);
    let version = parse(&number.to_string());
    Release::new(parse(&id), parse("web"), version, descriptor, steps, created_at, parse("ann"))
        .with_package(package(&id))
}

pub(crate) fn service(selector: &str) -> Service {
    Service::new(parse("web"), parse("ann"), parse("/srv/web"), parse(selector))
}

pub(crate) fn strategy(waves: &str) -> Strategy {
    let mut strategy = Strategy::new();
    strategy.waves = parse(waves);
    strategy
}

/// `release` with the package it should have.
pub(crate) fn runs(release: &str) -> Installed {
    let package = package(release).digest;
    Installed::new(Some(parse(release)), Some(package), Seq::new(1), NOW)
}

pub(crate) fn nothing() -> Installed {
    Installed::new(None, None, Seq::ZERO, NOW)
}

pub(crate) fn installed<const N: usize>(
    seen: [(&str, Installed); N],
) -> BTreeMap<HostName, Installed> {
    seen.into_iter().map(|(host, seen)| (parse(host), seen)).collect()
}

/// Release `web-2`, with `web-1` and `web-3` known, for `service` on `hosts`.
pub(crate) fn input(service: Service, hosts: Vec<Host>) -> PlanInput {
    PlanInput::new(service, release(2), hosts, NOW, parse("ann"))
        .with_releases(vec![release(1), release(3)])
}

pub(crate) fn planned(input: &PlanInput) -> (Plan, PlanReport) {
    let (plan, report) = plan(input).unwrap_or_else(|err| panic!("{err}"));
    assert_eq!(plan.check(), Ok(()));
    (plan, report)
}

/// The names of the hosts in each wave.
pub(crate) fn waves(plan: &Plan) -> Vec<Vec<&str>> {
    plan.waves.iter().map(|it| it.iter().map(|it| it.host.name.as_str()).collect()).collect()
}

pub(crate) fn messages(report: &PlanReport) -> Vec<String> {
    report.warnings.iter().map(ToString::to_string).collect()
}
