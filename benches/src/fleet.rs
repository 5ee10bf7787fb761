//! Fleets as they are in the field: labelled hosts over SSH that run an older release.
use crate::Failure;
use deploy_core::{
    conformance::sample::name,
    digest::Digest,
    host::{Connection, Host, Installed, SshConnection},
    id::Seq,
    plan::{PlanInput, plan},
    rollout::{Event, Record, Rollout},
    spec::{ArtifactRef, Effect, Release, Service, Step, StepName, Strategy},
    time::Timestamp,
};

/// When all rollouts here begin: a Sunday in November 2026.
pub const START: Timestamp = Timestamp::from_millis(1_795_320_000_000);

const STEPS: [StepName; 6] = [
    StepName::Fetch,
    StepName::Stop,
    StepName::Install,
    StepName::Rollback,
    StepName::Start,
    StepName::Verify,
];

fn release(id: &str) -> Release {
    let artifact = ArtifactRef::new(Digest::of(id.as_bytes()), 1 << 20);
    let steps = STEPS.map(|it| Step::new(it).with_effect(Effect::Idempotent)).to_vec();
    let release =
        Release::new(name(id), name("web"), name(id), artifact, steps, START, name("ann"));
    release.with_package(artifact)
}

/// So many hosts, spread over 8 zones and 200 racks.
#[must_use]
pub fn hosts(count: u32) -> Vec<Host> {
    (0..count)
        .map(|number| {
            let id = name(&format!("web-{number:06}.prod.example.com"));
            let address = format!("10.{}.{}.{}", number >> 16, (number >> 8) & 255, number & 255);
            let labels = [
                (name("zone"), name(&format!("z{}", number % 8))),
                (name("rack"), name(&format!("r{}", number % 200))),
                (name("role"), name("web")),
            ];
            Host::new(id, Connection::Ssh(SshConnection::new().with_address(address)))
                .with_labels(labels.into())
        })
        .collect()
}

/// A new release for a service on all of so many hosts, each of which runs the one before it.
#[must_use]
pub fn plan_input(count: u32, strategy: Strategy) -> PlanInput {
    let mut service = Service::new(name("web"), name("ann"), name("/srv/web"), name("role=web"));
    service.strategy = strategy;
    let old = release("web-1");
    let package = old.package.map(|it| it.digest);
    let seen = Installed::new(Some(old.id.clone()), package, Seq::new(1), START);
    let hosts = hosts(count);
    let installed = hosts.iter().map(|it| (it.name.clone(), seen.clone())).collect();
    PlanInput::new(service, release("web-2"), hosts, START, name("ann"))
        .with_releases(vec![old])
        .with_installed(installed)
        .with_seed(7)
}

/// A rollout of that plan which has not begun, and its first record.
///
/// # Errors
/// If the plan cannot be made.
pub fn rollout(count: u32, strategy: Strategy) -> Result<(Rollout, Record), Failure> {
    let (plan, _report) = plan(&plan_input(count, strategy))?;
    let accepted = Event::Accepted { plan: Box::new(plan), by: name("ann"), request: None };
    let record = Record::new(Seq::new(1), START, name("web-2-1"), accepted);
    Ok((Rollout::replay([&record])?, record))
}
