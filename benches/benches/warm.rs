//! Rollouts one after another in one process: the second and later ones go over the connections that the first has made.
//!
//! ```text
//! cargo bench -p deploy-benches --bench warm -- HOSTS USER PORT KEY KNOWN_HOSTS MAX_PARALLEL [PATH]
//! ```
//!
//! `HOSTS` is a file with one address a line; without it nothing is measured. The service has no package and one step,
//! `true`: what is measured is what a rollout costs apart from what it brings. `PATH` is where it lies on the hosts.
use deploy_benches::{Failure, Table};
use deploy_core::{
    access::Action,
    backend::{ArtifactKind, ArtifactStore, Clock},
    engine::{DriveOptions, NoObserver, Parts, PlanRelease, Platform},
    host::{Connection, Host, SshConnection},
    id::{Principal, ReleaseId, ServiceName},
    memory::{
        MemoryArtifactStore, MemoryAuthorizer, MemoryHostInventory, MemoryJournal,
        MemoryLeaseStore, MemoryLogStore, MemoryNotifier, MemoryServiceRegistry, Rule,
        SpreadScheduler, SystemClock,
    },
    rollout::Outcome,
    spec::{Release, Service},
};
use deploy_host::{
    archive::{Limits, PackedFile, pack_files},
    descriptor,
};
use deploy_ssh::{SshExecutor, SshOptions, SshTransport};
use std::{env, fs, num::NonZeroU32, sync::Arc, time::Duration};

const ROUNDS: usize = 4;
const DESCRIPTOR: &str = "format = 1\n[steps.post]\nscript = 'post.sh'\neffect = 'idempotent'\n\
    [steps.fetch]\nenabled = false\n[steps.install]\nenabled = false\n[steps.rollback]\nenabled = false\n";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let [hosts, user, port, key, known_hosts, max_parallel, rest @ ..] = arguments.as_slice()
    else {
        return Ok(());
    };
    let hosts: Vec<String> =
        fs::read_to_string(hosts)?.split_ascii_whitespace().map(str::to_owned).collect();
    let options = SshOptions::new()
        .with_config_files(vec![])
        .with_user(Some(user.parse()?))
        .with_identity_files(vec![key.into()])
        .with_known_hosts(vec![known_hosts.into()])
        .with_max_idle(hosts.len());
    let bench = Bench::new(options)?;
    for address in &hosts {
        let ssh = SshConnection::new().with_address(address).with_port(port.parse()?);
        let host = Host::new(address.parse()?, Connection::Ssh(ssh));
        bench.platform.apply_host(&bench.me, host).await?;
    }
    let path = rest.first().map_or("/srv/warm", String::as_str).parse()?;
    let mut service = Service::new(bench.web.clone(), bench.me.clone(), path, "*".parse()?);
    service.strategy.max_parallel = Some(max_parallel.parse::<NonZeroU32>()?);
    bench.platform.apply_service(&bench.me, service).await?;
    let table =
        Table::begin("Rollouts one after another", &["rollout", "seconds", "of the first"])?;
    let mut first = None;
    for round in 1..=ROUNDS {
        let seconds = bench.roll_out(round).await?;
        let first = *first.get_or_insert(seconds);
        let cells = [round.to_string(), format!("{seconds:.2}"), format!("{:.2}", seconds / first)];
        table.row(&cells)?;
    }
    Ok(())
}

struct Bench {
    platform: Platform,
    clock: Arc<dyn Clock>,
    me: Principal,
    web: ServiceName,
}

impl Bench {
    fn new(options: SshOptions) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let artifacts: Arc<dyn ArtifactStore> = Arc::new(MemoryArtifactStore::new());
        let transport = SshTransport::new(options);
        let executor = SshExecutor::new(transport, Arc::clone(&artifacts), Arc::clone(&clock));
        let platform = Platform::new(Parts {
            artifacts,
            authorizer: Arc::new(MemoryAuthorizer::new(vec![Rule::allow(
                "bench".parse()?,
                Action::ALL,
            )])),
            clock: Arc::clone(&clock),
            executor: Arc::new(executor),
            inventory: Arc::new(MemoryHostInventory::new()),
            journal: Arc::new(MemoryJournal::new()),
            leases: Arc::new(MemoryLeaseStore::new(Arc::clone(&clock))),
            logs: Arc::new(MemoryLogStore::new()),
            notifier: Arc::new(MemoryNotifier::new()),
            registry: Arc::new(MemoryServiceRegistry::new()),
            scheduler: Arc::new(SpreadScheduler::default()),
        });
        Ok(Self { platform, clock, me: "bench".parse()?, web: "warm".parse()? })
    }

    /// Makes a release and rolls it out; the seconds that this takes.
    async fn roll_out(&self, round: usize) -> Result<f64, Failure> {
        let files = [("descriptor.toml", DESCRIPTOR), ("post.sh", "true\n")]
            .map(|(path, text)| PackedFile { path, executable: false, bytes: text.as_bytes() });
        let packed = pack_files(files, Limits::PACKAGE, Vec::new())?;
        let steps = descriptor::read(&packed)?.descriptor.steps();
        let (id, me): (ReleaseId, _) = (format!("warm-{round}").parse()?, &self.me);
        let (kind, version) = (ArtifactKind::Descriptor, round.to_string().parse()?);
        let how = self.platform.put_bytes(me, "warm".parse()?, kind, version, &packed).await?;
        let version = round.to_string().parse()?;
        let (now, web) = (self.clock.now(), self.web.clone());
        let release = Release::new(id.clone(), web.clone(), version, how, steps, now, me.clone());
        self.platform.create_release(me, release).await?;
        let began = self.clock.now();
        let (plan, _) = self.platform.plan(me, PlanRelease::new(web, id, 7)).await?;
        let rollout = self.platform.start(me, plan).await?;
        self.platform.drive(me, &rollout, DriveOptions::new("bench"), &NoObserver).await?;
        let took = self.clock.now().as_millis().saturating_sub(began.as_millis());
        match self.platform.load(&rollout).await?.outcome() {
            Some(Outcome::Succeeded) => Ok(Duration::from_millis(took).as_secs_f64()),
            other => Err(format!("the rollout ended as {other:?}").into()),
        }
    }
}
