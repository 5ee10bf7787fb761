//! What a terminal gets, and what a pipe.
use crate::lab::{DEPLOY, Lab, eventually};
use std::{
    io::{Read as _, Write as _},
    process::{Command, Stdio},
};

/// A command line in a terminal of 60 columns.
fn terminal(lab: &Lab, line: &str, variables: &[(&str, &str)]) -> Command {
    let line = format!("stty cols 60 rows 20; exec {line}");
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).current_dir(lab.path("")).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", lab.path(""));
    lab.send(&mut command);
    command.env("TERM", "xterm").env("SHELL", "/bin/sh");
    command.envs(variables.iter().copied());
    command
}

/// What a command line shows in a terminal.
fn in_terminal(lab: &Lab, line: &str, variables: &[(&str, &str)]) -> String {
    let output = terminal(lab, line, variables).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a rollout of two hosts in a terminal, presses Ctrl-C while the first is worked on, and answers.
fn interrupted(lab: &Lab, answer: &str) -> (Option<i32>, String) {
    lab.hosts(2);
    lab.service("waves = [\"1\"]");
    lab.release("1", "echo run >> \"$DEPLOY_SHARED/count\"\nsleep 2");
    let line = format!("{DEPLOY} rollout start web web-1 --yes");
    let mut command = terminal(lab, &line, &[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut keys = child.stdin.take().unwrap();
    eventually("the first host is worked on", || !lab.shared(1, "count").is_empty());
    keys.write_all(b"\x03").unwrap();
    let mut shown = Vec::new();
    let mut screen = child.stdout.take().unwrap();
    while !shown.ends_with(b"or [s]tay? ") {
        let mut byte = [0];
        screen.read_exact(&mut byte).unwrap();
        shown.push(byte[0]);
    }
    keys.write_all(answer.as_bytes()).unwrap();
    screen.read_to_end(&mut shown).unwrap();
    (child.wait().unwrap().code(), String::from_utf8(shown).unwrap())
}

#[test]
fn ctrl_c_asks_and_the_server_drives_on() {
    let lab = Lab::with_server();
    let (code, shown) = interrupted(&lab, "d\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("[d]etach (stop watching)"), "{shown}");
    assert!(shown.contains("no longer watching: `deploy rollout watch web-"), "{shown}");
    lab.ok(&["rollout", "watch", "web"]);
    assert_eq!(lab.shared(2, "count"), "run\n");
}

#[test]
fn ctrl_c_asks_and_the_rollout_goes_on_in_the_background() {
    let lab = Lab::new();
    let (code, shown) = interrupted(&lab, "d\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("the rollout goes on in the background"), "{shown}");
    eventually("the rollout is over", || {
        lab.ok(&["rollout", "list", "--output", "json"]).json()[0]["state"] == "succeeded"
    });
    for host in 1..=2 {
        assert_eq!(lab.shared(host, "count"), "run\n", "web-{host}");
    }
}

#[test]
fn ctrl_c_asks_and_the_rollout_is_aborted() {
    let lab = Lab::new();
    let (code, shown) = interrupted(&lab, "x\na\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("was aborted"), "{shown}");
    assert_eq!((lab.version(1).is_some(), lab.version(2)), (true, None));
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let lab = Lab::new();
    lab.hosts(1);
    let list = format!("{DEPLOY} host list");
    assert!(in_terminal(&lab, &list, &[]).contains("\x1b[1mHOST"));
    assert!(!in_terminal(&lab, &list, &[("NO_COLOR", "1")]).contains('\x1b'));
    assert!(!in_terminal(&lab, &list, &[("TERM", "dumb")]).contains('\x1b'));
    assert!(!lab.ok(&["host", "list"]).stdout.contains('\x1b'));
    assert!(lab.ok(&["host", "list", "--color", "always"]).stdout.contains('\x1b'));
}

#[test]
fn tables_fit_the_terminal_and_are_whole_in_a_pipe() {
    let lab = Lab::new();
    let label = format!("note={}", "x".repeat(60));
    lab.ok(&["host", "add", "web-1", "--address", "192.0.2.1", "--label", &label]);
    let shown = in_terminal(&lab, &format!("{DEPLOY} host list --color never"), &[]);
    assert!(shown.lines().all(|it| it.trim_end().chars().count() <= 60), "{shown}");
    assert!(shown.contains('…'), "{shown}");
    assert!(lab.ok(&["host", "list"]).stdout.contains(&label));
}

#[test]
fn a_rollout_is_drawn_live() {
    let lab = Lab::new();
    lab.hosts(3);
    lab.service("waves = [\"1\"]");
    lab.release("1", "sleep 0.3");
    let shown = in_terminal(&lab, &format!("{DEPLOY} rollout start web web-1 --yes"), &[]);
    assert!(shown.contains("\x1b[0J"), "the block is drawn over: {shown:?}");
    assert!(shown.contains("wave 3/3") && shown.contains('█'), "{shown}");
    assert!(shown.contains("succeeded after"), "{shown}");
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let lab = Lab::new();
    lab.hosts(3);
    let shell = format!("{DEPLOY} host list | head -n 1; {DEPLOY} completions bash | head -n 1");
    let mut command = Command::new("sh");
    command.args(["-c", &shell]).env("DEPLOY_DATA_DIR", lab.data_dir());
    let output = command.output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn what_hosts_print_cannot_move_the_cursor() {
    let lab = Lab::new();
    lab.hosts(1);
    let ran = lab.ok(&["run", "role=web", "--", "printf 'a\\033[2Jb\\n'"]);
    assert!(ran.stdout.contains("web-1 | a\u{fffd}[2Jb"), "{:?}", ran.stdout);
}
