use crate::lab::Lab;
use deploy_test_support::mounts::own_mounts;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

#[test]
fn inventories_are_imported_again_and_again() {
    let lab = Lab::new();
    lab.write("hosts.ini", "[web]\nweb-[1:3] ansible_user=ann\n[db]\ndb-1 colour=red\n");
    let dry = lab.ok(&["host", "import", "hosts.ini", "--dry-run", "--output", "json"]).json();
    assert_eq!((dry["added"].as_array().unwrap().len(), &dry["dry_run"]), (4, &true.into()));
    let first = lab.ok(&["host", "import", "hosts.ini", "--label", "site=x"]);
    assert!(first.stdout.contains("4 hosts new"), "{}", first.stdout);
    assert!(first.stderr.contains("variable `colour` of 1 host is not used"), "{}", first.stderr);
    let again = lab.ok(&["host", "import", "hosts.ini", "--label", "site=x"]);
    assert_eq!(again.stdout, "4 hosts as before\n");
    lab.write("hosts.ini", "[web]\nweb-1 ansible_user=bob\n");
    let changed = lab.ok(&["host", "import", "hosts.ini", "--label", "site=x"]);
    assert!(changed.stdout.contains("1 host changed: web-1"), "{}", changed.stdout);
    let selected = lab.ok(&["host", "list", "group=web,site=x", "--output", "json"]).json();
    assert_eq!(selected.as_array().unwrap().len(), 3);
}

#[test]
fn a_selector_is_checked_before_anything_else() {
    let lab = Lab::new();
    let ran = lab.run(&["host", "list", "role=="]).ended_with(2);
    assert!(ran.stderr.contains("role=="), "{}", ran.stderr);
    let ran = lab.run(&["host", "check", "role=none"]).ended_with(1);
    assert!(ran.stderr.contains("selects no host"), "{}", ran.stderr);
}

#[test]
fn a_service_that_selects_nothing_has_no_plan() {
    let lab = Lab::new();
    lab.service("");
    lab.release("1", ":");
    let problem = lab.run(&["plan", "web", "web-1", "--output", "json"]).ended_with(1).problem();
    assert_eq!(problem["code"], "empty_selection");
    assert!(problem["message"].as_str().unwrap().contains("role=web"), "{problem}");
}

#[test]
fn a_host_that_is_no_target_is_named_and_changes_nothing() {
    let lab = Lab::new();
    lab.hosts(2);
    lab.service("waves = [\"1\"]\nconfirm = \"after_first\"");
    lab.release("1", ":");
    lab.run(&["rollout", "start", "web", "web-1"]).ended_with(11);
    let before = lab.json(&["rollout", "show", "web", "--hosts"]);
    for verb in ["skip", "exclude", "retry", "kill", "why"] {
        let problem = lab.refused(&["rollout", verb, "web", "web-9"], 1);
        assert_eq!(problem["code"], "not_found", "{verb}: {problem}");
        assert!(problem["message"].as_str().unwrap().contains("`web-9`"), "{verb}: {problem}");
        assert!(problem["hint"].as_str().unwrap().contains("--hosts"), "{verb}: {problem}");
    }
    assert_eq!(lab.refused(&["rollout", "logs", "web", "--host", "web-9"], 1)["code"], "not_found");
    assert_eq!(lab.json(&["rollout", "show", "web", "--hosts"]), before);
    // Hosts are removed all together or not at all.
    let problem = lab.refused(&["host", "remove", "web-1", "web-9"], 1);
    assert_eq!(
        (&problem["code"], &problem["context"]["host"]),
        (&"not_found".into(), &"web-9".into())
    );
    lab.ok(&["host", "show", "web-1"]);
}

#[test]
fn a_plan_is_refused_with_each_difference() {
    let lab = Lab::new();
    lab.hosts(3);
    lab.service("");
    lab.release("1", ":");
    lab.ok(&["plan", "web", "web-1", "-o", "plan.json"]);
    lab.ok(&["host", "add", "web-4", "--label", "role=web"]);
    lab.ok(&["host", "remove", "web-1"]);
    lab.ok(&["host", "label", "web-2", "zone=b"]);
    let problem = lab.refused(&["rollout", "start", "plan.json"], 13);
    assert_eq!(problem["code"], "inventory_changed", "{problem}");
    let differences: Vec<_> =
        (1..=3).map(|it| problem["context"][format!("change.{it}")].as_str().unwrap()).collect();
    for host in ["web-1", "web-2", "web-4"] {
        assert!(differences.iter().any(|it| it.contains(host)), "{host}: {differences:?}");
        assert!(problem["message"].as_str().unwrap().contains(host), "{problem}");
    }
    assert_eq!(lab.json(&["rollout", "list"]).as_array().unwrap().len(), 0);
}

