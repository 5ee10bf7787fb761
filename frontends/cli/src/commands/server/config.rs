//! How the server is set up: a file, and the environment over it.
mod artifacts;
mod build;

use crate::{
    embedded::Bucket,
    files::{Human, Source},
    problem::{invalid, usage},
    telemetry::{LogFormat, Settings},
};
use artifacts::ArtifactsFile;
pub(super) use build::{BuildConfig, HookConfig, HostsConfig};
use build::{BuildFile, HookFile};
use deploy_operations::parse::check_address;
use deploy_server::Limits;
use deploy_wire::{Problem, ProblemCode};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

/// The largest configuration file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Where agents connect to, unless it is said.
const AGENTS_PORT: u16 = 7444;
/// How far beside it hosts have blocks: at 7446. At 7445 they have them from each other.
const BESIDE_AGENTS: u16 = 2;
/// How often an agent that has nothing to say says so.
const HEARTBEAT: Duration = Duration::from_secs(5);
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(300);
/// How much room the parts of packages may take, unless it is said.
const PARTS_MIB: u32 = 16 << 10;
/// How often it is looked what hosts are owed, unless it is said.
const REPAIR_INTERVAL: Duration = Duration::from_secs(60);
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
const LONGEST_INTERVAL: Duration = Duration::from_secs(86_400);

/// What the names of variables begin with.
const PREFIX: &str = "DEPLOY_SERVE_";

/// The keys that have a variable, and whether their value is a text. `limits.requests` is `DEPLOY_SERVE_LIMITS_REQUESTS`.
const KEYS: [(&str, bool); 34] = [
    ("listen", true),
    ("database", true),
    ("database_file", true),
    ("local_hosts", false),
    ("plain_http", false),
    ("tls.certificate", true),
    ("tls.key", true),
    ("artifacts.store", true),
    ("artifacts.key_file", true),
    ("agents.listen", true),
    ("agents.address", true),
    ("agents.heartbeat", true),
    ("agents.blocks_listen", true),
    ("agents.blocks_address", true),
    ("agents.parts_mib", false),
    ("agents.origin_mbit", false),
    ("telemetry.log_format", true),
    ("telemetry.otlp_endpoint", true),
    ("repair.interval", true),
    ("build.enabled", false),
    ("build.sandbox", true),
    ("build.private_remotes", false),
    ("build.at_a_time", false),
    ("limits.body_bytes", false),
    ("limits.artifact_bytes", false),
    ("limits.connections", false),
    ("limits.requests", false),
    ("limits.streams", false),
    ("limits.head_timeout", true),
    ("limits.request_timeout", true),
    ("limits.upload_timeout", true),
    ("limits.rate_per_second", false),
    ("limits.rate_burst", false),
    ("tls.names", false),
];

/// A configuration, as it is written.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    listen: Option<SocketAddr>,
    database: Option<String>,
    database_file: Option<PathBuf>,
    local_hosts: Option<bool>,
    plain_http: Option<bool>,
    #[serde(default)]
    artifacts: ArtifactsFile,
    #[serde(default)]
    tls: TlsFile,
    #[serde(default)]
    agents: AgentsFile,
    #[serde(default)]
    telemetry: TelemetryFile,
    #[serde(default)]
    repair: RepairFile,
    #[serde(default)]
    build: BuildFile,
    #[serde(default)]
    hooks: BTreeMap<String, HookFile>,
    #[serde(default)]
    limits: LimitsFile,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsFile {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    names: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentsFile {
    listen: Option<SocketAddr>,
    address: Option<String>,
    heartbeat: Option<Human>,
    parts_mib: Option<u32>,
    blocks_listen: Option<SocketAddr>,
    blocks_address: Option<String>,
    origin_mbit: Option<NonZeroU32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TelemetryFile {
    log_format: Option<LogFormat>,
    otlp_endpoint: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RepairFile {
    interval: Option<Human>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsFile {
    body_bytes: Option<usize>,
    artifact_bytes: Option<u64>,
    connections: Option<usize>,
    requests: Option<usize>,
    streams: Option<usize>,
    head_timeout: Option<Human>,
    request_timeout: Option<Human>,
    upload_timeout: Option<Human>,
    rate_per_second: Option<u32>,
    rate_burst: Option<u32>,
}

/// What the command line says; it goes before the environment, and that before the file.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) listen: Option<SocketAddr>,
    pub(super) database: Option<String>,
    pub(super) plain_http: bool,
}

/// How the server is set up.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) listen: SocketAddr,
    /// Where the data is; `None` is a file in the data folder.
    pub(super) database: Option<DatabaseUrl>,
    /// Where artifacts are; `None` is a folder in the data folder.
    pub(super) artifacts: Option<Bucket>,
    pub(super) encryption: Encryption,
    pub(super) agents: AgentsConfig,
    pub(super) telemetry: Settings,
    /// How it builds; `None` if it does not.
    pub(super) builds: Option<BuildConfig>,
    /// How often it is looked what hosts are owed.
    pub(super) repair_interval: Duration,
    pub(super) limits: Limits,
}

/// How agents connect.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AgentsConfig {
    pub(super) listen: SocketAddr,
    /// The `HOST:PORT` at which they are to find this server; `None` is where they have enrolled.
    pub(super) address: Option<String>,
    pub(super) heartbeat: Duration,
    /// How much room the parts of packages may take.
    pub(super) parts_mib: u32,
    /// Where it gives blocks.
    pub(super) blocks_listen: SocketAddr,
    /// The `HOST:PORT` at which hosts are to ask for them; `None` is where they reach this server, at that port.
    pub(super) blocks_address: Option<String>,
    /// How many megabits a second it gives, where nobody has set another limit.
    pub(super) origin_mbit: Option<NonZeroU32>,
}

/// The address of a database, which may hold a password.
pub(super) struct DatabaseUrl(pub(super) String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(…)")
    }
}

