//! The port of agents: who may come in, and what is done through them.
mod blocks;
mod doorkeeper;
mod limits;
mod registrar;
mod sights;

use super::{
    certificates::{all_names, renewed},
    config::AgentsConfig,
};
use crate::{
    embedded::{Embedded, own_host_name, unusable},
    files::write_whole,
    problem::{OrProblem as _, io_problem},
};
use blocks::BlockPort;
use deploy_agent_gateway::{
    AgentExecutor, AgentListener, Enroller, Gateway, GatewayOptions, RegistryAdmission, Relays,
};
use deploy_agent_protocol::OrderSigner;
use deploy_core::backend::{AgentRegistry, Clock, Executor};
use deploy_operations::{Agents, LimitFile};
use deploy_parts::{PartStore, PartStoreOptions};
use deploy_pki::{AgentAcceptor, Authority, Revocations};
use deploy_server::ServerConfig;
use deploy_wire::Problem;
use doorkeeper::{Doorkeeper, InventoryAdmission, ServerLinks};
use limits::LimitKeeper;
use registrar::InventoryRegistrar;
use sights::{SightKeeper, Sights};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
};

/// The port of agents, ready to be served.
pub(super) struct AgentPort {
    /// What the API knows of agents.
    pub(super) agents: Agents,
    /// How fast bytes may travel to them.
    pub(super) limits: Arc<LimitFile>,
    limit_keeper: LimitKeeper,
    gateway: Gateway,
    enroller: Enroller,
    doorkeeper: Doorkeeper,
    sights: SightKeeper,
    certificates: AgentCertificates,
    newest: watch::Sender<Arc<ServerConfig>>,
    listener: TcpListener,
    blocks: BlockPort,
    clock: Arc<dyn Clock>,
}

impl AgentPort {
    /// Takes the port, and makes what is not there yet: the key that orders are signed with. `came` is notified whenever hosts come.
    pub(super) async fn open(
        embedded: &Embedded,
        authority: &Arc<Authority>,
        config: &AgentsConfig,
        came: Arc<Notify>,
    ) -> Result<Self, Problem> {
        let (parts, data_dir) = (embedded.parts(), &embedded.data_dir);
        let clock = Arc::clone(&parts.clock);
        let listener = TcpListener::bind(config.listen).await.map_err(|err| {
            io_problem(config.listen, &err)
                .with_hint("`agents.listen` says where agents connect to; docs/server.md")
        })?;
        let port = listener.local_addr().map_err(|err| io_problem("the socket", &err))?;
        let address = config.address.clone().unwrap_or_else(|| address_of(port));
        write_whole(&data_dir.agents_address(), &format!("{address}\n"))?;
        let secret = Authority::order_secret(&data_dir.tls()).map_err(|err| unusable(&err))?;
        let signer = OrderSigner::from_secret(&secret);
        let signers = vec![signer.public_key()];
        let registry: Arc<dyn AgentRegistry> = Arc::new(embedded.agent_registry.clone());
        let (heard, sights) = Sights::new(parts, came).or_problem()?;
        let admission = InventoryAdmission {
            known: RegistryAdmission::new(Arc::clone(&registry), Arc::clone(&clock)),
            inventory: Arc::clone(&parts.inventory),
            sights: heard,
        };
        let artifacts = Arc::clone(&parts.artifacts);
        let kept = PartStoreOptions::default().with_budget(u64::from(config.parts_mib) << 20);
        let of_packages = PartStore::open(data_dir.parts(), Arc::clone(&artifacts), kept)
            .map_err(|err| io_problem(data_dir.parts().display(), &err))?;
        let (blocks, block_listener) =
            BlockPort::open(parts, of_packages.clone(), &secret, config).await?;
        let limits = embedded.limits().with_usual_origin(config.origin_mbit);
        let limits = Arc::new(limits);
        let (limit_keeper, rates) =
            LimitKeeper::open(Arc::clone(&limits), Arc::clone(&clock)).await?;
        let relays = Relays::new(Arc::clone(&registry), Arc::clone(&clock));
        let options = GatewayOptions::default()
            .with_rates(rates.clone())
            .with_heartbeat(config.heartbeat)
            .with_parts(of_packages)
            .with_blocks(blocks.clone())
            .with_relays(relays.clone());
        let gateway =
            Gateway::new(Arc::new(admission), artifacts, Arc::clone(&clock), signer, options);
        let enroller = Enroller::new(
            Arc::clone(&registry),
            Arc::clone(authority),
            Arc::new(InventoryRegistrar::new(parts).or_problem()?),
            Arc::clone(&clock),
            signers,
            // Where nobody has said it, agents know best under which address they have found this server.
            config.address.clone().unwrap_or_default(),
        );
        let (list, revocations) = watch::channel(Revocations::new());
        let doorkeeper =
            Doorkeeper::new(Arc::clone(&registry), gateway.clone(), list, Arc::clone(&clock));
        // Before anybody can come.
        doorkeeper.look().await;
        let acceptor = || AgentAcceptor::new(authority, revocations.clone(), Arc::clone(&clock));
        let certificates = AgentCertificates {
            acceptor: acceptor().with_strangers(),
            known: acceptor(),
            authority: Arc::clone(authority),
            names: all_names(&[], port.ip()),
        };
        let newest = watch::Sender::new(certificates.config(&*clock)?);
        let blocks = BlockPort::new(&blocks, block_listener, &certificates, &rates, &*clock)?;
        let fingerprint = authority.fingerprint();
        let links = ServerLinks {
            doorkeeper: doorkeeper.clone(),
            authority: fingerprint,
            address,
            blocks: blocks.server(),
            relays,
        };
        let agents = Agents { registry, links: Arc::new(links) };
        Ok(Self {
            agents,
            limits,
            limit_keeper,
            gateway,
            enroller,
            doorkeeper,
            sights,
            certificates,
            newest,
            listener,
            blocks,
            clock,
        })
    }

