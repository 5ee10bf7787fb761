//! Hosts with troubles of all kinds in one rollout: each is shown as what it is.
use crate::fleet::Fleet;
use std::fs;

const DESCRIPTOR: &str = r#"format = 1

[steps.install]
script = "install.sh"
timeout = "3s"
"#;

const INSTALL: &str = r#"case $DEPLOY_HOST in
*.0.3) echo "no such table: users"; exit 7 ;;
*.0.4) trap '' TERM; sleep 600 & sleep 600 ;;
esac
. "$DEPLOY_LIB"
du_install
"#;

#[test]
fn every_trouble_is_shown_as_what_it_is() {
    let fleet = Fleet::new(6);
    fleet.service(
        "web",
        "failure_budget = { max_failed = 2, max_timed_out = 2, max_unreachable = 2 }\n",
    );
    // One host is down: nobody listens there. One has another key than the known one.
    let down = "[[host]]\nname = \"127.1.9.9\"\nroot = \"/srv\"\n";
    fs::write(fleet.path("down.toml"), down).unwrap();
    fleet.deploy(&["host", "import", fleet.path("down.toml").to_str().unwrap()]).ended(0);
    change_known_key(&fleet, &fleet.hosts[4]);
    let descriptor = fleet.descriptor(&[("descriptor.toml", DESCRIPTOR), ("install.sh", INSTALL)]);
    let package = fleet.package("1");
    let create =
        ["release", "create", "web", "1", "--package", &package, "--descriptor", &descriptor];
    fleet.deploy(&create).ended(0);
    let said = fleet.deploy(&["rollout", "start", "web", "web-1", "--yes"]).ended(0);
    let id = fleet.newest().unwrap();
    let why = |host: &str| fleet.deploy(&["rollout", "why", &id, host]).ended(0).out;

    let failed = why(&fleet.hosts[2]);
    assert!(failed.contains("failed in install with code 7"), "{failed}");
    let hung = why(&fleet.hosts[3]);
    assert!(hung.contains("timed out in install"), "{hung}");
    let unreachable = why("127.1.9.9");
    assert!(unreachable.contains("unreachable"), "{unreachable}");
    let changed = why(&fleet.hosts[4]);
    assert!(
        changed.contains("SHA256:") && changed.contains("known_hosts"),
        "{changed}\n{}",
        said.err
    );
    let fine = why(&fleet.hosts[0]);
    assert!(fine.contains("succeeded"), "{fine}");

    let logs = fleet.deploy(&["rollout", "logs", &id, "--host", &fleet.hosts[2]]).ended(0);
    assert!(logs.out.contains("no such table: users"), "{}", logs.out);
}

/// Gives `known_hosts` another key for `host` than it has.
fn change_known_key(fleet: &Fleet, host: &str) {
    let other = fleet.path("other");
    deploy_test_support::sshd::generate_key(&other, "ed25519", "").unwrap();
    let public = fs::read_to_string(other.with_extension("pub")).unwrap();
    let key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let port = fleet.sshd.port().unwrap();
    let known = fs::read_to_string(fleet.sshd.known_hosts()).unwrap();
    let names = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
    let mut lines: Vec<String> = Vec::new();
    for line in known.lines() {
        let kept: Vec<String> = names(line)
            .split(',')
            .filter(|it| !it.contains(&format!("{host}]")) && *it != host)
            .map(str::to_owned)
            .collect();
        if !kept.is_empty() {
            let rest = line.split_once(' ').map_or("", |it| it.1);
            lines.push(format!("{} {rest}", kept.join(",")));
        }
    }
    lines.push(format!("[{host}]:{port} {key}"));
    fs::write(fleet.sshd.known_hosts(), lines.join("\n") + "\n").unwrap();
}
