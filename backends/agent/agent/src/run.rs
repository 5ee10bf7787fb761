//! The agent as a whole: the host side, its session, and a certificate that stays good.
use crate::{
    HostOptions, HostSide as _, Identity, JournaledHost, OpenError, Peers, Policy, Session,
    process::proc_fs::boot_id,
};
use deploy_agent_identity::{
    Credentials, CredentialsError, GatewayConnector, Via, facts, keep_certificate,
};
use deploy_core::backend::Clock;
use std::{io, path::Path, sync::Arc};
use thiserror::Error;
use tokio::select;

/// Why an agent cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// It is not known by anything.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Its state folder cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What happens on the host can no longer be written down: the agent has to be started anew, once its disk works.
    #[error("the journal has failed: {0}")]
    Journal(String),
    /// What it is known by is no good for exchanging blocks with others.
    #[error("the credentials cannot be used: {0}; enrol the host again")]
    Peers(io::Error),
    /// The kernel does not say which boot this is.
    #[error("the boot id cannot be read: {0}")]
    Boot(io::Error),
}

/// Follows the orders of the control plane that the host is enrolled with, until `stop` is ready. What runs on the host then goes on.
/// `ready` is called once it is known what runs on the host; the control plane may not have been reached by then.
///
/// # Errors
/// If it cannot begin, or its journal fails.
pub async fn run(
    state: &Path,
    policy: Policy,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let credentials = Credentials::read(state)?;
    let boot = boot_id().map_err(RunError::Boot)?;
    // What root has written on this host wins over what the control plane has said of itself.
    let signers = policy.signers().unwrap_or_else(|| credentials.signers());
    let via = Via::new(policy.via().to_vec());
    let peers = Peers::open(&credentials, &policy, &signers, Arc::clone(&clock)).await;
    let peers = Arc::new(peers.map_err(RunError::Peers)?);
    let options = HostOptions::new(credentials.host(), state, policy);
    let options = options.with_peers(Arc::clone(&peers));
    let host = Arc::new(JournaledHost::open(options).await?);
    ready();
    let connect = Arc::new(GatewayConnector::new(state, Arc::clone(&clock)).with_via(via));
    let identity = Identity::new(credentials.host(), boot, signers).with_facts(facts());
    let session = Session::new(Arc::clone(&host) as _, Arc::clone(&connect) as _, identity);
    let renewed = |it: &Credentials| {
        if let Err(err) = peers.renewed(it) {
            tracing::warn!(reason = %err, "other hosts do not see the new certificate");
        }
    };
    let ended = select! {
        () = stop => Ok(()),
        why = host.failed() => Err(RunError::Journal(why)),
        () = session.run() => Ok(()),
        () = keep_certificate(state, &connect, &*clock, credentials, renewed) => Ok(()),
        () = peers.serve() => Ok(()),
    };
    host.shutdown().await;
    ended
}
