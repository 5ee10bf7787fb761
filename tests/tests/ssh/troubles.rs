//! Hosts with troubles of all kinds in one rollout: each is shown as what it is, with what to do.
use crate::fleet::Fleet;
use deploy_test_support::{
    mounts::{Memory, own_mounts},
    sshd::generate_key,
};
use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Nobody listens there.
const DOWN: &str = "127.1.9.8";
/// Something takes connections there, and says nothing.
const SILENT: &str = "127.1.9.9";

/// More hosts cannot be reached than may be; in the other columns it is as many as may be.
const STRATEGY: &str =
    "failure_budget = { max_failed = 2, max_timed_out = 1, max_unreachable = 2 }\n";

const DESCRIPTOR: &str = r#"format = 1

[steps.install]
script = "install.sh"
timeout = "3s"
"#;

/// What hangs has children, and such as have left its group, its session and their parent, and will not be told to end.
const INSTALL: &str = r#"case $DEPLOY_HOST in
*.0.3) echo "no such table: users"; exit 7 ;;
*.0.4)
	trap '' TERM
	children=$DEPLOY_PATH/../../children
	sleep 600 &
	echo $! >>"$children"
	setsid sh -c 'trap "" TERM; echo $$ >>"$0"; sleep 600' "$children" &
	(setsid sh -c 'trap "" TERM; echo $$ >>"$0"; exec sleep 600' "$children" &)
	wait
	;;
esac
. "$DEPLOY_LIB"
du_install
"#;

/// A host in trouble, and how that is shown.
struct Trouble<'a> {
    host: &'a str,
    state: &'static str,
    /// What is said about it wherever it is named: what is wrong, and what to do where that is clear.
    said: &'static [&'static str],
    /// What to do to find out more.
    look: &'static str,
}

#[test]
fn every_trouble_is_shown_as_what_it_is() {
    // Only root can give a host a disk that is full, and have an SSH server there.
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if root && !own_mounts("troubles::every_trouble_is_shown_as_what_it_is") {
        return;
    }
    let fleet = Fleet::new(6);
    fleet.service("web", STRATEGY);
    let down = format!("[[host]]\nname = \"{DOWN}\"\n[[host]]\nname = \"{SILENT}\"\n");
    fs::write(fleet.path("down.toml"), down).unwrap();
    fleet.deploy(&["host", "import", fleet.path("down.toml").to_str().unwrap()]).ended(0);
    let _silent = TcpListener::bind((SILENT, fleet.sshd.port().unwrap())).unwrap();
    change_known_key(&fleet, &fleet.hosts[4]);
    let disk = root.then(|| FullDisk::over(&fleet.root(5)));
    let mut troubles = troubles(&fleet);
    if disk.is_none() {
        eprintln!("not root: there is no host with a full disk");
        troubles.retain(|it| it.host != fleet.hosts[5]);
    }

    let descriptor = fleet.descriptor(&[("descriptor.toml", DESCRIPTOR), ("install.sh", INSTALL)]);
    let package = fleet.package("1");
    let create = ["release", "create", "web", "1", "--package", &package];
    fleet.deploy(&[&create[..], &["--descriptor", &descriptor]].concat()).ended(0);
    let said = fleet.deploy(&["rollout", "start", "web", "web-1", "--yes"]).ended(11);
    for trouble in &troubles {
        trouble.assert_said(line_of(&said.out, &format!(" {}: ", trouble.host)));
        trouble.assert_explained(&fleet);
    }
    assert_shown(&fleet, &troubles);
    assert_all_ended(&fleet.root(3).join("children"), 3);

    // Done as it was said, the rest goes well.
    fleet.sshd.write_known_hosts().unwrap();
    fleet.deploy(&["rollout", "retry", "web", &fleet.hosts[4]]).ended(0);
    if let Some(disk) = &disk {
        fs::remove_file(&disk.filler).unwrap();
        fleet.deploy(&["rollout", "retry", "web", &fleet.hosts[5]]).ended(0);
    }
    fleet.deploy(&["rollout", "resume", "web"]).ended(0);
    let shown = fleet.deploy(&["rollout", "show", "web", "--output", "json"]).ended(0).json();
    assert_eq!(shown["state"], "succeeded_with_debt", "{shown}");
    assert_eq!(shown["counts"]["succeeded"], 4, "{shown}");
    assert_eq!(shown["budget"]["unreachable"]["count"], 2, "{shown}");
}

fn troubles(fleet: &Fleet) -> Vec<Trouble<'_>> {
    const LOGS: &str = "deploy rollout logs";
    const CHECK: &str = "deploy host check";
    let trouble = |host, state, said, look| Trouble { host, state, said, look };
    vec![
        trouble(&fleet.hosts[2], "failed", &["failed in install with code 7"], LOGS),
        trouble(&fleet.hosts[3], "timed_out", &["timed out in install"], LOGS),
        trouble(
            &fleet.hosts[4],
            "unreachable",
            &["has changed", "shows ssh-ed25519 SHA256:", "known_hosts", "ssh-keygen -R"],
            CHECK,
        ),
        trouble(
            &fleet.hosts[5],
            "failed",
            &["refused before it began", "no room left on the host", "make room there"],
            "deploy rollout retry",
        ),
        trouble(DOWN, "unreachable", &["connection refused", "does its SSH server run?"], CHECK),
        trouble(SILENT, "unreachable", &["no answer within 10 s", "the host may hang"], CHECK),
    ]
}

