//! What is rolled out, where, and how: drawn from the seed.
use crate::rng::Rng;
use deploy_core::{
    digest::Digest,
    host::{Connection, Host, Installed},
    id::{HostName, ReleaseId, Seq},
    plan::{Plan, PlanInput, plan},
    spec::{
        ArtifactRef, Confirm, Effect, Limit, OnFailure, Release, Service, Staging, Step, StepName,
        Strategy,
    },
    time::Timestamp,
};
use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

pub(crate) const START: u64 = 1_800_000_000_000;

pub(crate) fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

pub(crate) fn release(name: &str, steps: &[Step]) -> Release {
    let artifact = ArtifactRef::new(Digest::of(name.as_bytes()), 1_000);
    let at = Timestamp::from_millis(START);
    let release = Release::new(
        parse(name),
        parse("web"),
        parse(name),
        artifact,
        steps.to_vec(),
        at,
        parse("sim"),
    );
    release.with_package(artifact)
}

fn steps(rng: &mut Rng) -> Vec<Step> {
    let all = [
        StepName::Fetch,
        StepName::Stop,
        StepName::Install,
        StepName::Rollback,
        StepName::Start,
        StepName::Verify,
    ];
    let effect = |rng: &mut Rng, name| match (name, rng.below(4)) {
        (StepName::Verify, _) | (_, 0) => Effect::Idempotent,
        (_, 1) => Effect::Check,
        _ => Effect::Once,
    };
    all.into_iter().map(|name| Step::new(name).with_effect(effect(rng, name))).collect()
}

fn strategy(rng: &mut Rng) -> Strategy {
    let mut strategy = Strategy::new();
    let waves = ["100%", "1", "2", "1,*2", "1,50%,100%", "2,+1", "1,*3"];
    strategy.waves = parse::<deploy_core::spec::Waves>(rng.pick::<&str>(&waves));
    strategy.max_parallel = [None, NonZeroU32::new(1), NonZeroU32::new(2)][rng.below(3) as usize];
    let staging = [None, NonZeroU32::new(1), NonZeroU32::new(2)][rng.below(3) as usize];
    let min_staged = [None, None, Some(Limit::Percent(50)), Some(Limit::Percent(100))];
    let min_staged = min_staged[rng.below(4) as usize];
    strategy.staging = staging.map(Staging::new);
    strategy.staging.iter_mut().for_each(|it| it.min_staged = min_staged);
    strategy.confirm = [Confirm::Never, Confirm::Never, Confirm::AfterFirst, Confirm::EveryWave]
        [rng.below(4) as usize];
    strategy.bake_time = Duration::from_millis([0, 0, 3_000, 60_000][rng.below(4) as usize]);
    let confirm = [None, None, Some(2), Some(60)][rng.below(4) as usize];
    strategy.health.confirm_timeout = confirm.map(Duration::from_secs);
    strategy.on_failure =
        [OnFailure::Pause, OnFailure::Rollback, OnFailure::Abort][rng.below(3) as usize];
    strategy.retries.retries = u32::try_from(rng.below(3)).unwrap();
    strategy.retries.backoff = Duration::from_millis(100 + rng.below(2_000));
    strategy.stagger.fixed = Duration::from_millis([0, 0, 500][rng.below(3) as usize]);
    strategy.stagger.random = Duration::from_millis([0, 0, 500][rng.below(3) as usize]);
    strategy.progress_deadline = Duration::from_secs([600, 60][rng.below(2) as usize]);
    let budget = &mut strategy.failure_budget;
    budget.rollout.max_failed = Limit::Count(u32::try_from(rng.below(3)).unwrap());
    budget.rollout.max_unreachable = Limit::Percent([0, 25, 50][rng.below(3) as usize]);
    budget.rollout.max_timed_out = Limit::Count(u32::try_from(rng.below(3)).unwrap());
    budget.rollout.max_unknown = Limit::Count(u32::try_from(rng.below(4)).unwrap());
    if rng.one_in(4) {
        budget.rollout.max_consecutive = Some(Limit::Count(1));
    }
    if rng.one_in(3) {
        let mut wave = budget.rollout;
        wave.max_failed = Limit::Count(0);
        budget.wave = Some(wave);
    }
    if rng.one_in(5) {
        // It is nine o'clock in Berlin.
        let windows = ["09:00-09:01", "09:02-09:03", "09:10-09:00"];
        let parsed = windows.map(|it| parse(&format!("daily {it} Europe/Berlin")));
        strategy.schedule.windows = parsed.to_vec();
    }
    strategy
}

/// A plan of a random shape, and what each host runs before it.
pub(crate) fn scenario(rng: &mut Rng) -> (Plan, BTreeMap<HostName, Option<ReleaseId>>) {
    let at = Timestamp::from_millis(START);
    let (old, new) = (release("v1", &steps(rng)), release("v2", &steps(rng)));
    let mut service = Service::new(parse("web"), parse("sim"), parse("/srv/web"), parse("*"));
    service.strategy = strategy(rng);
    let mut hosts = Vec::new();
    let mut runs = BTreeMap::new();
    let mut installed = BTreeMap::new();
    for number in 0..1 + rng.below(7) {
        let name: HostName = parse(&format!("host-{number}"));
        let root = format!("/hosts/{number}");
        hosts.push(Host::new(name.clone(), Connection::Local { root }));
        let release = (!rng.one_in(6)).then(|| old.id.clone());
        let package = release.as_ref().and(old.package).map(|it| it.digest);
        installed.insert(name.clone(), Installed::new(release.clone(), package, Seq::ZERO, at));
        runs.insert(name, release);
    }
    let input = PlanInput::new(service, new, hosts, at, parse("sim"))
        .with_releases(vec![old])
        .with_installed(installed)
        .with_seed(rng.next());
    let (plan, _report) = plan(&input).unwrap();
    (plan, runs)
}
