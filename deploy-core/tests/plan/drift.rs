use crate::sample::{
    NOW, host, hosts, input, installed, nothing, package, parse, planned, runs, service,
};
use deploy_core::{
    host::{Connection, Host, Installed, SshConnection},
    id::{HostName, Seq},
    plan::{Plan, inventory_diff, inventory_digest},
    spec::{Step, StepName},
    time::Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

type Seen = BTreeMap<HostName, Installed>;

#[track_caller]
fn assert_changes(plan: &Plan, hosts: &[Host], seen: &Seen, expected: &[&str]) {
    let changes: Vec<String> =
        inventory_diff(plan, hosts, seen).iter().map(ToString::to_string).collect();
    assert_eq!(changes, expected);
    let same = inventory_digest(plan, hosts, seen) == plan.inventory;
    assert_eq!(same, expected.is_empty());
}

fn over_ssh(name: &str, labels: &str) -> Host {
    Host::new(parse(name), Connection::Ssh(SshConnection::new()))
        .with_labels(host(name, labels).labels)
}

fn sample() -> (Plan, Vec<Host>, Seen) {
    let hosts = ["a", "b", "c", "d"].map(|it| host(it, "role=web,zone=a")).to_vec();
    let hosts: Vec<Host> = hosts.into_iter().chain([host("other", "role=db")]).collect();
    let seen = installed([
        ("a", runs("web-1")),
        ("b", runs("web-2")),
        ("c", runs("web-77")),
        ("d", Installed::new(Some(parse("web-2")), None, Seq::new(1), NOW)),
    ]);
    let input = input(service("role=web"), hosts.clone()).with_installed(seen.clone());
    (planned(&input).0, hosts, seen)
}

#[test]
fn what_a_plan_does_not_depend_on_may_change() {
    let (plan, mut hosts, mut seen) = sample();
    assert_changes(&plan, &hosts, &seen, &[]);
    for seen in seen.values_mut() {
        seen.seen_at = NOW.after(Duration::from_secs(1));
        seen.generation = Seq::new(99);
    }
    hosts.reverse();
    hosts.retain(|it| it.name.as_str() != "other");
    hosts.push(host("another", "role=db"));
    seen.insert(parse("another"), runs("web-1"));
    let settled = hosts.iter_mut().find(|it| it.name.as_str() == "b").unwrap();
    *settled = over_ssh("b", "role=web,zone=b");
    assert_changes(&plan, &hosts, &seen, &[]);
}

#[test]
fn what_it_depends_on_is_named() {
    let (plan, hosts, seen) = sample();
    let with = |changed: Host| -> Vec<Host> {
        let others = hosts.iter().filter(|it| it.name != changed.name).cloned();
        others.chain([changed.clone()]).collect()
    };
    let without = |name: &str| -> Vec<Host> {
        hosts.iter().filter(|it| it.name.as_str() != name).cloned().collect()
    };
    let moved = over_ssh("a", "role=web,zone=a");
    let cases: [(Vec<Host>, &[&str]); 8] = [
        (with(host("new", "role=web")), &["host `new` is selected now and was not"]),
        (with(host("other", "role=web")), &["host `other` is selected now and was not"]),
        (without("a"), &["host `a` left the inventory"]),
        (without("b"), &["host `b` left the inventory"]),
        (with(host("a", "zone=a")), &["host `a` is no longer selected"]),
        (with(host("b", "zone=a")), &["host `b` is no longer selected"]),
        (
            with(host("a", "role=web,zone=b,rack=r")),
            &["host `a` has other labels: -zone=a, +rack=r, +zone=b"],
        ),
        (with(moved), &["host `a` is reached in another way"]),
    ];
    for (hosts, expected) in cases {
        assert_changes(&plan, &hosts, &seen, expected);
    }
    let now = |host: &str, now: Installed| -> Seen {
        seen.clone().into_iter().chain([(parse(host), now)]).collect()
    };
    let other = Installed::new(Some(parse("web-2")), Some(package("x").digest), Seq::new(1), NOW);
    let cases: [(Seen, &[&str]); 7] = [
        (now("a", runs("web-3")), &["host `a` ran `web-1` and runs `web-3`"]),
        (now("a", runs("web-2")), &["host `a` ran `web-1` and runs `web-2`"]),
        (now("a", nothing()), &["host `a` ran `web-1` and runs nothing"]),
        (now("b", runs("web-1")), &["host `b` ran `web-2` and runs `web-1`"]),
        (now("b", other), &["host `b` runs another package of `web-2`"]),
        (now("c", runs("web-1")), &["host `c` ran `web-77` and runs `web-1`"]),
        (now("d", runs("web-2")), &["host `d` runs another package of `web-2`"]),
    ];
    for (seen, expected) in cases {
        assert_changes(&plan, &hosts, &seen, expected);
    }
}

#[test]
fn several_changes_are_all_named() {
    let (plan, mut hosts, mut seen) = sample();
    hosts.retain(|it| it.name.as_str() != "d");
    hosts[0] = over_ssh("a", "role=web");
    hosts.push(host("e", "role=web"));
    seen.insert(parse("a"), runs("web-3"));
    let expected = [
        "host `a` is reached in another way",
        "host `a` has other labels: -zone=a",
        "host `a` ran `web-1` and runs `web-3`",
        "host `d` left the inventory",
        "host `e` is selected now and was not",
    ];
    assert_changes(&plan, &hosts, &seen, &expected);
}

#[test]
fn a_host_never_seen_and_one_seen_without_the_service_are_alike() {
    let hosts = hosts(&["a"]);
    let (plan, _) = planned(&input(service("*"), hosts.clone()));
    assert_changes(&plan, &hosts, &installed([("a", nothing())]), &[]);
    let now = installed([("a", runs("web-1"))]);
    assert_changes(&plan, &hosts, &now, &["host `a` ran nothing and runs `web-1`"]);
}

#[test]
fn hosts_that_were_chosen_one_by_one_stay_chosen() {
    let all = hosts(&["a", "b"]);
    let input = input(service("*"), all.clone()).with_placed([parse("a")].into());
    let (plan, _) = planned(&input);
    let more = hosts(&["a", "b", "c"]);
    assert_changes(&plan, &more, &Seen::new(), &[]);
    assert_changes(&plan, &all[1..], &Seen::new(), &["host `a` left the inventory"]);
}

#[test]
fn an_ad_hoc_run_does_not_care_what_hosts_run() {
    let hosts = hosts(&["a"]);
    let mut input = input(service("*"), hosts.clone()).as_run();
    input.release.steps = vec![Step::new(StepName::Run)];
    let (plan, _) = planned(&input);
    assert_changes(&plan, &hosts, &installed([("a", runs("web-2"))]), &[]);
    assert_changes(&plan, &[], &Seen::new(), &["host `a` left the inventory"]);
}

#[test]
fn a_rollback_depends_on_what_goes_back() {
    let hosts = hosts(&["a", "b", "c"]);
    let seen = installed([("a", runs("web-2")), ("b", runs("web-1")), ("c", runs("web-2"))]);
    let back = BTreeMap::from([
        (parse("a"), Some(parse("web-1"))),
        (parse("b"), Some(parse("web-1"))),
        (parse("c"), None),
    ]);
    let input = input(service("*"), hosts.clone()).with_installed(seen.clone()).as_rollback(back);
    let (plan, _) = planned(&input);
    assert_changes(&plan, &hosts, &seen, &[]);
    let now = installed([("a", runs("web-1")), ("b", runs("web-1")), ("c", nothing())]);
    let expected =
        ["host `a` ran `web-2` and runs `web-1`", "host `c` ran `web-2` and runs nothing"];
    assert_changes(&plan, &hosts, &now, &expected);
}

#[test]
fn time_alone_changes_nothing() {
    let (mut plan, hosts, seen) = sample();
    plan.created_at = Timestamp::from_millis(1);
    assert_changes(&plan, &hosts, &seen, &[]);
}
