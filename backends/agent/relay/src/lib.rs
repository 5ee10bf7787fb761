//! What stands in a data centre between its hosts and the server: a cache of blocks that it gives, a scheduler that sends hosts to each
//! other, and a way out for agents that may not reach the server.
//!
//! A relay holds no power. What it gives, hosts compare with what their orders name; what it passes on is TLS between others; and what it may have
//! itself, the server says, blob by blob. It is let in by a join token ([`enrol()`]), as a host is, and is none.
mod announce;
mod enrol;
mod error;
mod link;
mod node;
mod passes;
mod settings;
mod way_out;
mod works;

pub use enrol::enrol;
pub use error::RelayError;
pub use node::RelayNode;
pub use settings::{BlockSettings, Settings, SettingsError, WayOutSettings};
