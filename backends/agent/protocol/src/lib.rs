//! What host agents and the gateway of a control plane say to each other: the messages, and the signatures on orders.
//!
//! The schema is `proto/deploy/agent/v1/agent.proto`; its comments are the contract. [`v1`] is what was made of it.
//! An [`Order`](v1::Order) can be had from a [`SignedOrder`](v1::SignedOrder) only through an [`OrderGate`], which lets each
//! order through once, and only to the host and session that it was signed for.
//!
//! ```
//! use deploy_agent_protocol::{OrderGate, OrderSigner, v1};
//!
//! let signer = OrderSigner::from_secret(&[7; 32]);
//! let observe = v1::Observe { place: Some(v1::Place { service: "web".into(), ..Default::default() }) };
//! let order = v1::Order {
//!     host: "web-1".into(),
//!     session: vec![1; 16],
//!     sequence: 1,
//!     good_for_ms: 30_000,
//!     kind: Some(v1::order::Kind::Observe(observe)),
//! };
//! let signed = signer.sign(&order);
//!
//! let mut gate = OrderGate::new("web-1", vec![1; 16], [signer.public_key()])?;
//! assert_eq!(gate.admit(&signed)?, order);
//! assert!(gate.admit(&signed).is_err(), "an order is carried out once");
//! # Ok::<(), deploy_agent_protocol::NotTrusted>(())
//! ```
mod codec;
mod order;
mod versions;

pub use codec::SparingCodec;
pub use order::{NotTrusted, OrderGate, OrderSigner, PublicKey};
pub use versions::{TooFarApart, Versions};

/// The messages of version 1, as the schema has them.
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::clone_on_ref_ptr,
    clippy::exhaustive_enums,
    unused_qualifications,
    reason = "made from the schema, whose comments say more"
)]
pub mod v1 {
    tonic::include_proto!("deploy.agent.v1");
}

/// The oldest version in which hosts go back by themselves where an attempt has a `revert`.
pub const REVERT_SINCE: u32 = 2;

/// The oldest version in which hosts fetch what they will need ahead of their attempts.
pub const STAGE_SINCE: u32 = 2;

/// The oldest version in which hosts are told how fast they may fetch and give.
pub const LIMITS_SINCE: u32 = 2;

/// The oldest version in which hosts give back what their attempts have left.
pub const COLLECT_SINCE: u32 = 2;

/// The oldest version in which hosts say whether they have room for an attempt.
pub const ROOM_SINCE: u32 = 2;

/// The longest piece of what an attempt has left that is sent in one frame, in bytes.
pub const LONGEST_PIECE: usize = 512 << 10;

/// What a server of the control plane is called where blocks are given: its certificate names no host.
pub const BLOCKS_OF_SERVER: &str = "deploy-server";

/// The longest frame that either side takes, in bytes: a chunk of a log is far shorter, an order with its parameters too.
pub const LONGEST_FRAME: usize = 1 << 20;

/// How many bytes of a log may be on the way to the gateway, for each order that wants them.
pub const LOG_WINDOW: u64 = 1 << 20;

/// The longest piece of a log or of an artifact that is sent in one frame, in bytes.
pub const LONGEST_CHUNK: usize = 64 << 10;
