//! The planner: a pure function from what is wanted and what is known to a plan.
use super::{
    ChangeKind, FORMAT, HostReport, OutReason, Plan, PlanError, PlanInput, PlanReport,
    PlannedRelease, Target, UNCONFIRMED, Verdict, Warning, Work,
    drift::planned_digest,
    order::{Arranged, arrange},
    warning,
};
use crate::{
    digest::Digest,
    host::{Host, Installed},
    id::{HostName, ReleaseId},
    spec::{Direction, Release, StepName},
};
use std::collections::{BTreeMap, BTreeSet};

/// Plans what `input` asks for.
///
/// The plan is a function of what `input` says: the order of hosts and releases in it does not matter.
///
/// # Errors
/// If there is no host to do anything on, or `input` contradicts itself.
pub fn plan(input: &PlanInput) -> Result<(Plan, PlanReport), PlanError> {
    check_release(input)?;
    let planner = Planner::new(input)?;
    let selection = planner.select()?;
    let sorted = planner.sort(&selection)?;
    Ok(planner.compose(sorted))
}

fn check_release(input: &PlanInput) -> Result<(), PlanError> {
    let Release { id, service, steps, .. } = &input.release;
    if *service != input.service.name {
        return Err(PlanError::OtherService {
            release: id.clone(),
            belongs_to: service.clone(),
            service: input.service.name.clone(),
        });
    }
    let mut forward = steps.iter().filter(|it| it.name.runs_in(Direction::Forward)).peekable();
    let nothing = forward.peek().is_none();
    let runs = steps.iter().filter(|it| it.name == StepName::Run).count();
    let reason = match input.work {
        Work::Release if nothing => "it has no step",
        Work::Release | Work::Rollback if runs > 0 => "`run` is a step of ad-hoc runs alone",
        Work::Run if runs != 1 || steps.len() != 1 => "an ad-hoc run has the one step `run`",
        Work::Release | Work::Rollback | Work::Run => return Ok(()),
    };
    Err(PlanError::UnusableRelease { release: id.clone(), reason })
}

struct Planner<'a> {
    input: &'a PlanInput,
    hosts: BTreeMap<&'a HostName, &'a Host>,
    releases: BTreeMap<&'a ReleaseId, &'a Release>,
}

/// What becomes of the hosts of the inventory, each kind by name.
#[derive(Default)]
struct Sorted {
    targets: Vec<Target>,
    no_ops: Vec<HostName>,
    out: Vec<(HostName, OutReason)>,
}

impl<'a> Planner<'a> {
    fn new(input: &'a PlanInput) -> Result<Self, PlanError> {
        let mut hosts = BTreeMap::new();
        for host in &input.hosts {
            if hosts.insert(&host.name, host).is_some() {
                return Err(PlanError::HostTwice(host.name.clone()));
            }
        }
        let known = input.releases.iter().chain([&input.release]);
        let own = known.filter(|it| it.service == input.service.name);
        Ok(Self { input, hosts, releases: own.map(|it| (&it.id, it)).collect() })
    }

