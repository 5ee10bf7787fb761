//! From a revision in git to a release on hosts.
use crate::lab::{Lab, Ran, eventually, service};
use std::{fs, process::Command};

const DESCRIPTOR: &str = "format = 1\n[steps.verify]\nenabled = false\n";

/// A lab whose service `web` is built of a repository with the tags `v1.0.0` and `v1.1.0`.
fn lab(commands: &str) -> Lab {
    let lab = Lab::new();
    prepare(&lab, commands);
    lab
}

/// Makes the repository, and the service that is built of it.
pub(crate) fn prepare(lab: &Lab, commands: &str) {
    prepare_with(lab, commands, DESCRIPTOR);
}

/// The same, with this descriptor.
pub(crate) fn prepare_with(lab: &Lab, commands: &str, descriptor: &str) {
    lab.write("repository/deploy/descriptor.toml", descriptor);
    for version in ["1.0.0", "1.1.0"] {
        lab.write("repository/version.txt", version);
        git(lab, &["init", "--quiet"]);
        git(lab, &["add", "--all"]);
        git(lab, &["commit", "--quiet", "--message", version]);
        git(lab, &["tag", &format!("v{version}")]);
    }
    let build = format!(
        "[build]\nremote = \"file://{}\"\ncommands = [{commands}]\noutputs = {{ version = \"out\" }}\ndescriptor = \"deploy\"\n",
        lab.path("repository").display()
    );
    lab.write("service.toml", &format!("{}{build}", service("waves = [\"100%\"]")));
    lab.ok(&["service", "apply", "service.toml"]);
}

pub(crate) fn git(lab: &Lab, arguments: &[&str]) {
    let identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"];
    let git = Command::new("git")
        .args(identity)
        .args(arguments)
        .current_dir(lab.path("repository"))
        .output()
        .unwrap();
    assert!(git.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&git.stderr));
}

pub(crate) const PRINTS: &str = "'echo compiling; tr -d \"\\n\" <version.txt >out'";

#[test]
fn a_tag_becomes_a_release_that_runs_on_hosts() {
    let lab = lab(PRINTS);
    lab.hosts(2);
    let made = lab.ok(&["build", "web", "--rev", "v1.0.0", "--release"]);
    assert!(
        made.stdout.contains("package web 1.0.0 is sha256:")
            && made.stdout.ends_with("release web-1.0.0 is made\n"),
        "{}",
        made.stdout
    );
    assert!(made.stderr.contains("compiling\n"), "{}", made.stderr);
    lab.ok(&["rollout", "start", "web", "web-1.0.0"]);
    assert_eq!(
        [lab.version(1), lab.version(2)],
        [Some("1.0.0".to_owned()), Some("1.0.0".to_owned())]
    );

    let published = lab.json(&["build", "web", "--rev", "v1.1.0", "--release"]);
    let release = lab.json(&["release", "show", "web-1.1.0"]);
    assert_eq!(release["package"], published["build"]["package"]);
    let provenance = release["provenance"].as_str().unwrap();
    let commit = published["build"]["commit"].as_str().unwrap();
    let statement = published["build"]["provenance"].as_str().unwrap();
    assert!(
        provenance.starts_with("git+file://")
            && provenance.ends_with(&format!("@{commit} {statement}")),
        "{provenance}"
    );
    let kinds: Vec<_> = lab
        .json(&["artifact", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["kind"].clone())
        .collect();
    assert_eq!(
        kinds,
        ["descriptor", "descriptor", "package", "package", "provenance", "provenance"]
    );
    lab.ok(&["rollout", "start", "web", "web-1.1.0"]);
    assert_eq!(lab.version(2).as_deref(), Some("1.1.0"));

    // What a release is about stays, and so does the statement about it.
    let garbage = lab.json(&["artifact", "gc", "--keep", "1"]);
    assert_eq!(garbage["entries"].as_array().unwrap().len(), 0, "{garbage}");
}

#[test]
fn the_same_is_built_once_and_released_once() {
    let lab = lab(PRINTS);
    let first = lab.json(&["build", "web", "--rev", "v1.0.0"]);
    assert_eq!(
        (&first["state"], &first["same_as"]),
        (&"succeeded".into(), &serde_json::Value::Null)
    );
    let second = lab.json(&["build", "web", "--rev", "v1.0.0", "--push"]);
    assert_eq!(
        (&second["build"]["same_as"], &second["build"]["package"]),
        (&first["id"], &first["package"])
    );
    let third = lab.json(&["build", "web", "--rev", "v1.0.0", "--release"]);
    assert_eq!(
        (&third["build"]["package"], &third["release"]["id"]),
        (&first["package"], &"web-1.0.0".into())
    );
    // A builder that has forgotten everything makes the same bytes again, and the version stays what it is.
    fs::remove_dir_all(lab.data_dir().join("builds")).unwrap();
    let anew = lab.json(&["build", "web", "--rev", "v1.0.0", "--release"]);
    assert_eq!(
        (&anew["build"]["same_as"], &anew["build"]["package"]),
        (&serde_json::Value::Null, &first["package"])
    );
    let other =
        lab.refused(&["build", "web", "--rev", "v1.1.0", "--push", "--version", "1.0.0"], 13);
    assert_eq!(other["code"], "already_exists");
}

#[test]
fn a_statement_about_another_build_is_not_taken_for_this_ones() {
    let lab = lab("'echo the same >out'");
    let first = lab.json(&["build", "web", "--rev", "v1.0.0", "--push", "--version", "9"]);
    let made = lab.json(&["build", "web", "--rev", "v1.1.0"]);
    assert_eq!(made["package"], first["build"]["package"]);
    assert_ne!(made["commit"], first["build"]["commit"]);
    let other = ["build", "web", "--rev", "v1.1.0", "--release", "--version", "9"];
    let problem = lab.refused(&other, 13);
    assert_eq!(problem["code"], "already_exists");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("has a statement already that says something else"), "{message}");
    assert_eq!(lab.refused(&["release", "show", "web-9"], 1)["code"], "not_found");
}

