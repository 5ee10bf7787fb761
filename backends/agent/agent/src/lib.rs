//! What runs on a host: takes attempts in, keeps a journal of them, runs their steps, and tells how they ended.
//!
//! [`HostSide`] is all that a session with a gateway needs to know of it.
mod account;
mod agent;
mod attempt;
mod cache;
mod disk;
mod folder;
mod host;
mod journal;
mod package;
mod peers;
mod pins;
mod policy;
mod process;
mod publishers;
mod rates;
mod reload;
mod run;
mod session;
mod shim;
mod spec;
mod time;
mod verdict;

pub use agent::{HostOptions, JournaledHost, OpenError};
pub use deploy_agent_identity::{
    Connect, Credentials, CredentialsError, EnrolError, GatewayConnector, HostPort, Names, Via,
    enrol, enrol_via, renew,
};
pub use host::{ArtifactBytes, FetchArtifact, Followed, Following, HostSide};
pub use peers::Peers;
pub use policy::{Policy, PolicyError};
pub use reload::reload;
pub use run::{RunError, run};
pub use session::{Identity, Session};

use std::{ffi::OsString, io};

/// Runs this program as one of those that an agent starts for itself: `shim`, `exec` or `ask`, with the arguments that it gives them.
///
/// # Errors
/// What kept it from its work; `InvalidInput` if the arguments are not such.
pub fn run_helper(arguments: &[OsString]) -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "not a call of an agent");
    let (word, rest) = arguments.split_first().ok_or_else(usage)?;
    match word.to_str() {
        Some("shim") => {
            let (launch, rest) = shim::Launch::parse(rest).ok_or_else(usage)?;
            shim::supervise(launch, shim::parse_place(rest).ok_or_else(usage)?)
        }
        Some("ask") => {
            let (launch, rest) = shim::Launch::parse(rest).ok_or_else(usage)?;
            shim::ask(launch, &shim::Question::parse(rest).ok_or_else(usage)?)
        }
        Some("exec") => Err(shim::exec::Exec::parse(rest).ok_or_else(usage)?.become_script()),
        _ => Err(usage()),
    }
}

/// What reads bytes that others may have written, for the targets of `fuzz/`.
#[cfg(fuzzing)]
pub mod fuzzing {
    use deploy_agent_protocol::v1;

    /// Judges an order.
    pub fn attempt(attempt: v1::Attempt) {
        drop(crate::spec::Spec::parse(attempt));
    }

    /// Reads a segment of a journal, of which `synced` bytes were surely written.
    pub fn segment(bytes: &[u8], synced: usize) {
        crate::journal::replay(bytes, synced);
    }
}
