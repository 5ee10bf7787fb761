//! Small, valid values for cases and for a backend's own tests.
use crate::{
    digest::Digest,
    host::{Connection, Host},
    id::{Principal, RolloutId, Seq, StreamId, Version},
    plan::{FORMAT, Plan, PlannedRelease, Target, Work},
    rollout::{Event, Outcome, Record},
    spec::{ArtifactRef, Release, Service, Step, StepName, Strategy},
    time::Timestamp,
};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// Any valid name.
///
/// # Panics
/// If it is not valid.
#[must_use]
pub fn name<T: FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// A principal.
#[must_use]
pub fn principal(text: &str) -> Principal {
    name(text)
}

/// The instant `seconds` after the epoch.
#[must_use]
pub const fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// A host that no executor can reach.
#[must_use]
pub fn host(text: &str) -> Host {
    Host::new(name(text), Connection::Local { root: format!("/nowhere/{text}") })
}

/// A service on the hosts `zone=a`.
///
/// # Panics
/// If `text` is no service name.
#[must_use]
pub fn service(text: &str) -> Service {
    Service::new(name(text), principal("ann"), name(&format!("/srv/{text}")), name("zone=a"))
}

/// A release of `service` with the steps `install` and `start`, made at `created_at`.
#[must_use]
pub fn release(service: &str, id: &str, created_at: Timestamp) -> Release {
    let steps = vec![Step::new(StepName::Install), Step::new(StepName::Start)];
    let descriptor = ArtifactRef::new(Digest::of(id.as_bytes()), 1);
    let version: Version = name(id);
    Release::new(name(id), name(service), version, descriptor, steps, created_at, principal("ann"))
}

/// A plan that brings the release `web-1` of `service` onto one host.
#[must_use]
pub fn plan(service: &str) -> Plan {
    let release = release(service, "web-1", at(1));
    Plan {
        format: FORMAT,
        work: Work::Release,
        service: name(service),
        deploy_path: name("/srv/web"),
        account: None,
        release: release.id.clone(),
        releases: BTreeMap::from([(release.id.clone(), PlannedRelease::from(&release))]),
        selector: None,
        strategy: Strategy::new(),
        waves: vec![vec![Target::new(host("h1"), None, Some(release.id))]],
        no_ops: Vec::new(),
        inventory: Digest::of(b"inventory"),
        seed: 7,
        parent: None,
        repairs: None,
        created_at: at(1),
        created_by: principal("ann"),
    }
}

/// The stream of `service`.
#[must_use]
pub fn stream(service: &str) -> StreamId {
    StreamId::Service(name(service))
}

/// The first record of `rollout`.
#[must_use]
pub fn first(seq: u64, rollout: &str) -> Record {
    let event =
        Event::Accepted { plan: Box::new(plan("web")), by: principal("ann"), request: None };
    Record::new(Seq::new(seq), at(seq), name::<RolloutId>(rollout), event)
}

/// A record in the middle of `rollout`.
#[must_use]
pub fn middle(seq: u64, rollout: &str) -> Record {
    Record::new(Seq::new(seq), at(seq), name(rollout), Event::WaveStarted { wave: 0 })
}

/// The last record of `rollout`.
#[must_use]
pub fn last(seq: u64, rollout: &str) -> Record {
    let event = Event::Finished { outcome: Outcome::Succeeded };
    Record::new(Seq::new(seq), at(seq), name(rollout), event)
}

/// `length` bytes that hold every value, look like chance and are always the same.
#[must_use]
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}
