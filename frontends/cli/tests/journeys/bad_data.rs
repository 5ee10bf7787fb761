//! Data folders and databases that cannot be used: each is told as what it is, and left as it is.
use crate::lab::{Lab, eventually, lines, service};
use deploy_test_support::mounts::{ReadOnly, own_mounts};
use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Runs Python statements on an SQLite file, as another program would; `db` is the connection.
fn other_program(database: &Path, statements: &str) -> Command {
    let script = format!(
        "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], isolation_level=None)\n{statements}"
    );
    let mut command = Command::new("python3");
    command.args(["-c", &script]).arg(database);
    command
}

/// Leaves nothing beside the database that it could be repaired from.
fn take_in_log(database: &Path) {
    let taken =
        other_program(database, "db.execute('PRAGMA wal_checkpoint(TRUNCATE)')\ndb.close()");
    assert!({ taken }.status().unwrap().success());
    for beside in ["db-wal", "db-shm"] {
        assert!(!database.with_extension(beside).exists());
    }
}

/// Another process that keeps a database locked until this goes.
struct Lock(Child);

impl Lock {
    fn of(database: &Path) -> Self {
        const HOLD: &str =
            "db.execute('BEGIN EXCLUSIVE')\nprint('locked', flush=True)\nsys.stdin.read()";
        let mut command = other_program(database, HOLD);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "locked\n");
        Self(child)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        self.0.wait().unwrap();
    }
}

/// Whatever is asked for ends with 1, with this code, and a message that names the path and says that.
#[track_caller]
fn nothing_goes(lab: &Lab, code: &str, path: &Path, says: &str) {
    lab.write("service.toml", &service(""));
    lab.write("package/file", "x");
    let push = ["artifact", "push", "package", "--repository", "web", "--version", "1"];
    for arguments in [
        &["service", "list"][..],
        &["service", "apply", "service.toml"],
        &["rollout", "list"],
        &push,
    ] {
        let problem = lab.refused(arguments, 1);
        assert_eq!(problem["code"], code, "{arguments:?}: {problem}");
        let message = problem["message"].as_str().unwrap();
        assert!(message.contains(path.to_str().unwrap()), "{arguments:?}: {message}");
        assert!(message.contains(says), "{arguments:?}: {message}");
        assert_eq!(problem["context"]["data_dir"], lab.data_dir().display().to_string());
    }
    let doctor = lab.run(&["doctor"]).ended_with(1).stdout;
    assert!(doctor.contains("failed  data folder: ") && doctor.contains(says), "{doctor}");
}

#[test]
fn a_locked_database_is_waited_for_and_then_told() {
    let lab = Lab::new();
    lab.service("");
    lab.write("service.toml", &service("retries = 3"));
    let apply = ["service", "apply", "service.toml"];
    let database = lab.data_dir().join("deploy.db");

    let lock = Lock::of(&database);
    let problem = lab.refused(&apply, 1);
    assert_eq!(problem["code"], "unavailable", "{problem}");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("another process keeps it locked"), "{message}");
    assert!(message.contains(database.to_str().unwrap()), "{message}");

    // A lock that ends in time is nothing to tell.
    let mut waiting = lab.start(&apply);
    eventually("the command waits for the lock", || {
        let files = fs::read_dir(format!("/proc/{}/fd", waiting.id())).unwrap();
        let open = files.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
        open.into_iter().any(|it| it == database)
    });
    assert_eq!(waiting.try_wait().unwrap(), None);
    drop(lock);
    assert!(waiting.wait().unwrap().success());
    assert_eq!(lab.json(&["service", "show", "web"])["strategy"]["retries"]["retries"], 3);
}

#[test]
fn a_lock_in_the_middle_of_a_rollout_ends_the_driver_and_no_step() {
    let lab = Lab::new();
    lab.hosts(2);
    lab.service("waves = [\"1\"]");
    lab.release("1", "echo run >>\"$DEPLOY_SHARED/count\"\nuntil [ -e \"$DEPLOY_SHARED/go\" ]; do sleep 0.05; done");
    let started = lab.command(&["rollout", "start", "web", "web-1"]);
    let driver = { started }.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the first host is worked on", || !lab.shared(1, "count").is_empty());
    let lock = Lock::of(&lab.data_dir().join("deploy.db"));
    for host in 1..=2 {
        let shared = lab.root(host).join("srv/web/shared");
        fs::create_dir_all(&shared).unwrap();
        fs::write(shared.join("go"), "").unwrap();
    }
    let ended = driver.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("keeps the database locked"), "{told}");
    assert!(told.contains("`deploy rollout resume web-"), "{told}");
    drop(lock);
    lab.ok(&["rollout", "resume", "web"]);
    for host in 1..=2 {
        assert_eq!(lines(&lab.root(host).join("srv/web/shared/count")), 1, "web-{host}");
    }
}

