use super::{Registry, create, labels, may, secret, token, wish};
use crate::{
    backend::{AgentRegistry, JoinGrant},
    conformance::{
        ConcurrentHarness, Harness, refused,
        sample::{at, name, principal},
    },
    error::ErrorKind,
    id::TokenId,
};

async fn only(registry: &Registry) -> JoinGrant {
    let [grant] = registry.join_tokens(None, 10).await.unwrap().try_into().unwrap();
    grant
}

/// > `create_join_token` keeps a join token, made by whom the permit is for
pub async fn a_join_token_is_kept_as_it_was_made<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let made = create(&registry, "t1", 20).await;
    assert_eq!(made, JoinGrant::new(&token("t1", 20), principal("kit")));
    assert_eq!((made.uses.get(), made.used, &made.labels), (20, 0, &labels("t1")));
    assert_eq!(only(&registry).await, made);
}

/// > an id that was ever used is `AlreadyExists`
pub async fn the_id_of_a_join_token_is_used_once<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let made = create(&registry, "t1", 1).await;
    let mut again = token("t1", 5);
    again.secret = secret("other");
    let refusal = registry.create_join_token(&may().await, &again).await;
    refused(refusal, ErrorKind::AlreadyExists);
    assert_eq!(only(&registry).await, made);
    registry.enroll(&wish("t1", "h1")).await.unwrap();
    let refusal = registry.create_join_token(&may().await, &again).await;
    refused(refusal, ErrorKind::AlreadyExists);
}

/// > a token that is worth nothing from the start is `InvalidInput`.
pub async fn a_join_token_lives_at_all<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    for seconds in [99, 100] {
        let mut never = token("t1", 1);
        never.expires_at = at(seconds);
        let refusal = registry.create_join_token(&may().await, &never).await;
        refused(refusal, ErrorKind::InvalidInput);
    }
    assert_eq!(registry.join_tokens(None, 10).await.unwrap(), []);
}

/// > `join_tokens` gives join tokens in the order of their ids, after the id given, no more than asked for, and also those worth nothing.
pub async fn join_tokens_are_paged_in_order<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    for id in ["d", "b", "c", "a"] {
        create(&registry, id, 1).await;
    }
    registry.revoke_join_token(&may().await, &name("c"), at(150)).await.unwrap();
    registry.enroll(&wish("b", "h1")).await.unwrap();
    let page = async |after: Option<&str>, limit| {
        let after = after.map(name::<TokenId>);
        let page = registry.join_tokens(after.as_ref(), limit).await.unwrap();
        page.into_iter().map(|it| it.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["a", "b", "c", "d"]);
    assert_eq!(page(None, 2).await, ["a", "b"]);
    assert_eq!(page(Some("b"), 2).await, ["c", "d"]);
    assert_eq!(page(Some("bb"), 1).await, ["c"]);
    assert_eq!(page(Some("d"), 9).await, Vec::<String>::new());
}

/// > `revoke_join_token` keeps the first instant: doing it again is no error. An unknown id is `NotFound`.
pub async fn the_first_revocation_of_a_join_token_counts<H: Harness<dyn AgentRegistry>>(
    harness: &H,
) {
    let (registry, _guard) = harness.fresh().await;
    let unknown = registry.revoke_join_token(&may().await, &name("t1"), at(150)).await;
    refused(unknown, ErrorKind::NotFound);
    create(&registry, "t1", 1).await;
    for seconds in [150, 160] {
        registry.revoke_join_token(&may().await, &name("t1"), at(seconds)).await.unwrap();
        assert_eq!(only(&registry).await.revoked_at, Some(at(150)));
    }
}

/// > from then on and wherever it is used.
pub async fn a_revoked_join_token_lets_nobody_in_anywhere<
    H: ConcurrentHarness<dyn AgentRegistry>,
>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    create(&one, "t1", 5).await;
    two.enroll(&wish("t1", "h1")).await.unwrap();
    one.revoke_join_token(&may().await, &name("t1"), at(150)).await.unwrap();
    for registry in [&two, &one] {
        refused(registry.enroll(&wish("t1", "h2")).await, ErrorKind::Unauthenticated);
    }
}
