use deploy_agent_protocol::v1::Hello;
use deploy_core::{
    access::Action,
    engine::{Parts, Platform, Sight},
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, Principal, Seq, ServiceName},
    memory::{MemoryAuthorizer, Rule},
    telemetry::SERVICE,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::{Notify, mpsc};

/// In whose name it is kept what hosts say that they run.
const OBSERVER: &str = "deploy-observer";
/// How many hosts may wait to be heard. Who finds no room is heard at its next session; whatever it is owed is looked for anyway.
const WAITING: usize = 16_384;
/// How many are heard together.
const TOGETHER: usize = 1_024;

type Told = (ServiceName, Sight);

/// Takes down what hosts say of themselves when they come: at once, and without keeping them waiting.
#[derive(Clone, Debug)]
pub(super) struct Sights {
    told: mpsc::Sender<Vec<Told>>,
    came: Arc<Notify>,
}

impl Sights {
    /// Into the inventory of `parts`; `came` is notified whenever hosts have come. [`SightKeeper::run`] does the work.
    pub(super) fn new(parts: &Parts, came: Arc<Notify>) -> BackendResult<(Self, SightKeeper)> {
        let invalid = |err| BackendError::new(ErrorKind::Internal, "agent.sights").because(err);
        let rule = Rule::allow(OBSERVER.parse().map_err(invalid)?, [Action::HostObserve]);
        let mut parts = parts.clone();
        parts.authorizer = Arc::new(MemoryAuthorizer::new(vec![rule]));
        let principal = OBSERVER.parse().map_err(invalid)?;
        let (told, inbox) = mpsc::channel(WAITING);
        let keeper = SightKeeper {
            platform: Platform::new(parts),
            principal,
            inbox,
            came: Arc::clone(&came),
        };
        Ok((Self { told, came }, keeper))
    }

    /// What `host` says. What cannot be meant is passed over: the host may be of another mind about names.
    pub(super) fn take(&self, host: &HostName, hello: &Hello) {
        let told: Vec<Told> = hello
            .holdings
            .iter()
            .filter_map(|it| {
                let release = Some(&it.release).filter(|it| !it.is_empty());
                let release = release.map(|it| it.parse()).transpose().ok()?;
                let sight = Sight::new(host.clone(), release, Seq::new(it.generation));
                Some((it.service.parse().ok()?, sight))
            })
            .collect();
        if told.is_empty() {
            self.came.notify_one();
        } else if self.told.try_send(told).is_err() {
            tracing::debug!("nobody has time to hear what hosts run");
        }
    }
}

/// Writes down what hosts say.
#[derive(Debug)]
pub(super) struct SightKeeper {
    platform: Platform,
    principal: Principal,
    inbox: mpsc::Receiver<Vec<Told>>,
    came: Arc<Notify>,
}

impl SightKeeper {
    /// Writes for good.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.inbox.recv_many(&mut batch, TOGETHER).await > 0 {
            let mut by_service: BTreeMap<ServiceName, Vec<Sight>> = BTreeMap::new();
            for (service, sight) in batch.drain(..).flatten() {
                by_service.entry(service).or_default().push(sight);
            }
            for (service, sights) in by_service {
                self.keep(&service, sights).await;
            }
            self.came.notify_one();
        }
    }

    async fn keep(&self, service: &ServiceName, sights: Vec<Sight>) {
        if let Err(err) = self.platform.keep_sights(&self.principal, service, sights).await {
            let error = deploy_operations::problem::chain(&err);
            tracing::debug!({ SERVICE } = %service, error, "what hosts run is not kept");
        }
    }
}
