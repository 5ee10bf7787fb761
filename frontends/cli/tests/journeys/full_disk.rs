//! No room left: what was asked for is refused whole, and goes on once there is room.
use crate::lab::{Lab, eventually, lines};
use deploy_test_support::mounts::{Memory, own_mounts};
use std::{fs, io::Write as _, path::PathBuf, process::Stdio};

/// A laboratory whose data folder is a small disk.
struct Small {
    lab: Lab,
    /// Gone before the folder that it lies over.
    disk: Option<Memory>,
}

impl Small {
    fn new() -> Self {
        let lab = Lab::new();
        fs::create_dir(lab.data_dir()).unwrap();
        let disk = Memory::over(&lab.data_dir(), "4m").unwrap();
        Self { lab, disk: Some(disk) }
    }

    fn reserve(&self) -> PathBuf {
        self.lab.data_dir().join("reserve")
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut file = fs::File::create(self.reserve()).unwrap();
        for piece in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.reserve()).unwrap();
    }

    /// A package of `size` bytes that cannot be packed any smaller.
    fn package(&self, name: &str, size: usize) {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bytes = Vec::with_capacity(size + 8);
        while bytes.len() < size {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        fs::create_dir(self.lab.path(name)).unwrap();
        fs::write(self.lab.path(name).join("bytes"), bytes).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(self.disk.take());
    }
}

#[test]
fn what_finds_no_room_leaves_nothing_behind() {
    if !own_mounts("full_disk::what_finds_no_room_leaves_nothing_behind") {
        return;
    }
    let small = Small::new();
    let lab = &small.lab;
    lab.service("");
    small.package("large", 6 << 20);
    small.package("package", 1 << 20);
    lab.write("descriptor/descriptor.toml", "format = 1\n");
    let before = lab.everything();
    let push = |name| ["artifact", "push", name, "--repository", "web", "--version", "1"];
    let create =
        |name| ["release", "create", "web", "1", "--package", name, "--descriptor", "descriptor"];
    for arguments in [&push("large")[..], &create("large")] {
        let problem = lab.refused(arguments, 1);
        assert_eq!(problem["code"], "no_space", "{problem}");
        assert!(problem["message"].as_str().unwrap().contains("No space left"), "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("room"), "{problem}");
        assert_eq!(lab.everything(), before, "{arguments:?}");
    }

    // With no room at all nothing can be written, and nothing is lost.
    small.fill();
    lab.write("hosts.csv", "name\na\nb\nc\n");
    lab.write("service.toml", &crate::lab::service("retries = 3"));
    for arguments in [
        &["host", "import", "hosts.csv"][..],
        &["service", "apply", "service.toml"],
        &push("package"),
        &create("package"),
    ] {
        let problem = lab.refused(arguments, 1);
        assert_eq!(problem["code"], "no_space", "{arguments:?}: {problem}");
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains("room") || message.contains("No space left"), "{problem}");
    }
    let doctor = lab.run(&["doctor"]).ended_with(1).stdout;
    // The last to use the database leaves it a few KiB, which the next may or may not open it with.
    assert!(doctor.contains("failed  room on disk: ") && doctor.contains("make room"), "{doctor}");
    small.make_room();
    assert_eq!(lab.everything(), before);
    lab.ok(&["host", "import", "hosts.csv"]);
    lab.ok(&create("package"));
    lab.ok(&["artifact", "verify"]);
}

#[test]
fn a_rollout_that_finds_no_room_stops_and_goes_on_later() {
    if !own_mounts("full_disk::a_rollout_that_finds_no_room_stops_and_goes_on_later") {
        return;
    }
    let small = Small::new();
    let lab = &small.lab;
    lab.hosts(4);
    lab.service("waves = [\"1\", \"*3\"]");
    lab.release(
        "1",
        "echo run >>\"$DEPLOY_SHARED/count\"\necho begun\n\
         until [ -e \"$DEPLOY_SHARED/go\" ]; do sleep 0.05; done\necho ended",
    );
    let mut command = lab.command(&["rollout", "start", "web", "web-1"]);
    let driver = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the first host is worked on", || !lab.shared(1, "count").is_empty());
    small.fill();
    for host in 1..=4 {
        let shared = lab.root(host).join("srv/web/shared");
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("go"), "").unwrap();
    }
    let ended = driver.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("there is no room left"), "{told}");
    assert!(told.contains("`deploy rollout resume web-"), "{told}");

    // Without room it cannot go on either, and that changes nothing.
    let again = lab.run(&["rollout", "resume", "web"]).ended_with(1);
    assert!(again.stderr.contains("room"), "{}", again.stderr);
    small.make_room();
    lab.ok(&["rollout", "resume", "web"]);
    let logs = lab.ok(&["rollout", "logs", "web"]).stdout;
    for host in 1..=4 {
        assert_eq!(lines(&lab.root(host).join("srv/web/shared/count")), 1, "web-{host}");
        assert_eq!(lab.version(host).as_deref(), Some("1"), "web-{host}");
        for line in ["begun", "ended"] {
            let line = format!("web-{host} | {line}");
            assert_eq!(logs.lines().filter(|it| *it == line).count(), 1, "{line}:\n{logs}");
        }
    }
}

#[test]
fn a_temporary_folder_without_room_is_named() {
    if !own_mounts("full_disk::a_temporary_folder_without_room_is_named") {
        return;
    }
    let small = Small::new();
    let lab = &small.lab;
    small.package("large", 6 << 20);
    let push = ["artifact", "push", "large", "--repository", "web", "--version", "1"];
    // The small disk is the folder to pack in, and the data is elsewhere.
    let mut command = lab.command(&push);
    command.env("TMPDIR", lab.data_dir()).env("DEPLOY_DATA_DIR", lab.path("elsewhere"));
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.starts_with("error: large: ") && told.contains("No space left"), "{told}");
    assert!(told.contains("TMPDIR"), "{told}");
}
