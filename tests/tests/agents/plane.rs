//! The control plane: `deploy serve`, and those who speak to it.
use deploy_client::{Client, PageOf, Server};
use deploy_test_support::programs::{self, program};
use deploy_wire::{Agent, IssuedJoinToken, Rollout};
use serde_json::Value;
use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// How long anything may take, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(what: &str, holds: impl FnMut() -> bool) {
    programs::until(what, PATIENCE, holds);
}

/// The control plane in a folder of its own.
pub(crate) struct Plane {
    dir: TempDir,
    server: Option<Child>,
    /// Where it listens: the same after it was started again.
    api: String,
    agents: String,
    token: String,
    runtime: tokio::runtime::Runtime,
}

impl Plane {
    /// A server that was never started before, and takes agents at `agents`, an address without a port.
    pub(crate) fn new(agents: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut plane = Self {
            dir: tempfile::tempdir().unwrap(),
            server: None,
            api: "127.0.0.1:0".to_owned(),
            agents: format!("{agents}:0"),
            token: String::new(),
            runtime,
        };
        plane.start();
        plane
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the server, and waits until it says that it is up.
    pub(crate) fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.path("server.log"));
        let mut server = self
            .command(&["serve", "--listen", &self.api])
            .env("DEPLOY_SERVE_AGENTS_LISTEN", &self.agents)
            .env("DEPLOY_SERVE_AGENTS_BLOCKS_LISTEN", self.blocks())
            .env("DEPLOY_SERVE_AGENTS_HEARTBEAT", "500ms")
            .stdout(Stdio::piped())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        loop {
            let Some(line) = lines.next().transpose().unwrap() else {
                panic!("{}", self.server_log());
            };
            if let Some(token) = line.strip_prefix("first token, shown only now: ") {
                token.clone_into(&mut self.token);
            } else if let Some(address) = line.strip_prefix("agents connect to ") {
                let (_, port) = address.rsplit_once(':').unwrap();
                let (host, _) = self.agents.rsplit_once(':').unwrap();
                self.agents = format!("{host}:{port}");
            } else if let Some(url) = line.strip_prefix("listening on https://") {
                url.clone_into(&mut self.api);
                break;
            }
        }
        self.server = Some(server);
    }

    /// Any port that is free, where agents are taken.
    fn blocks(&self) -> String {
        let (host, _) = self.agents.rsplit_once(':').unwrap();
        format!("{host}:0")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut server = self.server.take().unwrap();
        server.kill().unwrap();
        server.wait().unwrap();
    }

    /// `SIGTERM`; the server ends with 0.
    pub(crate) fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        let pid = server.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(server.wait().unwrap().code(), Some(0), "{}", self.server_log());
    }

    /// The port at which agents connect.
    pub(crate) fn agents_port(&self) -> u16 {
        self.agents.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    pub(crate) fn server_log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap()
    }

    /// `deploy`, over the folder of the server.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("deploy"));
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path())
            .env("DEPLOY_DATA_DIR", self.path("data"))
            .stdin(Stdio::null());
        command
    }

    /// What a command that ends well prints for programs.
    #[track_caller]
    pub(crate) fn deploy(&self, arguments: &[&str]) -> Value {
        let output = self.command(&[arguments, &["--output", "json"]].concat()).output().unwrap();
        let (out, err) = (output.stdout, String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {err}");
        serde_json::from_slice(&out).unwrap_or_else(|it| panic!("{arguments:?}: {it}: {err}"))
    }

    /// What a command that is sent to the server prints for programs.
    #[track_caller]
    pub(crate) fn sent(&self, arguments: &[&str]) -> Value {
        let printed = self.sent_and_shown(&[arguments, &["--output", "json"]].concat());
        serde_json::from_str(&printed).unwrap()
    }

    /// What a command that is sent to the server prints.
    #[track_caller]
    pub(crate) fn sent_and_shown(&self, arguments: &[&str]) -> String {
        let output = self.send(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// All that a command prints that is sent to the server and does not end well.
    #[track_caller]
    pub(crate) fn failing(&self, arguments: &[&str]) -> String {
        let output = self.send(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        let both = [output.stdout, output.stderr].concat();
        String::from_utf8(both).unwrap()
    }

    fn send(&self, arguments: &[&str]) -> Output {
        let (url, authority) = (format!("https://{}", self.api), self.path("data/tls/ca.pem"));
        let there = ["--server", &url, "--ca", authority.to_str().unwrap()];
        let mut command = self.command(&[arguments, &there].concat());
        command.env_remove("DEPLOY_DATA_DIR").env("DEPLOY_TOKEN", &self.token).output().unwrap()
    }

    /// What a command prints for people.
    #[track_caller]
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A join token for so many hosts.
    pub(crate) fn join_token(&self, uses: u32, ttl: &str) -> IssuedJoinToken {
        let uses = uses.to_string();
        let create = ["host", "join-token", "create", "--label", "role=web", "--uses", &uses];
        let made = self.deploy(&[&create[..], &["--ttl", ttl]].concat());
        serde_json::from_value(made).unwrap()
    }

    /// Speaks to the server as a program does.
    pub(crate) fn api<T, E: std::fmt::Debug>(
        &self,
        ask: impl AsyncFnOnce(Client) -> Result<T, E>,
    ) -> T {
        let authority = fs::read(self.path("data/tls/ca.pem")).unwrap();
        let server = Server::new(format!("https://{}", self.api), self.token.as_str());
        let client = Client::new(server.with_authority(authority)).unwrap();
        self.runtime.block_on(ask(client)).unwrap()
    }

    /// The agents, as the server knows them.
    pub(crate) fn agents(&self) -> Vec<Agent> {
        self.api(async |client| client.agents(&PageOf::default()).await).items
    }

    /// Whether the agents of these hosts, and no others, are connected.
    pub(crate) fn are_connected(&self, hosts: &[&str]) -> bool {
        let agents = self.agents();
        let connected = agents.iter().filter(|it| it.connected == Some(true));
        connected.map(|it| it.host.as_str()).eq(hosts.iter().copied())
    }

    pub(crate) fn rollout(&self, named: &str) -> Rollout {
        self.api(async |client| client.rollout(named, true).await)
    }

    /// What a host has printed in a rollout, in order, each attempt by itself.
    pub(crate) fn printed(&self, rollout: &str, host: &str) -> Vec<(u64, String)> {
        let lines = self.api(async |client| {
            let mut feed = client.logs(rollout, Some(host), 0);
            let mut lines = Vec::new();
            while let Some(line) = feed.next().await? {
                lines.push(line);
            }
            Ok::<_, deploy_client::ClientError>(lines)
        });
        let mut attempts: Vec<(u64, String)> = Vec::new();
        for line in lines {
            match attempts.iter_mut().find(|it| it.0 == line.generation) {
                Some((_, text)) => {
                    assert_eq!(text.len() as u64, line.offset, "{host}: a piece is missing");
                    text.push_str(&line.text);
                }
                None => attempts.push((line.generation, line.text)),
            }
        }
        attempts
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // A test that has failed leaves no server behind.
            drop(server.kill());
            drop(server.wait());
        }
        if std::thread::panicking() {
            eprintln!("{}", self.server_log());
        }
    }
}
