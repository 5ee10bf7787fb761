use super::{Registry, agent, create, decide, enrolled, key, labels, may, used, wish};
use crate::{
    agent::{Agent, AgentState},
    backend::{AgentRegistry, CreateJoinToken},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness, race, refused,
        sample::{at, name},
    },
    error::{BackendError, BackendResult, ErrorKind},
};
use std::sync::Arc;

/// > `enroll` uses a join token once, and gives an active agent with the token's labels and the name that it wants.
pub async fn enrolling_uses_a_token_once<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    create(&registry, "t1", 3).await;
    for (count, host) in [(1, "h1"), (2, "h2")] {
        let wish = wish("t1", host);
        let made = registry.enroll(&wish).await.unwrap();
        let machine = wish.natural_key.clone();
        let expected =
            Agent::new(name(host), machine, key(host), labels("t1"), name("t1"), at(200));
        assert_eq!(made, expected);
        assert_eq!(agent(&registry, host).await, made);
        assert_eq!(used(&registry, "t1").await, count);
    }
}

/// > A wrong secret is `Unauthenticated`, and told in the same words as an unknown id.
pub async fn a_wrong_join_secret_is_told_like_an_unknown_id<H: Harness<dyn AgentRegistry>>(
    harness: &H,
) {
    let (registry, _guard) = harness.fresh().await;
    create(&registry, "t1", 1).await;
    let tell = |result: BackendResult<Agent>, id: &str| {
        let err: BackendError = result.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Unauthenticated, "{}", err.chain());
        err.chain().replace(id, "ID")
    };
    let mut wrong = wish("t1", "h1");
    wrong.secret = super::secret("t2");
    let mut unknown = wish("t9", "h1");
    unknown.secret = super::secret("t2");
    let unknown = tell(registry.enroll(&unknown).await, "t9");
    assert_eq!(tell(registry.enroll(&wrong).await, "t1"), unknown);
    registry.enroll(&wish("t1", "h1")).await.unwrap();
    assert_eq!(tell(registry.enroll(&wrong).await, "t1"), unknown, "of a token that is used up");
}

/// > A join token that has expired, was revoked or is used up is `Unauthenticated`
pub async fn a_join_token_that_is_worth_nothing_lets_nobody_in<H: Harness<dyn AgentRegistry>>(
    harness: &H,
) {
    let (registry, _guard) = harness.fresh().await;
    for id in ["expired", "revoked", "usedup"] {
        create(&registry, id, 1).await;
    }
    let mut late = wish("expired", "h1");
    for seconds in [1_000, 2_000] {
        late.now = at(seconds);
        refused(registry.enroll(&late).await, ErrorKind::Unauthenticated);
    }
    late.now = at(999);
    registry.enroll(&late).await.unwrap();
    registry.revoke_join_token(&may().await, &name("revoked"), at(150)).await.unwrap();
    refused(registry.enroll(&wish("revoked", "h2")).await, ErrorKind::Unauthenticated);
    registry.enroll(&wish("usedup", "h3")).await.unwrap();
    refused(registry.enroll(&wish("usedup", "h4")).await, ErrorKind::Unauthenticated);
}

/// > A machine that comes as a relay by a join token whose labels are not those of one, `role=relay` and a `zone`, is `Unauthenticated`
pub async fn relays_need_a_join_token_for_relays<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let as_relay = |id: &str| {
        let mut relay = wish(id, "fra1");
        relay.natural_key = name("instance/relay/machine/fra1");
        relay
    };
    let some: [(&str, &[(&str, &str)]); 4] = [
        ("plain", &[]),
        ("web", &[("role", "web"), ("zone", "fra")]),
        ("nowhere", &[("role", "relay")]),
        ("relay", &[("role", "relay"), ("zone", "fra")]),
    ];
    for (id, labels) in some {
        let labels = labels.iter().map(|(key, value)| (name(key), name(value))).collect();
        let token = CreateJoinToken::new(name(id), super::secret(id), at(100), at(1_000));
        let made = registry.create_join_token(&may().await, &token.with_labels(labels)).await;
        made.unwrap();
    }
    let relay = registry.enroll(&as_relay("relay")).await.unwrap();
    assert!(relay.is_relay());
    for id in ["plain", "web", "nowhere"] {
        let mut again = as_relay(id);
        again.key = key("another");
        refused(registry.enroll(&again).await, ErrorKind::Unauthenticated);
        assert_eq!(used(&registry, id).await, 0);
    }
    let known = registry.agent(&relay.host).await.unwrap();
    assert_eq!(known, relay, "the one that is there goes on");
}

/// > Of any number of hosts that use a join token at once, as many are enrolled as it has uses.
pub async fn as_many_are_enrolled_as_a_token_has_uses<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enroll_at_once(&vec![registry; 16]).await;
}

async fn enroll_at_once(handles: &[Registry]) {
    let registry = handles.first().unwrap();
    for (id, uses) in [("once", 1), ("thrice", 3)] {
        create(registry, id, uses).await;
        let hosts = handles.iter().enumerate().map(|(at, registry)| {
            let registry = Arc::clone(registry);
            async move { registry.enroll(&wish(id, &format!("{id}-{at}"))).await }
        });
        let done = race(hosts).await;
        let enrolled = done.iter().filter(|it| it.is_ok()).count();
        for err in done.into_iter().filter_map(Result::err) {
            assert_eq!(err.kind(), ErrorKind::Unauthenticated, "{}", err.chain());
        }
        assert_eq!(enrolled, uses as usize, "{enrolled} hosts were enrolled");
        for registry in handles {
            let agents = registry.agents(None, 100).await.unwrap();
            let let_in = agents.iter().filter(|it| it.enrolled_with.as_str() == id).count();
            assert_eq!((let_in, used(registry, id).await), (enrolled, uses));
        }
    }
}

