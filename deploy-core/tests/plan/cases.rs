use crate::sample::{
    NOW, host, hosts, input, installed, messages, nothing, package, parse, planned, release, runs,
    service, strategy, waves,
};
use deploy_core::{
    host::Installed,
    id::{HostName, Seq},
    plan::{ChangeKind, OutReason, PlanError, PlanInput, Verdict, Warning, Work, plan},
    spec::{Limit, Order, Schedule, Step, StepName},
    time::Timestamp,
};
use std::{collections::BTreeMap, num::NonZeroU32};

fn no_release(seen_at: Timestamp) -> Installed {
    Installed::new(None, None, Seq::ZERO, seen_at)
}

#[test]
fn hosts_are_told_what_becomes_of_them() {
    let all = ["down", "fresh", "odd", "same", "strange", "unseen", "up"];
    let hosts = all
        .iter()
        .map(|it| host(it, "role=web"))
        .chain([host("other", "role=db"), host("stray", "")])
        .collect();
    let other_package = Installed::new(
        Some(parse("web-2")),
        Some(package("something else").digest),
        Seq::new(1),
        NOW,
    );
    let input = input(service("role=web"), hosts).with_installed(installed([
        ("down", runs("web-3")),
        ("fresh", nothing()),
        ("odd", other_package),
        ("same", runs("web-2")),
        ("strange", runs("web-77")),
        ("up", runs("web-1")),
        ("stray", runs("web-1")),
    ]));
    let (plan, report) = planned(&input);

    let lines: Vec<String> = report.hosts.iter().map(ToString::to_string).collect();
    let expected = [
        "down: wave 1, downgrade: web-3 -> web-2",
        "fresh: wave 1, install: web-2",
        "odd: wave 1, repair: web-2 -> web-2",
        "other: out, the selector does not match it",
        "same: as it should be",
        "strange: wave 1, replace: web-77 -> web-2",
        "stray: out, the selector does not match it; goes on running web-1",
        "unseen: wave 1, install: web-2",
        "up: wave 1, upgrade: web-1 -> web-2",
    ];
    assert_eq!(lines, expected);
    assert_eq!(waves(&plan), [["down", "fresh", "odd", "strange", "unseen", "up"]]);
    assert_eq!(plan.no_ops, [parse::<HostName>("same")]);
    assert_eq!(
        report.to_string(),
        "1 to downgrade, 2 to install, 1 to repair, 1 to replace, 1 to upgrade in 1 wave; \
         1 as they should be, 2 not part of it"
    );
    assert_eq!(report.bytes, 6 * 1_010);
    assert_eq!(
        messages(&report),
        [
            "the service does not belong on host `stray`, which runs it and goes on running it",
            "nobody looked yet at what host `unseen` runs: taken for nothing",
            "host `strange` runs `web-77`, which the registry does not know: \
             going back takes the service off",
            "the first wave has 6 of 6 targets: begin with fewer",
        ]
    );
    let from: Vec<_> =
        plan.targets().map(|it| it.from.as_ref().map(|it| it.as_str().to_owned())).collect();
    let known = |it: &str| Some(it.to_owned());
    assert_eq!(from, [known("web-3"), None, known("web-2"), None, None, known("web-1")]);
    let described: Vec<&str> = plan.releases.keys().map(|it| it.as_str()).collect();
    assert_eq!(described, ["web-1", "web-2", "web-3"]);
}

#[test]
fn a_host_whose_package_nobody_knows_is_no_no_op() {
    let unknown = Installed::new(Some(parse("web-2")), None, Seq::new(1), NOW);
    let input =
        input(service("*"), hosts(&["a"])).with_installed(installed([("a", unknown.clone())]));
    let (_, report) = planned(&input);
    assert_eq!(report.counts(), BTreeMap::from([(ChangeKind::Repair, 1)]));

    let mut bare = input.clone();
    bare.release.package = None;
    let (plan, report) = planned(&bare.with_installed(installed([("a", unknown)])));
    assert!(report.is_no_op() && plan.waves.is_empty());
    assert_eq!(report.to_string(), "nothing to do; 1 as they should be, 0 not part of it");
}

