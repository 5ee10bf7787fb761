//! `deploy serve`: the control plane as a process.
mod agents;
mod builds;
mod certificates;
mod config;

use crate::{
    app::App,
    embedded::{self, Elsewhere, gone, open_authority, own_name},
    problem::{invalid, io_problem},
    telemetry::Telemetry,
};
use agents::AgentPort;
use certificates::Certificates;
use clap::{Args, ValueHint};
use config::{Config, Encryption, Given};
use deploy_core::{
    access::Action,
    backend::Clock,
    engine::{Keeper, Parts, Platform},
    memory::{MemoryAuthorizer, Rule},
};
use deploy_pki::Authority;
use deploy_server::{
    Control, DriverPool, FirstToken, Holder, Repairs, RoutedExecutor, Server, Transport, serve,
};
use deploy_sql::{SqlAnswerStore, SqlCredentialStore};
use deploy_wire::{Exit, Problem};
use sd_notify::NotifyState;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::{Notify, watch},
    task::JoinHandle,
};

/// Who drives rollouts, in the name of whoever started them.
const DRIVER: &str = "deploy-server";
/// In whose name hosts get what they are owed.
const KEEPER: &str = "deploy-keeper";

/// Serves the HTTP API and the agents of hosts, and drives all rollouts
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy serve\n  deploy serve --config /etc/deploy/server.toml\n  deploy serve --listen 0.0.0.0:7443\n\n\
    The first start makes a certificate authority and a token, and shows the token this once.\n\
    docs/server.md describes the configuration, docs/api.md the API."
)]
pub(crate) struct Serve {
    /// The configuration file
    #[arg(long, env = "DEPLOY_SERVE_CONFIG", hide_env_values = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// A PostgreSQL database, without a password; otherwise a file in the data folder
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Without encryption, for this machine alone
    #[arg(long)]
    plain_http: bool,
    /// Makes another token that may do everything, where all others are lost
    #[arg(long)]
    new_admin_token: bool,
}

