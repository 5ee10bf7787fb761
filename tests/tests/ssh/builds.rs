//! Builds on a host over SSH: the same bytes as here, also where the connection is lost meanwhile.
use crate::fleet::{Fleet, until};
use deploy_test_support::programs::program;
use serde_json::Value;
use std::{fs, process::Command};

/// A host, and the service `web` that is built of a repository by `commands`.
fn fleet(commands: &str) -> Fleet {
    let fleet = Fleet::new(1);
    let repository = fleet.path("repository");
    fs::create_dir(&repository).unwrap();
    fs::write(repository.join("input"), "one").unwrap();
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &[
            "-c",
            "user.name=ann",
            "-c",
            "user.email=ann@example.com",
            "commit",
            "--quiet",
            "-m",
            "one",
        ],
        &["tag", "v1.0.0"],
    ] {
        assert!(
            Command::new("git")
                .args(arguments)
                .current_dir(&repository)
                .status()
                .unwrap()
                .success()
        );
    }
    let build = format!(
        "\n[build]\nremote = \"file://{}\"\ncommands = [{commands}]\noutputs = {{ output = \"output\" }}\n",
        repository.display()
    );
    fleet.service("web", &format!("waves = [\"100%\"]\n{build}"));
    fleet
}

fn build(fleet: &Fleet, more: &[&str]) -> Value {
    let arguments = ["build", "web", "--rev", "v1.0.0", "--output", "json"];
    fleet.deploy(&[&arguments[..], more].concat()).ended(0).json()
}

fn on_host() -> [String; 4] {
    let program = program("deploy").display().to_string();
    ["--on".to_owned(), "*".to_owned(), "--on-program".to_owned(), program]
}

#[test]
fn a_host_over_ssh_builds_the_same_bytes_once() {
    let fleet = fleet("'cp input output'");
    let on_host = on_host();
    let on_host: Vec<&str> = on_host.iter().map(String::as_str).collect();
    let there = build(&fleet, &on_host);
    assert_eq!((&there["id"], &there["state"]), (&"r1".into(), &"succeeded".into()), "{there}");
    assert_eq!(there["host"].as_str(), Some(fleet.hosts[0].as_str()));
    assert_eq!(build(&fleet, &on_host)["same_as"], "r1");
    let here = build(&fleet, &[]);
    assert_eq!((&here["id"], &here["host"]), (&"b1".into(), &Value::Null));
    assert_eq!((&here["package"], &here["commit"]), (&there["package"], &there["commit"]));
    let listed = fleet.deploy(&["build", "list", "--output", "json"]).ended(0).json();
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, ["b1", "r2", "r1"]);
    let log = fleet.deploy(&["build", "log", "r1"]).ended(0).out;
    assert!(log.contains("== $ cp input output") && log.contains("== succeeded: sha256:"), "{log}");
}

#[test]
fn a_build_outlives_its_connections_and_who_asked_for_it() {
    let fleet = fleet("'echo begun', 'sleep 5', 'echo done', 'cp input output'");
    let on_host = on_host();
    let on_host: Vec<&str> = on_host.iter().map(String::as_str).collect();
    let mut asked = fleet.spawn(&[&["build", "web", "--rev", "v1.0.0"][..], &on_host].concat());
    let log = fleet.path("data/remote-builds/records/r1/log");
    until("it has begun", || fs::read_to_string(&log).is_ok_and(|it| it.contains("begun\n")));
    // Its connection ends with it.
    asked.kill().unwrap();
    asked.wait().unwrap();
    let log = fleet.deploy(&["build", "log", "r1", "--follow"]).ended(0).out;
    assert_eq!(
        (log.matches("\nbegun\n").count(), log.matches("\ndone\n").count()),
        (1, 1),
        "{log}"
    );
    let shown = fleet.deploy(&["build", "show", "r1", "--output", "json"]).ended(0).json();
    assert_eq!(shown["state"], "succeeded", "{shown}");
    let records = fleet.root(0).join("var/lib/deploy/builds/records");
    assert_eq!(fs::read_dir(records).unwrap().count(), 1, "it was built more than once");
}
