//! Where the demonstration plays: six hosts, three versions of a site, and the commands that a person would type.
use super::unexpected;
use crate::{
    app::App,
    cli::Cli,
    dispatch,
    output::styles,
    problem::{invalid, io_problem, usage},
};
use clap::Parser as _;
use deploy_host::quote::quote;
use deploy_wire::{Exit, Problem};
use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How many hosts there are.
pub(super) const HOSTS: u8 = 6;

const SERVE: &str = include_str!("../../../../../examples/web/serve");
const CHECK: &str = include_str!("../../../../../examples/web/check");
const DESCRIPTOR: &str = include_str!("../../../../../examples/web/descriptor/descriptor.toml");
const INDEX: &str = include_str!("../../../../../examples/web/site/index.html");
const ABOUT: &str = include_str!("../../../../../examples/web/site/about.html");
const STYLE: &str = include_str!("../../../../../examples/web/site/style.css");

const SERVICE: &str = r#"name = "web"
owner = "demo"
deploy_path = "/srv/web"
selector = "role=web"
"#;

/// What the service says as long as nobody uses it.
const QUICK: &str = r#"
[strategy]
min_healthy_time = "1s"
healthy_deadline = "1m"
"#;

/// What the service says once there is something to lose.
const CAREFUL: &str = r#"
[strategy]
waves = ["1", "*3"]
confirm = "after_first"
bake_time = "2s"
min_healthy_time = "1s"
check_interval = "1s"
healthy_deadline = "10s"
on_failure = "rollback"
"#;

/// The stage.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    app: &'a App,
    dir: PathBuf,
    port: u16,
}

impl<'a> Stage<'a> {
    /// Sets the stage in a folder of its own.
    pub(super) fn set(app: &'a App, dir: Option<PathBuf>) -> Result<Self, Problem> {
        let dir = match dir {
            Some(dir) => {
                crate::embedded::make_private(&dir)
                    .map_err(|err| io_problem(dir.display(), &err))?;
                fs::canonicalize(&dir).map_err(|err| io_problem(dir.display(), &err))?
            }
            None => {
                let made = tempfile::Builder::new().prefix("deploy-demo-").tempdir();
                made.map_err(|err| io_problem("the temporary folder", &err))?.keep()
            }
        };
        let stage = Self { app, dir, port: free_port()? };
        stage.write_all().map_err(|err| io_problem(stage.dir.display(), &err))?;
        Ok(stage)
    }

    fn write_all(&self) -> io::Result<()> {
        fs::write(self.lifeline(), "")?;
        fs::write(self.dir.join("service.toml"), format!("{SERVICE}{QUICK}"))?;
        fs::write(self.dir.join("careful.toml"), format!("{SERVICE}{CAREFUL}"))?;
        fs::create_dir_all(self.dir.join("descriptor"))?;
        fs::write(self.dir.join("descriptor/descriptor.toml"), DESCRIPTOR)?;
        let mut hosts = String::new();
        for host in 1..=HOSTS {
            let root = self.dir.join(format!("hosts/web-{host}"));
            fs::create_dir_all(&root)?;
            let zone = if host % 2 == 0 { "b" } else { "a" };
            hosts.push_str(&format!(
                "[[host]]\nname = \"web-{host}\"\nlocal = {:?}\nlabels = {{ role = \"web\", zone = \"{zone}\" }}\n\n",
                root.display().to_string()
            ));
        }
        fs::write(self.dir.join("hosts.toml"), hosts)?;
        (1..=3).try_for_each(|version| self.write_package(version))
    }

    /// Version 3 lacks a page that it links to.
    fn write_package(&self, version: u32) -> io::Result<()> {
        let package = self.dir.join(format!("site-{version}"));
        let site = package.join("site");
        fs::create_dir_all(&site)?;
        for (name, script) in [("serve", SERVE), ("check", CHECK)] {
            let path = package.join(name);
            fs::write(&path, script)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        fs::write(
            site.join("index.html"),
            INDEX.replace("It works", &format!("Version {version}")),
        )?;
        fs::write(site.join("style.css"), STYLE)?;
        if version < 3 {
            fs::write(site.join("about.html"), ABOUT)?;
        }
        Ok(())
    }

    pub(super) const fn app(&self) -> &'a App {
        self.app
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The servers of all hosts live as long as this file.
    fn lifeline(&self) -> PathBuf {
        self.dir.join("alive")
    }

    /// What every release is told.
    pub(super) fn parameters(&self) -> Result<[String; 3], Problem> {
        let server = std::env::current_exe().map_err(|err| io_problem("this program", &err))?;
        Ok([
            format!("PORT={}", self.port),
            format!("SERVER={}", server.display()),
            format!("LIFELINE={}", self.lifeline().display()),
        ])
    }

    /// Says what comes next.
    pub(super) fn say(&self, text: &str) {
        let output = &self.app.output;
        output.line("");
        for line in text.lines() {
            output.line(output.paint(styles::HEADER, line));
        }
    }

    /// Runs a command as a person would type it, and shows it.
    pub(super) async fn run(&self, arguments: &[&str], wanted: Exit) -> Result<(), Problem> {
        let output = &self.app.output;
        let shown: Vec<_> = arguments.iter().map(|it| quote(it)).collect();
        output.line(output.paint(styles::DIM, format_args!("$ deploy {}", shown.join(" "))));
        let arguments = arguments.iter().map(|it| {
            let path = self.dir.join(it);
            // Files of the stage are named as if it were the working folder.
            if path.exists() { path.display().to_string() } else { (*it).to_owned() }
        });
        let data_dir = self.data_dir().display().to_string();
        let typed =
            ["deploy".to_owned(), "--data-dir".to_owned(), data_dir].into_iter().chain(arguments);
        let cli = Cli::try_parse_from(typed).map_err(usage)?;
        let app = App { output: Arc::clone(output), global: cli.global };
        let exit = Box::pin(dispatch(&app, cli.command)).await?;
        if exit == wanted {
            return Ok(());
        }
        Err(unexpected(&shown.iter().map(String::as_str).collect::<Vec<_>>(), exit, wanted))
    }

    pub(super) fn url(&self, host: u8) -> String {
        format!("http://{}/", self.address(host))
    }

    fn address(&self, host: u8) -> SocketAddr {
        SocketAddr::from(([127, 0, 1, host], self.port))
    }

    /// Which version each host serves.
    pub(super) fn versions(&self) -> Vec<Result<String, String>> {
        (1..=HOSTS)
            .map(|host| version_at(self.address(host)).map_err(|err| err.to_string()))
            .collect()
    }
}

/// A port that is free on the addresses of all hosts.
fn free_port() -> Result<u16, Problem> {
    let on_all = |port: u16| {
        (1..=HOSTS)
            .all(|host| TcpListener::bind(SocketAddr::from(([127, 0, 1, host], port))).is_ok())
    };
    for _try in 0..32 {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 1, 1], 0)));
        let port = listener.and_then(|it| it.local_addr()).map(|it| it.port());
        if let Some(port) = port.ok().filter(|it| on_all(*it)) {
            return Ok(port);
        }
    }
    Err(invalid("no port is free on 127.0.1.1 to 127.0.1.6: the demonstration needs one"))
}

/// Asks a host for its page, and gives the version that it says it is.
fn version_at(address: SocketAddr) -> io::Result<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut answer = String::new();
    stream.take(64 << 10).read_to_string(&mut answer)?;
    let title = answer.split_once("<h1>Version ").and_then(|(_, it)| it.split_once('<'));
    let (version, _) =
        title.ok_or_else(|| io::Error::other("the page does not say its version"))?;
    Ok(version.to_owned())
}
