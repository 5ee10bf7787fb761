use super::sights::Sights;
use async_trait::async_trait;
use deploy_agent_gateway::{
    Admission, Boots, Denied, Gateway, LiveRelay, Peer, RegistryAdmission, Relays,
};
use deploy_agent_protocol::v1::Hello;
use deploy_core::{
    backend::{AgentRegistry, Clock, HostInventory},
    digest::Digest,
    error::ErrorKind,
    id::HostName,
    telemetry::HOST,
};
use deploy_distribution::transfer::BlockServer;
use deploy_operations::AgentLinks;
use deploy_pki::Revocations;
use deploy_wire::RelayWork;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;

/// How often it is looked whom other processes have decided to keep out.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps those out who are not let in any more: from handshakes, and from the sessions that they have.
#[derive(Clone, Debug)]
pub(super) struct Doorkeeper {
    agents: Arc<dyn AgentRegistry>,
    gateway: Gateway,
    list: watch::Sender<Revocations>,
    clock: Arc<dyn Clock>,
}

impl Doorkeeper {
    pub(super) const fn new(
        agents: Arc<dyn AgentRegistry>,
        gateway: Gateway,
        list: watch::Sender<Revocations>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { agents, gateway, list, clock }
    }

    /// Looks again and again, for good.
    pub(super) async fn run(&self) {
        loop {
            self.look().await;
            self.clock.sleep_until(self.clock.now().after(LOOK)).await;
        }
    }

    /// Looks once.
    pub(super) async fn look(&self) {
        let kept_out = match self.agents.kept_out().await {
            Ok(hosts) => hosts.into_iter().collect::<BTreeSet<_>>(),
            // Those who are known to be kept out stay so.
            Err(err) => {
                return tracing::warn!(reason = %err.chain(), "nobody knows who is kept out");
            }
        };
        self.list.send_if_modified(|list| {
            let changed = list.hosts != kept_out;
            list.hosts.clone_from(&kept_out);
            changed
        });
        let is_there = |it: &&HostName| self.gateway.is_connected(it) || self.gateway.has_relay(it);
        for host in kept_out.iter().filter(is_there) {
            tracing::info!({ HOST } = %host, "a session is ended: its agent is kept out");
            self.gateway.disconnect(host);
        }
    }

    fn decided(&self, host: &HostName, is_let_in: bool) {
        self.list.send_modify(|list| {
            if is_let_in {
                list.hosts.remove(host);
            } else {
                list.hosts.insert(host.clone());
            }
        });
        if !is_let_in {
            self.gateway.disconnect(host);
        }
    }
}

/// The connections of this server.
#[derive(Debug)]
pub(super) struct ServerLinks {
    pub(super) doorkeeper: Doorkeeper,
    pub(super) authority: Digest,
    pub(super) address: String,
    pub(super) blocks: Arc<BlockServer>,
    pub(super) relays: Relays,
}

impl AgentLinks for ServerLinks {
    fn is_connected(&self, host: &HostName) -> Option<bool> {
        let gateway = &self.doorkeeper.gateway;
        Some(gateway.is_connected(host) || gateway.has_relay(host))
    }

    fn decided(&self, host: &HostName, is_let_in: bool) {
        self.doorkeeper.decided(host, is_let_in);
    }

    fn authority(&self) -> Digest {
        self.authority
    }

    fn address(&self) -> Option<String> {
        Some(self.address.clone())
    }

    fn connected(&self) -> u64 {
        u64::try_from(self.doorkeeper.gateway.connected().len()).unwrap_or(u64::MAX)
    }

    fn refused(&self) -> u64 {
        self.doorkeeper.gateway.refused()
    }

    fn given_bytes(&self) -> u64 {
        self.blocks.served().values().sum()
    }

    fn corrupt_blocks(&self) -> BTreeMap<HostName, u64> {
        self.blocks.corrupt()
    }

    fn relays(&self) -> Option<BTreeMap<HostName, RelayWork>> {
        Some(self.relays.alive().into_iter().map(|it| (it.name.clone(), work_of(it))).collect())
    }
}

fn work_of(relay: LiveRelay) -> RelayWork {
    let LiveRelay { address, version, since, count, .. } = relay;
    RelayWork {
        address,
        version,
        since: since.to_string(),
        kept_bytes: count.kept_bytes,
        budget_bytes: count.budget_bytes,
        hosts: count.hosts,
        given_bytes: count.given_bytes,
        pulled_bytes: count.pulled_bytes,
        passed_on: count.passed_on,
    }
}

/// Lets in whom the registry of agents knows, and whose host the inventory knows.
#[derive(Debug)]
pub(super) struct InventoryAdmission {
    pub(super) known: RegistryAdmission,
    pub(super) inventory: Arc<dyn HostInventory>,
    pub(super) sights: Sights,
}

impl InventoryAdmission {
    async fn demand_known(&self, host: &HostName) -> Result<(), Denied> {
        match self.inventory.host(host).await {
            Ok(_) => Ok(()),
            Err(err) if err.kind() == ErrorKind::NotFound => Err(Denied::Forever(format!(
                "the host `{host}` is not in the inventory any more: enrol the machine again"
            ))),
            Err(err) => Err(Denied::ForNow(err.chain())),
        }
    }
}

#[async_trait]
impl Admission for InventoryAdmission {
    async fn identify(&self, peer: &Peer) -> Result<HostName, Denied> {
        let host = self.known.identify(peer).await?;
        self.demand_known(&host).await?;
        Ok(host)
    }

    async fn arrived(&self, host: &HostName, hello: &Hello) -> Result<(), Denied> {
        self.known.arrived(host, hello).await?;
        self.sights.take(host, hello);
        Ok(())
    }

    async fn doubled(&self, host: &HostName, boots: &Boots) {
        self.known.doubled(host, boots).await;
    }

    async fn seen(&self, host: &HostName) -> Result<(), Denied> {
        self.demand_known(host).await?;
        self.known.seen(host).await
    }
}