#[test]
fn a_version_never_changes() {
    let lab = Lab::new();
    lab.write("one/file", "1");
    lab.write("two/file", "2");
    let push = |path| lab.run(&["artifact", "push", path, "--repository", "web", "--version", "1"]);
    push("one").ended_with(0);
    push("one").ended_with(0);
    let refused = push("two").ended_with(13);
    assert!(
        refused.stderr.contains("version `1` of `web` is another package already"),
        "{}",
        refused.stderr
    );

    lab.service("");
    lab.release("2", ":");
    let create = |package| {
        lab.run(&[
            "release",
            "create",
            "web",
            "2",
            "--package",
            package,
            "--descriptor",
            "descriptor-2",
        ])
    };
    create("package-2").ended_with(0);
    let other = create("1").ended_with(13);
    assert!(other.stderr.contains("release `web-2` is there already"), "{}", other.stderr);
}

#[test]
fn a_host_that_lacks_a_tool_is_found_before_anything_goes_there() {
    if !own_mounts("bad_input::a_host_that_lacks_a_tool_is_found_before_anything_goes_there") {
        return;
    }
    let lab = Lab::new();
    lab.hosts(1);
    assert_eq!(lab.json(&["host", "check"])[0]["code"], Value::Null);
    // Whatever is no program is none that can be run.
    let hide = "mount --bind /dev/null \"$(command -v flock)\"";
    assert!(Command::new("sh").args(["-c", hide]).status().unwrap().success());
    let ran = lab.run(&["host", "check", "--output", "json"]).ended_with(1);
    let check = &ran.json()[0];
    assert_eq!((&check["reachable"], &check["code"]), (&true.into(), &"unhealthy".into()));
    assert_eq!(check["reason"], "the host has no flock: install that there");
    let told = lab.run(&["run", "role=web", "--", "true"]).ended_with(1).stdout;
    assert!(told.contains("the host has no `flock`: install it there"), "{told}");
}

#[test]
fn garbage_is_shown_before_it_goes() {
    let lab = Lab::new();
    lab.hosts(1);
    lab.service("confirm = \"every_wave\"\nwaves = [\"1\"]");
    lab.release("1", ":");
    for version in ["2", "3", "4"] {
        lab.write("old/file", version);
        lab.ok(&["artifact", "push", "old", "--repository", "web", "--version", version]);
    }
    let before = lab.everything();
    let would = lab.json(&["artifact", "gc", "--keep", "1", "--dry-run"]);
    let versions = |of: &Value| {
        let all = of.as_array().unwrap().iter();
        all.map(|it| it["version"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(versions(&would["entries"]), ["3", "2"]);
    assert_eq!(versions(&would["held"]), ["1"]);
    assert_eq!((&would["dry_run"], &before), (&true.into(), &lab.everything()));
    let mut did = lab.json(&["artifact", "gc", "--keep", "1"]);
    did["dry_run"] = true.into();
    assert_eq!(did, would);
    lab.run(&["artifact", "gc", "--keep", "0"]).ended_with(2);
}

#[test]
fn rot_is_found() {
    let lab = Lab::new();
    lab.write("one/file", "1");
    lab.ok(&["artifact", "push", "one", "--repository", "web", "--version", "1"]);
    lab.ok(&["artifact", "verify"]);
    let blob = find(&lab.data_dir().join("artifacts/blobs"));
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::set_permissions(&blob, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&blob, bytes).unwrap();
    let ran = lab.run(&["artifact", "verify"]).ended_with(1);
    assert!(ran.stdout.starts_with("damaged sha256:"), "{}", ran.stdout);
}

fn find(folder: &std::path::Path) -> std::path::PathBuf {
    let entry = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    if entry.is_dir() { find(&entry) } else { entry }
}

#[test]
fn a_descriptor_is_checked_with_its_scripts() {
    let lab = Lab::new();
    lab.write("d/descriptor.toml", "format = 1\n[steps.post]\nscript = \"none.sh\"\n");
    let problem = lab.refused(&["descriptor", "check", "d"], 1);
    assert_eq!(problem["code"], "invalid_file");
    assert!(problem["message"].as_str().unwrap().starts_with("d/none.sh: "), "{problem}");
    let default = lab.ok(&["descriptor", "show-default"]).stdout;
    lab.write("default.toml", &default);
    assert!(lab.ok(&["descriptor", "check", "default.toml"]).stdout.contains("install"));
}

#[test]
fn a_release_is_told_what_its_descriptor_asks_for() {
    let lab = Lab::new();
    lab.service("");
    lab.write("p/file", "x");
    let descriptor =
        "format = 1\n[parameters.PORT]\ntype = \"integer\"\nmin = 1\nmax = 9\nrequired = true\n";
    lab.write("descriptor.toml", descriptor);
    let create = |more: &[&str]| {
        let begin =
            ["release", "create", "web", "1", "--package", "p", "--descriptor", "descriptor.toml"];
        lab.run(&[&begin[..], more].concat())
    };
    assert!(create(&[]).ended_with(1).stderr.contains("PORT"));
    assert!(create(&["-p", "PORT=77"]).ended_with(1).stderr.contains("PORT"));
    assert!(create(&["-p", "COLOUR=red"]).ended_with(1).stderr.contains("COLOUR"));
    create(&["-p", "PORT=7"]).ended_with(0);
    let release = lab.ok(&["release", "show", "web-1", "--output", "json"]).json();
    assert_eq!(release["parameters"]["PORT"], "7");
}
