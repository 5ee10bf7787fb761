use async_trait::async_trait;
use deploy_core::{
    access::{AccessRequest, Action, Decision, Resource},
    backend::{Authorizer, BackendResult},
    conformance::authorizer::{AuthorizerHarness, GivenRule},
    memory::{MemoryAuthorizer, PrincipalPattern, Rule},
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering::SeqCst},
};

sabotages! {
    AllowsByDefault,
    ChangesItsMind,
    DeniesAll,
    ForgetsToDeny,
    IgnoresActions,
    IgnoresPrincipals,
    IgnoresServices,
    LetsAPartThrough,
}

pub(crate) struct Bad(pub(crate) Sabotage);

impl AuthorizerHarness for Bad {
    type Guard = ();

    async fn with_rules(&self, rules: &[GivenRule]) -> (Arc<dyn Authorizer>, ()) {
        let inner = MemoryAuthorizer::new(rules.iter().filter_map(|it| rule(self.0, it)).collect());
        (Arc::new(Saboteur { inner, asked: AtomicU32::new(0), sabotage: self.0 }), ())
    }
}

fn rule(sabotage: Sabotage, given: &GivenRule) -> Option<Rule> {
    let principal = match sabotage {
        Sabotage::IgnoresPrincipals => PrincipalPattern::Any,
        _ => PrincipalPattern::Exactly(given.principal.clone()),
    };
    let actions = match sabotage {
        Sabotage::IgnoresActions => Action::ALL.to_vec(),
        _ => vec![given.action],
    };
    let rule = match (given.denies, sabotage) {
        (true, Sabotage::ForgetsToDeny) => return None,
        (true, _) => Rule::deny(principal, actions),
        (false, _) => Rule::allow(principal, actions),
    };
    match &given.resource {
        Resource::Service(service) if sabotage != Sabotage::IgnoresServices => {
            Some(rule.on_service(service.clone()))
        }
        _ => Some(rule),
    }
}

#[derive(Debug)]
struct Saboteur {
    inner: MemoryAuthorizer,
    asked: AtomicU32,
    sabotage: Sabotage,
}

#[async_trait]
impl Authorizer for Saboteur {
    async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision> {
        let asked = self.asked.fetch_add(1, SeqCst);
        let decision = self.inner.authorize(request).await?;
        Ok(match (self.sabotage, decision) {
            (Sabotage::AllowsByDefault, Decision::Deny(rules)) if rules.is_empty() => {
                Decision::Allow(rules)
            }
            (Sabotage::ChangesItsMind, Decision::Allow(rules)) if asked % 2 == 1 => {
                Decision::Deny(rules)
            }
            (Sabotage::DeniesAll, _) => Decision::Deny(Vec::new()),
            (Sabotage::LetsAPartThrough, Decision::Deny(rules))
                if request.resource == Resource::System && !rules.is_empty() =>
            {
                Decision::Allow(rules)
            }
            (_, decision) => decision,
        })
    }
}
