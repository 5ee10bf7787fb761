//! What hosts are owed after a rollout, and when they get it.
use crate::play::{Play, host, parse, secs, waves};
use deploy_core::{
    digest::Digest,
    host::{Host, Installed},
    id::{HostName, Seq},
    plan::Plan,
    repair::{Cause, FIRST_WAIT, Hold, LONGEST_WAIT, Ledger, LedgerInput, Left, Next, Owed},
    rollout::{Rollout, TaskState},
    spec::{Limit, OnDrift, OnFailure, Repair, Service, Strategy},
    time::Timestamp,
};
use proptest::{
    prelude::{Just, ProptestConfig, any, prop_assert, prop_assert_eq, proptest},
    prop_oneof,
    strategy::Strategy as _,
};
use std::{collections::BTreeMap, time::Duration};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn lenient() -> Strategy {
    let mut strategy = waves("100%");
    let budget = &mut strategy.failure_budget.rollout;
    budget.max_failed = Limit::Percent(100);
    budget.max_unreachable = Limit::Percent(100);
    strategy
}

/// What becomes of a host in a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Away,
    Fails,
    Skipped,
    Succeeds,
}

impl Fate {
    fn befall(self, play: &mut Play, number: usize) {
        match self {
            Self::Away => play.unreachable(number),
            Self::Fails => play.fail(number),
            Self::Skipped => {
                play.fail(number);
                play.skip(number);
            }
            Self::Succeeds => play.succeed(number),
        }
    }
}

/// A rollout onto as many hosts as there are fates.
fn rolled_out(fates: &[Fate]) -> Play {
    let mut play = Play::new(fates.len(), lenient());
    // Whoever is skipped comes first: a rollout that is over takes no command.
    let mut order: Vec<_> = fates.iter().enumerate().collect();
    order.sort_by_key(|(_, fate)| **fate != Fate::Skipped);
    if fates.iter().all(|it| *it == Fate::Skipped) {
        play.pause();
    }
    for (number, fate) in order {
        fate.befall(&mut play, number);
    }
    if play.rollout().outcome().is_none() {
        play.resume();
    }
    assert!(play.rollout().outcome().is_some(), "{:?}", play.rollout().view());
    play
}

/// A plan that repairs some of the hosts of a rollout.
fn repairing(rollout: &Rollout, numbers: &[usize], on_failure: OnFailure) -> Plan {
    let mut plan = rollout.plan().clone();
    plan.repairs = Some(rollout.id().clone());
    plan.strategy = waves("100%");
    plan.strategy.on_failure = on_failure;
    let names: Vec<HostName> = numbers.iter().map(|it| host(*it)).collect();
    plan.waves.first_mut().unwrap().retain(|it| names.contains(&it.host.name));
    plan
}

/// A repair of one host, so long after the rollout.
fn repaired(rollout: &Rollout, number: usize, after: Duration, fate: Fate) -> Play {
    let plan = repairing(rollout, &[number], OnFailure::Abort);
    let id = format!("web-repair-{}", after.as_secs());
    let mut play = Play::begin(&plan, &id, rollout.updated_at().after(after));
    fate.befall(&mut play, number);
    play
}

fn service(repair: Repair) -> Service {
    Service::new(parse("web"), parse("ann"), parse("/srv/web"), parse("*")).with_repair(repair)
}

fn everything() -> Repair {
    Repair::default().with_debt(7 * DAY).with_drift(OnDrift::Repair)
}

fn seen(release: &str, at: Timestamp) -> Installed {
    Installed::new(Some(parse(release)), None, Seq::new(9), at)
}

/// A rollout, what came after it, and what is known of hosts.
struct Scene<'a> {
    last: &'a Rollout,
    repairs: Vec<Rollout>,
    service: Service,
    installed: BTreeMap<HostName, Installed>,
}

impl<'a> Scene<'a> {
    fn new(last: &'a Rollout) -> Self {
        Self {
            last,
            repairs: Vec::new(),
            service: service(everything()),
            installed: BTreeMap::new(),
        }
    }