    /// Runs attempts on hosts through their agents.
    pub(super) fn executor(&self) -> Arc<dyn Executor> {
        Arc::new(AgentExecutor::new(self.gateway.clone()))
    }

    /// Where agents connect to.
    pub(super) fn address(&self) -> Option<String> {
        self.agents.links.address()
    }

    /// Serves agents until `stopping` says true. What runs on hosts goes on then, and agents come back to the next server.
    pub(super) async fn serve(self, mut stopping: watch::Receiver<bool>) {
        let Self {
            gateway,
            enroller,
            doorkeeper,
            sights,
            certificates,
            newest,
            listener,
            blocks,
            clock,
            limit_keeper,
            ..
        } = self;
        let renewing = renewed(&clock, &newest, || certificates.config(&*clock));
        let newest_of_blocks = blocks.newest();
        let renewing_blocks =
            renewed(&clock, &newest_of_blocks, || certificates.block_config(&*clock));
        let listener = AgentListener::new(listener, newest.subscribe(), Arc::clone(&clock));
        let stop = async {
            // Without anybody who could say so it is to stop as well.
            let _said = stopping.wait_for(|it| *it).await;
        };
        tokio::select! {
            served = listener.serve(&gateway, &enroller, stop) => {
                if let Err(err) = served {
                    tracing::error!(%err, "the port of agents is closed");
                }
            }
            () = doorkeeper.run() => {}
            () = sights.run() => {}
            () = renewing => {}
            () = renewing_blocks => {}
            () = blocks.serve() => {}
            () = limit_keeper.run() => {}
        }
    }
}

/// Certificates of this server for agents: of its own authority, whatever people see.
struct AgentCertificates {
    acceptor: AgentAcceptor,
    /// Where nobody has to do with those who are no hosts yet.
    known: AgentAcceptor,
    authority: Arc<Authority>,
    names: Vec<String>,
}

impl AgentCertificates {
    fn config(&self, clock: &dyn Clock) -> Result<Arc<ServerConfig>, Problem> {
        let identity = self.authority.issue_server(&self.names, clock.now());
        let config = identity.and_then(|it| self.acceptor.config(&it));
        config.map(Arc::new).map_err(|err| unusable(&err))
    }

    fn block_config(&self, clock: &dyn Clock) -> Result<Arc<ServerConfig>, Problem> {
        let identity = self.authority.issue_server(&self.names, clock.now());
        let config = identity.and_then(|it| self.known.block_config(&it));
        config.map(Arc::new).map_err(|err| unusable(&err))
    }
}

/// What people are told of an address: this machine by its name, where it listens on all its addresses.
fn address_of(port: SocketAddr) -> String {
    match own_host_name().filter(|_| port.ip().is_unspecified()) {
        Some(name) => format!("{name}:{}", port.port()),
        None => port.to_string(),
    }
}
