//! A folder of its own for each test, and the program in it.
use crate::server::Served;
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// The program.
pub(crate) const DEPLOY: &str = env!("CARGO_BIN_EXE_deploy");

/// How long anything in a test may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Lab {
    dir: tempfile::TempDir,
    /// The server that commands go to, if they do.
    server: Option<Served>,
}

/// Takes journeys twice: over this machine's own data, and over a server. What they see is the same.
macro_rules! journeys {
    ($($journey:ident,)*) => {
        mod here {
            $(#[test]
            fn $journey() {
                super::$journey(&crate::lab::Lab::new());
            })*
        }

        mod over_a_server {
            $(#[test]
            fn $journey() {
                super::$journey(&crate::lab::Lab::with_server());
            })*
        }
    };
}
pub(crate) use journeys;

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|err| panic!("{err}: {}", self.stdout))
    }

    /// The problem that was written to standard error.
    #[track_caller]
    pub(crate) fn problem(&self) -> Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        let document: Value =
            serde_json::from_str(last).unwrap_or_else(|err| panic!("{err}: {}", self.stderr));
        document["problem"].clone()
    }
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), server: None }
    }

    /// A lab whose commands go to a server of its own.
    pub(crate) fn with_server() -> Self {
        Self::with_server_of("")
    }

    /// A lab whose commands go to a server that is set up like this.
    pub(crate) fn with_server_of(tables: &str) -> Self {
        let mut lab = Self::new();
        let limits = "local_hosts = true\n[limits]\nrate_per_second = 10000\nrate_burst = 10000\n";
        lab.write("serve.toml", &format!("{limits}{tables}"));
        let server = Served::start(&lab, &["--plain-http", "--config", "serve.toml"]);
        lab.server = Some(server);
        lab
    }

    /// What the server has said of what it does.
    pub(crate) fn server_log(&self) -> String {
        fs::read_to_string(self.path("server.log")).unwrap()
    }

    /// Where the server is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.as_ref().unwrap().address)
    }

    /// The token that its first start has made.
    pub(crate) fn token(&self) -> String {
        self.server.as_ref().and_then(|it| it.first.clone()).unwrap()
    }

    pub(crate) const fn has_server(&self) -> bool {
        self.server.is_some()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path("data")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn write_script(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Runs a command that ends with `code`, and gives what it says for programs about why.
    #[track_caller]
    pub(crate) fn refused(&self, arguments: &[&str], code: i32) -> Value {
        let ran = self.run(&[arguments, &["--output", "json"]].concat()).ended_with(code);
        assert!(ran.stdout.is_empty(), "{arguments:?}: {}", ran.stdout);
        ran.problem()
    }

    /// What a command that ends well prints for programs.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.ok(&[arguments, &["--output", "json"]].concat()).json()
    }

    /// All services, hosts, artifacts and rollouts, to see that nothing has changed.
    #[track_caller]
    pub(crate) fn everything(&self) -> [Value; 4] {
        [["service", "list"], ["host", "list"], ["artifact", "list"], ["rollout", "list"]]
            .map(|list| self.json(&list))
    }

    /// The program, with nothing of the surroundings but what a test sets.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(DEPLOY), arguments)
    }

    /// The same, after a shell has done something to its own process.
    pub(crate) fn command_under(&self, shell: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\""), DEPLOY]);
        self.prepared(command, arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command
            .args(arguments)
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.dir.path())
            .stdin(Stdio::null());
        self.send(&mut command);
        command
    }

    /// Says where a command goes.
    pub(crate) fn send(&self, command: &mut Command) {
        match &self.server {
            Some(_) => command.env("DEPLOY_SERVER", self.url()).env("DEPLOY_TOKEN", self.token()),
            None => command.env("DEPLOY_DATA_DIR", self.data_dir()),
        };
    }

    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().unwrap())
    }

    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> Ran {
        self.run(arguments).ended_with(0)
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Adds `count` hosts `web-1`…, each a folder of this one.
    pub(crate) fn hosts(&self, count: u32) {
        for host in 1..=count {
            let (name, root) = (format!("web-{host}"), self.root(host));
            fs::create_dir_all(&root).unwrap();
            self.ok(&[
                "host",
                "add",
                &name,
                "--local",
                root.to_str().unwrap(),
                "--label",
                "role=web",
            ]);
        }
    }

    pub(crate) fn root(&self, host: u32) -> PathBuf {
        self.path(&format!("hosts/web-{host}"))
    }

    /// Adds the service `web` on all hosts, with more in its strategy.
    pub(crate) fn service(&self, strategy: &str) {
        self.write("service.toml", &service(strategy));
        self.ok(&["service", "apply", "service.toml"]);
    }

    /// Makes the release `version` of `web`, whose step `post` is a script.
    pub(crate) fn release(&self, version: &str, post: &str) {
        let (package, descriptor) = (format!("package-{version}"), format!("descriptor-{version}"));
        self.write(&format!("{package}/version"), version);
        self.write(
            &format!("{descriptor}/descriptor.toml"),
            "format = 1\n[steps.post]\nscript = \"post.sh\"\ntimeout = \"60s\"\n[steps.verify]\nenabled = false\n",
        );
        self.write_script(&format!("{descriptor}/post.sh"), &format!("#!/bin/sh\n{post}\n"));
        self.ok(&[
            "release",
            "create",
            "web",
            version,
            "--package",
            &package,
            "--descriptor",
            &descriptor,
        ]);
    }

    /// Which version a host runs.
    pub(crate) fn version(&self, host: u32) -> Option<String> {
        fs::read_to_string(self.root(host).join("srv/web/current/version")).ok()
    }

    /// What scripts wrote to a file that survives releases.
    pub(crate) fn shared(&self, host: u32, name: &str) -> String {
        fs::read_to_string(self.root(host).join("srv/web/shared").join(name)).unwrap_or_default()
    }
}

pub(crate) fn service(strategy: &str) -> String {
    format!(
        "name = \"web\"\nowner = \"ann\"\ndeploy_path = \"/srv/web\"\nselector = \"role=web\"\n\n[strategy]\n{strategy}\n"
    )
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let mut polls = PATIENCE.as_millis() / 20;
    while !so() {
        polls -= 1;
        assert!(polls > 0, "never: {what}");
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at another process there is nothing to wait on"
)]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}

pub(crate) fn lines(path: &Path) -> usize {
    fs::read_to_string(path).map_or(0, |it| it.lines().count())
}
