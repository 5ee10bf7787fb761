//! A plan is known by its digest: whatever it says counts, and however it is written does not.
use crate::sample::{host, input, installed, package, parse, planned, runs, service, strategy};
use deploy_core::{
    digest::Digest,
    plan::Plan,
    spec::{Order, ParameterName, Schedule},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A plan that says something in every field it has.
fn full() -> Plan {
    let mut strategy = strategy("1,50%,+1,*2");
    strategy.max_parallel = std::num::NonZeroU32::new(3);
    strategy.order = Order::Spread(vec![parse("zone")]);
    strategy.failure_budget.rollout.max_failed = parse("10%");
    strategy.failure_budget.rollout.max_consecutive = Some(parse("2"));
    strategy.failure_budget.wave = Some(strategy.failure_budget.rollout);
    strategy.schedule = Schedule::new(
        vec![parse("mon-fri 09:00-17:00 Europe/Berlin")],
        vec![parse("2026-12-20T00:00 .. 2027-01-02T00:00 UTC")],
    );
    let service = service("zone in (a,b)").with_account(parse("web")).with_strategy(strategy);
    let hosts = ["a", "b", "c", "d"].map(|it| host(it, "zone=a,rack=r1"));
    let mut input = input(service, hosts.to_vec())
        .with_installed(installed([
            ("a", runs("web-1")),
            ("b", runs("web-77")),
            ("c", runs("web-2")),
        ]))
        .with_seed(7)
        .with_parent(package("parent").digest);
    let name: ParameterName = parse("PORT");
    input.release = input.release.with_parameters(BTreeMap::from([(name, "80".to_owned())]));
    planned(&input).0
}

fn read(value: Value) -> Option<Plan> {
    serde_json::from_value(value).ok()
}

/// Where the leaves of `value` are.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, it)| leaves(it, &format!("{path}/{at}"), found));
        }
        Value::Object(fields) if !fields.is_empty() => {
            let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
            fields
                .iter()
                .for_each(|(key, it)| leaves(it, &format!("{path}/{}", escaped(key)), found));
        }
        Value::Array(_)
        | Value::Bool(_)
        | Value::Null
        | Value::Number(_)
        | Value::Object(_)
        | Value::String(_) => found.push(path.to_owned()),
    }
}

/// Other values that might do in the place of `leaf`.
fn others(leaf: &Value) -> Vec<Value> {
    let texts = [
        "x",
        "x1",
        "X_1",
        "/srv/other",
        "3",
        "7%",
        "*9",
        "zone=z",
        "run",
        "stop",
        "check",
        "idempotent",
        "never",
        "after_first",
        "abort",
        "local",
        "rollback",
    ];
    let windows =
        ["sun 01:00-02:00 UTC", "2026-12-21T00:00 .. 2027-01-02T00:00 UTC"].map(Value::from);
    let digest = Value::from(Digest::of(b"other").to_string());
    let more = [json!([]), json!(null), json!(["x"]), json!({ "X": "x" })];
    let numbers =
        leaf.as_u64().into_iter().flat_map(|it| [json!(it + 1), json!(it.wrapping_sub(1))]);
    let candidates = texts.map(Value::from).into_iter().chain(windows).chain([digest]).chain(more);
    candidates.chain(numbers).filter(|it| it != leaf).collect()
}

#[test]
fn json_keeps_it() {
    let plan = full();
    let json = serde_json::to_string(&plan).unwrap();
    let read: Plan = serde_json::from_str(&json).unwrap();
    assert_eq!(read, plan);
    assert_eq!(read.digest(), plan.digest());
    let pretty: Plan = serde_json::from_str(&serde_json::to_string_pretty(&read).unwrap()).unwrap();
    assert_eq!(pretty.digest(), plan.digest());
}

#[test]
fn every_leaf_counts() {
    let plan = full();
    let json = serde_json::to_value(&plan).unwrap();
    let mut paths = Vec::new();
    leaves(&json, "", &mut paths);
    assert!(paths.len() > 80, "{paths:?}");
    let mut digests = BTreeSet::from([plan.digest()]);
    let mut steadfast = Vec::new();
    for path in &paths {
        let mut changed = 0;
        for other in others(json.pointer(path).unwrap()) {
            let mut mutated = json.clone();
            *mutated.pointer_mut(path).unwrap() = other.clone();
            if let Some(read) = read(mutated).filter(|it| *it != plan) {
                assert!(digests.insert(read.digest()), "{path} = {other} changes nothing");
                changed += 1;
            }
        }
        if changed == 0 {
            steadfast.push(path.as_str());
        }
    }
    // No other way to reach a host has the fields that this one has.
    steadfast.retain(|it| !it.ends_with("/connection/via"));
    assert_eq!(steadfast, [""; 0], "nothing else could stand there");
}

#[test]
fn every_list_counts_to_its_end() {
    let plan = full();
    let json = serde_json::to_value(&plan).unwrap();
    let lists = ["/waves", "/waves/0", "/no_ops", "/releases/web-2/steps", "/strategy/waves"];
    for list in lists {
        let mut shorter = json.clone();
        shorter.pointer_mut(list).unwrap().as_array_mut().unwrap().pop().unwrap();
        assert_ne!(read(shorter).unwrap().digest(), plan.digest(), "{list}");
    }
    let mut merged = json.clone();
    let waves = merged.pointer_mut("/waves").unwrap().as_array_mut().unwrap();
    let last = waves.pop().unwrap();
    waves.last_mut().unwrap().as_array_mut().unwrap().extend(last.as_array().unwrap().clone());
    assert_ne!(read(merged).unwrap().digest(), plan.digest());
}
