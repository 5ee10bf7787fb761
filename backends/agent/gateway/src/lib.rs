//! Reaches hosts through the agents on them.
//!
//! Agents connect by themselves and stay: [`Gateway`] is the server's end of their connections, a service for [`tonic`], and
//! [`AgentExecutor`] runs attempts over whatever sessions there are. What is sent and meant is in `deploy-agent-protocol`.
//!
//! Who may connect is decided by an [`Admission`], from the certificate of the connection: an [`AgentListener`], or whoever else
//! accepts connections, puts it as a [`Peer`] among the extensions of each request. Machines become hosts by an [`Enroller`].
mod admission;
mod answers;
mod artifacts;
mod blocks;
mod collect;
mod conversation;
mod delivery;
mod enrolment;
mod executor;
mod follower;
mod gateway;
mod listener;
mod order;
mod rates;
mod registry;
mod relays;
mod room;
mod session;
mod sessions;
mod stage;

pub use admission::{Admission, Denied, Peer};
pub use blocks::Blocks;
pub use enrolment::{Enroller, Registrar};
pub use executor::AgentExecutor;
pub use gateway::{Gateway, GatewayOptions};
pub use listener::AgentListener;
pub use rates::Rates;
pub use registry::RegistryAdmission;
pub use relays::{LiveRelay, Relays};
pub use session::Boots;
