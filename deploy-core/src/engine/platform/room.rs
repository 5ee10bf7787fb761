//! Whether the hosts of a plan have room for what it brings them: they are asked, and only they know.
use super::Platform;
use crate::{
    access::{Action, Resource},
    backend::AttemptRequest,
    engine::{PlatformError, perform::attempt_of},
    error::ErrorKind,
    host::Host,
    id::{HostName, Principal, RolloutId, Seq},
    plan::{DiskRoom, Plan, PlanReport, RoomReport, ShortHost, Unchecked, UncheckedHosts, Warning},
    spec::Direction,
    telemetry::{ERROR_KIND, HOST, TARGET_EFFECT},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{select, task::JoinSet};

/// How many hosts are asked at a time.
const AT_A_TIME: usize = 256;
/// How long all of them have together: somebody waits for the plan.
const WITHIN: Duration = Duration::from_secs(5);

/// What came of asking one host.
type Answer = (HostName, Result<Vec<DiskRoom>, Unchecked>);

impl Platform {
    /// Asks the targets of a plan whether they have room for what they are to get, and adds to its report what they say.
    ///
    /// A plan whose hosts lack room is one that can be started all the same: room may be made before their wave comes, and a host
    /// that has none by then refuses its attempt before anything is fetched. So nothing here is an error: who could not be asked,
    /// or did not answer in the few seconds that there are for all hosts together, is in the report as well.
    ///
    /// # Errors
    /// If the plan has no name that a rollout could have.
    pub async fn look_for_room(
        &self,
        principal: &Principal,
        plan: &Plan,
        report: &mut PlanReport,
    ) -> Result<(), PlatformError> {
        let attempts = attempts(plan, &super::control::rollout_id(plan)?);
        let until = self.parts.clock.now().after(WITHIN);
        let found = self.ask_for_room(principal, attempts, until).await;
        if !found.short.is_empty() {
            let hosts = found.short.iter().map(|it| it.host.clone()).collect();
            report.warnings.push(Warning::NoRoom { hosts });
        }
        report.room = Some(found);
        Ok(())
    }

    async fn ask_for_room(
        &self,
        principal: &Principal,
        attempts: Vec<AttemptRequest>,
        until: Timestamp,
    ) -> RoomReport {
        let mut tally = Tally::of(&attempts);
        let (mut left, mut asked) = (attempts.into_iter(), JoinSet::new());
        loop {
            while asked.len() < AT_A_TIME
                && let Some(attempt) = left.next()
            {
                if self.can_say(&attempt.on.host) {
                    asked.spawn(ask(self.clone(), principal.clone(), attempt));
                } else {
                    tally.take((attempt.on.host.name, Err(Unchecked::CannotAsk)));
                }
            }
            select! {
                biased;
                answer = asked.join_next() => match answer {
                    Some(Ok(answer)) => tally.take(answer),
                    // A panic there has been shown, and its host has not answered.
                    Some(Err(_)) => {}
                    None => return tally.report(),
                },
                () = self.parts.clock.sleep_until(until) => return tally.report(),
            }
        }
    }

    fn can_say(&self, host: &Host) -> bool {
        self.parts.executor.capabilities_on(host).room
    }
}

/// The first attempt at each target that gets anything, as it would be.
fn attempts(plan: &Plan, rollout: &RolloutId) -> Vec<AttemptRequest> {
    // Nobody is asked about either.
    let (generation, token) = (Seq::new(1), "0".repeat(32));
    let all = plan.targets().filter_map(|target| {
        attempt_of(plan, target, Direction::Forward, rollout.clone(), generation, token.clone())
    });
    all.filter(|it| it.delivery().is_some()).collect()
}

async fn ask(platform: Platform, principal: Principal, attempt: AttemptRequest) -> Answer {
    let host = attempt.on.host.name.clone();
    let resource = Resource::Host(host.clone(), Some(attempt.on.service.clone()));
    let Ok(permit) = platform.permit(&principal, Action::HostObserve, resource).await else {
        return (host, Err(Unchecked::NotAllowed));
    };
    let executor = Arc::clone(&platform.parts.executor);
    let answer = executor.room(&permit, &attempt).await.map_err(|err| {
        tracing::info!(
            target: TARGET_EFFECT,
            { { HOST } = %host, { ERROR_KIND } = err.kind().as_str(), error = err.chain() },
            "a host does not say whether it has room"
        );
        match err.kind() {
            ErrorKind::Unavailable => Unchecked::NotConnected,
            ErrorKind::Unsupported => Unchecked::CannotAsk,
            _ => Unchecked::Failed,
        }
    });
    (host, answer)
}

/// What was said so far. Who has said nothing at the end was too late.
struct Tally {
    silent: BTreeSet<HostName>,
    checked: u32,
    short: BTreeMap<HostName, Vec<DiskRoom>>,
    unchecked: BTreeMap<Unchecked, Vec<HostName>>,
}

impl Tally {
    fn of(attempts: &[AttemptRequest]) -> Self {
        let silent = attempts.iter().map(|it| it.on.host.name.clone()).collect();
        let (short, unchecked) = (BTreeMap::new(), BTreeMap::new());
        Self { silent, checked: 0, short, unchecked }
    }

    fn take(&mut self, (host, answer): Answer) {
        self.silent.remove(&host);
        match answer {
            Ok(mut disks) => {
                self.checked = self.checked.saturating_add(1);
                disks.retain(DiskRoom::is_short);
                if !disks.is_empty() {
                    self.short.insert(host, disks);
                }
            }
            Err(why) => self.unchecked.entry(why).or_default().push(host),
        }
    }

    fn report(mut self) -> RoomReport {
        if !self.silent.is_empty() {
            self.unchecked.insert(Unchecked::TooLate, self.silent.into_iter().collect());
        }
        let unchecked = self.unchecked.into_iter().map(|(reason, mut hosts)| {
            hosts.sort_unstable();
            UncheckedHosts::new(reason, hosts)
        });
        let unchecked: Vec<_> = unchecked.collect();
        let silent: usize = unchecked.iter().map(|it| it.hosts.len()).sum();
        let short = self.short.into_iter().map(|(host, disks)| ShortHost::new(host, disks));
        RoomReport {
            hosts: self.checked.saturating_add(u32::try_from(silent).unwrap_or(u32::MAX)),
            checked: self.checked,
            short: short.collect(),
            unchecked,
        }
    }
}
