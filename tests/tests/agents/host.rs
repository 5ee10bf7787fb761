//! A host: `deploy-agent`, and what it calls its own.
use crate::{
    network::Network,
    plane::{Plane, until},
    zone::UNKNOWN,
};
use deploy_test_support::programs::program;
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// What a host is given of its own.
enum Own {
    /// Nothing: no step may run on it.
    Nothing,
    /// A network, where there can be one; `/srv` and a boot id.
    World(Option<Network>),
}

/// A host, whose agent runs or does not.
pub(crate) struct TestHost {
    pub(crate) name: String,
    /// What its provider calls it.
    machine: String,
    folder: PathBuf,
    own: Own,
    agent: Option<Child>,
    boots: u32,
}

impl TestHost {
    /// A machine of `plane` that is no host yet, and on which nothing will be run.
    pub(crate) fn plain(plane: &Plane, name: &str) -> Self {
        Self::with(plane, name, Own::Nothing)
    }

    /// A machine with a network, a `/srv` and a boot id of its own. It is no host yet.
    pub(crate) fn divided(plane: &Plane, number: u32) -> Self {
        Self::within(plane, &format!("h{number}"), Network::new())
    }

    /// A machine in `network`, with a `/srv` and a boot id of its own. It is no host yet.
    pub(crate) fn within(plane: &Plane, name: &str, network: Network) -> Self {
        let host = Self::with(plane, name, Own::World(Some(network)));
        fs::create_dir_all(host.folder.join("srv")).unwrap();
        host
    }

    /// A machine with a `/srv` and a boot id of its own, in the network of this one. It is no host yet.
    pub(crate) fn beside(plane: &Plane, name: &str) -> Self {
        let host = Self::with(plane, name, Own::World(None));
        fs::create_dir_all(host.folder.join("srv")).unwrap();
        host.configure("[peers]\nlisten = '127.0.0.1:0'\n");
        host
    }

    fn with(plane: &Plane, name: &str, own: Own) -> Self {
        let folder = plane.path(name);
        fs::create_dir_all(folder.join("state")).unwrap();
        let (name, machine) = (name.to_owned(), name.to_owned());
        let mut host = Self { name, machine, folder, own, agent: None, boots: 0 };
        // In these tests root is the account that there is for certain.
        host.write("host.toml", "folders = ['/srv']\naccounts = ['root']\ncgroups = 'none'\n");
        host.next_boot();
        host
    }

    /// Adds to its `host.toml`; the agent reads it when it starts.
    pub(crate) fn configure(&self, more: &str) {
        let there = fs::read_to_string(self.folder.join("host.toml")).unwrap();
        self.write("host.toml", &format!("{there}{more}"));
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn next_boot(&mut self) {
        self.boots += 1;
        let boot = format!("{:08x}-0000-4000-8000-{:012x}\n", self.boots, std::process::id());
        self.write("boot_id", &boot);
    }

    fn network(&self) -> Option<&Network> {
        match &self.own {
            Own::World(network) => network.as_ref(),
            Own::Nothing => None,
        }
    }

    /// Where the host finds the server.
    fn server(&self, plane: &Plane) -> String {
        let machine = match self.network() {
            None => "127.0.0.1",
            // Whoever has to go through others can have any name for it.
            Some(network) if network.relay().is_some() => UNKNOWN,
            Some(network) => network.gateway(),
        };
        format!("{machine}:{}", plane.agents_port())
    }

    /// The agent, in what is the host's own.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.inside(&program("deploy-agent"));
        command.args(arguments).args(["--state-dir"]).arg(self.folder.join("state"));
        command
    }

    /// A program, in what is the host's own.
    fn inside(&self, program: &Path) -> Command {
        match &self.own {
            Own::Nothing => Command::new(program),
            Own::World(network) => {
                let mut command = match network {
                    Some(network) => {
                        let mut command = Command::new("ip");
                        command.args(["netns", "exec", network.name(), "unshare"]);
                        command
                    }
                    None => Command::new("unshare"),
                };
                let own = "mount --bind \"$0/srv\" /srv && \
                    mount --bind \"$0/boot_id\" /proc/sys/kernel/random/boot_id && exec \"$@\"";
                command.args(["--mount", "--propagation", "private", "sh", "-c", own]);
                command.arg(&self.folder).arg(program);
                command
            }
        }
    }

