//! Cases for [`Authorizer`].
use super::sample;
use crate::{
    access::{AccessRequest, Action, Decision, Resource},
    backend::{AccessError, Authorizer, BackendResult, authorize},
    error::{BackendError, ErrorKind},
    id::Principal,
};
use async_trait::async_trait;
use sample::{name, principal};
use std::sync::Arc;

/// Makes authorizers that go by given rules.
///
/// ```
/// use deploy_core::{
///     backend::{Authorizer, BackendResult},
///     access::{AccessRequest, Decision},
///     conformance::authorizer::{AuthorizerHarness, GivenRule},
/// };
/// use std::sync::Arc;
///
/// /// Goes by rules about exactly what is asked, and no part or whole of it.
/// #[derive(Debug)]
/// struct Exactly(Vec<GivenRule>);
///
/// #[async_trait::async_trait]
/// impl Authorizer for Exactly {
///     async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision> {
///         let is_about = |it: &&GivenRule| {
///             (&it.principal, it.action, &it.resource)
///                 == (&request.principal, request.action, &request.resource)
///         };
///         let mut rules = self.0.iter().filter(is_about).peekable();
///         let allowed = rules.peek().is_some() && rules.all(|it| !it.denies);
///         Ok(if allowed { Decision::Allow(vec![]) } else { Decision::Deny(vec![]) })
///     }
/// }
///
/// struct Mine;
///
/// impl AuthorizerHarness for Mine {
///     type Guard = ();
///
///     async fn with_rules(&self, rules: &[GivenRule]) -> (Arc<dyn Authorizer>, ()) {
///         (Arc::new(Exactly(rules.to_vec())), ())
///     }
/// }
/// ```
pub trait AuthorizerHarness: Send + Sync {
    /// What has to live as long as the authorizer.
    type Guard: Send + Sync;

    /// Makes an authorizer with these rules and no others.
    fn with_rules(
        &self,
        rules: &[GivenRule],
    ) -> impl Future<Output = (Arc<dyn Authorizer>, Self::Guard)> + Send;
}

/// A rule about exactly one principal, action and resource.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenRule {
    /// Whether it denies; else it allows.
    pub denies: bool,
    /// Whom it is about.
    pub principal: Principal,
    /// What it is about.
    pub action: Action,
    /// A service, on all hosts, or [`Resource::System`] for everything.
    pub resource: Resource,
}

const EXECUTE: Action = Action::HostExecute;

fn rule(denies: bool, who: &str, action: Action, resource: Resource) -> GivenRule {
    GivenRule { denies, principal: principal(who), action, resource }
}

fn service(text: &str) -> Resource {
    Resource::Service(name(text))
}

fn on_host(service: &str) -> Resource {
    Resource::Host(name("h1"), Some(name(service)))
}

async fn allows(
    authorizer: &Arc<dyn Authorizer>,
    who: &str,
    action: Action,
    what: &Resource,
) -> bool {
    let request = AccessRequest::new(principal(who), action, what.clone());
    matches!(authorizer.authorize(&request).await.unwrap(), Decision::Allow(_))
}

fn anything() -> [Resource; 5] {
    let repository = Resource::Repository(name("web"));
    [Resource::System, service("web"), on_host("web"), Resource::Host(name("h1"), None), repository]
}

/// > an authorizer without rules denies everything.
pub async fn without_rules_all_is_denied<H: AuthorizerHarness>(harness: &H) {
    let (authorizer, _guard) = harness.with_rules(&[]).await;
    for action in Action::ALL {
        for resource in anything() {
            assert!(
                !allows(&authorizer, "ann", action, &resource).await,
                "{action:?} on {resource}"
            );
        }
    }
}

/// > What no rule allows is denied
pub async fn what_no_rule_allows_is_denied<H: AuthorizerHarness>(harness: &H) {
    let rules =
        [rule(false, "ann", EXECUTE, service("web")), rule(true, "bob", EXECUTE, service("web"))];
    let (authorizer, _guard) = harness.with_rules(&rules).await;
    for resource in [service("web"), on_host("web")] {
        assert!(allows(&authorizer, "ann", EXECUTE, &resource).await, "{resource}");
    }
    let others = [
        ("cleo", EXECUTE, service("web")),
        ("ann", Action::ServiceWrite, service("web")),
        ("ann", EXECUTE, service("db")),
        ("ann", EXECUTE, on_host("db")),
        ("ann", EXECUTE, Resource::Host(name("h1"), None)),
        ("ann", EXECUTE, Resource::Repository(name("web"))),
        ("ann", EXECUTE, Resource::System),
        ("bob", EXECUTE, service("db")),
    ];
    for (who, action, resource) in others {
        assert!(!allows(&authorizer, who, action, &resource).await, "{who} {action:?} {resource}");
    }
}

