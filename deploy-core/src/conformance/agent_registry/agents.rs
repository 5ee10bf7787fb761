use super::{agent, create, decide, enrolled, key, may, token, wish};
use crate::{
    access::{Action, Resource},
    agent::{AgentFacts, AgentState},
    backend::AgentRegistry,
    conformance::{
        Harness, permit, refused,
        sample::{at, name},
    },
    error::ErrorKind,
    id::HostName,
};

/// > `decide` sets the state, with a reason.
pub async fn a_person_decides<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    for state in [AgentState::Revoked, AgentState::Quarantined, AgentState::Revoked] {
        let decided = decide(&registry, "h1", state).await;
        assert_eq!((decided.state, decided.reason.as_str()), (state, "a person said so"));
        assert_eq!(agent(&registry, "h1").await, decided);
    }
    let decided = decide(&registry, "h1", AgentState::Active).await;
    assert_eq!((decided.state, decided.reason.as_str()), (AgentState::Active, ""));
    assert_eq!(registry.identify(&key("h1")).await.unwrap(), decided);
}

/// > `kept_out` gives the hosts of all agents that are quarantined or revoked, in the order of their names.
pub async fn who_is_kept_out_is_known<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    for host in ["h2", "h1", "h3", "h4"] {
        enrolled(&registry, host).await;
    }
    assert_eq!(registry.kept_out().await.unwrap(), Vec::<HostName>::new());
    decide(&registry, "h2", AgentState::Revoked).await;
    decide(&registry, "h1", AgentState::Quarantined).await;
    // A boot that comes back.
    for boot in ["boot-1", "boot-2"] {
        registry.arrive(&name("h4"), &name(boot), at(200)).await.unwrap();
    }
    let copy = registry.arrive(&name("h4"), &name("boot-1"), at(200)).await;
    refused(copy, ErrorKind::PermissionDenied);
    let kept_out: Vec<HostName> = ["h1", "h2", "h4"].map(name).to_vec();
    assert_eq!(registry.kept_out().await.unwrap(), kept_out);
    decide(&registry, "h2", AgentState::Active).await;
    registry.remove(&may().await, &name("h1")).await.unwrap();
    assert_eq!(registry.kept_out().await.unwrap(), [name("h4")]);
}

/// > `agents` gives agents in the order of their hosts, after the host given, and no more than asked for.
pub async fn agents_are_paged_in_order<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    create(&registry, "t1", 10).await;
    for host in ["d", "B", "a-b", "c", "a"] {
        registry.enroll(&wish("t1", host)).await.unwrap();
    }
    decide(&registry, "c", AgentState::Revoked).await;
    let page = async |after: Option<&str>, limit| {
        let after = after.map(name::<HostName>);
        let page = registry.agents(after.as_ref(), limit).await.unwrap();
        page.into_iter().map(|it| it.host.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["B", "a", "a-b", "c", "d"]);
    assert_eq!(page(None, 2).await, ["B", "a"]);
    assert_eq!(page(Some("a"), 2).await, ["a-b", "c"]);
    assert_eq!(page(Some("bb"), 9).await, ["c", "d"]);
    assert_eq!(page(Some("d"), 9).await, Vec::<String>::new());
}

/// > A host without agent is `NotFound`, from `agent`, `arrive`, `hear`, `describe`, `decide` and `remove` alike.
pub async fn a_host_without_agent_is_not_found<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    let (host, may) = (name("h2"), may().await);
    refused(registry.agent(&host).await, ErrorKind::NotFound);
    refused(registry.arrive(&host, &name("boot-1"), at(200)).await, ErrorKind::NotFound);
    refused(registry.hear(&host, at(200)).await, ErrorKind::NotFound);
    refused(registry.describe(&host, &AgentFacts::default()).await, ErrorKind::NotFound);
    let decided = registry.decide(&may, &host, AgentState::Revoked, "").await;
    refused(decided, ErrorKind::NotFound);
    refused(registry.remove(&may, &host).await, ErrorKind::NotFound);
}

/// > `remove` forgets an agent, its keys and its machine: they are as unknown ones.
pub async fn a_removed_agent_is_unknown<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    registry.remove(&may().await, &name("h1")).await.unwrap();
    refused(registry.agent(&name("h1")).await, ErrorKind::NotFound);
    refused(registry.identify(&key("h1")).await, ErrorKind::Unauthenticated);
    assert_eq!(registry.agents(None, 10).await.unwrap(), []);
    create(&registry, "t2", 1).await;
    let mut anew = wish("t2", "h1");
    anew.host = name("another-name");
    let made = registry.enroll(&anew).await.unwrap();
    assert_eq!((made.host.as_str(), made.former_keys), ("another-name", vec![]));
}

/// > A permit for another action than `HostEnroll` is `PermissionDenied`: on the host from `decide` and `remove`, on everything from `create_join_token` and `revoke_join_token`.
pub async fn deciding_takes_a_permit<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let there = enrolled(&registry, "h1").await;
    create(&registry, "t1", 1).await;
    let on_host = Resource::Host(name("h1"), None);
    let other_host = Resource::Host(name("h2"), None);
    for wrong in [
        permit(Action::HostWrite, Resource::System).await,
        permit(Action::HostEnroll, other_host).await,
    ] {
        let decided = registry.decide(&wrong, &name("h1"), AgentState::Revoked, "").await;
        refused(decided, ErrorKind::PermissionDenied);
        refused(registry.remove(&wrong, &name("h1")).await, ErrorKind::PermissionDenied);
        let created = registry.create_join_token(&wrong, &token("t2", 1)).await;
        refused(created, ErrorKind::PermissionDenied);
        let revoked = registry.revoke_join_token(&wrong, &name("t1"), at(150)).await;
        refused(revoked, ErrorKind::PermissionDenied);
    }
    assert_eq!(agent(&registry, "h1").await, there);
    assert!(registry.join_tokens(None, 10).await.unwrap().iter().all(|it| it.revoked_at.is_none()));
    let right = permit(Action::HostEnroll, on_host).await;
    let created = registry.create_join_token(&right, &token("t2", 1)).await;
    refused(created, ErrorKind::PermissionDenied);
    registry.decide(&right, &name("h1"), AgentState::Revoked, "").await.unwrap();
    registry.remove(&right, &name("h1")).await.unwrap();
}