#[test]
fn data_of_a_newer_program_is_refused() {
    for (file, says) in [("deploy.db", "version 99"), ("deploy.logs.db", "version 99")] {
        let lab = Lab::new();
        lab.service("");
        let database = lab.data_dir().join(file);
        let newer = "db.execute('INSERT INTO deploy_schema (version) VALUES (99)')";
        assert!(other_program(&database, newer).status().unwrap().success());
        nothing_goes(&lab, "data_too_new", &database, says);
        let older = "db.execute('DELETE FROM deploy_schema WHERE version = 99')";
        assert!(other_program(&database, older).status().unwrap().success());
        lab.ok(&["service", "show", "web"]);
    }
    let lab = Lab::new();
    lab.service("");
    let format = lab.data_dir().join("artifacts/format");
    fs::write(&format, "deploy-artifacts 99\n").unwrap();
    let store = lab.data_dir().join("artifacts");
    nothing_goes(&lab, "data_too_new", &store, "deploy-artifacts 99");
    assert_eq!(fs::read_to_string(&format).unwrap(), "deploy-artifacts 99\n");
}

#[test]
fn a_damaged_database_is_left_as_it_is() {
    let text = "this is no database, but something that somebody may want to keep";
    for (what, says) in [("text", "no SQLite database"), ("half", "damaged"), ("empty", "restore")]
    {
        let lab = Lab::new();
        lab.service("");
        let database = lab.data_dir().join("deploy.db");
        take_in_log(&database);
        let whole = fs::read(&database).unwrap();
        let damaged = match what {
            "text" => text.as_bytes(),
            "half" => &whole[..whole.len() / 2],
            _ => &[],
        };
        fs::write(&database, damaged).unwrap();
        nothing_goes(&lab, "corrupt", &database, says);
        assert_eq!(fs::read(&database).unwrap(), damaged, "{what}");
        fs::write(&database, whole).unwrap();
        lab.ok(&["service", "show", "web"]);
    }
}

/// Pages in the middle are found when they are read.
#[test]
fn a_database_with_bad_pages_is_told_as_damaged() {
    let lab = Lab::new();
    lab.hosts(2);
    lab.service("");
    let database = lab.data_dir().join("deploy.db");
    take_in_log(&database);
    let mut bytes = fs::read(&database).unwrap();
    let pages = 4_096..bytes.len();
    bytes[pages].iter_mut().for_each(|it| *it = !*it);
    fs::write(&database, &bytes).unwrap();
    for arguments in [["service", "list"], ["host", "list"], ["rollout", "list"]] {
        let problem = lab.refused(&arguments, 1);
        assert_eq!(problem["code"], "corrupt", "{problem}");
        assert!(
            problem["message"].as_str().unwrap().contains("restore it from a backup"),
            "{problem}"
        );
    }
    let doctor = lab.run(&["doctor"]).ended_with(1).stdout;
    assert!(doctor.contains("failed  "), "{doctor}");
    assert_eq!(fs::read(&database).unwrap(), bytes);
}

#[test]
fn a_data_folder_that_is_a_file_is_named() {
    let lab = Lab::new();
    lab.write("data", "a file");
    nothing_goes(&lab, "data_dir", &lab.data_dir(), "the data folder");
    assert_eq!(fs::read_to_string(lab.data_dir()).unwrap(), "a file");
    let lab = Lab::new();
    lab.write("data/artifacts", "a file");
    nothing_goes(&lab, "data_dir", &lab.data_dir().join("artifacts"), "the artifact store");
}

#[test]
fn data_that_can_only_be_read_is_refused() {
    if !own_mounts("bad_data::data_that_can_only_be_read_is_refused") {
        return;
    }
    let lab = Lab::new();
    lab.service("");
    for (path, says) in [
        ("", "Read-only file system"),
        ("deploy.db", "make the file writable"),
        ("deploy.logs.db", "make the file writable"),
        ("artifacts", "Read-only file system"),
    ] {
        let path = lab.data_dir().join(path);
        let fixed = ReadOnly::over(&path).unwrap();
        nothing_goes(&lab, "data_dir", path.components().as_path(), says);
        drop(fixed);
        let service = lab.json(&["service", "show", "web"]);
        assert_eq!(
            (&service["revision"], lab.everything()[2].as_array().unwrap().len()),
            (&1.into(), 0)
        );
    }
}

#[test]
fn somebody_elses_data_is_theirs() {
    let lab = Lab::new();
    lab.ok(&["service", "list"]);
    let given_away = Command::new("chown").arg("65534").arg(lab.data_dir()).status().unwrap();
    if !given_away.success() {
        // Only root can give a folder away, and only root could then still write to it.
        return;
    }
    lab.write("service.toml", &service(""));
    let ran = lab.run(&["service", "apply", "service.toml"]).ended_with(12);
    assert!(ran.stderr.contains("no rule allows it"), "{}", ran.stderr);
    lab.ok(&["service", "list"]);
}
