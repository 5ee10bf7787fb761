//! How fast bytes may travel: set, shown and taken back.
use crate::{
    lab::{Lab, eventually, journeys},
    server::{PLAIN, Served},
};
use serde_json::{Value, json};
use std::fs;

journeys! {
    limits_are_set_and_taken_back,
    a_rollouts_limit_ends_with_it,
    a_limit_that_limits_nothing_is_warned_of,
}

fn scopes(lab: &Lab) -> Vec<Value> {
    let all = lab.json(&["limit", "list"]);
    all.as_array().unwrap().iter().map(|it| it["scope"].clone()).collect()
}

fn limits_are_set_and_taken_back(lab: &Lab) {
    lab.hosts(1);
    assert!(lab.ok(&["limit", "list"]).stderr.contains("no limits"));
    let set = lab.json(&["limit", "set", "host=web-1", "50", "--upload", "10"]);
    assert_eq!((&set["mbit"], &set["upload_mbit"]), (&json!(50), &json!(10)));
    lab.ok(&["limit", "set", "origin", "500"]);
    lab.ok(&["limit", "set", "zone=fra", "200"]);
    let shown = lab.ok(&["limit", "list"]).stdout;
    assert!(shown.contains("50 Mbit/s, and gives 10") && shown.contains("500 Mbit/s"), "{shown}");
    assert_eq!(scopes(lab), ["host=web-1", "origin", "zone=fra"]);
    lab.ok(&["limit", "clear", "origin", "zone=fra"]);
    assert_eq!(scopes(lab), ["host=web-1"]);
    assert_eq!(lab.refused(&["limit", "clear", "origin"], 1)["code"], "not_found");
    assert_eq!(lab.refused(&["limit", "set", "host=web-9", "5"], 1)["code"], "not_found");
    for wrong in [
        ["limit", "set", "h1", "5"],
        ["limit", "set", "origin", "0"],
        ["limit", "set", "rack=a", "5"],
    ] {
        assert_eq!(lab.run(&wrong).code, 2, "{wrong:?}");
    }
}

fn a_limit_that_limits_nothing_is_warned_of(lab: &Lab) {
    lab.hosts(1);
    for (scope, why) in [
        ("origin", "no host has an agent"),
        ("zone=fra", "zone `fra` has no relay"),
        ("host=web-1", "host `web-1` has no agent"),
    ] {
        let said = lab.ok(&["limit", "set", scope, "5"]).stderr;
        assert!(said.contains(&format!("warning: {why}")), "{said}");
        let set = lab.json(&["limit", "set", scope, "5"]);
        assert!(set["warnings"][0].as_str().unwrap().starts_with(why), "{set}");
    }
    let all = lab.json(&["limit", "list"]);
    assert!(all.as_array().unwrap().iter().all(|it| it.get("warnings").is_none()), "{all}");
}

fn a_rollouts_limit_ends_with_it(lab: &Lab) {
    lab.hosts(1);
    lab.service("min_healthy_time = \"0s\"");
    let gate = lab.path("gate");
    lab.release("1", &format!("while ! test -e {}; do sleep 0.05; done", gate.display()));
    let mut rollout = lab.start(&["rollout", "start", "web", "web-1"]);
    let newest = || lab.json(&["rollout", "list"])[0]["id"].as_str().map(ToOwned::to_owned);
    eventually("a rollout", || newest().is_some());
    let scope = format!("rollout={}", newest().unwrap());
    let said = lab.ok(&["limit", "set", &scope, "20"]).stderr;
    assert!(said.contains("1 of 1 hosts of rollout"), "{said}");
    assert_eq!(scopes(lab), [json!(scope)]);
    fs::write(&gate, "").unwrap();
    assert!(rollout.wait().unwrap().success());
    assert!(scopes(lab).is_empty());
    let over = lab.refused(&["limit", "set", &scope, "20"], 13);
    assert_eq!(over["code"], "conflict");
}

#[test]
fn a_server_gives_what_its_configuration_says_until_somebody_says_else() {
    let lab = Lab::with_server_of("[agents]\norigin_mbit = 100\n");
    let usual = lab.json(&["limit", "list"]);
    let said = json!([{
        "scope": "origin", "mbit": 100, "upload_mbit": null, "set_by": null, "set_at": null
    }]);
    assert_eq!(usual, said);
    lab.ok(&["limit", "set", "origin", "500"]);
    assert_eq!(lab.json(&["limit", "list"])[0]["mbit"], 500);
    lab.ok(&["limit", "clear", "origin"]);
    assert_eq!(lab.json(&["limit", "list"]), usual);
}

#[test]
fn a_server_that_cannot_read_its_limits_does_not_start() {
    let lab = Lab::new();
    Served::start(&lab, &[PLAIN]).stop();
    fs::write(lab.data_dir().join("limits.json"), "{").unwrap();
    let ran = lab.run(&["serve", "--listen", "127.0.0.1:0", PLAIN]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("limits.json") && ran.stderr.contains("mend the file"), "{ran:?}");
}