#[test]
fn a_plan_says_all_that_was_decided() {
    let service = service("host=*").with_account(parse("web")).with_strategy(strategy("1"));
    let parent = package("parent").digest;
    let input = input(service.clone(), hosts(&["a"])).with_seed(7).with_parent(parent);
    let (plan, _) = planned(&input);
    assert_eq!(plan.work, Work::Release);
    assert_eq!(plan.service, service.name);
    assert_eq!(plan.account, service.account);
    assert_eq!(plan.deploy_path, service.deploy_path);
    assert_eq!(plan.selector, Some(service.selector));
    assert_eq!(plan.strategy, service.strategy);
    assert_eq!((plan.seed, plan.parent, plan.created_at), (7, Some(parent), NOW));
    assert_eq!(plan.planned().unwrap().package, Some(package("web-2")));
    assert_eq!(plan.targets().next().unwrap().to, Some(parse("web-2")));
}

fn ordered(order: Order, sizes: &str) -> PlanInput {
    let hosts = vec![
        host("b1", "zone=b"),
        host("c1", "zone=c"),
        host("a2", "zone=a"),
        host("a1", "zone=a"),
        host("a3", "zone=a"),
        host("x", ""),
        host("c2", "zone=c"),
    ];
    let mut strategy = strategy(sizes);
    strategy.order = order;
    input(service("*").with_strategy(strategy), hosts)
}

#[test]
fn targets_go_by_name_or_one_stratum_after_another_or_dealt_over_all() {
    let zone = vec![parse("zone")];
    let cases = [
        (Order::Name, [["a1", "a2", "a3"], ["b1", "c1", "c2"]]),
        (Order::Group(zone.clone()), [["x", "a1", "a2"], ["a3", "b1", "c1"]]),
        (Order::Spread(zone), [["x", "a1", "b1"], ["c1", "a2", "c2"]]),
        (Order::Spread(Vec::new()), [["a1", "a2", "a3"], ["b1", "c1", "c2"]]),
    ];
    for (order, expected) in cases {
        let (plan, _) = planned(&ordered(order.clone(), "3"));
        assert_eq!(waves(&plan)[..2], expected, "{order:?}");
        assert_eq!(waves(&plan)[2].len(), 1);
    }
}

#[test]
fn canaries_that_cannot_cover_every_stratum_are_warned_about() {
    let spread = Order::Spread(vec![parse("zone")]);
    let (_, report) = planned(&ordered(spread.clone(), "3"));
    let warning = Warning::CanariesMissStrata { size: 3, strata: 4 };
    assert!(report.warnings.contains(&warning));
    let enough = planned(&ordered(spread, "4,1")).1;
    assert!(!enough.warnings.iter().any(|it| it.code() == "canaries_miss_strata"));
    let grouped = planned(&ordered(Order::Group(vec![parse("zone")]), "1")).1;
    assert!(!grouped.warnings.iter().any(|it| it.code() == "canaries_miss_strata"));
}

