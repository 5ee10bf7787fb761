//! What the host says of itself before anybody asks.
use super::{Host, questions::current_release};
use crate::{attempt::AttemptKey, spec::Place};
use deploy_agent_protocol::v1::Holding;
use deploy_core::id::ServiceName;
use std::{collections::BTreeMap, path::Path, sync::Arc};
use tokio::task::spawn_blocking;

/// How many services are told of: a host has a handful.
const MOST: usize = 1_000;

/// What the journal knows of a service.
#[derive(Default)]
struct Known {
    fence: u64,
    /// Newest first.
    attempts: Vec<AttemptKey>,
}

impl Host {
    /// What it runs of each service that it knows, but for those with an attempt under way.
    pub(super) async fn holdings(self: Arc<Self>) -> Vec<Holding> {
        let (known, decided) = self.journal.look(|attempts| {
            let mut known: BTreeMap<ServiceName, Known> = BTreeMap::new();
            for (key, _) in attempts.all() {
                let service = known.entry(key.service.clone()).or_default();
                service.fence = attempts.fence(&key.service);
                service.attempts.insert(0, key);
            }
            known.retain(|service, _| attempts.running(service).is_none());
            known
        });
        if self.journal.durable(decided).await.is_err() {
            return Vec::new();
        }
        let looked = spawn_blocking(move || {
            let holdings = known.into_iter().filter_map(|(service, it)| self.holding(service, &it));
            holdings.take(MOST).collect()
        });
        looked.await.unwrap_or_default()
    }

    /// What it runs of a service; `None` if nobody can say where that lies, or nothing of it ever was there, as of an ad-hoc run.
    fn holding(&self, service: ServiceName, known: &Known) -> Option<Holding> {
        let mut orders = known.attempts.iter().filter_map(|it| self.folder(it).order().ok());
        let place = orders.find_map(|it| Place::parse(it.place.as_ref()).ok())?;
        let release = current_release(&place);
        let was_there = Path::new(&format!("{}/releases", place.deploy_path)).is_dir();
        (release.is_some() || was_there).then(|| Holding {
            service: service.into(),
            release: release.unwrap_or_default(),
            generation: known.fence,
        })
    }
}
