//! Sources, out of git repositories.
//!
//! The `git` program does it, as somebody who trusts nobody: nothing is read of anybody's configuration, no hook runs, no submodule is followed, no
//! redirect either, and only the transports of [`RemotePolicy`] are spoken. A bare copy of the repository is kept for each service; of that exactly one
//! commit is written out.
mod checkout;
mod credential;
mod mirror;
mod policy;
mod program;

pub use policy::RemotePolicy;

pub(crate) use mirror::{Mirror, Resolved};
pub(crate) use program::{Git, locate, usable_git};