#[test]
fn what_may_not_be_as_intended_is_warned_about() {
    let names: Vec<String> = (0..10).map(|it| format!("h{it}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut strategy = strategy("6");
    strategy.failure_budget.rollout.max_failed = parse("9%");
    strategy.failure_budget.rollout.max_timed_out = parse("0%");
    strategy.failure_budget.rollout.max_consecutive = Some(parse("10%"));
    let mut wave = strategy.failure_budget.rollout;
    wave.max_failed = Limit::Count(0);
    wave.max_consecutive = Some(parse("16%"));
    strategy.failure_budget.wave = Some(wave);
    strategy.schedule = Schedule::new(
        vec![parse("sun 10:00-11:00 UTC")],
        vec![parse("2020-01-01T00:00 .. 2031-01-01T00:00 UTC")],
    );
    let day = 24 * 60 * 60 * 1_000;
    let ago = |millis: u64| Timestamp::from_millis(NOW.as_millis() - millis);
    let mut seen: BTreeMap<HostName, Installed> =
        names.iter().map(|it| (parse(it), no_release(ago(day)))).collect();
    for name in &names[..5] {
        seen.insert(parse(name), no_release(ago(day + 1)));
    }
    let input = input(service("*").with_strategy(strategy), hosts(&names)).with_installed(seen);
    let (_, report) = planned(&input);
    assert_eq!(
        messages(&report),
        [
            "it is more than a day ago that anybody looked at what each of the hosts `h0`, `h1`, `h2` \
             and 2 more runs",
            "the first wave has 6 of 10 targets: begin with fewer",
            "`failure_budget.max_failed` is 9%, which of 10 targets is none",
            "`failure_budget.wave.max_consecutive` is 16%, which of 6 targets is none",
            "windows and freezes leave no time to start within two years",
        ]
    );
}

#[test]
fn half_of_all_is_a_first_wave_of_the_right_size() {
    let seen = installed([("a", nothing()), ("b", nothing())]);
    let two = input(service("*").with_strategy(strategy("1")), hosts(&["a", "b"]));
    assert_eq!(messages(&planned(&two.with_installed(seen.clone())).1), [""; 0]);
    let one = input(service("*"), hosts(&["a"])).with_installed(seen);
    assert_eq!(messages(&planned(&one).1), [""; 0]);
}

#[test]
fn a_service_that_wants_a_number_of_hosts_gets_those_that_were_placed() {
    let service = service("*").with_count(NonZeroU32::new(3).unwrap());
    let seen = installed([("a", runs("web-1")), ("b", nothing()), ("c", runs("web-1"))]);
    let input = input(service, hosts(&["a", "b", "c", "d"])).with_installed(seen);
    let err = plan(&input).unwrap_err();
    assert_eq!(err.code(), "not_placed");
    assert_eq!(
        err.to_string(),
        "service `web` wants 3 hosts: a scheduler has to choose at least one first"
    );
    let placed =
        |names: &[&str]| input.clone().with_placed(names.iter().map(|it| parse(it)).collect());
    assert_eq!(plan(&placed(&[])).unwrap_err().code(), "not_placed");

    let (plan, report) = planned(&placed(&["a", "b"]));
    assert_eq!(waves(&plan), [["a", "b"]]);
    assert_eq!(plan.selector, None);
    let reason = OutReason::NotPlaced;
    let out = Verdict::Out { reason, runs: Some(parse("web-1")) };
    assert_eq!(report.verdict(&parse("c")), Some(&out));
    assert!(report.warnings.contains(&Warning::CountMissing { wanted: 3, placed: 2 }));
    assert!(report.warnings.contains(&Warning::StillRuns { hosts: vec![parse("c")] }));
    assert_eq!(report.verdict(&parse("nowhere")), None);
}

#[test]
fn what_contradicts_itself_is_no_plan() {
    let two = || input(service("zone=a"), vec![host("a", "zone=a"), host("b", "zone=b")]);
    let nowhere = input(service("zone=c"), two().hosts);
    let twice = input(service("*"), hosts(&["a", "b", "a"]));
    let other = {
        let mut other = two();
        other.release.service = parse("db");
        other
    };
    let with_steps = |steps: &[StepName]| {
        let mut input = two();
        input.release.steps = steps.iter().map(|it| Step::new(*it)).collect();
        input
    };
    let unknown = two().as_rollback(BTreeMap::from([(parse("a"), Some(parse("web-77")))]));
    let gone = two().as_rollback(BTreeMap::from([(parse("x"), None)]));
    let cases = [
        (
            nowhere,
            "empty_selection",
            "selector `zone=c` matches none of the 2 hosts of the inventory",
        ),
        (twice, "host_twice", "the inventory has host `a` twice"),
        (other, "other_service", "release `web-2` is of service `db` and not of `web`"),
        (
            two().with_placed([parse("b")].into()),
            "placed_outside",
            "host `b` was chosen for the service and is not matched by its selector `zone=a`",
        ),
        (
            with_steps(&[StepName::Rollback]),
            "unusable_release",
            "release `web-2` cannot be carried out like this: it has no step",
        ),
        (
            with_steps(&[StepName::Install, StepName::Run]),
            "unusable_release",
            "release `web-2` cannot be carried out like this: `run` is a step of ad-hoc runs alone",
        ),
        (
            two().as_run(),
            "unusable_release",
            "release `web-2` cannot be carried out like this: an ad-hoc run has the one step `run`",
        ),
        (
            unknown,
            "unknown_release",
            "host `a` should go back to release `web-77`, which the registry does not know",
        ),
        (gone, "nothing_to_roll_back", "none of the 1 hosts to roll back is in the inventory"),
    ];
    for (input, code, message) in cases {
        let err: PlanError = plan(&input).unwrap_err();
        assert_eq!((err.code(), err.to_string().as_str()), (code, message));
    }
}

#[test]
fn an_ad_hoc_run_goes_to_every_selected_host() {
    let mut input = input(service("zone=a"), vec![host("a", "zone=a"), host("b", "zone=b")])
        .with_installed(installed([("a", runs("web-2"))]))
        .as_run();
    input.release.steps = vec![Step::new(StepName::Run)];
    let (plan, report) = planned(&input);
    assert_eq!(plan.work, Work::Run);
    assert_eq!(waves(&plan), [["a"]]);
    assert_eq!(plan.stream().to_string(), "run/web");
    assert_eq!(report.hosts[0].to_string(), "a: wave 1, run: web-2");
    assert_eq!(report.hosts[1].to_string(), "b: out, the selector does not match it");
    assert_eq!(messages(&report), [""; 0]);
}

#[test]
fn a_rollback_brings_each_host_to_its_own_release() {
    let names = ["bare", "fresh", "kept", "one", "same", "strange", "three"];
    let back = |host: &str, release: Option<&str>| (parse(host), release.map(parse));
    let input = input(service("zone=nowhere").with_strategy(strategy("1")), hosts(&names))
        .with_installed(installed([
            ("bare", runs("web-2")),
            ("fresh", nothing()),
            ("kept", runs("web-2")),
            ("one", runs("web-2")),
            ("same", runs("web-1")),
            ("strange", runs("web-77")),
            ("three", runs("web-2")),
        ]))
        .as_rollback(BTreeMap::from([
            back("bare", None),
            back("fresh", None),
            back("left", Some("web-1")),
            back("one", Some("web-1")),
            back("same", Some("web-1")),
            back("strange", None),
            back("three", Some("web-3")),
        ]));
    let (plan, report) = planned(&input);
    let lines: Vec<String> = report.hosts.iter().map(ToString::to_string).collect();
    let expected = [
        "bare: wave 1, remove: web-2",
        "fresh: as it should be",
        "kept: out, the rollback does not name it; goes on running web-2",
        "one: wave 2, downgrade: web-2 -> web-1",
        "same: as it should be",
        "strange: out, nothing says how to take off what it runs; goes on running web-77",
        "three: wave 3, upgrade: web-2 -> web-3",
    ];
    assert_eq!(lines, expected);
    assert_eq!(plan.work, Work::Rollback);
    assert_eq!(plan.selector, None);
    assert_eq!(report.bytes, 10 + 1_010 + 1_010);
    assert_eq!(messages(&report), ["host `left` should go back and left the inventory"]);
    let described: Vec<&str> = plan.releases.keys().map(|it| it.as_str()).collect();
    assert_eq!(described, ["web-1", "web-2", "web-3"]);
}

#[test]
fn releases_of_other_services_are_not_to_go_back_to() {
    let mut foreign = release(1);
    foreign.service = parse("db");
    let input = input(service("*"), hosts(&["a"]))
        .with_releases(vec![foreign])
        .with_installed(installed([("a", runs("web-1"))]));
    let (plan, _) = planned(&input);
    let target = plan.targets().next().unwrap();
    assert_eq!((target.from.clone(), target.unregistered.clone()), (None, Some(parse("web-1"))));
}
