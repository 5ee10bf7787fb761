//! How a machine becomes a host, and stays one.
use crate::{
    Via,
    connect::{Connect, connect_as_stranger},
    credentials::{Credentials, CredentialsError, replace, to_hex},
    facts,
};
use deploy_agent_protocol::v1::{
    Certificate, EnrolRequest, RenewRequest, enrolment_client::EnrolmentClient,
};
use deploy_core::{
    backend::Clock,
    token::{JoinToken, ParseTokenError},
};
use deploy_pki::{MachineKey, PkiError};
use std::{fs, io, path::Path, sync::Arc};
use thiserror::Error;
use tonic::Status;

/// Why a machine is no host, or its certificate is not renewed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// What was given is no join token.
    #[error("that is no join token: {0}")]
    Token(#[from] ParseTokenError),
    /// The server cannot be reached, or is not of the authority that the token names.
    #[error("{server}: {source}")]
    Connect {
        /// Which.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// The server says no.
    #[error("the server refuses: {}", .0.message())]
    Refused(#[from] Status),
    /// No key can be made.
    #[error(transparent)]
    Key(#[from] PkiError),
    /// What the host is known by cannot be kept.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// What a machine is to be called, where that is not what it says of itself.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Names {
    /// The name of its host.
    pub host: Option<String>,
    /// What its provider calls it, as `PROVIDER/REGION/ID`: by that it is found again after it was installed anew.
    pub instance: Option<String>,
}

/// Makes this machine a host of the control plane at `server`, a `HOST:PORT`, by a join token. What it is known by is kept in `state`.
///
/// # Errors
/// If the token is none or is worth nothing, or the server cannot be reached; nothing is kept then.
pub async fn enrol(
    state: &Path,
    server: &str,
    join_token: &str,
    names: Names,
    clock: Arc<dyn Clock>,
) -> Result<Credentials, EnrolError> {
    enrol_via(&Arc::default(), state, server, join_token, names, clock).await
}

/// As [`enrol`], by way of others.
///
/// # Errors
/// As [`enrol`].
pub async fn enrol_via(
    via: &Arc<Via>,
    state: &Path,
    server: &str,
    join_token: &str,
    names: Names,
    clock: Arc<dyn Clock>,
) -> Result<Credentials, EnrolError> {
    let token: JoinToken = join_token.trim().parse()?;
    let key = MachineKey::generate()?;
    let mut facts = facts::gather();
    facts.hostname = names.host.unwrap_or(facts.hostname);
    facts.instance = names.instance.unwrap_or(facts.instance);
    if facts.machine_id.is_empty() {
        facts.machine_id = own_machine_id(state)?;
    }
    let request = EnrolRequest {
        join_token: token.reveal(),
        signing_request: key.request()?,
        facts: Some(facts),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let channel = connect_as_stranger(server, via, token.authority, clock).await;
    let channel =
        channel.map_err(|source| EnrolError::Connect { server: server.to_owned(), source })?;
    let certificate = EnrolmentClient::new(channel).enrol(request).await?.into_inner();
    let credentials = Credentials::new(token.authority, &key, &certificate, server);
    credentials.write(state)?;
    Ok(credentials)
}

/// What this machine is called by itself: `/etc/machine-id`, or what is kept in `state` where there is none.
///
/// # Errors
/// If there is none yet, and none can be kept.
pub fn machine_id(state: &Path) -> Result<String, CredentialsError> {
    match facts::gather().machine_id {
        own if own.is_empty() => own_machine_id(state),
        known => Ok(known),
    }
}

/// What a machine is called whose operating system does not say it: made once, and kept as long as the state folder is.
fn own_machine_id(state: &Path) -> Result<String, CredentialsError> {
    let path = state.join("machine-id");
    let made = match fs::read_to_string(&path) {
        Ok(known) if !known.is_empty() => return Ok(known),
        Ok(_) => make_machine_id(state, &path),
        Err(err) if err.kind() == io::ErrorKind::NotFound => make_machine_id(state, &path),
        Err(err) => Err(err),
    };
    made.map_err(|source| CredentialsError::Io { path, source })
}

fn make_machine_id(state: &Path, path: &Path) -> io::Result<String> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits).map_err(|err| io::Error::other(err.to_string()))?;
    let id = to_hex(&bits);
    replace(state, path, id.as_bytes())?;
    Ok(id)
}

/// Renews the certificate in `state`, for a new key, over a connection with the old one.
///
/// # Errors
/// If the server cannot be reached or says no; the old one stays.
pub async fn renew(state: &Path, connect: &dyn Connect) -> Result<Credentials, EnrolError> {
    let old = Credentials::read(state)?;
    let key = MachineKey::generate()?;
    let channel = connect.connect().await;
    let channel = channel
        .map_err(|source| EnrolError::Connect { server: old.gateway().to_owned(), source })?;
    let request = RenewRequest { signing_request: key.request()? };
    let certificate: Certificate = EnrolmentClient::new(channel).renew(request).await?.into_inner();
    let credentials = Credentials::new(old.authority(), &key, &certificate, old.gateway());
    credentials.write(state)?;
    Ok(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_an_id_has_one_of_its_own_for_good() {
        let state = tempfile::tempdir().unwrap();
        let id = own_machine_id(state.path()).unwrap();
        assert_eq!(id.len(), 32);
        assert_eq!(own_machine_id(state.path()).unwrap(), id);
        fs::write(state.path().join("machine-id"), "").unwrap();
        assert_ne!(own_machine_id(state.path()).unwrap(), id);
    }
}
