//! What tokens look like, and what they may be used for.
#![cfg(feature = "conformance")]
use deploy_core::{
    access::{Action, Resource},
    backend::{AccessError, HostInventory as _, authorize},
    conformance::{permit, sample},
    digest::Digest,
    host::Labels,
    id::TokenId,
    layer::ScopedAuthorizer,
    memory::{MemoryAuthorizer, MemoryHostInventory, Rule},
    token::{ApiToken, JoinToken, TokenScope, TokenSecret},
};
use proptest::prelude::*;
use std::sync::Arc;

fn api(id: u64, secret: [u8; 32]) -> ApiToken {
    ApiToken::new(TokenId::from_bits(id), TokenSecret::from_bytes(secret))
}

proptest! {
    #[test]
    fn a_token_is_read_as_it_was_written(id: u64, secret: [u8; 32], authority: [u8; 32]) {
        let token = api(id, secret);
        let read: ApiToken = token.reveal().parse().unwrap();
        prop_assert_eq!(&read.id, &token.id);
        prop_assert!(read.secret.hash().matches(&token.secret.hash()));

        let join = JoinToken::new(token.id, token.secret, Digest::from_bytes(authority));
        let read: JoinToken = join.reveal().parse().unwrap();
        prop_assert_eq!((&read.id, read.authority), (&join.id, join.authority));
        prop_assert!(read.secret.hash().matches(&join.secret.hash()));
        prop_assert!(join.reveal().parse::<ApiToken>().is_err());
    }

    #[test]
    fn a_token_with_a_slip_in_it_is_another_or_none(secret: [u8; 32], at in 0_usize..85, to in "[ -~]") {
        let text = api(7, secret).reveal();
        let mut slipped = text.clone();
        slipped.replace_range(at..=at, &to);
        prop_assume!(slipped != text);
        if let Ok(other) = slipped.parse::<ApiToken>() {
            prop_assert_eq!(other.reveal(), slipped, "two texts are one token");
        }
    }

    #[test]
    fn an_error_does_not_repeat_what_may_be_a_secret(text in "(dplj?_)?[a-z0-9_]{6,200}") {
        let told = [
            text.parse::<ApiToken>().err().map(|err| format!("{err} {err:?}")),
            text.parse::<JoinToken>().err().map(|err| format!("{err} {err:?}")),
        ];
        let secret = text.rsplit('_').next().unwrap();
        for told in told.into_iter().flatten().filter(|_| secret.len() > 8) {
            prop_assert!(!told.contains(secret), "{told}");
        }
    }

    #[test]
    fn no_text_is_too_odd(text: String) {
        let _refused = (text.parse::<ApiToken>().is_err(), text.parse::<JoinToken>().is_err());
    }

    #[test]
    fn hashes_match_if_secrets_do(one: [u8; 32], bit in 0_usize..256) {
        let mut other = one;
        other[bit / 8] ^= 1 << (bit % 8);
        let hash = |bits| TokenSecret::from_bytes(bits).hash();
        prop_assert!(hash(one).matches(&hash(one)));
        prop_assert!(!hash(one).matches(&hash(other)));
    }
}

#[test]
fn no_debug_output_holds_a_secret() {
    let token = api(7, [0xab; 32]);
    let join = JoinToken::new(token.id.clone(), token.secret.clone(), Digest::of(b"ca"));
    for told in [format!("{token:?}"), format!("{join:?}"), format!("{:?}", token.secret.hash())] {
        assert!(!told.contains("abab") && !told.contains("171"), "{told}");
    }
}

#[test]
fn a_scope_is_about_all_of_a_resource() {
    let service = |name: &str| Resource::Service(sample::name(name));
    let on = |name: &str, service: Option<&str>| {
        Resource::Host(sample::name(name), service.map(sample::name))
    };
    let mut host = sample::host("a1");
    host.labels = Labels::from([(sample::name("zone"), sample::name("a"))]);
    let everything = TokenScope::new([Action::HostExecute]);
    let web = everything.clone().with_services([sample::name("web")]);
    let zone = everything.clone().with_hosts(sample::name("zone=a"));
    let both = web.clone().with_hosts(sample::name("zone=a"));
    for (resource, expected) in [
        (Resource::System, [true, false, false, false]),
        (service("web"), [true, true, false, false]),
        (service("db"), [true, false, false, false]),
        (on("a1", None), [true, false, true, false]),
        (on("a1", Some("web")), [true, true, true, true]),
        (on("a1", Some("db")), [true, false, true, false]),
        (on("b1", Some("web")), [true, true, false, false]),
        (Resource::Repository(sample::name("web")), [true, true, false, false]),
        (Resource::Repository(sample::name("db")), [true, false, false, false]),
    ] {
        let scopes = [&everything, &web, &zone, &both];
        let allowed = scopes.map(|it| it.allows(Action::HostExecute, &resource, Some(&host)));
        assert_eq!(allowed, expected, "{resource}");
        assert!(scopes.iter().all(|it| !it.allows(Action::HostWrite, &resource, Some(&host))));
    }
    assert!(!zone.allows(Action::HostExecute, &on("a1", None), None), "nobody knows its labels");
}

#[tokio::test]
async fn a_token_gives_no_more_than_the_rules_and_no_more_than_its_scope() {
    let inventory = MemoryHostInventory::new();
    let mut host = sample::host("a1");
    host.labels = Labels::from([(sample::name("zone"), sample::name("a"))]);
    let put = permit(Action::HostWrite, Resource::System).await;
    inventory.put(&put, host, deploy_core::backend::Expect::Absent).await.unwrap();
    let rules =
        MemoryAuthorizer::new(vec![Rule::allow(sample::name("ann"), [Action::HostExecute])]);
    let scope = TokenScope::new([Action::HostExecute, Action::HostWrite]);
    let scope = scope.with_hosts(sample::name("zone=a"));
    let authorizer = ScopedAuthorizer::new(Arc::new(rules), scope, Arc::new(inventory));
    for (who, action, host, expected) in [
        ("ann", Action::HostExecute, "a1", Ok(())),
        ("ann", Action::HostExecute, "b1", Err("it is not within the scope of the token")),
        ("ann", Action::HostWrite, "a1", Err("no rule allows it")),
        ("bob", Action::HostExecute, "a1", Err("no rule allows it")),
    ] {
        let resource = Resource::Host(sample::name(host), None);
        let done = authorize(&authorizer, sample::principal(who), action, resource).await;
        match (done, expected) {
            (Ok(_), Ok(())) => {}
            (Err(err @ AccessError::Denied { .. }), Err(why)) => {
                assert!(err.to_string().ends_with(why), "{err}");
            }
            (done, expected) => panic!("{done:?} where {expected:?} was due"),
        }
    }
}
