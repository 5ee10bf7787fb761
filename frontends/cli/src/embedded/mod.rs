//! The platform over this machine's own backends: nothing to install, and all state in one folder.
mod authority;
mod data_dir;
mod notifier;
mod owner;
mod transport;
mod upkeep;

pub(crate) use authority::{open_authority, trusted, unusable};
pub(crate) use data_dir::{DataDir, make_private};
pub(crate) use owner::{gone, own_host_name, own_name};

use crate::{
    cli::GlobalArgs,
    problem::{IntoProblem as _, chain, invalid},
};
use authority::links_elsewhere;
use deploy_artifacts::{ObjectArtifactStore, S3Credentials, S3Location};
use deploy_core::{
    access::Action,
    backend::{ArtifactStore, Clock, Executor},
    engine::{Parts, Platform},
    error::{BackendError, ErrorKind},
    id::{AccountName, Principal},
    memory::{MemoryAuthorizer, Rule, SpreadScheduler, SystemClock},
};
use deploy_host::executor::ShellExecutor;
use deploy_operations::{Agents, LimitFile, Operations, Upkeep};
use deploy_parts::Patches;
use deploy_sql::{
    Database, OpenError, OpenReason, SqlAgentRegistry, SqlCredentialStore, SqlHostInventory,
    SqlJournal, SqlLeaseStore, SqlLogStore, SqlServiceRegistry,
};
use deploy_ssh::{HostKeyPolicy, SshOptions, SshTransport};
use deploy_wire::{Problem, ProblemCode};
use notifier::TraceNotifier;
use std::{path::PathBuf, sync::Arc};
use transport::AnyTransport;
use upkeep::EmbeddedUpkeep;

/// An open platform, and who asks.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) platform: Platform,
    pub(crate) principal: Principal,
    pub(crate) data_dir: DataDir,
    /// What these backends can do beyond their traits.
    pub(crate) upkeep: Arc<dyn Upkeep>,
    /// Who may speak to a server over these backends.
    pub(crate) credentials: SqlCredentialStore,
    /// The agents of hosts, which are no part of the platform: it knows executors.
    pub(crate) agent_registry: SqlAgentRegistry,
}

impl Embedded {
    pub(crate) const fn parts(&self) -> &Parts {
        self.platform.parts()
    }

    /// What every frontend does, in the name of whoever runs this program.
    pub(crate) fn operations(&self) -> Operations {
        Operations::new(self.platform.clone(), self.principal.clone())
            .with_upkeep(Some(Arc::clone(&self.upkeep)))
    }

    /// What is known of agents without the server that they are connected to.
    pub(crate) fn agents(&self) -> Result<Agents, Problem> {
        let links = links_elsewhere(&self.data_dir, self.parts().clock.now())?;
        let registry = Arc::new(self.agent_registry.clone());
        Ok(Agents { registry, links: Arc::new(links) })
    }

    /// How fast bytes may travel to hosts.
    pub(crate) fn limits(&self) -> LimitFile {
        LimitFile::new(self.data_dir.limits())
    }
}

/// What of the data is not in the data folder.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Elsewhere<'a> {
    /// The address of a PostgreSQL database.
    pub(crate) database: Option<&'a str>,
    /// Where artifacts lie.
    pub(crate) artifacts: Option<&'a Bucket>,
}

/// A place for artifacts, and who speaks to it; without credentials, the machine's own role.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) location: S3Location,
    pub(crate) credentials: Option<S3Credentials>,
}

/// Opens the platform over `data_dir`, which is made if it is missing.
pub(crate) async fn open(data_dir: DataDir, global: &GlobalArgs) -> Result<Embedded, Problem> {
    Ok(open_over(data_dir, global, Elsewhere::default()).await?.0)
}

