use crate::lab::{DEPLOY, Lab, eventually, journeys, lines};
use serde_json::json;
use std::{
    fs,
    process::{Command, Stdio},
};

/// Writes a line for every run of the step, and fails where a file says so.
const COUNTS: &str = "echo run >> \"$DEPLOY_SHARED/count\"\n[ ! -e \"$DEPLOY_SHARED/broken\" ]";

fn a_release_goes_out_and_back(lab: &Lab) {
    lab.hosts(3);
    lab.service("waves = [\"1\", \"*2\"]");
    lab.release("1", "echo hello from $DEPLOY_HOST");
    lab.release("2", ":");
    assert_eq!(lab.json(&["plan", "web", "web-1"])["transfers"][0]["via"], "local");
    lab.ok(&["rollout", "start", "web", "web-1"]);
    let logs = lab.ok(&["rollout", "logs", "web", "--host", "web-2"]);
    assert!(logs.stdout.contains("web-2 | hello from web-2"), "{}", logs.stdout);
    assert!(!logs.stdout.contains("web-1 |"), "{}", logs.stdout);
    lab.ok(&["rollout", "start", "web", "web-2"]);
    assert_eq!(lab.version(3).as_deref(), Some("2"));

    let again = lab.ok(&["rollout", "start", "web", "web-2"]);
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);

    lab.ok(&["rollout", "rollback", "web"]);
    assert_eq!(lab.version(1).as_deref(), Some("1"));
    let newest = &lab.json(&["rollout", "list"])[0];
    assert_eq!((&newest["work"], &newest["release"]), (&"rollback".into(), &"web-2".into()));
    assert!(lab.ok(&["status"]).stdout.contains(" back from web-2 (succeeded)"));
    let status = lab.ok(&["status", "web", "--refresh", "--output", "json"]).json();
    for host in status[0]["hosts"].as_array().unwrap() {
        assert_eq!((&host["release"], &host["drift"]), (&"web-1".into(), &false.into()));
    }
}

fn a_rollout_that_was_turned_back_ends_with_10(lab: &Lab) {
    lab.hosts(2);
    lab.service("waves = [\"1\"]\non_failure = \"rollback\"");
    lab.release("1", ":");
    lab.release("2", "[ $DEPLOY_HOST = web-1 ] || [ $DEPLOY_DIRECTION = back ] || exit 3");
    lab.ok(&["rollout", "start", "web", "web-1"]);
    let ran = lab.run(&["rollout", "start", "web", "web-2"]).ended_with(10);
    assert!(ran.stdout.contains("web-2: failed in post with code 3"), "{}", ran.stdout);
    let told = lab.run(&["rollout", "watch", "web"]).ended_with(10).stdout;
    let at = |text: &str| told.find(text).unwrap_or_else(|| panic!("{text}: {told}"));
    assert!(at("web-1: done") < at("the rollout turns back"), "{told}");
    assert!(at("the rollout turns back") < at("web-1: is back on what it ran before"), "{told}");
    assert_eq!((lab.version(1).as_deref(), lab.version(2).as_deref()), (Some("1"), Some("1")));
    let why = lab.ok(&["rollout", "why", "web", "web-2"]);
    assert!(why.stdout.contains("failed in post with code 3"), "{}", why.stdout);
}

fn a_rollout_that_needs_a_person_ends_with_11_and_goes_on_from_there(lab: &Lab) {
    lab.hosts(3);
    lab.service("waves = [\"1\"]");
    lab.release("1", COUNTS);
    let shared = lab.root(1).join("srv/web/shared");
    fs::create_dir_all(&shared).unwrap();
    fs::write(shared.join("broken"), "").unwrap();
    lab.run(&["rollout", "start", "web", "web-1"]).ended_with(11);
    assert_eq!(lab.version(2), None);
    let shown = lab.ok(&["rollout", "show", "web", "--output", "json"]).json();
    assert_eq!(
        (&shown["state"], &shown["attention"][0]["host"]),
        (&"paused".into(), &"web-1".into())
    );

    lab.run(&["rollout", "confirm", "web"]).ended_with(13);
    lab.run(&["rollout", "skip", "web", "web-9"]).ended_with(1);
    fs::remove_file(shared.join("broken")).unwrap();
    let told = lab.ok(&["rollout", "retry", "web", "--failed", "--no-drive"]).stderr;
    assert!(told.contains("it is paused: `deploy rollout resume web-"), "{told}");
    lab.ok(&["rollout", "resume", "web"]);
    for host in 1..=3 {
        assert_eq!(lab.version(host).as_deref(), Some("1"));
    }
    assert_eq!(lab.shared(2, "count"), "run\n");
}

