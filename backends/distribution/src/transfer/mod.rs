//! Blocks over HTTP/1.1 and mutual TLS, between anybody: the store, relays, hosts.
//!
//! Whoever gives blocks runs a [`BlockServer`] over a [`BlockSource`]; whoever wants a blob runs a [`Fetcher`], which goes where a
//! [`Director`] sends it. The TLS configurations come from outside, and so does the way to tell from a certificate who somebody is
//! ([`Identify`]): both ends show one.
mod alone;
mod client;
mod crowd;
mod director;
mod fetch;
mod fetched;
mod found;
mod keep;
mod lanes;
mod limit;
mod link;
mod pace;
mod relay;
mod sending;
mod server;
mod slots;
mod source;
mod throttle;
mod visitor;
mod wire;

pub use client::Client;
pub use crowd::{Crowd, Place};
pub use director::Director;
pub use fetch::{FetchError, FetchOrder, Fetcher};
pub use fetched::Fetched;
pub use limit::Limits;
pub use link::LinkError;
pub use relay::{Pass, Passes, Relay, Space, ranked};
pub use server::{BlockServer, Served};
pub use source::{BlockSource, Shelf, SourceError};
pub use throttle::{Rate, Throttle};
pub use wire::{Endpoint, FailedBlock, GivenBlock, Joining, NextAnswer, NextRequest, is_address};

use deploy_core::id::HostName;
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// Says whose a certificate is that TLS has verified; `None` if it is of nobody who has to do with blocks.
pub type Identify = Arc<dyn Fn(&CertificateDer<'_>) -> Option<HostName> + Send + Sync>;
