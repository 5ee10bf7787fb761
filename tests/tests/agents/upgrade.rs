//! Agents that upgrade themselves.
use crate::{
    host::TestHost,
    network::may_divide,
    plane::{Plane, until},
};
use deploy_test_support::programs::program;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

const SERVICE: &str = "name = \"deploy-agent\"\nowner = \"ann\"\ndeploy_path = \"/srv/deploy-agent\"\naccount = \"root\"\n\
    selector = \"role=web\"\n\n[strategy]\nmin_healthy_time = \"0s\"\nconfirm_timeout = \"15s\"\n";

/// An agent that says nothing to anybody: it ends as soon as it is to run.
const BROKEN: &str =
    "#!/bin/sh\ncase $1 in run) exit 1 ;; *) exec \"${0%/*}/good\" \"$@\" ;; esac\n";

/// The program, without what debuggers want.
fn good(at: &Path) {
    let stripped = Command::new("strip").arg("-o").arg(at).arg(program("deploy-agent")).status();
    assert!(stripped.unwrap().success());
}

fn executable(at: &Path, text: &str) {
    fs::write(at, text).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A release of the agent, of what `make` puts into its package.
fn release(plane: &Plane, host: &TestHost, version: &str, make: impl FnOnce(&Path)) {
    let package = plane.path(&format!("agent-{version}"));
    fs::create_dir(&package).unwrap();
    make(&package);
    let descriptor = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/agent");
    let state = format!("STATE_DIR={}", host.state().display());
    let create = ["release", "create", "deploy-agent", version, "--parameter", &state];
    let of = ["--package", package.to_str().unwrap(), "--descriptor", descriptor.to_str().unwrap()];
    plane.deploy(&[&create[..], &of].concat());
}

/// Which release's program the agent of the host is.
fn runs(host: &TestHost) -> String {
    let pid = fs::read_to_string(host.state().join("lock")).unwrap();
    let program = fs::read_link(format!("/proc/{}/exe", pid.trim())).unwrap_or_default();
    let folder = program.parent().and_then(Path::file_name).unwrap_or_default();
    folder.to_string_lossy().into_owned()
}

/// Rolls a release out to its end, and says how that was and what became of the host.
fn roll_out(plane: &Plane, release: &str) -> (String, String) {
    plane.sent(&["rollout", "start", "deploy-agent", release, "--yes", "--detach"]);
    until("the rollout is over", || {
        ["succeeded", "failed", "paused", "rolled_back"]
            .contains(&plane.rollout("deploy-agent").state.as_str())
    });
    let rollout = plane.rollout("deploy-agent");
    (rollout.state, rollout.tasks.unwrap_or_default().remove(0).state)
}

#[test]
fn an_agent_is_upgraded_by_itself_and_comes_back_when_the_new_one_does_not() {
    if !may_divide("an_agent_is_upgraded_by_itself_and_comes_back_when_the_new_one_does_not") {
        return;
    }
    let plane = Plane::new("0.0.0.0");
    let mut host = TestHost::divided(&plane, 1);
    let first = host.srv("deploy-agent/releases/first");
    fs::create_dir_all(&first).unwrap();
    good(&first.join("deploy-agent"));
    symlink("releases/first", host.srv("deploy-agent/current")).unwrap();
    assert!(host.enrol(&plane, &plane.join_token(1, "1h").secret).status.success());
    host.supervise(Path::new("/srv/deploy-agent/current/deploy-agent"));
    until("it is connected", || plane.are_connected(&["h1"]));
    fs::write(plane.path("service.toml"), SERVICE).unwrap();
    plane.deploy(&["service", "apply", plane.path("service.toml").to_str().unwrap()]);

    for version in ["1", "2"] {
        release(&plane, &host, version, |at| good(&at.join("deploy-agent")));
        let name = format!("deploy-agent-{version}");
        assert_eq!(roll_out(&plane, &name), ("succeeded".to_owned(), "succeeded".to_owned()));
        assert_eq!(runs(&host), name);
    }
    release(&plane, &host, "3", |at| {
        good(&at.join("good"));
        executable(&at.join("deploy-agent"), BROKEN);
    });
    let (state, task) = roll_out(&plane, "deploy-agent-3");
    assert_eq!(task, "self_reverted", "the rollout is {state}");
    assert_ne!(state, "succeeded");
    until("the one before is back", || plane.are_connected(&["h1"]));
    assert_eq!(runs(&host), "deploy-agent-2");
}