    fn sees(mut self, number: usize, release: &str) -> Self {
        self.installed.insert(host(number), seen(release, self.last.updated_at()));
        self
    }

    fn after(mut self, repair: &Play) -> Self {
        self.repairs.insert(0, repair.rollout().clone());
        self
    }

    fn ledger(&self, after: Duration) -> Ledger {
        let hosts: Vec<Host> = self.last.plan().targets().map(|it| it.host.clone()).collect();
        self.ledger_over(&hosts, after)
    }

    fn ledger_over(&self, hosts: &[Host], after: Duration) -> Ledger {
        let now = self.last.updated_at().after(after);
        let (service, installed) = (&self.service, &self.installed);
        Ledger::of(&LedgerInput::new(service, self.last, &self.repairs, hosts, installed, now))
    }

    /// What becomes of one host.
    fn next(&self, number: usize, after: Duration) -> Option<Next> {
        self.ledger(after).entry(&host(number)).map(|it| it.next.clone())
    }
}

#[test]
fn what_a_rollout_left_behind_is_debt_from_its_end_on() {
    let play = rolled_out(&[Fate::Succeeds, Fate::Away, Fate::Fails]);
    let scene = Scene::new(play.rollout()).sees(0, "web-1");
    let ledger = scene.ledger(secs(60));
    let owed: Vec<(&HostName, Cause)> =
        ledger.hosts.iter().map(|it| (&it.host, it.cause)).collect();
    let debt = |state| Cause::Debt { state };
    assert_eq!(
        owed,
        [(&host(1), debt(TaskState::Unreachable)), (&host(2), debt(TaskState::Failed))]
    );
    let Owed { since, should_run, next, .. } = ledger.hosts[0].clone();
    assert_eq!((since, should_run), (play.rollout().updated_at(), Some(parse("web-1"))));
    assert_eq!(next, Next::Due);
}

#[test]
fn debt_is_left_to_people_where_nobody_asks_for_it_and_once_it_is_old() {
    let play = rolled_out(&[Fate::Away]);
    let mut scene = Scene::new(play.rollout());
    assert_eq!(scene.next(0, 7 * DAY - secs(1)), Some(Next::Due));
    let at = play.rollout().updated_at().after(7 * DAY);
    let ledger = scene.ledger(7 * DAY);
    assert_eq!(ledger.hosts[0].next, Next::Left { why: Left::Expired { at } });
    assert_eq!((ledger.due().count(), ledger.expired().count()), (0, 1));
    scene.service.repair = Repair::default();
    assert_eq!(scene.next(0, secs(1)), Some(Next::Left { why: Left::DebtUnwanted }));
}

#[test]
fn whoever_takes_a_host_out_has_the_last_word_until_somebody_repairs_it() {
    let play = rolled_out(&[Fate::Succeeds, Fate::Skipped]);
    let scene = Scene::new(play.rollout());
    let left = Next::Left { why: Left::TakenOut { by: parse("bob") } };
    assert_eq!(scene.next(1, secs(60)), Some(left));
    let repair = repaired(play.rollout(), 1, secs(60), Fate::Fails);
    let scene = scene.after(&repair);
    assert!(matches!(scene.next(1, secs(61)), Some(Next::At { .. })));
}

#[test]
fn drift_is_reported_and_repaired_only_where_somebody_asks_for_it() {
    let play = rolled_out(&[Fate::Succeeds, Fate::Succeeds, Fate::Succeeds]);
    let mut scene = Scene::new(play.rollout()).sees(0, "web-0").sees(1, "web-1");
    let ledger = scene.ledger(secs(60));
    assert_eq!(ledger.hosts.len(), 1, "what was never seen is no drift");
    let Owed { cause, runs, next, .. } = ledger.hosts[0].clone();
    assert_eq!((cause, runs, next), (Cause::Drift, Some(parse("web-0")), Next::Due));
    scene.service.repair = Repair::default();
    assert_eq!(scene.next(0, secs(60)), Some(Next::Left { why: Left::Reported }));
}

