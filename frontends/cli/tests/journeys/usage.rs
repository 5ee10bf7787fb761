use crate::lab::{Lab, journeys};

#[test]
fn a_wrong_command_line_ends_with_2() {
    let lab = Lab::new();
    for arguments in [
        &["nonsense"][..],
        &["service"],
        &["service", "show"],
        &["service", "show", "Not A Name"],
        &["rollout", "start"],
        &["rollout", "start", "web"],
        &["rollout", "retry", "web"],
        &["host", "add", "web-1", "--port", "0"],
        &["host", "add", "web-1", "--local", "/x", "--user", "ann"],
        &["run", "role=web"],
        &["artifact", "gc", "--keep", "0"],
        &["artifact", "gc", "--keep", "1", "--keep-releases", "0"],
        &["--output", "xml", "doctor"],
        &["--quiet", "--verbose", "doctor"],
    ] {
        let ran = lab.run(arguments).ended_with(2);
        assert!(ran.stdout.is_empty(), "{arguments:?}: {}", ran.stdout);
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn help_is_a_result() {
    let lab = Lab::new();
    let help = lab.ok(&["--help"]);
    for command in ["service", "host", "rollout", "demo", "Exit codes"] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
    }
    assert!(lab.ok(&["rollout", "start", "--help"]).stdout.contains("Examples:"));
    assert!(lab.ok(&["--version"]).stdout.starts_with("deploy "));
}

#[test]
fn shells_can_complete() {
    let lab = Lab::new();
    assert!(lab.ok(&["completions", "bash"]).stdout.contains("_deploy"));
    lab.run(&["completions", "tcl"]).ended_with(2);
}

fn what_is_not_there_is_named_and_says_where_to_look(lab: &Lab) {
    for (arguments, message, hint) in [
        (&["service", "show", "web"][..], "there is no service `web`", "deploy service list"),
        (&["host", "show", "web-1"], "there is no host `web-1`", "deploy host list"),
        (&["host", "remove", "web-1"], "there is no host `web-1`", "deploy host list"),
        (&["release", "show", "web-1"], "there is no release `web-1`", "deploy release list"),
        (&["rollout", "show", "web"], "there is no rollout `web`", "deploy rollout list"),
        (&["service", "apply", "none.toml"], "none.toml: No such file", ""),
        (&["descriptor", "check", "none"], "none: No such file", ""),
    ] {
        let ran = lab.run(arguments).ended_with(1);
        assert!(
            ran.stderr.contains(message) && ran.stderr.contains(hint),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
}

fn an_empty_installation_says_how_to_begin(lab: &Lab) {
    for (arguments, next) in [
        (&["service", "list"][..], "deploy service apply"),
        (&["host", "list"], "deploy host add"),
        (&["artifact", "list"], "deploy artifact push"),
        (&["rollout", "list"], "deploy rollout start"),
        (&["status"], "deploy service apply"),
    ] {
        let ran = lab.ok(arguments);
        assert!(
            ran.stdout.is_empty() && ran.stderr.contains(next),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
}

journeys!(
    what_is_not_there_is_named_and_says_where_to_look,
    an_empty_installation_says_how_to_begin,
);
