use crate::{
    app::App,
    commands::{agent::AgentCommand, join_token::JoinTokenCommand},
    files::hosts::{HostsFormat, check_address, read_hosts},
    output::{Table, list, plural, styles},
};
use clap::{Args, Subcommand, ValueHint};
use deploy_core::{
    host::{Connection, Host, SshConnection},
    id::{AccountName, HostName, LabelKey, LabelValue},
    spec::{AbsolutePath, Selector},
};
use deploy_wire::{
    self as wire, Exit, HostsToImport, HostsToRemove, LabelChanges, NewHost, Problem, ProblemCode,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU16,
    path::PathBuf,
};

/// Hosts: the machines that services go onto
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    Add(Add),
    Import(ImportHosts),
    List(List),
    Show(Show),
    Check(Check),
    Label(Label),
    Remove(Remove),
    #[command(subcommand)]
    JoinToken(JoinTokenCommand),
    #[command(subcommand)]
    Agent(AgentCommand),
}

/// Adds a host; one that is there already is left alone
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy host add web-1 --address 192.0.2.1 --user deploy --label role=web --label zone=a\n  \
    deploy host add here --local /srv/hosts/here"
)]
pub(crate) struct Add {
    /// Its name
    #[arg(value_name = "HOST")]
    name: HostName,
    /// A name or an address, where that is not the host's own name
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    address: Option<String>,
    /// The port of its SSH server
    #[arg(long, value_name = "PORT")]
    port: Option<NonZeroU16>,
    /// The account that logs in
    #[arg(long, value_name = "ACCOUNT")]
    user: Option<AccountName>,
    /// The folder on it under which all paths lie, where several records share one machine
    #[arg(long, value_name = "PATH")]
    root: Option<AbsolutePath>,
    /// A folder of this machine that stands for the host
    #[arg(long, value_name = "PATH", conflicts_with_all = ["address", "port", "user", "root"])]
    local: Option<AbsolutePath>,
    /// A label; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(LabelKey, LabelValue)>,
}

/// Adds all hosts that a file names, and changes those that it says otherwise of
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy host import hosts.toml\n  deploy host import inventory/production --format ansible-ini --dry-run\n\n\
    docs/files.md describes the formats."
)]
pub(crate) struct ImportHosts {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// How it is written, where its name does not say that
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<HostsFormat>,
    /// A label for all of them; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(LabelKey, LabelValue)>,
    /// Says what would happen, and does not do it
    #[arg(long)]
    dry_run: bool,
}

/// Shows hosts
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy host list\n  deploy host list 'role=web,zone!=b'")]
pub(crate) struct List {
    /// Only those that it selects
    #[arg(value_name = "SELECTOR")]
    selector: Option<Selector>,
}

/// Shows a host
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host show web-1")]
pub(crate) struct Show {
    /// Which host
    #[arg(value_name = "HOST")]
    name: HostName,
}

/// Says whether hosts can be reached, and what they lack
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy host check\n  deploy host check role=web")]
pub(crate) struct Check {
    /// Only those that it selects
    #[arg(value_name = "SELECTOR")]
    selector: Option<Selector>,
}

/// Changes the labels of a host
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host label web-1 zone=b canary-")]
pub(crate) struct Label {
    /// Which host
    #[arg(value_name = "HOST")]
    name: HostName,
    /// `KEY=VALUE` sets a label, `KEY-` takes it away
    #[arg(value_name = "CHANGE", required = true, value_parser = parse_change)]
    changes: Vec<(LabelKey, Option<LabelValue>)>,
}

/// Removes hosts from the inventory; what runs on them goes on running
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host remove web-1 web-2")]
pub(crate) struct Remove {
    /// Which hosts
    #[arg(value_name = "HOST", required = true)]
    names: Vec<HostName>,
}

fn parse_address(text: &str) -> Result<String, String> {
    check_address(text).map(|()| text.to_owned())
}

pub(crate) fn parse_label(text: &str) -> Result<(LabelKey, LabelValue), String> {
    let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
    let key = key.parse().map_err(|err| format!("{err}"))?;
    Ok((key, value.parse().map_err(|err| format!("{err}"))?))
}

fn parse_change(text: &str) -> Result<(LabelKey, Option<LabelValue>), String> {
    match text.strip_suffix('-') {
        Some(key) if !text.contains('=') => {
            Ok((key.parse().map_err(|err| format!("{err}"))?, None))
        }
        Some(_) | None => parse_label(text).map(|(key, value)| (key, Some(value))),
    }
}

impl HostCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Add(command) => command.run(app).await,
            Self::Import(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Show(command) => command.run(app).await,
            Self::Check(command) => command.run(app).await,
            Self::Label(command) => command.run(app).await,
            Self::Remove(command) => command.run(app).await,
            Self::JoinToken(command) => command.run(app).await,
            Self::Agent(command) => command.run(app).await,
        }
    }
}

impl Add {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let connection = match self.local {
            Some(root) => Connection::Local { root: root.into() },
            None => {
                let mut ssh = SshConnection::new();
                ssh.address = self.address;
                ssh.port = self.port.map(NonZeroU16::get);
                ssh.user = self.user;
                ssh.root = self.root.map(Into::into);
                Connection::Ssh(ssh)
            }
        };
        let host = Host::new(self.name, connection).with_labels(self.labels.into_iter().collect());
        let plane = app.plane().await?;
        let added = plane.add_host(new_host(&host)).await.map_err(|problem| {
            if problem.code != ProblemCode::AlreadyExists {
                return problem;
            }
            let hint = "`deploy host import` changes hosts, `deploy host label` their labels";
            problem.with_hint(hint)
        })?;
        app.output.result(&added, |output| {
            output.line(format_args!("host {} is new", added.name));
        });
        Ok(Exit::Succeeded)
    }
}

