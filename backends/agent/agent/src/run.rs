//! The agent as a whole: the host side, its session, and a certificate that stays good.
use crate::{
    GatewayConnector, HostOptions, HostSide as _, Identity, JournaledHost, OpenError, Peers,
    Policy, Session,
    credentials::{Credentials, CredentialsError},
    enrol::renew,
    facts,
    process::proc_fs::boot_id,
};
use deploy_core::{backend::Clock, time::Timestamp};
use std::{io, path::Path, sync::Arc, time::Duration};
use thiserror::Error;
use tokio::select;

/// How long to wait before a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

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
    let peers = Peers::open(&credentials, &policy, &signers, Arc::clone(&clock)).await;
    let peers = Arc::new(peers.map_err(RunError::Peers)?);
    let options = HostOptions::new(credentials.host(), state, policy);
    let options = options.with_peers(Arc::clone(&peers));
    let host = Arc::new(JournaledHost::open(options).await?);
    ready();
    let connect = Arc::new(GatewayConnector::new(state, Arc::clone(&clock)));
    let identity = Identity::new(credentials.host(), boot, signers).with_facts(facts::gather());
    let session = Session::new(Arc::clone(&host) as _, Arc::clone(&connect) as _, identity);
    let ended = select! {
        () = stop => Ok(()),
        why = host.failed() => Err(RunError::Journal(why)),
        () = session.run() => Ok(()),
        () = keep_certificate(state, &connect, &peers, &*clock, credentials) => Ok(()),
        () = peers.serve() => Ok(()),
    };
    host.shutdown().await;
    ended
}

/// Renews the certificate in time, for good.
async fn keep_certificate(
    state: &Path,
    connect: &GatewayConnector,
    peers: &Peers,
    clock: &dyn Clock,
    mut credentials: Credentials,
) {
    loop {
        clock.sleep_until(Timestamp::from_millis(credentials.renew_at_ms())).await;
        match renew(state, connect).await {
            Ok(renewed) => {
                credentials = renewed;
                if let Err(err) = peers.renewed(&credentials) {
                    tracing::warn!(reason = %err, "other hosts do not see the new certificate");
                }
            }
            Err(err) => {
                tracing::warn!(reason = %err, "the certificate is not renewed yet");
                clock.sleep_until(clock.now().after(RENEW_AGAIN)).await;
            }
        }
    }
}