/// How connections are encrypted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// With these files, in PEM.
    Given { certificate: PathBuf, key: PathBuf },
    /// Not at all.
    None,
    /// With a certificate of the server's own authority, for these names.
    Own { names: Vec<String> },
}

impl Config {
    /// Reads `file`, where there is one, and lays the environment and the command line over it.
    pub(super) fn read(
        file: Option<&Path>,
        variable: impl Fn(&str) -> Option<String>,
        given: Given,
    ) -> Result<Self, Problem> {
        let mut written = match file {
            Some(path) => read(&Source::read(path, LARGEST)?)?,
            None => ConfigFile::default(),
        };
        for (key, is_text) in KEYS {
            let name = format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "_"));
            if let Some(value) = variable(&name) {
                written = from_variable(&name, key, is_text, &value)?.over(written);
            }
        }
        if given.database.as_deref().is_some_and(has_password) {
            let message = "a password on the command line can be read by everybody on this machine";
            return Err(usage(message).with_hint(
                "`database_file` in the configuration, or DEPLOY_SERVE_DATABASE, says it to the server alone",
            ));
        }
        let said = ConfigFile {
            listen: given.listen,
            database: given.database,
            plain_http: given.plain_http.then_some(true),
            ..ConfigFile::default()
        };
        said.over(written).check(&variable)
    }
}

fn read(source: &Source) -> Result<ConfigFile, Problem> {
    source.toml().map_err(|mut problem| {
        // The line may be the one with the password.
        problem.context.remove("source");
        problem
    })
}

fn from_variable(name: &str, key: &str, is_text: bool, value: &str) -> Result<ConfigFile, Problem> {
    let value = if is_text { toml::Value::from(value).to_string() } else { value.to_owned() };
    read(&Source::new(name, format!("{key} = {value}"))).map_err(|mut problem| {
        // People have written no line and no column.
        if let Some((_, said)) = problem.message.split_once(&format!("{name}:1:")) {
            let said = said.split_once(": ").map_or(said, |(_, it)| it);
            problem.message = format!("{name}: {said}");
        }
        problem.context.retain(|key, _| key == "file");
        problem
    })
}

/// Whether an address names an account with a password.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let account = authority.rsplit_once('@').map(|(account, _)| account);
    account.is_some_and(|it| it.contains(':')) || url.contains("password=")
}