#[test]
fn a_host_that_was_brought_there_owes_drift_and_no_debt() {
    let play = rolled_out(&[Fate::Away]);
    let repair = repaired(play.rollout(), 0, secs(60), Fate::Succeeds);
    let scene = Scene::new(play.rollout()).sees(0, "web-0").after(&repair);
    assert_eq!(scene.ledger(30 * DAY).hosts[0].cause, Cause::Drift);
}

#[test]
fn each_repair_within_a_day_doubles_the_wait_whatever_came_of_it() {
    let play = rolled_out(&[Fate::Away]);
    let mut scene = Scene::new(play.rollout()).sees(0, "web-0");
    let mut at = secs(60);
    let mut wait = FIRST_WAIT;
    for fate in [Fate::Fails, Fate::Succeeds, Fate::Fails, Fate::Away, Fate::Fails, Fate::Fails] {
        scene = scene.after(&repaired(play.rollout(), 0, at, fate));
        let until = play.rollout().updated_at().after(at + wait);
        assert_eq!(scene.next(0, at + wait - secs(1)), Some(Next::At { at: until }), "{wait:?}");
        at += wait;
        assert_eq!(scene.next(0, at), Some(Next::Due), "{wait:?}");
        wait = (2 * wait).min(LONGEST_WAIT);
    }
    assert_eq!(wait, LONGEST_WAIT);
    scene = scene.after(&repaired(play.rollout(), 0, at + 2 * DAY, Fate::Fails));
    assert_eq!(scene.next(0, at + 2 * DAY + FIRST_WAIT), Some(Next::Due), "the rest is forgotten");
}

#[test]
fn what_people_do_to_repairs_is_not_undone() {
    let play = rolled_out(&[Fate::Away, Fate::Away]);
    let plan = repairing(play.rollout(), &[0], OnFailure::Abort);
    let mut repair = Play::begin(&plan, "web-r", play.now().after(secs(60)));
    let active = Scene::new(play.rollout()).after(&repair).ledger(secs(61));
    assert_eq!(active.hold, Some(Hold::Active { rollout: parse("web-r") }));
    assert_eq!(active.due().count(), 0);
    repair.abort();
    repair.fail(0);
    let stopped = Scene::new(play.rollout()).after(&repair).ledger(30 * DAY);
    assert_eq!(stopped.hold, Some(Hold::Stopped { rollout: parse("web-r"), by: parse("bob") }));
}

#[test]
fn a_repair_that_its_budget_has_ended_holds_back_no_other_host() {
    let play = rolled_out(&[Fate::Away, Fate::Away]);
    let mut plan = repairing(play.rollout(), &[0, 1], OnFailure::Abort);
    plan.strategy.max_parallel = std::num::NonZeroU32::new(1);
    let mut repair = Play::begin(&plan, "web-r", play.now().after(secs(60)));
    repair.fail(0);
    let scene = Scene::new(play.rollout()).after(&repair);
    assert!(matches!(scene.next(0, secs(61)), Some(Next::At { .. })));
    assert_eq!(scene.next(1, secs(61)), Some(Next::Due), "it was not even tried");
    assert_eq!(scene.ledger(secs(61)).due().count(), 1);
}

#[test]
fn nobody_knows_what_hosts_owe_to_a_rollout_that_did_not_end_well() {
    let mut play = Play::new(2, lenient());
    play.succeed(0);
    let running = Scene::new(play.rollout()).sees(0, "web-0").ledger(secs(1));
    assert!(matches!(running.hold, Some(Hold::Active { .. })));
    assert_eq!(running.hosts.len(), 1, "drift shows at once, and debt at the end");
    play.abort();
    play.fail(1);
    let ledger = Scene::new(play.rollout()).ledger(secs(60));
    assert!(matches!(ledger.hold, Some(Hold::Unsettled { .. })), "{ledger:?}");
    assert_eq!(ledger.hosts, []);
}

#[test]
fn nothing_is_due_outside_the_windows_of_the_service_as_it_is_now() {
    let play = rolled_out(&[Fate::Away]);
    let mut scene = Scene::new(play.rollout());
    scene.service.strategy.schedule.windows.push(parse("daily 18:00-19:00 UTC"));
    let ledger = scene.ledger(secs(60));
    assert_eq!(ledger.due().count(), 0);
    assert_eq!(ledger.hold.unwrap().to_string(), "window opens Fri 2027-01-15 18:00 UTC");
    assert_eq!(scene.ledger(6 * secs(3_600)).due().count(), 1);
}