fn a_canary_is_confirmed_by_a_person(lab: &Lab) {
    lab.hosts(3);
    lab.service("waves = [\"1\", \"100%\"]\nconfirm = \"after_first\"");
    lab.release("1", COUNTS);
    let ran = lab.run(&["rollout", "start", "web", "web-1"]).ended_with(11);
    assert!(ran.stdout.contains("`deploy rollout confirm web-"), "{}", ran.stdout);
    assert!(ran.stderr.contains("lets the next wave go"), "{}", ran.stderr);
    assert!(!lab.ok(&["rollout", "show", "web"]).stderr.contains("nobody drives"));
    if !lab.has_server() {
        assert!(lab.ok(&["doctor"]).stdout.contains("waiting for somebody: web-"));
    }
    assert_eq!((lab.version(1).is_some(), lab.version(2)), (true, None));
    let waits = lab.ok(&["rollout", "why", "web", "web-2"]).stdout;
    assert!(waits.contains("wave 2 of 2: pending; waits for somebody to confirm"), "{waits}");
    lab.ok(&["rollout", "confirm", "web"]);
    assert!(lab.version(3).is_some());
}

fn a_plan_is_carried_out_as_it_was_saved_or_not_at_all(lab: &Lab) {
    lab.hosts(2);
    lab.service("");
    lab.release("1", ":");
    let planned = lab.ok(&["plan", "web", "web-1", "-o", "plan.json"]);
    assert!(planned.stdout.contains("+ web-1: nothing → web-1"), "{}", planned.stdout);
    let silent =
        "room was not checked on 2 hosts: no agent there that could say it (web-1, web-2)\n";
    assert!(planned.stdout.contains(silent), "{}", planned.stdout);
    let saved = fs::read_to_string(lab.path("plan.json")).unwrap();

    lab.write("edited.json", &saved.replace("\"seed\": ", "\"seed\": 1"));
    let ran = lab.run(&["rollout", "start", "edited.json"]).ended_with(1);
    assert!(ran.stderr.contains("not the one that was saved"), "{}", ran.stderr);
    lab.write("broken.json", saved.replacen("\"plan\"", "\"plam\"", 1).as_str());
    let ran = lab.run(&["rollout", "start", "broken.json"]).ended_with(1);
    assert!(ran.stderr.contains("broken.json:4:"), "{}", ran.stderr);

    lab.ok(&["host", "label", "web-2", "role=db"]);
    let problem =
        lab.run(&["rollout", "start", "plan.json", "--output", "json"]).ended_with(13).problem();
    assert_eq!(problem["code"], "inventory_changed");
    assert!(problem["message"].as_str().unwrap().contains("web-2"), "{problem}");
    lab.ok(&["host", "label", "web-2", "role=web"]);
    lab.ok(&["rollout", "start", "plan.json"]);
    assert!(lab.version(2).is_some());
}

fn a_second_rollout_is_refused_and_told_who_is_first(lab: &Lab) {
    lab.hosts(2);
    lab.service("waves = [\"1\"]\nconfirm = \"after_first\"");
    lab.release("1", ":");
    lab.release("2", ":");
    lab.run(&["rollout", "start", "web", "web-1"]).ended_with(11);
    let problem =
        lab.run(&["rollout", "start", "web", "web-2", "--output", "json"]).ended_with(13).problem();
    assert_eq!(problem["code"], "rollout_active");
    for fact in ["rollout", "by", "at", "plan"] {
        assert!(problem["context"][fact].is_string(), "{problem}");
    }
    lab.run(&["rollout", "abort", "web"]).ended_with(1);
    assert_eq!(lab.ok(&["rollout", "show", "web", "--output", "json"]).json()["state"], "aborted");
}

#[test]
fn after_kill_9_the_next_process_takes_over_at_once_and_runs_nothing_twice() {
    let lab = Lab::new();
    lab.hosts(3);
    lab.service("waves = [\"1\"]");
    let post = format!("{COUNTS}\necho begin\nsleep 3\necho end");
    lab.release("1", &post);
    let mut driver = lab.start(&["rollout", "start", "web", "web-1"]);
    eventually("the step runs on the second host", || !lab.shared(2, "count").is_empty());
    driver.kill().unwrap();
    driver.wait().unwrap();

    let doctor = lab.ok(&["doctor"]);
    assert!(doctor.stdout.contains("not over, and nobody drives: web-"), "{}", doctor.stdout);
    let ran = lab.ok(&["rollout", "resume", "web"]);
    assert!(
        ran.stderr.contains("the process that drove this rollout is gone: taking over"),
        "{}",
        ran.stderr
    );
    let logs = lab.ok(&["rollout", "logs", "web"]).stdout;
    for host in 1..=3 {
        assert_eq!(lab.shared(host, "count"), "run\n", "web-{host}");
        for line in ["begin", "end"] {
            let line = format!("web-{host} | {line}");
            assert_eq!(logs.lines().filter(|it| *it == line).count(), 1, "{line}:\n{logs}");
        }
    }
}

