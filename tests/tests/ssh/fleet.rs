//! Hosts behind a real OpenSSH server, and the `deploy` that a person would type.
use deploy_test_support::{
    programs::{self, program},
    sshd::{Sshd, SshdOptions},
};
use serde_json::Value;
use std::{
    env,
    fmt::Write as _,
    fs,
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    str::FromStr,
    time::{Duration, Instant},
};

/// How long anything may take, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(240);

/// The outcome of a command.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }

    /// The document that was printed.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|err| panic!("{err}: {}", self.out))
    }
}

pub(crate) struct Fleet {
    pub(crate) sshd: Sshd,
    pub(crate) hosts: Vec<String>,
}

impl Fleet {
    /// `count` hosts, each with an address and a root folder of its own, in the inventory.
    pub(crate) fn new(count: usize) -> Self {
        let sshd = Sshd::start_with(SshdOptions::new().with_hosts(count)).unwrap();
        let hosts: Vec<String> = sshd.addresses().iter().map(ToString::to_string).collect();
        let fleet = Self { sshd, hosts };
        let config = format!(
            "Host *\n  User {}\n  Port {}\n  IdentityFile {}\n  IdentitiesOnly yes\n",
            fleet.sshd.user(),
            fleet.sshd.port().unwrap(),
            fleet.sshd.identity().display()
        );
        fs::write(fleet.path("ssh_config"), config).unwrap();
        let mut inventory = String::new();
        for (number, host) in fleet.hosts.iter().enumerate() {
            let root = fleet.sshd.root(number).unwrap();
            writeln!(inventory, "[[host]]\nname = \"{host}\"\nroot = \"{}\"", root.display())
                .unwrap();
        }
        fs::write(fleet.path("hosts.toml"), inventory).unwrap();
        let import = fleet.path("hosts.toml");
        fleet.deploy(&["host", "import", import.to_str().unwrap()]).ended(0);
        fleet
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.sshd.folder().join(name)
    }

    pub(crate) fn root(&self, host: usize) -> PathBuf {
        self.sshd.root(host).unwrap()
    }

    /// The file `service.toml` with `strategy` in it, applied.
    pub(crate) fn service(&self, name: &str, strategy: &str) {
        let text = format!(
            "name = \"{name}\"\nowner = \"tests\"\ndeploy_path = \"/srv/{name}\"\nselector = \"*\"\n[strategy]\n{strategy}"
        );
        let file = self.path("service.toml");
        fs::write(&file, text).unwrap();
        self.deploy(&["service", "apply", file.to_str().unwrap()]).ended(0);
    }

    /// A descriptor folder with these files.
    pub(crate) fn descriptor(&self, files: &[(&str, &str)]) -> String {
        let folder = self.path("descriptor");
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        folder.display().to_string()
    }

    /// A package folder with one file.
    pub(crate) fn package(&self, version: &str) -> String {
        let folder = self.path(&format!("package-{version}"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("version.txt"), version).unwrap();
        folder.display().to_string()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program("deploy"));
        command
            .args(["--data-dir", self.path("data").to_str().unwrap()])
            .args(["--ssh-config", self.path("ssh_config").to_str().unwrap()])
            .args(["--known-hosts", self.sshd.known_hosts().to_str().unwrap()])
            .args(args)
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn deploy(&self, args: &[&str]) -> Said {
        let mut command = self.command(args);
        let [mut out, mut err] = [(); 2].map(|()| tempfile::tempfile().unwrap());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let mut child = command.spawn().unwrap();
        let patience = Instant::now() + PATIENCE;
        let ended = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                break Some(ended);
            }
            if Instant::now() > patience {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let said = Said {
            code: ended.and_then(|it| it.code()).unwrap_or(-1),
            out: read(&mut out),
            err: read(&mut err),
        };
        assert!(ended.is_some(), "{args:?} does not end: {said:?}");
        said
    }

    /// Starts a command that goes on beside the test.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The id of the newest rollout.
    pub(crate) fn newest(&self) -> Option<String> {
        let said = self.deploy(&["rollout", "list", "--output", "json"]).ended(0);
        said.out.split("\"id\"").nth(1)?.split('"').nth(1).map(str::to_owned)
    }
}

impl Drop for Fleet {
    /// What the hosts run lies under their folders, and ends with them.
    fn drop(&mut self) {
        for pid in processes_under(self.sshd.folder()) {
            let _ended = Command::new("kill").args(["-9", &pid]).stderr(Stdio::null()).status();
        }
    }
}

fn read(file: &mut fs::File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn processes_under(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|it| it.ok()?.file_name().into_string().ok());
    pids.filter(|pid| {
        let at = fs::read_link(format!("/proc/{pid}/cwd"));
        at.is_ok_and(|it| it.starts_with(folder))
    })
    .collect()
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    programs::until(what, PATIENCE, holds);
}

/// A number from the environment, for longer runs than those of every day.
pub(crate) fn asked_for<N: FromStr>(variable: &str, usual: N) -> N {
    match env::var(variable) {
        Ok(text) => text.parse().ok().unwrap_or_else(|| panic!("{variable} is no number: {text}")),
        Err(_) => usual,
    }
}