/// A host, to be added.
fn new_host(host: &Host) -> NewHost {
    let wire::Host { name, connection, labels, .. } = wire::Host::new(host, 0);
    NewHost { name, connection, labels }
}

impl ImportHosts {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let file = read_hosts(&self.file, self.format)?;
        let warnings = file.warnings;
        let with_labels = |mut host: Host| {
            host.labels.extend(self.labels.iter().cloned());
            new_host(&host)
        };
        let hosts = file.hosts.into_iter().map(with_labels).collect();
        let plane = app.plane().await?;
        let mut import = plane.import_hosts(HostsToImport { hosts, dry_run: self.dry_run }).await?;
        import.warnings.extend(warnings);
        import.warnings.iter().for_each(|it| app.output.warn(it));
        app.output.result(&import, |output| {
            for (what, names) in [("new", &import.added), ("changed", &import.changed)] {
                if !names.is_empty() {
                    let count = plural(u64::try_from(names.len()).unwrap_or(u64::MAX), "host");
                    output.line(format_args!("{count} {what}: {}", list(names, 8)));
                }
            }
            if import.unchanged > 0 {
                output.line(format_args!("{} as before", plural(import.unchanged, "host")));
            }
            if self.dry_run {
                output.note("nothing was written: this was a dry run");
            }
        });
        Ok(Exit::Succeeded)
    }
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let documents = app.plane().await?.hosts(self.selector.as_ref()).await?;
        app.output.result(&documents, |output| {
            if documents.is_empty() {
                output.note("no hosts: `deploy host add` and `deploy host import` add some");
                return;
            }
            let mut table = Table::new(["HOST", "REACHED BY", "LABELS"]);
            for it in &documents {
                table.row([
                    it.name.clone(),
                    reached_by(&it.connection, &it.name),
                    labels(&it.labels),
                ]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}

impl Show {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let document = app.plane().await?.host(&self.name).await?;
        app.output.result(&document, |output| {
            let name = |text| output.paint(styles::DIM, text);
            output.line(format_args!("{} {}", name("host      "), document.name));
            output.line(format_args!(
                "{} {}",
                name("reached by"),
                reached_by(&document.connection, &document.name)
            ));
            output.line(format_args!("{} {}", name("labels    "), labels(&document.labels)));
            output.line(format_args!("{} {}", name("revision  "), document.revision));
        });
        Ok(Exit::Succeeded)
    }
}

impl Check {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let checks = app.plane().await?.check_hosts(self.selector.as_ref()).await?;
        let bad = checks.iter().filter(|it| it.code.is_some()).count();
        app.output.result(&checks, |output| {
            let mut table = Table::new(["HOST", "RESULT", "TIME", "REASON"]).wrapping();
            for it in &checks {
                let (style, said) = match it.code {
                    None => (styles::GOOD, "ok"),
                    Some(_) => (styles::FAILURE, "failed"),
                };
                table.styled([
                    (styles::PLAIN, it.host.clone()),
                    (style, said.to_owned()),
                    (styles::DIM, format!("{} ms", it.elapsed_ms)),
                    (styles::PLAIN, it.reason.clone().unwrap_or_default()),
                ]);
            }
            output.table(&table);
        });
        if bad == 0 {
            return Ok(Exit::Succeeded);
        }
        let message = format!("{bad} of {} hosts cannot be used", checks.len());
        Err(Problem::new(ProblemCode::Unhealthy, message))
    }
}

impl Label {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let there = plane.host(&self.name).await?;
        let text = |(key, value): (LabelKey, Option<LabelValue>)| {
            (key.to_string(), value.map(|it| it.to_string()))
        };
        let changes = LabelChanges { labels: self.changes.into_iter().map(text).collect() };
        let mut wanted = there.labels.clone();
        change(&mut wanted, &changes);
        let document = match wanted == there.labels {
            true => there,
            false => plane.label_host(&self.name, &changes, there.revision).await?,
        };
        app.output.result(&document, |output| {
            output.line(format_args!("host {}: {}", document.name, labels(&document.labels)));
        });
        Ok(Exit::Succeeded)
    }
}

fn change(labels: &mut BTreeMap<String, String>, changes: &LabelChanges) {
    for (key, value) in &changes.labels {
        match value {
            Some(value) => drop(labels.insert(key.clone(), value.clone())),
            None => drop(labels.remove(key)),
        }
    }
}

impl Remove {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let names: BTreeSet<HostName> = self.names.into_iter().collect();
        let hosts = names.iter().map(ToString::to_string).collect();
        let removed = app.plane().await?.remove_hosts(&HostsToRemove { hosts }).await?;
        app.output.result(&removed, |output| {
            for name in &removed.removed {
                output.line(format_args!("host {name} is gone from the inventory"));
            }
        });
        Ok(Exit::Succeeded)
    }
}

fn reached_by(connection: &wire::Connection, name: &str) -> String {
    let root = connection.root.as_deref();
    if connection.via == "local" {
        return format!("local {}", root.unwrap_or_default());
    }
    let user = connection.user.as_ref().map_or_else(String::new, |it| format!("{it}@"));
    let address = connection.address.as_deref().unwrap_or(name);
    let port = connection.port.map_or_else(String::new, |it| format!(":{it}"));
    let root = root.map_or_else(String::new, |it| format!(" under {it}"));
    format!("{} {user}{address}{port}{root}", connection.via)
}

fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}