#[test]
fn who_watches_another_driver_steps_in_when_that_one_is_gone() {
    let lab = Lab::new();
    lab.hosts(2);
    lab.service("waves = [\"1\"]");
    let post = "echo x >> \"$DEPLOY_SHARED/count\"\nuntil [ -e \"$DEPLOY_SHARED/go\" ]; do sleep 0.05; done";
    lab.release("1", post);
    let mut first = lab.start(&["rollout", "start", "web", "web-1"]);
    eventually("the first host is worked on", || !lab.shared(1, "count").is_empty());
    let said = || fs::read_to_string(lab.path("said")).unwrap();
    let mut second = lab.command(&["rollout", "resume", "web"]);
    second.stdout(Stdio::null()).stderr(fs::File::create(lab.path("said")).unwrap());
    let mut second = second.spawn().unwrap();
    eventually("the second watches", || said().contains("another process drives this rollout"));
    first.kill().unwrap();
    first.wait().unwrap();
    for host in 1..=2 {
        let shared = lab.root(host).join("srv/web/shared");
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("go"), "").unwrap();
    }
    assert_eq!(second.wait().unwrap().code(), Some(0), "{}", said());
    assert!(said().contains("is gone: taking over"), "{}", said());
    for host in 1..=2 {
        assert_eq!(lines(&lab.root(host).join("srv/web/shared/count")), 1, "web-{host}");
    }
}

fn another_process_pauses_what_this_one_drives(lab: &Lab) {
    lab.hosts(3);
    lab.service("waves = [\"1\"]");
    lab.release("1", "echo x >> \"$DEPLOY_SHARED/count\"\nuntil [ -e \"$DEPLOY_SHARED/go\" ]; do sleep 0.05; done");
    let mut driver = lab.start(&["rollout", "start", "web", "web-1"]);
    eventually("the first host is worked on", || !lab.shared(1, "count").is_empty());
    let paused = lab.ok(&["rollout", "pause", "web", "--note", "lunch"]);
    assert!(
        paused.stdout.contains(" is pausing, by ") && paused.stdout.contains("lunch"),
        "{}",
        paused.stdout
    );
    assert!(!paused.stderr.contains("nobody drives"), "{}", paused.stderr);
    fs::write(lab.root(1).join("srv/web/shared/go"), "").unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(11));
    assert_eq!(lab.version(2), None);
    for host in 2..=3 {
        let shared = lab.root(host).join("srv/web/shared");
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("go"), "").unwrap();
    }
    lab.ok(&["rollout", "resume", "web"]);
    assert_eq!(lines(&lab.root(3).join("srv/web/shared/count")), 1);
}

fn a_rollout_goes_on_in_the_background(lab: &Lab) {
    lab.hosts(2);
    lab.service("waves = [\"1\"]");
    lab.release("1", "sleep 0.3");
    let started =
        lab.ok(&["rollout", "start", "web", "web-1", "--detach", "--output", "json"]).json();
    let id = started["id"].as_str().unwrap();
    lab.ok(&["rollout", "watch", id]);
    assert!(lab.version(2).is_some());
    if lab.has_server() {
        return;
    }
    let log = lab.data_dir().join("background").join(format!("{id}.log"));
    eventually("the process in the background has said what it did", || {
        fs::read_to_string(&log).is_ok_and(|it| it.contains("web-2: done"))
    });
}