impl Trouble<'_> {
    #[track_caller]
    fn assert_said(&self, text: &str) {
        let host = self.host;
        for words in self.said {
            assert!(text.contains(words), "{host}: `{words}` is not in: {text}");
        }
        for raw in ["ssh.open", "executor.run", "code=`", "os error"] {
            assert!(!text.contains(raw), "{host}: `{raw}` is for programs: {text}");
        }
    }

    #[track_caller]
    fn assert_explained(&self, fleet: &Fleet) {
        let why = fleet.deploy(&["rollout", "why", "web", self.host]).ended(0);
        let summary = why.out.lines().next().unwrap_or_default();
        self.assert_said(summary);
        assert!(summary.contains(self.state), "{summary}");
        for advice in [self.look, "rollout retry", "rollout skip"] {
            assert!(why.err.contains(advice), "{}: `{advice}` is not in: {}", self.host, why.err);
        }
        let why = ["rollout", "why", "web", self.host, "--output", "json"];
        let document = fleet.deploy(&why).ended(0).json();
        assert_eq!(document["state"], self.state, "{document}");
        self.assert_said(document["summary"].as_str().unwrap());
    }
}

/// The rollout as a whole: each trouble where it belongs, and why the rollout has stopped.
#[track_caller]
fn assert_shown(fleet: &Fleet, troubles: &[Trouble<'_>]) {
    let in_state = |state| troubles.iter().filter(|it| it.state == state).count();
    let (failed, timed_out) = (in_state("failed"), in_state("timed_out"));
    let shown = fleet.deploy(&["rollout", "show", "web"]).ended(0);
    let used = format!("failed {failed}/2, timed_out {timed_out}/1, unreachable 3/2, unknown 0/0");
    assert!(shown.out.contains(&used), "`{used}` is not in: {}", shown.out);
    let state = shown.out.lines().find(|it| it.starts_with("state ")).unwrap();
    assert!(state.contains("paused") && state.contains("unreachable 3/2"), "{state}");
    for trouble in troubles {
        let line = line_of(&shown.out, &format!("{} ", trouble.host));
        trouble.assert_said(line);
        assert!(line.contains(trouble.state), "{line}");
    }
    let shown = fleet.deploy(&["rollout", "show", "web", "--output", "json"]).ended(0).json();
    assert_eq!(shown["state"], "paused", "{shown}");
    for (column, limit) in [("failed", 2), ("timed_out", 1), ("unreachable", 2)] {
        let count = in_state(column);
        let used = &shown["budget"][column];
        assert_eq!((&used["count"], &used["limit"]), (&count.into(), &limit.into()), "{shown}");
        assert_eq!(shown["counts"][column], count, "{shown}");
    }
    let attention = shown["attention"].as_array().unwrap();
    assert_eq!(attention.len(), troubles.len(), "{shown}");
    for trouble in troubles {
        let task = attention.iter().find(|it| it["host"] == trouble.host).unwrap();
        assert_eq!(task["state"], trouble.state, "{task}");
        trouble.assert_said(task["reason"].as_str().unwrap());
    }
}

/// The last line that holds `words`.
#[track_caller]
fn line_of<'a>(text: &'a str, words: &str) -> &'a str {
    let found = text.lines().rfind(|it| it.contains(words));
    found.unwrap_or_else(|| panic!("`{words}` is not in: {text}"))
}

/// Of the processes that were written down, so many at least, none is left.
#[track_caller]
fn assert_all_ended(list: &Path, at_least: usize) {
    let pids = fs::read_to_string(list).unwrap();
    assert!(pids.lines().count() >= at_least, "{pids}");
    for pid in pids.lines() {
        let process = PathBuf::from("/proc").join(pid);
        // One that nobody has taken notice of yet has ended all the same.
        let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
        let ended = stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['X', 'Z']));
        assert!(ended, "{pid} is left: {stat}");
    }
}

/// A disk with room for a host's files, all of it taken.
struct FullDisk {
    filler: PathBuf,
    _disk: Memory,
}

impl FullDisk {
    fn over(root: &Path) -> Self {
        let disk = Memory::over(root, "1m").unwrap();
        let filler = root.join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        Self { filler, _disk: disk }
    }
}

/// Gives `known_hosts` another key for `host` than it has.
fn change_known_key(fleet: &Fleet, host: &str) {
    let other = fleet.path("other");
    generate_key(&other, "ed25519", "").unwrap();
    let public = fs::read_to_string(other.with_extension("pub")).unwrap();
    let key = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let name = format!("[{host}]:{}", fleet.sshd.port().unwrap());
    let known = fs::read_to_string(fleet.sshd.known_hosts()).unwrap();
    let others = known.lines().filter(|it| !it.starts_with(&format!("{name} ")));
    let lines: Vec<String> = others.map(str::to_owned).chain([format!("{name} {key}")]).collect();
    assert_eq!(lines.len(), known.lines().count(), "{known}");
    fs::write(fleet.sshd.known_hosts(), lines.join("\n") + "\n").unwrap();
}
