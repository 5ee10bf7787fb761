use crate::{
    access::{AccessRequest, Action, Decision, Permit, Resource},
    error::{BackendError, BackendResult},
    id::Principal,
};
use async_trait::async_trait;
use std::fmt;

/// Says who may do what.
///
/// # Contract
/// * What no rule allows is denied: an authorizer without rules denies everything.
/// * A rule that denies wins over any number of rules that allow.
/// * The same request under the same rules gets the same answer.
/// * An error is not an answer: the caller denies.
///
/// ```
/// use deploy_core::{access::{Action, Resource}, backend::authorize, memory::{MemoryAuthorizer, Rule}};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let authorizer = MemoryAuthorizer::new(vec![Rule::allow("ann".parse()?, [Action::ServiceWrite])]);
/// let permit = authorize(&authorizer, "ann".parse()?, Action::ServiceWrite, Resource::System).await?;
/// assert!(permit.covers(Action::ServiceWrite, &Resource::Service("web".parse()?)));
/// assert!(authorize(&authorizer, "bob".parse()?, Action::ServiceWrite, Resource::System).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Authorizer: fmt::Debug + Send + Sync + 'static {
    /// Decides.
    async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision>;
}

/// Why there is no permit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccessError {
    /// The authorizer said no.
    #[error("{principal} may not {} on {resource}{}", .action.as_str(), because(.rules))]
    Denied {
        /// Who asked.
        principal: Principal,
        /// What for.
        action: Action,
        /// On what.
        resource: Resource,
        /// The rules that decided; empty where nothing allowed it.
        rules: Vec<String>,
    },
    /// The authorizer could not be asked, so the answer is no.
    #[error("access could not be checked, and is denied")]
    Unchecked(#[source] BackendError),
}

fn because(rules: &[String]) -> String {
    if rules.is_empty() {
        ": no rule allows it".to_owned()
    } else {
        format!(": {}", rules.join(", "))
    }
}

/// Asks `authorizer`, and gives the proof if it says yes.
///
/// # Errors
/// If the answer is no, or there is none.
pub async fn authorize(
    authorizer: &(dyn Authorizer + '_),
    principal: Principal,
    action: Action,
    resource: Resource,
) -> Result<Permit, AccessError> {
    let request = AccessRequest::new(principal, action, resource);
    match authorizer.authorize(&request).await {
        Ok(Decision::Allow(_)) => Ok(Permit::granted(request)),
        Ok(Decision::Deny(rules)) => {
            let AccessRequest { principal, action, resource } = request;
            Err(AccessError::Denied { principal, action, resource, rules })
        }
        Err(err) => Err(AccessError::Unchecked(err)),
    }
}