fn fate() -> impl proptest::strategy::Strategy<Value = Fate> {
    prop_oneof![Just(Fate::Away), Just(Fate::Fails), Just(Fate::Skipped), Just(Fate::Succeeds)]
}

/// What a host is seen to run: nothing known, nothing, another release, another package, what it should.
fn sight() -> impl proptest::strategy::Strategy<Value = Option<Installed>> {
    let at = Timestamp::from_millis(1_800_000_000_000);
    let package = Some(Digest::of(b"another"));
    prop_oneof![
        Just(None),
        Just(Some(Installed::new(None, None, Seq::new(1), at))),
        Just(Some(seen("web-0", at))),
        Just(Some(Installed::new(Some(parse("web-1")), package, Seq::new(1), at))),
        Just(Some(seen("web-1", at))),
    ]
}

fn wishes() -> impl proptest::strategy::Strategy<Value = Repair> {
    let debt = proptest::option::of((0_u64..200_000).prop_map(Duration::from_secs));
    (debt, any::<bool>()).prop_map(|(debt, repairs)| {
        let mut repair = Repair::default();
        repair.debt = debt;
        if repairs { repair.with_drift(OnDrift::Repair) } else { repair }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_ledger_owes_what_is_missing_and_repairs_what_is_asked_for(
        hosts in proptest::collection::vec((fate(), sight()), 1..6),
        repair in wishes(),
        tries in proptest::collection::vec((0_usize..6, 0_u64..100_000, fate()), 0..4),
        after in 0_u64..300_000,
    ) {
        let fates: Vec<Fate> = hosts.iter().map(|(fate, _)| *fate).collect();
        let play = rolled_out(&fates);
        let mut scene = Scene::new(play.rollout());
        scene.service = service(repair);
        for (number, (_, sight)) in hosts.iter().enumerate() {
            scene.installed.extend(sight.clone().map(|it| (host(number), it)));
        }
        let mut tries = tries;
        tries.retain(|(number, at, fate)| *number < fates.len() && *at <= after && *fate != Fate::Skipped);
        tries.sort_by_key(|(_, at, _)| *at);
        tries.dedup_by_key(|(_, at, _)| *at);
        for (number, at, fate) in &tries {
            scene = scene.after(&repaired(play.rollout(), *number, secs(*at), *fate));
        }
        let after = secs(after);
        let ledger = scene.ledger(after);
        prop_assert_eq!(&ledger.hold, &None);
        for (number, (fate, sight)) in hosts.iter().enumerate() {
            let fixed = tries.iter().any(|(it, _, fate)| *it == number && *fate == Fate::Succeeds);
            let debt = *fate != Fate::Succeeds && !fixed;
            let runs_it = *sight == Some(seen("web-1", Timestamp::from_millis(1_800_000_000_000)));
            let entry = ledger.entry(&host(number));
            prop_assert_eq!(entry.is_some(), !runs_it && (debt || sight.is_some()));
            let Some(entry) = entry else { continue };
            prop_assert_eq!(entry.cause == Cause::Drift, !debt);
            if entry.next != Next::Due { continue }
            let asked_for = match entry.cause {
                Cause::Debt { .. } => repair.debt.is_some_and(|it| after < it),
                Cause::Drift => repair.drift == OnDrift::Repair,
            };
            prop_assert!(asked_for);
            let mine = || tries.iter().filter(|(it, ..)| *it == number);
            prop_assert!(mine().all(|(_, at, _)| after >= secs(*at) + FIRST_WAIT));
            prop_assert!(*fate != Fate::Skipped || mine().count() > 0);
        }
        let mut turned: Vec<Host> = play.rollout().plan().targets().map(|it| it.host.clone()).collect();
        turned.reverse();
        prop_assert_eq!(scene.ledger_over(&turned, after), ledger);
    }
}
