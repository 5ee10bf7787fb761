//! A rollout in your own program, against the in-memory backends: `cargo run -p deploy-examples --example embed`.
use deploy_core::{access::Action, backend::*, engine::*, host::*, id::*, memory::*, spec::*};
use std::{error::Error, sync::Arc};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (me, web): (Principal, ServiceName) = ("ann".parse()?, "web".parse()?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let platform = Platform::new(Parts {
        artifacts: Arc::new(MemoryArtifactStore::new()),
        authorizer: Arc::new(MemoryAuthorizer::new(vec![Rule::allow("ann".parse()?, Action::ALL)])),
        clock: Arc::clone(&clock),
        executor: Arc::new(MemoryExecutor::new(Arc::clone(&clock))),
        inventory: Arc::new(MemoryHostInventory::new()),
        journal: Arc::new(MemoryJournal::new()),
        leases: Arc::new(MemoryLeaseStore::new(Arc::clone(&clock))),
        logs: Arc::new(MemoryLogStore::new()),
        notifier: Arc::new(MemoryNotifier::new()),
        registry: Arc::new(MemoryServiceRegistry::new()),
        scheduler: Arc::new(SpreadScheduler::default()),
    });
    for number in 1..=5 {
        let root = format!("/srv/hosts/{number}");
        let host = Host::new(format!("host-{number}").parse()?, Connection::Local { root });
        platform.apply_host(&me, host).await?;
    }
    let mut service = Service::new(web.clone(), me.clone(), "/srv/web".parse()?, "*".parse()?);
    service.strategy.waves = "1,*2".parse()?;
    platform.apply_service(&me, service).await?;

    let how = b"an archive of descriptor.toml and scripts";
    let kind = ArtifactKind::Descriptor;
    let how = platform.put_bytes(&me, "web".parse()?, kind, "1.0".parse()?, how).await?;
    let steps = [StepName::Install, StepName::Start, StepName::Verify].map(Step::new).to_vec();
    let (id, now): (ReleaseId, _) = ("web-1.0".parse()?, clock.now());
    let new = Release::new(id.clone(), web.clone(), "1.0".parse()?, how, steps, now, me.clone());
    platform.create_release(&me, new).await?;

    let (plan, _report) = platform.plan(&me, PlanRelease::new(web, id, 7)).await?;
    for (wave, targets) in (1..).zip(&plan.waves) {
        let hosts: Vec<&str> = targets.iter().map(|it| it.host.name.as_str()).collect();
        eprintln!("wave {wave}: {}", hosts.join(", "));
    }
    let rollout = platform.start(&me, plan).await?;
    let end = platform.drive(&me, &rollout, DriveOptions::new("embed"), &NoObserver).await?;
    eprintln!("{rollout}: {end:?}");
    Ok(())
}
