//! Proving to a server who we are: by a key, from a file or an agent, and by nothing else.
use crate::{
    client::{Client, EndedBy, Shared},
    failure::Failure,
    identity::{Offer, Offers},
    target::Target,
};
use russh::{
    AgentAuthError, MethodKind,
    client::{AuthResult, Handle},
    keys::{
        Algorithm, HashAlg, PrivateKeyWithHashAlg, PublicKey,
        agent::{AgentIdentity, client::AgentClient},
    },
};
use std::{path::Path, sync::Arc};
use tokio::net::UnixStream;

type Agent = AgentClient<UnixStream>;

/// A connection to the agent, and the keys that it holds.
pub(crate) struct AgentKeys {
    agent: Option<Agent>,
    pub(crate) keys: Vec<PublicKey>,
    /// Why there are none.
    pub(crate) trouble: Option<String>,
}

impl AgentKeys {
    /// The keys of the agent at `socket`.
    pub(crate) async fn list(socket: Option<&Path>) -> Self {
        let none = |trouble| Self { agent: None, keys: Vec::new(), trouble };
        let Some(socket) = socket else { return none(None) };
        let listed = async {
            let mut agent = Agent::connect_uds(socket).await?;
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        };
        match listed.await {
            Ok((agent, identities)) => {
                let keys = identities.into_iter().filter_map(|it| match it {
                    AgentIdentity::PublicKey { key, .. } => Some(key),
                    AgentIdentity::Certificate { .. } => None,
                });
                Self { agent: Some(agent), keys: keys.collect(), trouble: None }
            }
            Err(err) => none(Some(format!("the agent at {}: {err}", socket.display()))),
        }
    }
}

/// Logs in as the user of `target` with one of the keys in `offers`.
pub(crate) async fn authenticate(
    handle: &mut Handle<Client>,
    target: &Target,
    offers: &Offers,
    mut agent: AgentKeys,
    shared: &Shared,
) -> Result<(), Failure> {
    bind(handle, &mut agent).await;
    let mut tried: Vec<String> = Vec::new();
    for offer in &offers.keys {
        let outcome = attempt(handle, target, offer, agent.agent.as_mut()).await;
        let (remaining, partial) = match outcome {
            Ok(AuthResult::Success) => return Ok(()),
            Ok(AuthResult::Failure { .. }) | Err(_) if handle.is_closed() => {
                tried.push(offer.to_string());
                return Err(hung_up(target, shared, offers, &tried));
            }
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                tried.push(offer.to_string());
                (remaining_methods, partial_success)
            }
            Err(reason) => {
                tried.push(format!("{offer}: {reason}"));
                continue;
            }
        };
        if partial {
            let reason =
                "the server took the key, but wants more than a key, which is not supported";
            return Err(refused(target, reason, &tried, &offers.left_out));
        }
        if !remaining.contains(&MethodKind::PublicKey) {
            let reason = "the server takes no keys (PubkeyAuthentication)";
            return Err(refused(target, reason, &tried, &offers.left_out));
        }
    }
    Err(refused(target, "the server takes none of our keys", &tried, &offers.left_out))
}

/// The connection ended in the middle of it. Only what the server said itself is a refusal: whatever else cuts a connection
/// says nothing about keys, and may be gone at the next try.
fn hung_up(target: &Target, shared: &Shared, offers: &Offers, tried: &[String]) -> Failure {
    let (tries, keys, user) = (tried.len(), offers.keys.len(), &target.user);
    match shared.ended_by() {
        None => {
            Failure::unavailable(format!("the connection was lost while logging in as `{user}`"))
        }
        Some(EndedBy::Us(failure)) => failure.clone(),
        Some(EndedBy::Server) => {
            let reason = format!(
                "the server closed the connection after {tries} of {keys} keys: name the right one with IdentityFile, and set \
                 IdentitiesOnly"
            );
            refused(target, &reason, tried, &offers.left_out)
        }
    }
}

/// There is nothing to offer, or nothing was taken.
pub(crate) fn refused(
    target: &Target,
    reason: &str,
    tried: &[String],
    left_out: &[String],
) -> Failure {
    let mut message = format!("cannot log in as `{}`: {reason}", target.user);
    for (what, list) in [("offered", tried), ("left out", left_out)] {
        if !list.is_empty() {
            message.push_str(&format!("; {what}: {}", list.join(", ")));
        }
    }
    Failure::unauthenticated(message)
}

/// Tells the agent which server its signatures are for. Older agents do not know this, and need not.
async fn bind(handle: &Handle<Client>, agent: &mut AgentKeys) {
    if let (Some(agent), Some(binding)) = (&mut agent.agent, handle.agent_session_binding())
        && let Err(err) = agent.bind_session(binding, false).await
    {
        tracing::debug!(%err, "the agent takes no session binding");
    }
}

async fn attempt(
    handle: &mut Handle<Client>,
    target: &Target,
    offer: &Offer,
    agent: Option<&mut Agent>,
) -> Result<AuthResult, String> {
    let hash = match offer.key.algorithm() {
        Algorithm::Rsa { .. } => Some(rsa_hash(handle).await?),
        _ => None,
    };
    let user = target.user.as_str();
    match (&offer.private, agent) {
        (Some(private), _) => {
            let key = PrivateKeyWithHashAlg::new(Arc::clone(private), hash);
            handle.authenticate_publickey(user, key).await.map_err(|err| err.to_string())
        }
        (None, Some(agent)) => handle
            .authenticate_publickey_with(user, offer.key.clone(), hash, agent)
            .await
            .map_err(|err: AgentAuthError| format!("the agent does not sign: {err}")),
        (None, None) => Err("there is no agent to sign".into()),
    }
}

/// The hash for a signature by an RSA key: never SHA-1.
async fn rsa_hash(handle: &Handle<Client>) -> Result<HashAlg, String> {
    match handle.best_supported_rsa_hash().await {
        Ok(Some(Some(hash))) => Ok(hash),
        // The server does not say what it takes.
        Ok(None) => Ok(HashAlg::Sha512),
        Ok(Some(None)) => Err("the server takes RSA keys only with SHA-1".into()),
        Err(err) => Err(err.to_string()),
    }
}
