//! The blocks that a host gives to others.
use deploy_agent_identity::identify;
use deploy_core::{backend::Clock, digest::Digest};
use deploy_distribution::{
    token::TokenVerifier,
    transfer::{BlockServer, Limits, Shelf},
};
use std::{
    collections::BTreeMap,
    future, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{net::TcpListener, sync::watch, task::AbortHandle};
use tokio_rustls::rustls::ServerConfig;

/// How many artifacts a host gives at a time after it has them: each takes an open file, and a question every ten seconds.
const MOST_GIVEN: usize = 64;

/// What gives blocks, and of what.
#[derive(Debug)]
pub(super) struct Giving {
    shelf: Arc<Shelf>,
    server: Arc<BlockServer>,
    address: SocketAddr,
    /// Taken by whoever serves.
    listener: Mutex<Option<TcpListener>>,
    tls: watch::Sender<Arc<ServerConfig>>,
    given: Mutex<BTreeMap<Digest, AbortHandle>>,
}

impl Giving {
    pub(super) fn new(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        signers: &[[u8; 32]],
        limits: Arc<Limits>,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let verifier = TokenVerifier::new(signers.iter().copied()).map_err(io::Error::other)?;
        let shelf = Arc::new(Shelf::new());
        let server = BlockServer::new(Arc::clone(&shelf) as _, verifier, identify(), clock);
        Ok(Self {
            shelf,
            server: Arc::new(server.with_limits(limits)),
            address: listener.local_addr()?,
            listener: Mutex::new(Some(listener)),
            tls: watch::Sender::new(tls),
            given: Mutex::default(),
        })
    }

    pub(super) fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn renewed(&self, tls: Arc<ServerConfig>) {
        self.tls.send_replace(tls);
    }

    /// Gives, for good.
    pub(super) async fn serve(&self) {
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(listener) = listener {
            let server = Arc::clone(&self.server);
            server.serve(listener, self.tls.subscribe(), future::pending()).await;
        }
    }

    /// Gives an artifact for as long as `staying` is not over. Where there are too many, it is not given.
    pub(super) fn stay(&self, digest: Digest, staying: impl Future<Output = ()> + Send + 'static) {
        let mut given = self.given();
        given.retain(|_, it| !it.is_finished());
        if given.len() < MOST_GIVEN {
            let before = given.insert(digest, tokio::spawn(staying).abort_handle());
            before.iter().for_each(AbortHandle::abort);
        }
    }

    pub(super) fn forget(&self, digest: Digest) {
        self.given().remove(&digest).iter().for_each(AbortHandle::abort);
    }

    fn given(&self) -> MutexGuard<'_, BTreeMap<Digest, AbortHandle>> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.given().values().for_each(AbortHandle::abort);
    }
}
