//! How a machine comes to be known to a control plane, and stays known.
//!
//! Whatever connects by itself, an agent or a relay, is let in by a join token ([`enrol()`]), keeps its key and certificate in a folder of
//! its own ([`Credentials`]), connects with them ([`GatewayConnector`]) and renews them in time ([`keep_certificate`]). To exchange blocks it
//! shows the same certificate at both ends ([`PeerConfigs`]).
mod connect;
mod credentials;
mod enrol;
mod facts;
mod keep;
mod peer;
mod via;

pub use connect::{Connect, GatewayConnector};
pub use credentials::{Credentials, CredentialsError};
pub use enrol::{EnrolError, Names, enrol, enrol_via, machine_id, renew};
pub use facts::{boot_id, gather as facts};
pub use keep::keep_certificate;
pub use peer::{PeerConfigs, endpoints, identify};
pub use via::{HostPort, NotHostPort, Via};
