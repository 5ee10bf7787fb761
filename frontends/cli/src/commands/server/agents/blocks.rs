//! The port where hosts have the blocks of what they are to run.
use super::AgentCertificates;
use crate::{
    commands::server::config::AgentsConfig,
    problem::{invalid, io_problem},
};
use deploy_agent_gateway::{Blocks, Rates};
use deploy_core::{backend::Clock, engine::Parts};
use deploy_distribution::transfer::BlockServer;
use deploy_parts::PartStore;
use deploy_server::ServerConfig;
use deploy_wire::Problem;
use std::{future, sync::Arc};
use tokio::{net::TcpListener, sync::watch};

/// That port, ready to be served.
pub(super) struct BlockPort {
    server: Arc<BlockServer>,
    listener: TcpListener,
    newest: watch::Sender<Arc<ServerConfig>>,
}

impl BlockPort {
    /// Takes the port. What is given are packages of `parts`, and what was made of them.
    pub(super) async fn open(
        parts: &Parts,
        of_packages: PartStore,
        secret: &[u8; 32],
        config: &AgentsConfig,
    ) -> Result<(Blocks, TcpListener), Problem> {
        let listen = config.blocks_listen;
        let failed = |err: &_| {
            io_problem(listen, err).with_hint(
                "`agents.blocks_listen` says where hosts have blocks of packages; docs/server.md",
            )
        };
        let listener = TcpListener::bind(listen).await.map_err(|err| failed(&err))?;
        let port = listener.local_addr().map_err(|err| failed(&err))?.port();
        let address = config.blocks_address.clone().unwrap_or_else(|| format!(":{port}"));
        let (inventory, clock) = (Arc::clone(&parts.inventory), Arc::clone(&parts.clock));
        Ok((Blocks::new(of_packages, secret, address, inventory, clock), listener))
    }

    /// To be served with these certificates, no faster than that.
    pub(super) fn new(
        blocks: &Blocks,
        listener: TcpListener,
        certificates: &AgentCertificates,
        rates: &Rates,
        clock: &dyn Clock,
    ) -> Result<Self, Problem> {
        let server = blocks.server().map_err(|err| invalid(err.to_string()))?;
        let server = server.with_limits(rates.origin());
        let newest = watch::Sender::new(certificates.block_config(clock)?);
        Ok(Self { server: Arc::new(server), listener, newest })
    }

    /// Who gives the blocks, and knows how many.
    pub(super) fn server(&self) -> Arc<BlockServer> {
        Arc::clone(&self.server)
    }

    /// Where newer certificates go.
    pub(super) fn newest(&self) -> watch::Sender<Arc<ServerConfig>> {
        self.newest.clone()
    }

    /// Serves, for good.
    pub(super) async fn serve(self) {
        self.server.serve(self.listener, self.newest.subscribe(), future::pending()).await;
    }
}