/// As [`open`], with what is `elsewhere`; gives the database as well.
pub(crate) async fn open_over(
    data_dir: DataDir,
    global: &GlobalArgs,
    elsewhere: Elsewhere<'_>,
) -> Result<(Embedded, Database), Problem> {
    data_dir.make()?;
    let principal =
        owner::principal().ok_or_else(|| invalid("this process's account has no name"))?;
    let database = match elsewhere.database {
        Some(url) => Database::connect_postgres(url).await,
        None => Database::open_sqlite(data_dir.database()).await,
    };
    let database = database.map_err(|err| unusable_database(&data_dir, &err))?;
    let store = match elsewhere.artifacts {
        Some(Bucket { location, credentials }) => {
            ObjectArtifactStore::open_s3(location, credentials.as_ref()).await
        }
        None => ObjectArtifactStore::open_local(data_dir.artifacts()),
    };
    let store = Arc::new(
        store.map_err(|err| unusable_store(&data_dir, elsewhere.artifacts.is_none(), err))?,
    );
    let hosts = SqlHostInventory::new(&database);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let artifacts: Arc<dyn ArtifactStore> = Arc::<ObjectArtifactStore>::clone(&store);
    let transport = AnyTransport::new(SshTransport::new(ssh_options(global)));
    let patches = Patches::new(data_dir.patches(), Arc::clone(&artifacts));
    let executor = ShellExecutor::new(transport, Arc::clone(&artifacts), Arc::clone(&clock));
    let executor = Arc::new(executor.with_patches(patches));
    let for_platform: Arc<dyn Executor> = Arc::<ShellExecutor<AnyTransport>>::clone(&executor);
    let upkeep = Arc::new(EmbeddedUpkeep { executor, store, hosts: hosts.clone() });
    let platform = Platform::new(Parts {
        artifacts,
        authorizer: Arc::new(MemoryAuthorizer::new(rules(&data_dir, &principal)?)),
        clock,
        executor: for_platform,
        inventory: Arc::new(hosts),
        journal: Arc::new(SqlJournal::new(&database)),
        leases: Arc::new(SqlLeaseStore::new(&database)),
        logs: Arc::new(SqlLogStore::new(&database)),
        notifier: Arc::new(TraceNotifier::default()),
        registry: Arc::new(SqlServiceRegistry::new(&database)),
        scheduler: Arc::new(SpreadScheduler::new()),
    });
    let credentials = SqlCredentialStore::new(&database);
    let agent_registry = SqlAgentRegistry::new(&database);
    let embedded = Embedded { platform, principal, data_dir, upkeep, credentials, agent_registry };
    Ok((embedded, database))
}

/// Whoever owns the data folder may do everything, and nobody else anything.
fn rules(data_dir: &DataDir, principal: &Principal) -> Result<Vec<Rule>, Problem> {
    if !data_dir.is_ours()? {
        return Ok(Vec::new());
    }
    let pattern = principal.as_str().parse().map_err(invalid)?;
    Ok(vec![Rule::allow(pattern, Action::ALL)])
}

fn ssh_options(global: &GlobalArgs) -> SshOptions {
    let home = std::env::var_os("HOME").filter(|it| !it.is_empty()).map(PathBuf::from);
    let agent = std::env::var_os("SSH_AUTH_SOCK").filter(|it| !it.is_empty()).map(PathBuf::from);
    let user: Option<AccountName> = owner::principal().and_then(|it| it.as_str().parse().ok());
    let mut options = SshOptions::new().with_user(user).with_agent_socket(agent);
    if let Some(home) = home {
        options = options.with_home(home);
    }
    if let Some(config) = &global.ssh_config {
        options = options.with_config_files(vec![config.clone()]);
    }
    if let Some(known) = &global.known_hosts {
        options = options.with_known_hosts(vec![known.clone()]);
    }
    if global.accept_new_host_keys {
        options = options.with_host_keys(HostKeyPolicy::AcceptNew);
    }
    options
}

/// What is wrong with a database that cannot be used; the message says what to do.
pub(crate) fn unusable_database(data_dir: &DataDir, err: &OpenError) -> Problem {
    let code = match err.reason() {
        OpenReason::NewerSchema { .. } => ProblemCode::DataTooNew,
        _ => match err.kind() {
            ErrorKind::Corrupt => ProblemCode::Corrupt,
            ErrorKind::NoSpace => ProblemCode::NoSpace,
            ErrorKind::Unavailable => ProblemCode::Unavailable,
            _ => ProblemCode::DataDir,
        },
    };
    let message = match err.reason() {
        OpenReason::Failed { .. } => chain(err),
        _ => err.to_string(),
    };
    Problem::new(code, message).with_context("data_dir", data_dir.path().display())
}

/// What is wrong with an artifact store that cannot be used.
fn unusable_store(data_dir: &DataDir, is_folder: bool, err: BackendError) -> Problem {
    let mut problem = err.into_problem();
    problem.message = format!("the artifact store cannot be used: {}", problem.message);
    if !is_folder {
        return problem;
    }
    problem.code = match problem.code {
        ProblemCode::NoSpace => ProblemCode::NoSpace,
        ProblemCode::Unsupported => ProblemCode::DataTooNew,
        _ => ProblemCode::DataDir,
    };
    problem.with_context("data_dir", data_dir.path().display())
}
