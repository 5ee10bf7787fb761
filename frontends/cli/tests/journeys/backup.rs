//! Backups: made while others work, and all there is of a data folder that is gone.
use crate::lab::{Lab, eventually};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

/// A release whose step counts itself, and waits for a file.
fn gated(lab: &Lab, version: &str) {
    let gate = lab.path("gate");
    let post = format!(
        "echo ran >> \"$DEPLOY_SHARED/ran\"; while ! test -e {}; do sleep 0.05; done",
        gate.display()
    );
    lab.release(version, &post);
}

#[test]
fn a_rollout_goes_on_from_a_backup_that_was_made_in_the_middle_of_it() {
    let lab = Lab::new();
    lab.hosts(2);
    lab.service("max_parallel = 1\nmin_healthy_time = \"0s\"");
    gated(&lab, "1");
    lab.ok(&["rollout", "start", "web", "web-1", "--detach"]);
    eventually("a step runs", || !lab.shared(1, "ran").is_empty());
    let made = lab.json(&["backup", "create", "backup"]);
    assert_eq!(made["database"], true, "{made}");
    let before = [["service", "list"], ["host", "list"], ["artifact", "list"]];
    let before = before.map(|list| (list, lab.json(&list)));
    fs::write(lab.path("gate"), "").unwrap();
    let show = ["rollout", "show", "web"];
    eventually("it is over", || lab.json(&show)["state"] == "succeeded");

    fs::remove_dir_all(lab.data_dir()).unwrap();
    lab.ok(&["backup", "verify", "backup"]);
    let restored = lab.json(&["backup", "restore", "backup"])["restored"].clone();
    for (list, was) in before {
        assert_eq!(lab.json(&list), was, "{list:?}");
    }
    lab.ok(&["artifact", "verify"]);
    let paused = lab.json(&show);
    assert_eq!(
        (&paused["state"], &restored["paused"]),
        (&json!("pausing"), &json!([paused["id"]]))
    );
    // The attempt on web-1 is in the backup, and is found. Of that on web-2 only web-2 knows.
    let status = lab.json(&["status", "web", "--refresh"]);
    let releases = |status: &Value| {
        let hosts = status[0]["hosts"].as_array().unwrap().iter();
        hosts.map(|it| it["release"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(releases(&status), ["web-1", "web-1"], "{status}");
    lab.run(&["rollout", "skip", "web", "web-2"]).ended_with(11);
    lab.ok(&["rollout", "resume", "web"]);
    assert_eq!(lab.json(&show)["state"], "succeeded");
    for host in 1..=2 {
        assert_eq!(lab.version(host).as_deref(), Some("1"));
        assert_eq!(lab.shared(host, "ran"), "ran\n", "web-{host} was asked twice");
    }
    let mode = |path| fs::metadata(lab.path(path)).unwrap().permissions().mode() & 0o777;
    for (private, expected) in [("backup", 0o700), ("backup/deploy.db", 0o600), ("data", 0o700)] {
        assert_eq!(mode(private), expected, "{private}");
    }
}

/// Rolls a release out that does nothing but be there.
fn roll_out(lab: &Lab, version: &str) {
    lab.release(version, "true");
    lab.ok(&["rollout", "start", "web", &format!("web-{version}")]);
}

/// The greatest generation that a host has seen.
fn fence(lab: &Lab, host: u32) -> u64 {
    let attempts = lab.root(host).join("srv/web/.deploy/attempts");
    let names = fs::read_dir(attempts).unwrap().map(|it| it.unwrap().file_name());
    names.map(|it| it.into_string().unwrap().parse().unwrap()).max().unwrap()
}

#[test]
fn a_release_is_rolled_out_after_an_old_backup_was_restored_however_often() {
    let lab = Lab::new();
    lab.hosts(2);
    lab.service("min_healthy_time = \"0s\"");
    roll_out(&lab, "1");
    lab.ok(&["backup", "create", "backup"]);
    for version in ["2", "3"] {
        roll_out(&lab, version);
    }
    for version in ["4", "5"] {
        let before = fence(&lab, 1).max(fence(&lab, 2));
        fs::remove_dir_all(lab.data_dir()).unwrap();
        let restored = lab.json(&["backup", "restore", "backup"])["restored"].clone();
        assert!(restored["floor"].as_u64().unwrap() >= before, "{restored}");
        assert_eq!(restored["paused"], json!([]));
        roll_out(&lab, version);
        for host in 1..=2 {
            assert_eq!(lab.version(host).as_deref(), Some(version));
            assert!(fence(&lab, host) > restored["floor"].as_u64().unwrap());
        }
        let why = lab.json(&["rollout", "why", "web", "web-1"]);
        assert_eq!(why["state"], "succeeded", "{why}");
    }
}

#[test]
fn a_database_that_was_brought_back_by_other_means_is_told_so() {
    let lab = Lab::new();
    let problem = lab.refused(&["backup", "declare-restored"], 1);
    assert_eq!(problem["code"], "not_found", "{problem}");
    lab.hosts(1);
    lab.service("min_healthy_time = \"0s\"");
    roll_out(&lab, "1");
    let names = ["deploy.db", "deploy.db-wal", "deploy.logs.db", "deploy.logs.db-wal"];
    let old = names.map(|it| (it, fs::read(lab.data_dir().join(it)).ok()));
    for version in ["2", "3"] {
        roll_out(&lab, version);
    }
    gated(&lab, "4");
    lab.ok(&["rollout", "start", "web", "web-4", "--detach"]);
    eventually("a step runs", || !lab.shared(1, "ran").is_empty());
    let problem = lab.refused(&["backup", "declare-restored"], 13);
    assert_eq!(problem["code"], "in_progress", "{problem}");
    fs::write(lab.path("gate"), "").unwrap();
    let show = ["rollout", "show", "web"];
    eventually("it is over", || lab.json(&show)["state"] == "succeeded");
    // What a process still has open it would write into what is brought back.
    eventually("nobody has it open", || !is_open(&lab.data_dir()));

    for (name, bytes) in old {
        let file = lab.data_dir().join(name);
        match bytes {
            Some(bytes) => fs::write(file, bytes).unwrap(),
            None => drop(fs::remove_file(file)),
        }
    }
    let before = fence(&lab, 1);
    let told = lab.json(&["backup", "declare-restored"]);
    assert!(told["floor"].as_u64().unwrap() > before, "{told}");
    assert_eq!(told["paused"], json!([]));
    roll_out(&lab, "5");
    assert_eq!(lab.version(1).as_deref(), Some("5"));
    assert_eq!(lab.json(&["backup", "declare-restored"])["paused"], json!([]));
}

/// Whether a process has a database in this folder open.
fn is_open(folder: &Path) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    // A process may end while it is looked at.
    let files = processes.filter_map(|it| fs::read_dir(it.path().join("fd")).ok()).flatten();
    let files = files.flatten().filter_map(|it| fs::read_link(it.path()).ok());
    files.into_iter().any(|it| it.starts_with(folder) && it.to_string_lossy().contains(".db"))
}

#[test]
fn nothing_is_overwritten_and_nothing_damaged_is_restored() {
    let lab = Lab::new();
    lab.refused(&["backup", "create", "backup"], 1);
    lab.hosts(1);
    lab.service("min_healthy_time = \"0s\"");
    lab.release("1", "true");
    lab.ok(&["backup", "create", "backup"]);

    let problem = lab.refused(&["backup", "create", "backup"], 13);
    assert_eq!(problem["code"], "already_exists");
    let problem = lab.refused(&["backup", "restore", "backup"], 13);
    assert_eq!(problem["code"], "already_exists", "the data folder is not empty");
    let problem = lab.refused(&["backup", "restore", "hosts"], 1);
    assert_eq!(problem["code"], "not_found", "{problem}");

    let database = lab.path("backup/deploy.db");
    let mut bytes = fs::read(&database).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&database, bytes).unwrap();
    for command in ["verify", "restore"] {
        let elsewhere = lab.path("elsewhere");
        let arguments = ["backup", command, "backup", "--data-dir", elsewhere.to_str().unwrap()];
        let problem = lab.refused(&arguments, 1);
        assert_eq!(problem["code"], "corrupt", "{problem}");
        assert!(problem["message"].as_str().unwrap().contains("deploy.db"), "{problem}");
        assert!(!elsewhere.exists(), "half a data folder was left behind");
    }
    fs::remove_file(lab.path("backup/backup.json")).unwrap();
    let problem = lab.refused(&["backup", "verify", "backup"], 1);
    assert_eq!(problem["code"], json!("not_found"));
    let left = fs::read_dir(lab.path(".")).unwrap();
    let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|it| it.to_string_lossy().starts_with(".deploy")), "{left:?}");
}