impl Serve {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let given = Given {
            listen: self.listen,
            database: self.database.clone(),
            plain_http: self.plain_http,
        };
        let variable = |name: &str| std::env::var(name).ok();
        let config = Config::read(self.config.as_deref(), variable, given)?;
        let telemetry = Telemetry::start(app.global.verbose.saturating_add(1), &config.telemetry)?;
        let elsewhere = Elsewhere {
            database: config.database.as_ref().map(|it| it.0.as_str()),
            artifacts: config.artifacts.as_ref(),
        };
        let (embedded, database) =
            embedded::open_over(app.data_dir()?, &app.global, elsewhere).await?;
        let mut parts = embedded.parts().clone();
        let folder = embedded.data_dir.tls();
        let authority = Arc::new(open_authority(&folder, parts.clock.now())?);
        let (transport, renewing) = encrypted(app, &config, &folder, &authority, &parts.clock)?;
        let listener = TcpListener::bind(config.listen).await;
        let listener = listener.map_err(|err| io_problem(config.listen, &err))?;
        let came = Arc::new(Notify::new());
        let port =
            AgentPort::open(&embedded, &authority, &config.agents, Arc::clone(&came)).await?;
        parts.executor = Arc::new(RoutedExecutor::new(port.executor(), parts.executor));
        let (stop, stopping) = watch::channel(false);
        let holder = Holder::new(own_name(), gone);
        let driver = DRIVER.parse().map_err(invalid)?;
        let pool = DriverPool::new(ruled(&parts, DRIVER)?, driver, holder);
        let control = Control {
            parts: ruled(&parts, "*")?,
            answers: Arc::new(SqlAnswerStore::new(&database)),
            credentials: Arc::new(SqlCredentialStore::new(&database)),
            agents: port.agents.clone(),
            upkeep: Some(Arc::clone(&embedded.upkeep)),
            builds: match &config.builds {
                Some(it) => {
                    let parts = ruled(&parts, "*")?;
                    Some(builds::control(it, &embedded.data_dir, &parts).await?)
                }
                None => None,
            },
            limits: Some(Arc::clone(&port.limits)),
        };
        let keeper = keeper(&parts)?;
        let repairs = Repairs::new(keeper, config.repair_interval, came);
        let server = Server::new(control, pool.clone(), config.limits, stopping.clone());
        self.let_in(app, &server).await?;
        // Whoever is told that the server is up may end it at once.
        let signals = Signals::listen()?;
        greet(app, &listener, &port, &config)?;
        let signals = tokio::spawn(signals.stop(stop));
        tokio::join!(
            server.tidy(),
            serve(server.clone(), listener, transport),
            pool.run(stopping.clone()),
            port.serve(stopping),
            repairs.run(&server),
        );
        signals.abort();
        if let Some(renewing) = renewing {
            renewing.abort();
        }
        database.close().await;
        telemetry.stop().await;
        Ok(Exit::Succeeded)
    }

    /// Makes a token at the first start, and where one is asked for.
    async fn let_in(&self, app: &App, server: &Server) -> Result<(), Problem> {
        match server.first_token().await? {
            FirstToken::Made(token) => {
                app.output.line(format_args!("first token, shown only now: {}", token.reveal()));
            }
            _ if self.new_admin_token => {
                let token = server.admin_token("made by `deploy serve --new-admin-token`").await?;
                app.output.line(format_args!("new token, shown only now: {}", token.reveal()));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The address of the PostgreSQL database that a server would use; `None` is a file in the data folder.
pub(super) fn database_url(
    config: Option<&Path>,
    database: Option<String>,
) -> Result<Option<String>, Problem> {
    let given = Given { database, ..Given::default() };
    let config = Config::read(config, |name| std::env::var(name).ok(), given)?;
    Ok(config.database.map(|it| it.0))
}

/// How bytes travel, and what keeps that so.
fn encrypted(
    app: &App,
    config: &Config,
    folder: &Path,
    authority: &Arc<Authority>,
    clock: &Arc<dyn Clock>,
) -> Result<(Transport, Option<JoinHandle<()>>), Problem> {
    let certificates = Certificates::new(&config.encryption, authority, config.listen.ip());
    let Some(certificates) = certificates else {
        return Ok((Transport::Plain, None));
    };
    certificates.tell(folder, &app.output);
    let (transport, newest) = certificates.transport(clock)?;
    let renewing = tokio::spawn(certificates.renew(Arc::clone(clock), newest));
    Ok((transport, Some(renewing)))
}

/// The same backends, where `who` may do everything: tokens say what of that anybody may.
fn ruled(parts: &Parts, who: &str) -> Result<Parts, Problem> {
    let rule = Rule::allow(who.parse().map_err(invalid)?, Action::ALL);
    let mut parts = parts.clone();
    parts.authorizer = Arc::new(MemoryAuthorizer::new(vec![rule]));
    Ok(parts)
}

/// Starts repairs, and may do no more than that takes: steps are run by whoever drives rollouts.
fn keeper(parts: &Parts) -> Result<Keeper, Problem> {
    let actions = [Action::HostObserve, Action::RolloutControl];
    let rule = Rule::allow(KEEPER.parse().map_err(invalid)?, actions);
    let mut parts = parts.clone();
    parts.authorizer = Arc::new(MemoryAuthorizer::new(vec![rule]));
    Ok(Keeper::new(Platform::new(parts), KEEPER.parse().map_err(invalid)?))
}

/// Says where the server is.
fn greet(
    app: &App,
    listener: &TcpListener,
    port: &AgentPort,
    config: &Config,
) -> Result<(), Problem> {
    let address = listener.local_addr().map_err(|err| io_problem("the socket", &err))?;
    let scheme = if config.encryption == Encryption::None { "http" } else { "https" };
    if let Some(agents) = port.address() {
        app.output.line(format_args!("agents connect to {agents}"));
    }
    app.output.line(format_args!("listening on {scheme}://{address}"));
    notify(NotifyState::Ready);
    Ok(())
}

/// Tells whoever supervises this process, where there is somebody.
fn notify(state: NotifyState<'_>) {
    if let Err(err) = sd_notify::notify(&[state]) {
        tracing::debug!(%err, "the supervisor was not told");
    }
}

/// What ends this process.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Self, Problem> {
        let listen = |kind| signal(kind).map_err(|err| io_problem("signals", &err));
        let interrupt = listen(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: listen(SignalKind::terminate())? })
    }

    /// Says stop when somebody wants this process to end. What is under way on hosts goes on.
    async fn stop(mut self, stop: watch::Sender<bool>) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        notify(NotifyState::Stopping);
        tracing::info!("no new requests: the server is about to stop");
        stop.send_replace(true);
        // The sender must live on: without one, nobody could wait for the change.
        stop.closed().await;
    }
}
