//! The certificate authority of a control plane.
//!
//! A control plane makes an [`Authority`] at its first start. Its root signs two issuers and nothing else: one for servers, one
//! for agents. A certificate of the one can never be used as one of the other, and neither issuer can make the other's.
//!
//! An agent makes its own key ([`MachineKey`]), which never leaves its host, and is known by its fingerprint. It trusts the root
//! that its join token names ([`JoinToken::authority`](deploy_core::token::JoinToken::authority)), and no other; the servers of
//! the control plane present it with their certificates.
//!
//! ```
//! use deploy_core::time::Timestamp;
//! use deploy_pki::{AgentPeer, Authority, CertificateRequest, MachineKey};
//!
//! # fn example(folder: &std::path::Path, now: Timestamp) -> Result<(), Box<dyn std::error::Error>> {
//! let authority = Authority::open(folder, now)?;
//! let server = authority.issue_server(&["deploy.example.com"], now)?;
//!
//! // On the host:
//! let key = MachineKey::generate()?;
//! let request = key.request()?;
//!
//! // On the server, once a join token or an older certificate has said which host it is:
//! let request = CertificateRequest::parse(&request)?;
//! let issued = authority.issue_agent(&request, &"h1".parse()?, now)?;
//! assert_eq!(request.key(), key.fingerprint());
//! assert_eq!(AgentPeer::of(issued.leaf())?.host.as_str(), "h1");
//! # drop(server);
//! # Ok(())
//! # }
//! # let folder = tempfile::tempdir().unwrap();
//! # example(folder.path(), Timestamp::from_millis(1_800_000_000_000)).unwrap();
//! ```
mod authority;
mod error;
mod machine;
mod peer;
mod request;
mod revocation;
mod tls;

pub use authority::{AGENT_LIFETIME, Authority, Issued, RENEW_AFTER, SERVER_LIFETIME, SKEW};
pub use error::PkiError;
pub use machine::MachineKey;
pub use peer::AgentPeer;
pub use request::{CertificateRequest, LONGEST_REQUEST};
pub use revocation::Revocations;
pub use tls::{AgentAcceptor, PeerTls, PinnedConnector, ServerIdentity, api_config};
