//! The control plane: the HTTP API that people and programs share, and the pool that drives rollouts.
//!
//! A [`Server`] stands over the same traits as every other frontend. It keeps no state that a restart could lose: rollouts are in
//! the journal, answers to repeated requests in the answer store, tokens in the credential store.
//!
//! **Invariant:** what is below `/api/v1` answers nobody without a token, but for the description of the API. That is one layer
//! around all routes, and not a matter of each. Webhooks come in beside it, at `/hooks`: signed, and for one service each.
mod api;
mod auth;
mod builds;
mod idempotency;
mod left;
mod limits;
mod metrics;
mod openapi;
mod page;
mod pool;
mod precondition;
mod problem;
mod random;
mod repairs;
mod request;
mod routed;
mod serve;
mod state;
mod trace;

pub use builds::{BuildControl, Delivery, Hooks, PushedTag};
pub use limits::Limits;
pub use openapi::document;
pub use pool::{DriverPool, Holder};
pub use repairs::Repairs;
pub use routed::RoutedExecutor;
pub use serve::{Transport, serve};
pub use state::{Control, FirstToken, Server};
pub use tokio_rustls::rustls::ServerConfig;