    fn select(&self) -> Result<BTreeSet<&'a HostName>, PlanError> {
        if self.input.work == Work::Rollback {
            return self.select_back();
        }
        let selector = &self.input.service.selector;
        let matched: BTreeSet<&HostName> =
            self.hosts.values().filter(|it| selector.matches(it)).map(|it| &it.name).collect();
        if matched.is_empty() {
            let hosts = self.hosts.len();
            return Err(PlanError::EmptySelection { selector: selector.clone(), hosts });
        }
        let service = &self.input.service;
        let wanted = service.count.filter(|_| self.input.work == Work::Release);
        let Some(placed) = &self.input.placed else {
            return match wanted {
                Some(count) => Err(self.not_placed(count.get())),
                None => Ok(matched),
            };
        };
        if let Some(host) = placed.iter().find(|it| !matched.contains(it)) {
            let (host, selector) = (host.clone(), selector.clone());
            return Err(PlanError::PlacedOutside { host, selector });
        }
        if placed.is_empty() {
            return Err(self.not_placed(wanted.map_or(0, |it| it.get())));
        }
        Ok(placed.iter().collect())
    }

    fn not_placed(&self, count: u32) -> PlanError {
        PlanError::NotPlaced { service: self.input.service.name.clone(), count }
    }

    fn select_back(&self) -> Result<BTreeSet<&'a HostName>, PlanError> {
        let back_to = &self.input.back_to;
        let there: BTreeSet<&HostName> =
            back_to.keys().filter(|it| self.hosts.contains_key(it)).collect();
        if there.is_empty() {
            return Err(PlanError::NothingToRollBack { named: back_to.len() });
        }
        Ok(there)
    }

    fn sort(&self, selection: &BTreeSet<&HostName>) -> Result<Sorted, PlanError> {
        let mut sorted = Sorted::default();
        for (name, host) in &self.hosts {
            if !selection.contains(name) {
                sorted.out.push(((*name).clone(), self.why_out(host)));
                continue;
            }
            let to = self.goal(name)?;
            let from = self.runs(name);
            if self.is_there(to, self.seen(name)) {
                sorted.no_ops.push((*name).clone());
            } else if to.is_none() && from.is_none_or(|it| !self.releases.contains_key(it)) {
                sorted.out.push(((*name).clone(), OutReason::NoDescriptor));
            } else {
                sorted.targets.push(self.target(host, from, to));
            }
        }
        Ok(sorted)
    }

    fn why_out(&self, host: &Host) -> OutReason {
        match self.input.work {
            Work::Rollback => OutReason::NotGoingBack,
            Work::Release | Work::Run if self.input.service.selector.matches(host) => {
                match self.input.repairs {
                    Some(_) => OutReason::NotOwed,
                    None => OutReason::NotPlaced,
                }
            }
            Work::Release | Work::Run => OutReason::NotSelected,
        }
    }

    /// What a selected host is to run.
    fn goal(&self, host: &HostName) -> Result<Option<&'a Release>, PlanError> {
        if self.input.work != Work::Rollback {
            return Ok(Some(&self.input.release));
        }
        let Some(release) = self.input.back_to.get(host).and_then(Option::as_ref) else {
            return Ok(None);
        };
        match self.releases.get(release) {
            Some(known) => Ok(Some(known)),
            None => Err(PlanError::UnknownRelease { host: host.clone(), release: release.clone() }),
        }
    }

    fn is_there(&self, goal: Option<&Release>, seen: Option<&Installed>) -> bool {
        match (self.input.work, goal) {
            (Work::Run, _) => false,
            (_, Some(release)) => {
                let package = release.package.map(|it| it.digest);
                seen.is_some_and(|it| it.is_exactly(&release.id, package))
            }
            (_, None) => seen.is_none_or(|it| it.release.is_none()),
        }
    }

    fn target(&self, host: &Host, from: Option<&ReleaseId>, to: Option<&Release>) -> Target {
        let to = to.map(|it| it.id.clone());
        match from {
            Some(known) if self.releases.contains_key(known) => {
                Target::new(host.clone(), Some(known.clone()), to)
            }
            Some(unknown) => Target::new(host.clone(), None, to).with_unregistered(unknown.clone()),
            None => Target::new(host.clone(), None, to),
        }
    }

    fn seen(&self, host: &HostName) -> Option<&'a Installed> {
        self.input.installed.get(host)
    }

    /// What a host was seen to run of the service; an ad-hoc run does not ask.
    fn runs(&self, host: &HostName) -> Option<&'a ReleaseId> {
        match self.input.work {
            Work::Release | Work::Rollback => self.seen(host)?.release.as_ref(),
            Work::Run => None,
        }
    }

    fn compose(&self, sorted: Sorted) -> (Plan, PlanReport) {
        let Sorted { targets, no_ops, out } = sorted;
        let Arranged { targets, strata } = arrange(targets, &self.input.service.strategy.order);
        let total = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        let sizes = self.input.service.strategy.waves.sizes(total);
        let mut plan = self.plan(cut(targets, &sizes), no_ops);
        plan.inventory = planned_digest(&plan);
        let warnings = warning::of(self.input, &plan, &out, strata);
        let report = self.report(&plan, out, sizes, warnings);
        (plan, report)
    }

    fn plan(&self, waves: Vec<Vec<Target>>, no_ops: Vec<HostName>) -> Plan {
        let PlanInput { work, service, release, .. } = self.input;
        let chosen = self.input.placed.is_some() || *work == Work::Rollback;
        let ends = waves.iter().flatten().flat_map(|it| [&it.from, &it.to]).flatten();
        let named: BTreeSet<&ReleaseId> = ends.chain([&release.id]).collect();
        let described = named.into_iter().filter_map(|it| self.releases.get(it));
        let releases: BTreeMap<_, _> =
            described.map(|it| (it.id.clone(), PlannedRelease::from(*it))).collect();
        let strategy = &service.strategy;
        let confirms = strategy.health.confirm_timeout.is_some();
        let signed = releases.values().any(|it| it.signed.is_some());
        let is_new =
            confirms || signed || strategy.staging.is_some() || self.input.repairs.is_some();
        Plan {
            format: if is_new { FORMAT } else { UNCONFIRMED },
            work: *work,
            service: service.name.clone(),
            deploy_path: service.deploy_path.clone(),
            account: service.account.clone(),
            release: release.id.clone(),
            releases,
            selector: (!chosen).then(|| service.selector.clone()),
            strategy: strategy.clone(),
            waves,
            no_ops,
            inventory: Digest::of(b""),
            seed: self.input.seed,
            parent: self.input.parent,
            repairs: self.input.repairs.clone(),
            created_at: self.input.created_at,
            created_by: self.input.created_by.clone(),
        }
    }

    fn report(
        &self,
        plan: &Plan,
        out: Vec<(HostName, OutReason)>,
        waves: Vec<u32>,
        warnings: Vec<Warning>,
    ) -> PlanReport {
        let mut hosts = Vec::with_capacity(self.hosts.len());
        for (wave, targets) in (0..).zip(&plan.waves) {
            hosts.extend(targets.iter().map(|target| self.change(wave, target)));
        }
        hosts.extend(plan.no_ops.iter().map(|it| HostReport::new(it.clone(), Verdict::NoOp)));
        hosts.extend(out.into_iter().map(|(host, reason)| {
            let runs = self.runs(&host).cloned();
            HostReport::new(host, Verdict::Out { reason, runs })
        }));
        hosts.sort_by(|a, b| a.host.cmp(&b.host));
        let bytes = plan.targets().map(|it| self.bytes(it)).fold(0, u64::saturating_add);
        PlanReport { hosts, waves, warnings, bytes, transfers: Vec::new(), room: None }
    }

    fn change(&self, wave: u32, target: &Target) -> HostReport {
        let (from, to) = (target.ran().cloned(), target.to.clone());
        let verdict = Verdict::Change { wave, kind: self.kind(target), from, to };
        HostReport::new(target.host.name.clone(), verdict)
    }

    fn kind(&self, target: &Target) -> ChangeKind {
        let made = |id: &ReleaseId| self.releases.get(id).map(|it| it.created_at);
        match (&target.from, &target.to) {
            _ if self.input.work == Work::Run => ChangeKind::Run,
            (_, None) => ChangeKind::Remove,
            (None, Some(_)) if target.unregistered.is_some() => ChangeKind::Replace,
            (None, Some(_)) => ChangeKind::Install,
            (Some(from), Some(to)) if from == to => ChangeKind::Repair,
            (Some(from), Some(to)) if made(to) < made(from) => ChangeKind::Downgrade,
            (Some(_), Some(_)) => ChangeKind::Upgrade,
        }
    }

    fn bytes(&self, target: &Target) -> u64 {
        let artifacts = match (&target.from, &target.to) {
            (_, Some(to)) => self.releases.get(to).map(|it| (it.package, it.descriptor)),
            (Some(from), None) => self.releases.get(from).map(|it| (None, it.descriptor)),
            (None, None) => None,
        };
        artifacts.map_or(0, |(package, descriptor)| {
            descriptor.size.saturating_add(package.map_or(0, |it| it.size))
        })
    }
}

/// Cuts `targets` into waves of these sizes, which add up to as many as there are.
fn cut(targets: Vec<Target>, sizes: &[u32]) -> Vec<Vec<Target>> {
    let mut left = targets.into_iter();
    let take =
        |size: &u32| left.by_ref().take(usize::try_from(*size).unwrap_or(usize::MAX)).collect();
    sizes.iter().map(take).collect()
}
