use crate::lab::{Lab, journeys};
use serde_json::Value;

fn every_resource_is_one_document(lab: &Lab) {
    lab.hosts(2);
    lab.service("waves = [\"1\", \"*2\"]\nbake_time = \"1s\"\ncheck_interval = \"1s\"");
    lab.release("1", ":");
    let json = |arguments: &[&str]| lab.ok(&[arguments, &["--output", "json"]].concat()).json();
    let service = json(&["service", "show", "web"]);
    assert_eq!(service["strategy"]["waves"], Value::from(vec!["1", "*2"]));
    assert_eq!(service["strategy"]["bake_time_ms"], 1_000);
    assert_eq!(json(&["service", "history", "web"])[0]["revision"], 1);
    assert_eq!(json(&["host", "show", "web-1"])["connection"]["via"], "local");
    assert_eq!(json(&["host", "check"])[0]["reachable"], true);
    assert_eq!(json(&["artifact", "list"]).as_array().unwrap().len(), 2);
    assert_eq!(json(&["artifact", "verify"])[0]["intact"], true);
    assert_eq!(json(&["release", "list", "web"])[0]["id"], "web-1");
    let plan = json(&["plan", "web", "web-1"]);
    assert_eq!(plan["waves"][0]["targets"][0]["to"], "web-1");
    let room = &plan["room"];
    assert_eq!((&room["hosts"], &room["checked"]), (&2.into(), &0.into()));
    assert_eq!(room["unchecked"][0]["reason"], "cannot_ask");
    assert!(plan["digest"].as_str().unwrap().starts_with("sha256:"));

    let started = lab.ok(&["rollout", "start", "web", "web-1", "--output", "json"]);
    let documents: Vec<Value> =
        started.stdout.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert!(documents.len() > 3);
    let last = documents.last().unwrap();
    assert_eq!((&last["state"], &last["counts"]["succeeded"]), (&"succeeded".into(), &2.into()));
    assert!(last["ended_at"].is_string());

    assert_eq!(json(&["rollout", "list"])[0]["state"], "succeeded");
    assert_eq!(json(&["rollout", "show", "web", "--hosts"])["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(json(&["rollout", "why", "web", "web-1"])["state"], "succeeded");
    assert_eq!(json(&["status"])[0]["hosts"][0]["release"], "web-1");
    assert_eq!(json(&["doctor"])["healthy"], true);
    let log = lab.ok(&["rollout", "logs", "web", "--output", "json"]).stdout;
    assert!(log.lines().all(|it| serde_json::from_str::<Value>(it).is_ok()), "{log}");
}

fn a_problem_is_a_document_on_standard_error(lab: &Lab) {
    let ran = lab.run(&["service", "show", "web", "--output", "json"]).ended_with(1);
    assert!(ran.stdout.is_empty());
    let problem = ran.problem();
    assert_eq!(
        (&problem["code"], &problem["context"]["service"]),
        (&"not_found".into(), &"web".into())
    );
    assert!(problem["hint"].is_string());
}

journeys!(every_resource_is_one_document, a_problem_is_a_document_on_standard_error,);