/// > A rule that denies wins over any number of rules that allow.
pub async fn a_rule_that_denies_wins<H: AuthorizerHarness>(harness: &H) {
    let allow = [
        rule(false, "ann", EXECUTE, Resource::System),
        rule(false, "ann", EXECUTE, service("web")),
        rule(false, "ann", EXECUTE, service("db")),
    ];
    let deny = rule(true, "ann", EXECUTE, service("web"));
    for at in 0..=allow.len() {
        let mut rules = allow.to_vec();
        rules.insert(at, deny.clone());
        let (authorizer, _guard) = harness.with_rules(&rules).await;
        for resource in [service("web"), on_host("web")] {
            assert!(!allows(&authorizer, "ann", EXECUTE, &resource).await, "{resource}, rule {at}");
        }
        assert!(allows(&authorizer, "ann", EXECUTE, &service("db")).await);
    }
}

/// > A rule that denies wins over any number of rules that allow.
///
/// A permit for everything covers the part that is denied, so there must be none.
pub async fn a_rule_that_denies_a_part_denies_the_whole<H: AuthorizerHarness>(harness: &H) {
    let rules =
        [rule(false, "ann", EXECUTE, Resource::System), rule(true, "ann", EXECUTE, service("web"))];
    let (authorizer, _guard) = harness.with_rules(&rules).await;
    assert!(!allows(&authorizer, "ann", EXECUTE, &Resource::System).await);
    assert!(allows(&authorizer, "ann", EXECUTE, &Resource::Host(name("h1"), None)).await);
}

/// > The same request under the same rules gets the same answer.
pub async fn the_answer_does_not_change<H: AuthorizerHarness>(harness: &H) {
    let rules =
        [rule(false, "ann", EXECUTE, service("web")), rule(false, "ann", EXECUTE, service("db"))];
    let (one, _guard) = harness.with_rules(&rules).await;
    let (two, _guard) = harness.with_rules(&rules).await;
    for who in ["ann", "bob"] {
        let request = AccessRequest::new(principal(who), EXECUTE, service("web"));
        let answer = one.authorize(&request).await.unwrap();
        for authorizer in [&one, &one, &two] {
            assert_eq!(authorizer.authorize(&request).await.unwrap(), answer);
        }
    }
}

/// > An error is not an answer: the caller denies.
pub async fn an_error_is_a_denial<H: AuthorizerHarness>(harness: &H) {
    let (authorizer, _guard) =
        harness.with_rules(&[rule(false, "ann", EXECUTE, Resource::System)]).await;
    let permit = authorize(&*authorizer, principal("ann"), EXECUTE, service("web")).await.unwrap();
    assert!(permit.covers(EXECUTE, &service("web")) && !permit.covers(EXECUTE, &service("db")));
    let torn = Torn(authorizer);
    let none = authorize(&torn, principal("ann"), EXECUTE, service("web")).await;
    assert!(matches!(none, Err(AccessError::Unchecked(_))), "{none:?}");
}

/// An authorizer whose answer is lost on the way.
#[derive(Debug)]
struct Torn(Arc<dyn Authorizer>);

#[async_trait]
impl Authorizer for Torn {
    async fn authorize(&self, request: &AccessRequest) -> BackendResult<Decision> {
        let _lost = self.0.authorize(request).await?;
        Err(BackendError::new(ErrorKind::Unavailable, "access.authorize"))
    }
}

/// One test for each case of [`Authorizer`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! authorizer_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::authorizer_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            authorizer, $harness;
            without_rules_all_is_denied
            what_no_rule_allows_is_denied
            a_rule_that_denies_wins
            a_rule_that_denies_a_part_denies_the_whole
            the_answer_does_not_change
            an_error_is_a_denial
        }
    };
}
