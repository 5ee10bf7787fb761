use deploy_agent_identity::{Credentials, EnrolError, Names, facts, machine_id};
use deploy_core::backend::Clock;
use std::{path::Path, sync::Arc};

/// Makes this machine a relay of the control plane at `server`, a `HOST:PORT`, by a join token that was made for one; `name` is what it is called, and
/// otherwise the machine's own name with `-relay` behind it. What it is known by is kept in `state`.
///
/// The machine may have an agent as well: the two are not known by the same key.
///
/// # Errors
/// If the token is none or is not for relays, or the server cannot be reached; nothing is kept then.
pub async fn enrol(
    state: &Path,
    server: &str,
    join_token: &str,
    name: Option<String>,
    clock: Arc<dyn Clock>,
) -> Result<Credentials, EnrolError> {
    let name = name.unwrap_or_else(|| format!("{}-relay", facts().hostname));
    let mut names = Names::default();
    // Machines that were copied may have one id, and one may have two relays.
    names.instance = Some(format!("relay/{name}/{}", machine_id(state)?));
    names.host = Some(name);
    deploy_agent_identity::enrol(state, server, join_token, names, clock).await
}