#[test]
fn a_branch_that_is_called_like_a_version_is_none() {
    let lab = lab(PRINTS);
    git(&lab, &["branch", "7.7"]);
    let made = lab.json(&["build", "web", "--rev", "7.7", "--push"]);
    let commit = made["build"]["commit"].as_str().unwrap();
    assert_eq!(made["artifacts"][0]["version"], commit[..12]);
    assert_eq!(made["build"]["tag"], serde_json::Value::Null);
}

#[test]
fn whoever_runs_the_builder_the_package_is_the_same() {
    let lab = lab(
        "'echo x >made; ls -l --time-style=+%s version.txt deploy >out; stat -c %a made >>out'",
    );
    let first = lab.json(&["build", "web", "--rev", "v1.0.0"]);
    fs::remove_dir_all(lab.data_dir().join("builds")).unwrap();
    let mut command = lab.command_under("umask 077", &["build", "web", "--rev", "v1.0.0"]);
    let second = Ran::of(command.args(["--output", "json"]).output().unwrap());
    let second = second.ended_with(0).json();
    assert_eq!(second["package"], first["package"]);
    assert_eq!(second["same_as"], serde_json::Value::Null);
}

#[test]
fn builds_are_listed_shown_and_read() {
    let lab = lab("\"echo one\", \"echo two; exit 3\"");
    let problem = lab.refused(&["build", "web", "--rev", "v1.0.0"], 1);
    assert_eq!(
        (&problem["code"], &problem["context"]["fault"], &problem["context"]["build"]),
        (&"build_failed".into(), &"command_failed".into(), &"b1".into())
    );
    let problem = lab.refused(&["build", "web", "--rev", "v9"], 1);
    assert_eq!(problem["context"]["fault"], "revision_unknown");
    let ids: Vec<_> = lab
        .json(&["build", "list"])
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].clone())
        .collect();
    assert_eq!(ids, ["b2", "b1"]);
    let shown = lab.ok(&["build", "show", "b1"]).stdout;
    assert!(
        shown.contains("failed: command 2 (`echo two; exit 3`) ended with exit status: 3"),
        "{shown}"
    );
    let log = lab.ok(&["build", "log", "b1"]).stdout;
    assert!(log.contains("== $ echo one\none\n== $ echo two; exit 3\ntwo\n== failed: "), "{log}");
    let lines = lab.ok(&["build", "log", "b1", "--output", "json"]).stdout;
    assert!(lines.lines().any(|it| it == r#"{"build":"b1","text":"two"}"#), "{lines}");
    assert_eq!(lab.refused(&["build", "show", "b9"], 1)["code"], "not_found");
    lab.write("service.toml", &service(""));
    lab.ok(&["service", "apply", "service.toml"]);
    let problem = lab.refused(&["build", "web", "--rev", "v1.0.0"], 1);
    assert!(
        problem["message"].as_str().unwrap().contains("does not say how it is built"),
        "{problem}"
    );
    assert_eq!(lab.refused(&["build", "web", "--rev=--upload-pack=x"], 1)["code"], "invalid_input");
}

#[test]
fn a_build_is_cancelled_from_elsewhere_and_lost_with_its_process() {
    let lab = lab("\"echo up; sleep 1000\"");
    let state = |id: &str| {
        lab.json(&["build", "list"])
            .as_array()
            .unwrap()
            .iter()
            .find(|it| it["id"] == id)
            .map(|it| it["state"].clone())
    };
    let is = |id: &str, wanted: &str| state(id).is_some_and(|it| it == wanted);
    let mut first = lab.start(&["build", "web", "--rev", "v1.0.0"]);
    eventually("the first is building", || is("b1", "building"));
    let cancelled = lab.ok(&["build", "cancel", "b1"]).stdout;
    assert_eq!(cancelled, "build b1 is cancelled\n");
    assert_eq!(first.wait().unwrap().code(), Some(1));
    let mut second = lab.start(&["build", "web", "--rev", "v1.0.0"]);
    eventually("the second is building", || is("b2", "building"));
    second.kill().unwrap();
    second.wait().unwrap();
    assert!(is("b2", "lost"), "{:?}", state("b2"));
}
