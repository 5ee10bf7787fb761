use crate::{
    app::{App, Embedded},
    commands::{agent::AgentCommand, join_token::JoinTokenCommand},
    files::hosts::{HostsFormat, check_address, read_hosts},
    look::{Look, lacking_at, look_at},
    output::{Table, list, plural, styles},
    problem::{OrProblem as _, invalid, usage},
};
use clap::{Args, Subcommand, ValueHint};
use deploy_core::{
    access::{Action, Resource},
    backend::{Expect, Revision},
    engine::Applied,
    error::ErrorKind,
    host::{Connection, Host, Labels, SshConnection},
    id::{AccountName, HostName, LabelKey, LabelValue, ServiceName},
    spec::{AbsolutePath, Selector},
};
use deploy_wire::{self as wire, Exit, HostCheck, Import, Problem, ProblemCode, Removed};
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
        let embedded = app.open().await?;
        let permit = embedded.host_permit(&host.name).await?;
        let revision =
            match embedded.parts().inventory.put(&permit, host.clone(), Expect::Absent).await {
                Ok(revision) => revision,
                Err(err) if err.kind() == ErrorKind::AlreadyExists => {
                    let message = format!("host `{}` is there already", host.name);
                    return Err(Problem::new(ProblemCode::AlreadyExists, message)
                        .with_hint(
                            "`deploy host import` changes hosts, `deploy host label` their labels",
                        )
                        .with_context("host", &host.name));
                }
                Err(err) => return Err(err).or_problem(),
            };
        app.output.result(&wire::Host::new(&host, revision.get()), |output| {
            output.line(format_args!("host {} is new", host.name));
        });
        Ok(Exit::Succeeded)
    }
}

impl ImportHosts {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let file = read_hosts(&self.file, self.format)?;
        let embedded = app.open().await?;
        let known = embedded.select(None).await?.into_iter();
        let known: BTreeMap<_, _> = known.map(|it| (it.0.name.clone(), it)).collect();
        let mut import =
            Import { warnings: file.warnings, dry_run: self.dry_run, ..Import::default() };
        let mut wanted = Vec::new();
        for mut host in file.hosts {
            host.labels.extend(self.labels.iter().cloned());
            match known.get(&host.name) {
                Some((there, _)) if *there == host => import.unchanged += 1,
                Some((_, revision)) => {
                    import.changed.push(host.name.to_string());
                    wanted.push((host, Expect::At(*revision)));
                }
                None => {
                    import.added.push(host.name.to_string());
                    wanted.push((host, Expect::Absent));
                }
            }
        }
        if !self.dry_run {
            let all =
                embedded.platform.permit(&embedded.principal, Action::HostWrite, Resource::System);
            let permit = all.await.or_problem()?;
            embedded.hosts.put_all(&permit, wanted).await.or_problem()?;
        }
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
        let embedded = app.open().await?;
        let hosts = embedded.select(self.selector.as_ref()).await?;
        let documents: Vec<_> =
            hosts.iter().map(|(host, it)| wire::Host::new(host, it.get())).collect();
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
        let embedded = app.open().await?;
        let host = embedded.parts().inventory.host(&self.name).await.or_problem()?;
        let document = wire::Host::new(&host.value, host.revision.get());
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
        let embedded = app.open().await?;
        let hosts = embedded.select(self.selector.as_ref()).await?;
        if hosts.is_empty() {
            let problem = Problem::new(ProblemCode::EmptySelection, "it selects no host");
            let hint = "a host is selected by `host=NAME`, others by labels: `deploy host list` shows both";
            return Err(problem.with_hint(hint));
        }
        let checks = check(&embedded, hosts).await?;
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

/// Asks each host what runs on it: an answer of any kind proves that commands can be run there. Then asks for what steps need.
async fn check(
    embedded: &Embedded,
    hosts: Vec<(Host, Revision)>,
) -> Result<Vec<HostCheck>, Problem> {
    let service: ServiceName = "host-check".parse().map_err(usage)?;
    let path: AbsolutePath = "/tmp".parse().map_err(usage)?;
    let hosts: Vec<_> = hosts.into_iter().map(|(host, _)| host).collect();
    let looks = look_at(embedded, &service, &path, None, hosts.clone()).await?;
    let answered: BTreeSet<_> =
        looks.iter().filter(|it| it.seen.is_ok()).map(|it| it.host.clone()).collect();
    let hosts = hosts.into_iter().filter(|it| answered.contains(&it.name)).collect();
    let mut lacking = lacking_at(embedded, hosts).await;
    let check = |Look { host, seen, elapsed }: Look| {
        let problem = match (seen.err(), lacking.remove(&host)) {
            (Some(problem), _) | (None, Some(Err(problem))) => Some(problem),
            (None, Some(Ok(tools))) if !tools.is_empty() => {
                let message = format!("the host has no {}: install that there", tools.join(", "));
                Some(Problem::new(ProblemCode::Unhealthy, message))
            }
            (None, _) => None,
        };
        let (code, reason) = problem.map(|it| (it.code.to_string(), it.message)).unzip();
        let reachable = answered.contains(&host);
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        HostCheck { host: host.to_string(), reachable, code, reason, elapsed_ms }
    };
    Ok(looks.into_iter().map(check).collect())
}

impl Label {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let mut host = embedded.parts().inventory.host(&self.name).await.or_problem()?.value;
        change(&mut host.labels, self.changes);
        let applied =
            embedded.platform.apply_host(&embedded.principal, host.clone()).await.or_problem()?;
        let (Applied::Changed(revision) | Applied::Unchanged(revision)) = applied else {
            return Err(invalid("the host was put in a way nobody knows"));
        };
        let document = wire::Host::new(&host, revision.get());
        app.output.result(&document, |output| {
            output.line(format_args!("host {}: {}", document.name, labels(&document.labels)));
        });
        Ok(Exit::Succeeded)
    }
}

fn change(labels: &mut Labels, changes: Vec<(LabelKey, Option<LabelValue>)>) {
    for (key, value) in changes {
        match value {
            Some(value) => drop(labels.insert(key, value)),
            None => drop(labels.remove(&key)),
        }
    }
}

impl Remove {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let embedded = app.open().await?;
        let names: BTreeSet<HostName> = self.names.into_iter().collect();
        let all =
            embedded.platform.permit(&embedded.principal, Action::HostWrite, Resource::System);
        embedded.hosts.remove_all(&all.await.or_problem()?, &names).await.or_problem()?;
        let removed = Removed { removed: names.iter().map(ToString::to_string).collect() };
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
