//! What runs on a host: takes attempts in, keeps a journal of them, runs their steps, and tells how they ended.
//!
//! [`HostSide`] is all that a session with a gateway needs to know of it.
mod attempt;
mod host;
mod journal;

pub use host::{ArtifactBytes, FetchArtifact, Followed, Following, HostSide};
pub use session::{Connect, Identity, Session};