    /// Pastes `token` on the machine.
    pub(crate) fn enrol(&self, plane: &Plane, token: &str) -> Output {
        let instance = format!("test/here/{}", self.machine);
        let server = self.server(plane);
        let enrol = ["enrol", "--server", &server, "--name", &self.name, "--instance", &instance];
        let mut enrol = self.command(&enrol);
        if let Some(relay) = self.network().and_then(Network::relay) {
            enrol.arg(format!("--via={relay}:7444"));
        }
        let mut enrol = enrol
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        enrol.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        enrol.wait_with_output().unwrap()
    }

    /// Makes the machine a host, and starts its agent.
    #[track_caller]
    pub(crate) fn join(&mut self, plane: &Plane, token: &str) {
        let enrolled = self.enrol(plane, token);
        assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
        self.start();
    }

    pub(crate) fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("agent.log"));
        let config = self.folder.join("host.toml");
        let mut command = self.command(&["run", "--config", config.to_str().unwrap()]);
        self.agent = Some(command.stdin(Stdio::null()).stderr(log.unwrap()).spawn().unwrap());
    }

    /// Starts the agent at `program`, a path as the host sees it, and starts that again whenever it ends.
    pub(crate) fn supervise(&mut self, program: &Path) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("agent.log"));
        let config = self.folder.join("host.toml");
        let forever = "while :; do \"$@\"; sleep 0.2; done";
        let mut command = self.inside(Path::new("sh"));
        command.args(["-c", forever, "sh"]).arg(program).args(["run", "--config"]).arg(config);
        command.arg("--state-dir").arg(self.state());
        self.agent = Some(command.stdin(Stdio::null()).stderr(log.unwrap()).spawn().unwrap());
    }

    /// `kill -9` of the agent; what it has started goes on.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            agent.kill().unwrap();
            agent.wait().unwrap();
        }
    }

    /// The machine loses its power, and comes back: nothing of before is alive, and it is another boot.
    pub(crate) fn reboot(&mut self) {
        self.kill_agent();
        self.kill_everything();
        self.next_boot();
        self.start();
    }

    fn kill_everything(&self) {
        until("nothing of the host is alive", || {
            let alive = processes_of(&self.folder);
            for pid in &alive {
                // It may be gone by now.
                drop(Command::new("kill").args(["-KILL", pid]).stderr(Stdio::null()).status());
            }
            alive.is_empty()
        });
    }

    pub(crate) fn cut(&self) {
        self.network().unwrap().cut();
    }

    pub(crate) fn mend(&self) {
        self.network().unwrap().mend();
    }

    /// A file below `/srv`, as the host sees it.
    pub(crate) fn srv(&self, name: &str) -> PathBuf {
        self.folder.join("srv").join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.srv(name)).unwrap_or_default()
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("agent.log")).unwrap_or_default()
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {}", self.name, self.log());
        }
        if let Some(mut agent) = self.agent.take() {
            drop(agent.kill());
            drop(agent.wait());
        }
        for pid in processes_of(&self.folder) {
            drop(Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status());
        }
    }
}

/// The processes that work in `folder`, or for it.
fn processes_of(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.filter_map(|it| it.ok()?.file_name().into_string().ok());
    let pids = pids.filter(|it| it.bytes().all(|it| it.is_ascii_digit()));
    let own = std::process::id().to_string();
    let name = folder.to_str().unwrap();
    pids.filter(|pid| *pid != own && belongs(pid, folder, name)).collect()
}

fn belongs(pid: &str, folder: &Path, name: &str) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    if status.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z')) {
        return false;
    }
    let said = |file: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).contains(&format!("{name}/"))
    };
    said("cmdline")
        || said("environ")
        || fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|it| it.starts_with(folder))
}