/// > `enroll` again with the same key, machine and join token gives the same agent, and uses nothing: the answer was lost.
pub async fn enrolling_again_is_the_same_enrolment<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    create(&registry, "t1", 2).await;
    let wish = wish("t1", "h1");
    let made = registry.enroll(&wish).await.unwrap();
    for _ in 0..3 {
        assert_eq!(registry.enroll(&wish).await.unwrap(), made);
    }
    assert_eq!(used(&registry, "t1").await, 1);
    create(&registry, "t2", 1).await;
    let last = super::wish("t2", "h2");
    let made = registry.enroll(&last).await.unwrap();
    assert_eq!(registry.enroll(&last).await.unwrap(), made, "its token is used up by itself");
}

/// > `enroll` of a machine that is known finds its agent: the name stays, and the new key supersedes the old.
pub async fn a_machine_installed_anew_finds_its_agent<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    create(&registry, "t2", 1).await;
    let mut anew = wish("t2", "another-name");
    anew.natural_key = wish("t2", "h1").natural_key;
    anew.now = at(300);
    let found = registry.enroll(&anew).await.unwrap();
    assert_eq!((found.host.as_str(), found.key.fingerprint), ("h1", key("another-name")));
    assert_eq!((&found.labels, found.enrolled_at), (&labels("t2"), at(300)));
    assert_eq!(registry.identify(&key("another-name")).await.unwrap().host.as_str(), "h1");
    assert_eq!(registry.agents(None, 10).await.unwrap(), [found]);
    refused(registry.identify(&key("h1")).await, ErrorKind::PermissionDenied);
}

/// > If that agent is not active it is `PermissionDenied`.
pub async fn who_is_kept_out_cannot_enroll_anew<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    create(&registry, "t2", 5).await;
    let mut anew = wish("t2", "h1");
    anew.key = key("new");
    for state in [AgentState::Revoked, AgentState::Quarantined] {
        decide(&registry, "h1", state).await;
        refused(registry.enroll(&anew).await, ErrorKind::PermissionDenied);
        let again = registry.enroll(&wish("forh1", "h1")).await;
        refused(again, ErrorKind::PermissionDenied);
        assert_eq!(agent(&registry, "h1").await.state, state);
    }
    assert_eq!(used(&registry, "t2").await, 0);
    decide(&registry, "h1", AgentState::Active).await;
    registry.enroll(&anew).await.unwrap();
}

/// > `enroll` with the name of another machine, or with a key that is or was an agent's, is `AlreadyExists`.
pub async fn names_and_keys_are_of_one_agent<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    create(&registry, "t2", 5).await;
    let mut same_name = wish("t2", "h2");
    same_name.host = name("h1");
    refused(registry.enroll(&same_name).await, ErrorKind::AlreadyExists);
    let mut same_key = wish("t2", "h2");
    same_key.key = key("h1");
    refused(registry.enroll(&same_key).await, ErrorKind::AlreadyExists);
    let mut anew = wish("t2", "h1");
    anew.key = key("new");
    registry.enroll(&anew).await.unwrap();
    refused(registry.enroll(&same_key).await, ErrorKind::AlreadyExists);
    assert_eq!(registry.agents(None, 10).await.unwrap().len(), 1);
}

/// > A refused `enroll` changes nothing, and uses nothing.
pub async fn a_refused_enrolment_changes_nothing<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let there = enrolled(&registry, "h1").await;
    create(&registry, "t2", 5).await;
    let mut wrong_secret = wish("t2", "h1");
    wrong_secret.secret = super::secret("t3");
    wrong_secret.key = key("new");
    let mut same_name = wish("t2", "h2");
    same_name.host = name("h1");
    let mut same_key = wish("t2", "h2");
    same_key.key = key("h1");
    let mut late = wish("t2", "h3");
    late.now = at(1_000);
    for wish in [&wrong_secret, &same_name, &same_key, &late] {
        registry.enroll(wish).await.unwrap_err();
    }
    assert_eq!(registry.agents(None, 10).await.unwrap(), [there]);
    assert_eq!(used(&registry, "t2").await, 0);
    refused(registry.identify(&key("new")).await, ErrorKind::Unauthenticated);
    registry.enroll(&wish("t2", "h2")).await.unwrap();
}

/// > `enroll` uses a join token once
pub async fn agents_and_uses_survive_a_crash<H: DurableHarness<dyn AgentRegistry>>(harness: &H) {
    let (registry, guard) = harness.fresh().await;
    create(&registry, "t1", 2).await;
    let made = registry.enroll(&wish("t1", "h1")).await.unwrap();
    enrolled(&registry, "h2").await;
    decide(&registry, "h2", AgentState::Revoked).await;
    let registry = harness.reopen(registry, &guard).await;
    assert_eq!(registry.identify(&key("h1")).await.unwrap(), made);
    refused(registry.identify(&key("h2")).await, ErrorKind::PermissionDenied);
    assert_eq!(used(&registry, "t1").await, 1);
    registry.enroll(&wish("t1", "h3")).await.unwrap();
    refused(registry.enroll(&wish("t1", "h4")).await, ErrorKind::Unauthenticated);
}

/// > Of any number of hosts that use a join token at once, as many are enrolled as it has uses.
pub async fn two_processes_enroll_as_many_as_a_token_has_uses<
    H: ConcurrentHarness<dyn AgentRegistry>,
>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    let handles: Vec<_> = (0..8).flat_map(|_| [&one, &two]).map(Arc::clone).collect();
    enroll_at_once(&handles).await;
}
