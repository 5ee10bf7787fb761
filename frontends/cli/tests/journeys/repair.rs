//! What a rollout has left behind, and what has changed since: shown, and made good.
use crate::{
    lab::{Lab, eventually},
    server::{PLAIN, Served},
};
use serde_json::{Value, json};
use std::fs;

const STRATEGY: &str = "max_parallel = 1\nmin_healthy_time = \"0s\"\n[strategy.failure_budget]\nmax_failed = 1\nmax_unreachable = 1";

/// Three hosts, the second of which has lost its disk.
fn lab(repair: &str) -> Lab {
    let lab = Lab::new();
    lab.hosts(3);
    fs::remove_dir_all(lab.root(2)).unwrap();
    fs::write(lab.root(2), "").unwrap();
    lab.service(&format!("{STRATEGY}\n[repair]\n{repair}"));
    lab.release("1", "echo ran >> \"$DEPLOY_SHARED/ran\"");
    lab
}

fn comes_back(lab: &Lab, host: u32) {
    fs::remove_file(lab.root(host)).unwrap();
    fs::create_dir_all(lab.root(host)).unwrap();
}

/// A server that looks after services all the time.
fn served(lab: &Lab) -> Served {
    Served::start_with(lab, &[PLAIN], |it| {
        it.env("DEPLOY_SERVE_REPAIR_INTERVAL", "200ms");
    })
}

fn counts_debt(server: &Served, token: &str) -> bool {
    let text = server.text(token, "/metrics");
    text.contains("deploy_hosts_owed{service=\"web\",cause=\"debt\"} 1")
}

/// What `deploy status` says of a host.
fn status(lab: &Lab, host: usize) -> Value {
    lab.json(&["status", "web"])[0]["hosts"][host - 1].clone()
}

#[test]
fn a_host_that_is_back_gets_what_it_missed() {
    let lab = lab("debt = \"7d\"");
    lab.ok(&["rollout", "start", "web", "web-1"]);
    assert_eq!(lab.version(2), None);
    let owed = &status(&lab, 2)["owed"];
    assert_eq!(owed["cause"], "debt");
    assert_eq!((&owed["release"], &owed["next"]), (&json!("web-1"), &json!("due")));
    // Before anybody tries: who has tried in vain waits for a while.
    comes_back(&lab, 2);
    let server = served(&lab);
    eventually("the host has the release", || lab.version(2).as_deref() == Some("1"));
    eventually("nothing is owed", || status(&lab, 2)["owed"].is_null());
    let rollouts = lab.json(&["rollout", "list"]);
    let [repair, first] = rollouts.as_array().unwrap().as_slice() else { panic!("{rollouts}") };
    assert_eq!(
        (&repair["work"], &repair["started_by"]),
        (&json!("repair"), &json!("deploy-keeper"))
    );
    assert_eq!(
        (&first["work"], &first["state"]),
        (&json!("release"), &json!("succeeded_with_debt"))
    );
    assert_eq!(lab.shared(1, "ran"), "ran\n", "whoever had it was left alone");
    let token = server.first.clone().unwrap();
    eventually("nothing is counted any more", || !counts_debt(&server, &token));
    server.stop();
    let log = fs::read_to_string(lab.path("server.log")).unwrap();
    assert!(log.contains("a repair was started"), "{log}");
}

#[test]
fn what_is_left_to_people_they_repair_by_hand() {
    let lab = lab("");
    lab.ok(&["rollout", "start", "web", "web-1"]);
    assert_eq!(status(&lab, 2)["owed"]["next"], "left");
    let server = served(&lab);
    let token = server.first.clone().unwrap();
    eventually("the debt is counted", || counts_debt(&server, &token));
    server.stop();
    comes_back(&lab, 2);
    lab.ok(&["status", "web", "--repair"]);
    assert_eq!(lab.version(2).as_deref(), Some("1"));
    let problem = lab.refused(&["status", "web", "--repair"], 1);
    assert_eq!(problem["context"]["reason"], "nothing_owed");
    fs::remove_file(lab.root(3).join("srv/web/current")).unwrap();
    let shown = lab.ok(&["status", "web", "--refresh"]).stdout;
    assert!(
        shown.contains("drift from web-1: the service asks for drift to be reported"),
        "{shown}"
    );
    assert_eq!(status(&lab, 3)["drift"], true);
    lab.ok(&["status", "web", "--repair"]);
    assert_eq!(lab.version(3).as_deref(), Some("1"));
    assert_eq!(lab.shared(1, "ran"), "ran\n", "whoever had it was left alone");
}
