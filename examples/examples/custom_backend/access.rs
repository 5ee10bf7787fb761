use async_trait::async_trait;
use deploy_core::{
    access::{AccessRequest, Action, Decision, Resource},
    backend::{Authorizer, BackendResult},
    id::Principal,
};

/// Goes by a list of grants and bans.
#[derive(Debug)]
pub(crate) struct GrantList {
    pub(crate) grants: Vec<Grant>,
}

/// Somebody may do something, or must not.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) is_ban: bool,
    pub(crate) who: Principal,
    pub(crate) action: Action,
    pub(crate) on: Resource,
}

#[async_trait]
impl Authorizer for GrantList {
    async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision> {
        let about = |it: &&Grant| it.who == request.principal && it.action == request.action;
        let (bans, grants): (Vec<_>, Vec<_>) =
            self.grants.iter().filter(about).partition(|it| it.is_ban);
        // A permit for the whole would cover the part that is banned.
        let touches =
            |it: &&Grant| covers(&it.on, &request.resource) || covers(&request.resource, &it.on);
        let bans = tell(bans.into_iter().filter(touches), "banned");
        if !bans.is_empty() {
            return Ok(Decision::Deny(bans));
        }
        let allows = |it: &&Grant| covers(&it.on, &request.resource);
        let grants = tell(grants.into_iter().filter(allows), "granted");
        Ok(if grants.is_empty() { Decision::Deny(grants) } else { Decision::Allow(grants) })
    }
}

fn tell<'a>(grants: impl Iterator<Item = &'a Grant>, verb: &str) -> Vec<String> {
    grants.map(|it| format!("{} is {verb} {} on {}", it.who, it.action.as_str(), it.on)).collect()
}

/// Whether `part` is some or all of `whole`.
fn covers(whole: &Resource, part: &Resource) -> bool {
    match (whole, part) {
        (Resource::System, _) => true,
        (Resource::Service(mine), Resource::Host(_, Some(asked))) => mine == asked,
        _ => whole == part,
    }
}