impl ConfigFile {
    /// This, and where it says nothing, what is `below`.
    fn over(self, below: Self) -> Self {
        let Self { artifacts, build, hooks, limits, tls, agents, telemetry, .. } = self;
        // An address and a file that holds one are two ways to say one thing.
        let (database, database_file) = match (self.database, self.database_file) {
            (None, None) => (below.database, below.database_file),
            said => said,
        };
        Self {
            listen: self.listen.or(below.listen),
            database,
            database_file,
            local_hosts: self.local_hosts.or(below.local_hosts),
            plain_http: self.plain_http.or(below.plain_http),
            artifacts: artifacts.over(below.artifacts),
            tls: TlsFile {
                certificate: tls.certificate.or(below.tls.certificate),
                key: tls.key.or(below.tls.key),
                names: tls.names.or(below.tls.names),
            },
            agents: AgentsFile {
                listen: agents.listen.or(below.agents.listen),
                address: agents.address.or(below.agents.address),
                heartbeat: agents.heartbeat.or(below.agents.heartbeat),
                parts_mib: agents.parts_mib.or(below.agents.parts_mib),
                blocks_listen: agents.blocks_listen.or(below.agents.blocks_listen),
                blocks_address: agents.blocks_address.or(below.agents.blocks_address),
                origin_mbit: agents.origin_mbit.or(below.agents.origin_mbit),
            },
            telemetry: TelemetryFile {
                log_format: telemetry.log_format.or(below.telemetry.log_format),
                otlp_endpoint: telemetry.otlp_endpoint.or(below.telemetry.otlp_endpoint),
            },
            repair: RepairFile { interval: self.repair.interval.or(below.repair.interval) },
            build: build.over(below.build),
            hooks: if hooks.is_empty() { below.hooks } else { hooks },
            limits: limits.over(below.limits),
        }
    }

    fn check(self, variable: &impl Fn(&str) -> Option<String>) -> Result<Config, Problem> {
        let listen = self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 7443)));
        let encryption = encryption(self.tls, self.plain_http.unwrap_or(false))?;
        if encryption == Encryption::None && !listen.ip().is_loopback() {
            let message = format!(
                "tokens would travel readable to {listen}: plain HTTP is for this machine alone"
            );
            return Err(usage(message).with_hint("listen on 127.0.0.1, or leave `plain_http` out"));
        }
        let mut limits = self.limits.check()?;
        limits.local_hosts = self.local_hosts.unwrap_or(limits.local_hosts);
        let database = database(self.database, self.database_file.as_deref())?;
        let artifacts = self.artifacts.check(variable)?;
        let agents = agents(self.agents, listen)?;
        let telemetry = self.telemetry.check()?;
        let builds = self.build.check(self.hooks)?;
        let repair_interval = repair_interval(&self.repair)?;
        Ok(Config {
            listen,
            database,
            artifacts,
            encryption,
            agents,
            telemetry,
            builds,
            repair_interval,
            limits,
        })
    }
}

impl TelemetryFile {
    fn check(self) -> Result<Settings, Problem> {
        let otlp_endpoint = self.otlp_endpoint;
        if let Some(endpoint) = otlp_endpoint.as_ref().filter(|it| !it.starts_with("http://")) {
            let message = format!(
                "`telemetry.otlp_endpoint`: `{}` does not begin with http://",
                endpoint.escape_debug()
            );
            return Err(invalid(message).with_hint(
                "a collector on this machine, such as http://127.0.0.1:4317, takes spans and sends them on encrypted",
            ));
        }
        Ok(Settings { log_format: self.log_format.unwrap_or_default(), otlp_endpoint })
    }
}

fn repair_interval(written: &RepairFile) -> Result<Duration, Problem> {
    let interval = written.interval.map_or(REPAIR_INTERVAL, |it| it.0);
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&interval) {
        return Err(invalid("`repair.interval` must be 100ms to 1d"));
    }
    Ok(interval)
}

fn agents(written: AgentsFile, api: SocketAddr) -> Result<AgentsConfig, Problem> {
    // Beside the API; where that takes any port that is free, agents do as well.
    let port = if api.port() == 0 { 0 } else { AGENTS_PORT };
    let listen = written.listen.unwrap_or_else(|| SocketAddr::new(api.ip(), port));
    let heartbeat = written.heartbeat.map_or(HEARTBEAT, |it| it.0);
    if !(SHORTEST_HEARTBEAT..=LONGEST_HEARTBEAT).contains(&heartbeat) {
        return Err(invalid("`agents.heartbeat` must be 100ms to 5m"));
    }
    let named = |it: &String| {
        it.rsplit_once(':').is_some_and(|(name, port)| {
            check_address(name.trim_matches(['[', ']'])).is_ok() && port.parse::<u16>().is_ok()
        })
    };
    for (key, address) in
        [("address", &written.address), ("blocks_address", &written.blocks_address)]
    {
        if let Some(address) = address.as_ref().filter(|it| !named(it)) {
            let message = format!("`agents.{key}`: `{}` is no HOST:PORT", address.escape_debug());
            return Err(invalid(message));
        }
    }
    // Where agents take any port that is free, hosts do as well.
    let port = if listen.port() == 0 { 0 } else { listen.port().saturating_add(BESIDE_AGENTS) };
    let beside = || SocketAddr::new(listen.ip(), port);
    Ok(AgentsConfig {
        listen,
        address: written.address,
        heartbeat,
        parts_mib: written.parts_mib.unwrap_or(PARTS_MIB),
        blocks_listen: written.blocks_listen.unwrap_or_else(beside),
        blocks_address: written.blocks_address,
        origin_mbit: written.origin_mbit,
    })
}

