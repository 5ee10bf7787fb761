//! TLS 1.3, and nothing else, with certificates of the authority.
mod client;
mod peers;
mod server;
mod verify;

pub use client::PinnedConnector;
pub use peers::PeerTls;
pub use server::{AgentAcceptor, ServerIdentity, api_config};

use deploy_core::backend::Clock;
use rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::UnixTime,
    time_provider::TimeProvider,
};
use std::{sync::Arc, time::Duration};

/// What agents and gateways speak over TLS.
const HTTP_2: &[u8] = b"h2";
const HTTP_1: &[u8] = b"http/1.1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Lets TLS go by a clock.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Duration::from_millis(self.0.now().as_millis());
        Some(UnixTime::since_unix_epoch(now))
    }
}