#[test]
fn a_process_that_is_told_to_end_says_how_to_go_on() {
    let lab = Lab::new();
    lab.hosts(1);
    lab.service("");
    lab.release("1", "echo x >> \"$DEPLOY_SHARED/count\"\nsleep 1");
    let mut command = lab.command(&["rollout", "start", "web", "web-1"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the host is worked on", || !lab.shared(1, "count").is_empty());
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("`deploy rollout resume web-"), "{stderr}");
    lab.ok(&["rollout", "resume", "web"]);
    assert_eq!(lab.shared(1, "count"), "x\n");
}

fn a_command_runs_on_the_hosts_that_are_selected(lab: &Lab) {
    lab.hosts(3);
    lab.ok(&["host", "label", "web-3", "role=db"]);
    let ran = lab.ok(&["run", "role=web", "--", "echo", "it's $HOME", "\"quoted\""]);
    for host in ["web-1", "web-2"] {
        assert!(
            ran.stdout.contains(&format!("{host} | it's $HOME \"quoted\"\n")),
            "{}",
            ran.stdout
        );
    }
    assert!(!ran.stdout.contains("web-3"), "{}", ran.stdout);
    let line = lab.ok(&["run", "role=db", "--", "echo $DEPLOY_HOST | tr a-z A-Z"]);
    assert!(line.stdout.contains("web-3 | WEB-3\n"), "{}", line.stdout);

    lab.write("check.sh", "#!/bin/sh\necho \"on $DEPLOY_HOST\"\n[ \"$DEPLOY_HOST\" = web-1 ]\n");
    let failed = lab.run(&["run", "role=web", "--script", "check.sh"]).ended_with(1);
    assert!(failed.stdout.contains("web-2: failed in run with code 1"), "{}", failed.stdout);
    assert!(failed.stdout.contains(" went well on 1 of 2 hosts after "), "{}", failed.stdout);
    let id = lab.json(&["rollout", "list"])[0]["id"].as_str().unwrap().to_owned();
    let why = lab.ok(&["rollout", "why", &id, "web-2"]);
    assert!(why.stdout.ends_with("web-2 | on web-2\n"), "{}", why.stdout);
    assert!(why.stderr.contains("a new rollout tries it again"), "{}", why.stderr);
    lab.run(&["run", "role=none", "--", "true"]).ended_with(1);
    assert!(DEPLOY.ends_with("deploy"));
}

fn what_a_run_still_needs_is_no_garbage(lab: &Lab) {
    lab.hosts(2);
    let (begun, go) = (lab.path("begun"), lab.path("go"));
    let line = format!("touch {0:?}\nuntil [ -e {go:?} ]; do sleep 0.05; done", begun);
    let mut driver = lab.start(&["run", "role=web", "--waves", "1", "--", &line]);
    eventually("the first host is worked on", || begun.exists());
    driver.kill().unwrap();
    driver.wait().unwrap();
    lab.ok(&["run", "role=web", "--", "true"]);
    let collected = lab.json(&["artifact", "gc", "--keep", "1"]);
    assert_eq!(collected["held"].as_array().unwrap().len(), 1, "{collected}");
    fs::write(go, "").unwrap();
    let runs = lab.json(&["rollout", "list"]);
    let open = runs.as_array().unwrap().iter().find(|it| it["state"] == "running").unwrap();
    lab.ok(&["rollout", "resume", open["id"].as_str().unwrap()]);
}

fn what_is_pinned_outlives_newer_versions(lab: &Lab) {
    for version in ["1", "2", "3"] {
        lab.write("package/version", version);
        lab.ok(&["artifact", "push", "package", "--repository", "web", "--version", version]);
    }
    let listed = lab.json(&["artifact", "list"]);
    let of = |version: &str| {
        let listed = listed.as_array().unwrap().iter().find(|it| it["version"] == version);
        listed.unwrap()["digest"].as_str().unwrap().to_owned()
    };
    let (first, second) = (of("1"), of("2"));
    let pinned = lab.json(&["artifact", "pin", &first, "--name", "audit"]);
    assert_eq!((&pinned["pins"], &pinned["releases"]), (&json!(["audit"]), &json!([])));
    lab.ok(&["artifact", "pin", &first, "--name", "audit"]);
    assert!(lab.ok(&["artifact", "holders", &first]).stdout.contains("audit"));

    let young = lab.json(&["artifact", "gc", "--keep", "1", "--older-than", "1h"]);
    assert_eq!(young["entries"], json!([]), "{young}");
    let collected = lab.json(&["artifact", "gc", "--keep", "1"]);
    assert_eq!(collected["removed"], json!([second]), "{collected}");
    assert_eq!(collected["held"][0]["version"], "1", "{collected}");

    lab.ok(&["artifact", "unpin", &first, "--name", "audit"]);
    lab.refused(&["artifact", "unpin", &first, "--name", "audit"], 1);
    lab.refused(&["artifact", "pin", &second, "--name", "audit"], 1);
    assert_eq!(lab.json(&["artifact", "gc", "--keep", "1"])["removed"], json!([first]));
}

journeys!(
    a_release_goes_out_and_back,
    what_is_pinned_outlives_newer_versions,
    a_rollout_that_was_turned_back_ends_with_10,
    a_rollout_that_needs_a_person_ends_with_11_and_goes_on_from_there,
    a_canary_is_confirmed_by_a_person,
    a_plan_is_carried_out_as_it_was_saved_or_not_at_all,
    a_second_rollout_is_refused_and_told_who_is_first,
    another_process_pauses_what_this_one_drives,
    a_rollout_goes_on_in_the_background,
    a_command_runs_on_the_hosts_that_are_selected,
    what_a_run_still_needs_is_no_garbage,
);