fn encryption(tls: TlsFile, plain: bool) -> Result<Encryption, Problem> {
    match (tls.certificate, tls.key, tls.names) {
        (None, None, None) if plain => Ok(Encryption::None),
        (None, None, names) if !plain => Ok(Encryption::Own { names: names.unwrap_or_default() }),
        (Some(certificate), Some(key), None) if !plain => {
            Ok(Encryption::Given { certificate, key })
        }
        (Some(_), None, _) | (None, Some(_), _) => {
            Err(usage("`tls.certificate` and `tls.key` go together"))
        }
        (Some(_), Some(_), Some(_)) => Err(usage(
            "`tls.names` are for a certificate that the server makes itself, and one is given",
        )),
        _ => Err(usage("`plain_http` is without TLS, and something is said of `tls`")),
    }
}

fn database(url: Option<String>, file: Option<&Path>) -> Result<Option<DatabaseUrl>, Problem> {
    let url = match (url, file) {
        (Some(_), Some(_)) => return Err(usage("it is either `database` or `database_file`")),
        (Some(url), None) => url,
        (None, Some(path)) => Source::read(path, LARGEST)?.text().trim().to_owned(),
        (None, None) => return Ok(None),
    };
    let known = ["postgres://", "postgresql://"].iter().any(|it| url.starts_with(it));
    if !known {
        let message = "`database` must be the address of a PostgreSQL database";
        return Err(invalid(message)
            .with_hint("such as postgres://deploy@db/deploy; without it, the data is in a file"));
    }
    Ok(Some(DatabaseUrl(url)))
}

impl LimitsFile {
    fn over(self, below: Self) -> Self {
        Self {
            body_bytes: self.body_bytes.or(below.body_bytes),
            artifact_bytes: self.artifact_bytes.or(below.artifact_bytes),
            connections: self.connections.or(below.connections),
            requests: self.requests.or(below.requests),
            streams: self.streams.or(below.streams),
            head_timeout: self.head_timeout.or(below.head_timeout),
            request_timeout: self.request_timeout.or(below.request_timeout),
            upload_timeout: self.upload_timeout.or(below.upload_timeout),
            rate_per_second: self.rate_per_second.or(below.rate_per_second),
            rate_burst: self.rate_burst.or(below.rate_burst),
        }
    }

    fn check(self) -> Result<Limits, Problem> {
        let mut limits = Limits::default();
        limits.body_bytes = self.body_bytes.unwrap_or(limits.body_bytes);
        limits.artifact_bytes = self.artifact_bytes.unwrap_or(limits.artifact_bytes);
        limits.connections = self.connections.unwrap_or(limits.connections);
        limits.requests = self.requests.unwrap_or(limits.requests);
        limits.streams = self.streams.unwrap_or(limits.streams);
        limits.head_timeout = self.head_timeout.map_or(limits.head_timeout, |it| it.0);
        limits.request_timeout = self.request_timeout.map_or(limits.request_timeout, |it| it.0);
        limits.upload_timeout = self.upload_timeout.map_or(limits.upload_timeout, |it| it.0);
        limits.rate_per_second = self.rate_per_second.unwrap_or(limits.rate_per_second);
        limits.rate_burst = self.rate_burst.unwrap_or(limits.rate_burst);
        for (name, is_none) in [
            ("body_bytes", limits.body_bytes == 0),
            ("artifact_bytes", limits.artifact_bytes == 0),
            ("connections", limits.connections == 0),
            ("requests", limits.requests == 0),
            ("head_timeout", limits.head_timeout.is_zero()),
            ("request_timeout", limits.request_timeout.is_zero()),
            ("upload_timeout", limits.upload_timeout.is_zero()),
            ("rate_per_second", limits.rate_per_second == 0),
            ("rate_burst", limits.rate_burst == 0),
        ] {
            if is_none {
                return Err(Problem::new(
                    ProblemCode::InvalidInput,
                    format!("`limits.{name}` must be more than 0: nothing would be answered"),
                ));
            }
        }
        Ok(limits)
    }
}

#[cfg(test)]
mod tests;
