//! Builds that a server has its hosts do.
use crate::{
    builds::{PRINTS, prepare},
    lab::{Lab, eventually},
};

fn lab(commands: &str) -> Lab {
    let lab = Lab::with_server_of(&format!(
        "[build]\nenabled = true\nsandbox = \"preferred\"\nprivate_remotes = true\non = \"role=web\"\non_program = \"{}\"\n",
        env!("CARGO_BIN_EXE_deploy")
    ));
    prepare(&lab, commands);
    lab
}

#[test]
fn a_server_has_its_hosts_build() {
    let lab = lab(PRINTS);
    let problem = lab.refused(&["build", "web", "--rev", "v1.0.0"], 1);
    assert!(problem["message"].as_str().unwrap().contains("role=web"), "{problem}");
    lab.hosts(1);
    let made = lab.ok(&["build", "web", "--rev", "v1.0.0", "--release"]);
    assert!(made.stdout.ends_with("release web-1.0.0 is made\n"), "{}", made.stdout);
    assert!(made.stderr.contains("compiling\n"), "{}", made.stderr);
    let shown = lab.json(&["build", "show", "r1"]);
    assert_eq!((&shown["host"], &shown["tag"]), (&"web-1".into(), &"v1.0.0".into()));
    let again = lab.json(&["build", "web", "--rev", "v1.0.0", "--on", "role=web"]);
    assert_eq!(again["same_as"], "r1");
    let problem = lab.refused(&["build", "web", "--rev", "v1.0.0", "--on", "role=db"], 1);
    assert!(problem["message"].as_str().unwrap().contains("role=db"), "{problem}");
}

#[test]
fn a_build_on_a_host_is_cancelled_from_elsewhere() {
    let lab = lab("\"echo up; sleep 1000\"");
    lab.hosts(1);
    let mut build = lab.start(&["build", "web", "--rev", "v1.0.0"]);
    let state = || lab.json(&["build", "list"])[0]["state"].clone();
    eventually("it is building", || state() == "building");
    assert_eq!(lab.ok(&["build", "cancel", "r1"]).stdout, "build r1 is cancelled\n");
    assert_eq!(build.wait().unwrap().code(), Some(1));
}
