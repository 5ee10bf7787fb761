//! Every trait that a `Platform` is made of, implemented from nothing: `cargo run -p deploy-examples --example custom_backend`.
//!
//! Each file has one backend, as simple as its contract allows. Artifacts and notifications are files; the rest is a `Mutex` over plain
//! collections. `tests.rs` proves all of them with the conformance kit: `cargo test -p deploy-examples --example custom_backend`.
//! What lives in memory alone is proved in the tier `core` and nowhere claims `durable`.
//!
//! To write your own: take the file of the trait, put your medium into it, and keep its line in `tests.rs`.
mod access;
mod artifacts;
mod clock;
mod executor;
mod inventory;
mod journal;
mod leases;
mod logs;
mod notifier;
mod registry;
mod scheduler;
mod support;
#[cfg(test)]
mod tests;

use access::{Grant, GrantList};
use artifacts::FolderArtifactStore;
use async_trait::async_trait;
use clock::SteadyClock;
use deploy_core::{
    access::{Action, Resource},
    backend::{ArtifactKind, Clock, Resolution},
    engine::{DriveOptions, NoObserver, Parts, PlanRelease, Platform},
    host::{Connection, Host, SshConnection},
    id::{Principal, ReleaseId, ServiceName},
    spec::{Release, Service, Step, StepName},
};
use executor::{DeviceExecutor, Devices, Firmware, Run};
use inventory::MapInventory;
use journal::ListJournal;
use leases::MapLeases;
use logs::ListLogs;
use notifier::MailFolder;
use registry::MapRegistry;
use scheduler::FewestFirst;
use std::{error::Error, path::Path, sync::Arc};

/// A device that does as it is told.
#[derive(Debug)]
struct Obedient;

#[async_trait]
impl Firmware for Obedient {
    async fn perform(&self, step: StepName, at: &Run<'_>) -> i32 {
        if matches!(step, StepName::Install | StepName::Rollback) {
            at.activate();
        }
        at.print(format!("{step} {}\n", at.release()).as_bytes());
        0
    }

    fn resolve(&self, _step: StepName, _release: &ReleaseId) -> Resolution {
        Resolution::CannotTell
    }
}

async fn platform(folder: &Path, owner: &Principal) -> Result<Platform, Box<dyn Error>> {
    let clock: Arc<dyn Clock> = Arc::new(SteadyClock::new());
    let devices = Arc::new(Devices::new(Arc::clone(&clock), Arc::new(Obedient)));
    let may = |action| Grant { is_ban: false, who: owner.clone(), action, on: Resource::System };
    Ok(Platform::new(Parts {
        artifacts: Arc::new(FolderArtifactStore::open(folder.join("artifacts")).await?),
        authorizer: Arc::new(GrantList { grants: Action::ALL.map(may).to_vec() }),
        executor: Arc::new(DeviceExecutor::new(devices)),
        inventory: Arc::new(MapInventory::default()),
        journal: Arc::new(ListJournal::default()),
        leases: Arc::new(MapLeases::new(Arc::clone(&clock))),
        logs: Arc::new(ListLogs::default()),
        notifier: Arc::new(MailFolder::open(folder.join("mail")).await?),
        registry: Arc::new(MapRegistry::default()),
        scheduler: Arc::new(FewestFirst),
        clock,
    }))
}

/// Brings a release onto five devices; says how it ended.
async fn deploy(folder: &Path) -> Result<String, Box<dyn Error>> {
    let (ann, lamp): (Principal, ServiceName) = ("ann".parse()?, "lamp".parse()?);
    let platform = platform(folder, &ann).await?;
    for number in 1..=5 {
        let name = format!("device-{number}").parse()?;
        platform.apply_host(&ann, Host::new(name, Connection::Ssh(SshConnection::new()))).await?;
    }
    let mut service = Service::new(lamp.clone(), ann.clone(), "/lamp".parse()?, "*".parse()?);
    service.strategy.waves = "1,*2".parse()?;
    service.strategy.health.min_healthy_time = std::time::Duration::ZERO;
    platform.apply_service(&ann, service).await?;

    let (kind, version) = (ArtifactKind::Descriptor, "1.0".parse()?);
    let how = platform.put_bytes(&ann, "lamp".parse()?, kind, version, b"lights").await?;
    let steps = [StepName::Install, StepName::Start, StepName::Verify].map(Step::new).to_vec();
    let (id, now): (ReleaseId, _) = ("lamp-1.0".parse()?, platform.parts().clock.now());
    let release =
        Release::new(id.clone(), lamp.clone(), "1.0".parse()?, how, steps, now, ann.clone());
    platform.create_release(&ann, release).await?;

    let (plan, _report) = platform.plan(&ann, PlanRelease::new(lamp, id, 7)).await?;
    let waves = plan.waves.len();
    let rollout = platform.start(&ann, plan).await?;
    let options = DriveOptions::new("custom_backend");
    let end = platform.drive(&ann, &rollout, options, &NoObserver).await?;
    Ok(format!("{rollout}: {end:?} after {waves} waves"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    eprintln!("{}", deploy(folder.path()).await?);
    Ok(())
}
