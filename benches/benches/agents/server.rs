//! The real server, as a process of its own, over a data folder on a disk.
use crate::logs::{LINE, PRINTED, PRINTER, PRINTING};
use deploy_benches::Failure;
use deploy_client::{Client, Server as Address};
use deploy_core::{backend::Clock, memory::SystemClock, time::Timestamp};
use deploy_wire::{NewRollout, Rollout};
use rustix::{
    fs::{CWD, Mode, mkfifoat},
    param::clock_ticks_per_second,
    process::{Pid, Signal, kill_process},
};
use serde_json::Value;
use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// Between two looks at the server.
const LOOK: Duration = Duration::from_millis(50);
/// How often a rollout onto one host is measured.
pub(crate) const TIMES: usize = 100;
/// The pipe by which what is measured on one host says that it has begun.
const STARTED: &str = "started";

const TOKEN: &str = "first token, shown only now: ";

/// A control plane: its program, its data folder, and the process while there is one.
pub(crate) struct Server {
    folder: TempDir,
    deploy: PathBuf,
    process: Option<Child>,
    api: String,
    agents: String,
    token: String,
    client: Option<Client>,
    clock: Arc<dyn Clock>,
}

impl Server {
    /// A server for so many hosts, whose rollouts go in waves of `wave`.
    pub(crate) async fn start(wave: usize) -> Result<Self, Failure> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let deploy = program("DEPLOY", "deploy");
        let (api, agents) = (free_address()?, free_address()?);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let token = String::new();
        let mut server =
            Self { folder, deploy, process: None, api, agents, token, client: None, clock };
        server.describe(wave)?;
        server.begin().await?;
        Ok(server)
    }

    /// Where agents enrol, and have their sessions.
    pub(crate) fn agents(&self) -> &str {
        &self.agents
    }

    /// A join token for so many hosts of a role.
    pub(crate) fn join_token(&self, role: &str, hosts: usize) -> Result<String, Failure> {
        let (label, uses) = (format!("role={role}"), hosts.to_string());
        let create = ["host", "join-token", "create", "--label", &label, "--uses", &uses];
        let made: Value = serde_json::from_str(&self.deploy(&create)?)?;
        let secret = made.get("secret").and_then(Value::as_str);
        Ok(secret.ok_or("the join token is not shown")?.to_owned())
    }

    /// Kills the process, and starts another over the same data.
    pub(crate) async fn restart(&mut self) -> Result<(), Failure> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        self.begin().await
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Seconds.
    pub(crate) fn since(&self, began: Timestamp) -> f64 {
        self.clock.now().since(began).as_secs_f64()
    }

    pub(crate) async fn wait(&self, wait: Duration) {
        self.clock.sleep_until(self.clock.now().after(wait)).await;
    }

    /// Waits a moment.
    pub(crate) async fn look(&self) {
        self.wait(LOOK).await;
    }

    /// Until so many agents have a session.
    pub(crate) async fn wait_for(&self, hosts: usize) -> Result<(), Failure> {
        while self.connected()? < hosts {
            self.look().await;
        }
        Ok(())
    }

    /// Bytes.
    pub(crate) fn resident(&self) -> Result<u64, Failure> {
        resident(self.pid()?)
    }

    /// Seconds of CPU.
    pub(crate) fn cpu(&self) -> Result<f64, Failure> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("stat is short")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let ticks: u32 =
            fields.get(11..13).unwrap_or_default().iter().flat_map(|it| it.parse::<u32>()).sum();
        let a_second = u32::try_from(clock_ticks_per_second())?;
        Ok(f64::from(ticks) / f64::from(a_second))
    }

    /// Rolls a release out to its end.
    pub(crate) async fn roll_out(&self, service: &str, release: &str) -> Result<Rollout, Failure> {
        let rollout = self.carry_out(service, release).await?;
        if rollout.state == "succeeded" {
            return Ok(rollout);
        }
        let why = rollout.attention.iter().find_map(|it| it.reason.as_deref());
        Err(format!("the rollout ended as {}: {}", rollout.state, why.unwrap_or_default()).into())
    }

    /// Rolls a release out until it is known how that went.
    pub(crate) async fn carry_out(&self, service: &str, release: &str) -> Result<Rollout, Failure> {
        let client = self.client.as_ref().ok_or("the server has not begun")?;
        let asked = NewRollout {
            service: service.to_owned(),
            release: release.to_owned(),
            ..NewRollout::default()
        };
        let mut rollout = client.start(&asked).await?;
        let id = rollout.id.clone();
        while !["succeeded", "failed", "paused"].contains(&rollout.state.as_str()) {
            self.look().await;
            rollout = client.rollout(&id, false).await?;
        }
        Ok(rollout)
    }

    /// How much is stored of what the steps of a rollout have printed, in bytes.
    pub(crate) async fn printed(&self, rollout: &str) -> Result<u64, Failure> {
        let client = self.client.as_ref().ok_or("the server has not begun")?;
        let mut lines = client.logs_so_far(rollout, None, 0);
        let mut printed = 0;
        while let Some(line) = lines.next().await? {
            printed += line.bytes().len() as u64;
        }
        Ok(printed)
    }

    /// Runs the command line over the server's data, for programs.
    fn deploy(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = self.command();
        let said = command.args(arguments).args(["--output", "json"]).output()?;
        if !said.status.success() {
            let why = String::from_utf8_lossy(&said.stderr).into_owned();
            return Err(format!("{arguments:?}: {why}").into());
        }
        Ok(String::from_utf8(said.stdout)?)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.deploy);
        command.env("DEPLOY_DATA_DIR", self.folder.path().join("data"));
        command
    }

    /// Services: one on all hosts; one on a single host, whose releases say when they have begun; and two that print, on all hosts and on one.
    fn describe(&self, wave: usize) -> Result<(), Failure> {
        let root = self.folder.path();
        let nothing = "format = 1\n[steps.post]\nscript = 'post.sh'\neffect = 'idempotent'\n[steps.fetch]\nenabled = false\n\
            [steps.install]\nenabled = false\n[steps.rollback]\nenabled = false\n";
        let package = root.join("package");
        fs::create_dir(&package)?;
        fs::create_dir(self.hosts())?;
        mkfifoat(CWD, self.started(), Mode::RUSR | Mode::WUSR)?;
        fs::write(package.join("nothing"), "")?;
        for (service, selector, post) in [
            ("all", "role=bench", "true\n".to_owned()),
            ("one", "host=host-0", format!("echo >\"{}\"\n", text(&self.started())?)),
            (PRINTING, "role=bench,host!=host-0", "true\n".to_owned()),
            (PRINTER, "role=printer", format!("yes '{LINE}' | head -c {PRINTED}\n")),
        ] {
            let descriptor = root.join(format!("descriptor-{service}"));
            fs::create_dir(&descriptor)?;
            fs::write(descriptor.join("descriptor.toml"), nothing)?;
            fs::write(descriptor.join("post.sh"), post)?;
            let file = root.join(format!("{service}.toml"));
            let path = root.join("hosts").join(service);
            let written = format!(
                "name = \"{service}\"\nowner = \"bench\"\ndeploy_path = \"{}\"\nselector = \"{selector}\"\n\n\
                [strategy]\nwaves = [\"{wave}\"]\nmin_healthy_time = \"0s\"\n",
                path.display()
            );
            fs::write(&file, written)?;
            self.deploy(&["service", "apply", text(&file)?])?;
            let releases = if service == "one" { TIMES } else { 2 };
            for version in 1..=releases {
                let version = version.to_string();
                let create = ["release", "create", service, &version];
                let of = ["--package", text(&package)?, "--descriptor", text(&descriptor)?];
                self.deploy(&[&create[..], &of].concat())?;
            }
        }
        Ok(())
    }

    /// Where hosts at whose end something is run have all their folders.
    pub(crate) fn hosts(&self) -> PathBuf {
        self.folder.path().join("hosts")
    }

    /// A pipe in which something lies once the first command is run on the one host.
    pub(crate) fn started(&self) -> PathBuf {
        self.hosts().join(STARTED)
    }

    async fn begin(&mut self) -> Result<(), Failure> {
        let mut command = self.command();
        command.args(["serve", "--plain-http", "--listen", &self.api]);
        command.env("DEPLOY_SERVE_AGENTS_LISTEN", &self.agents).env("DEPLOY_LOG", "error");
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(process.stdout.take().ok_or("no output")?);
        self.process = Some(process);
        loop {
            let mut line = String::new();
            if said.read_line(&mut line)? == 0 {
                return Err("the server does not start".into());
            }
            if let Some(token) = line.strip_prefix(TOKEN) {
                token.trim().clone_into(&mut self.token);
            }
            if line.starts_with("listening on ") {
                let address = format!("http://{}", self.api);
                self.client = Some(Client::new(Address::new(address, &self.token))?);
                return Ok(());
            }
        }
    }

    /// What `/metrics` says of connected agents.
    fn connected(&self) -> Result<usize, Failure> {
        let mut stream = TcpStream::connect(&self.api)?;
        let (host, token) = (&self.api, &self.token);
        let request = format!(
            "GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        let count = said.lines().find_map(|it| it.strip_prefix("deploy_agents_connected "));
        Ok(count.ok_or("no metrics of agents")?.trim().parse()?)
    }

    fn pid(&self) -> Result<u32, Failure> {
        Ok(self.process.as_ref().ok_or("the server is gone")?.id())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended by itself.
            let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
            let _gone = pid.map(|it| kill_process(it, Signal::TERM));
            let _status = process.wait();
        }
    }
}

/// What a process has in memory, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64, Failure> {
    let pages = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 = pages.split(' ').nth(1).ok_or("statm is short")?.parse()?;
    Ok(pages * 4096)
}

/// A program of ours: what the variable says, or what was built for a release.
pub(crate) fn program(variable: &str, name: &str) -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release").join(name);
    env::var_os(variable).map_or_else(built, PathBuf::from)
}

/// An address of this machine that is free now.
fn free_address() -> Result<String, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn text(path: &Path) -> Result<&str, Failure> {
    Ok(path.to_str().ok_or("a path is no text")?)
}
