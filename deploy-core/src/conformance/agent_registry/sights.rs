use super::{agent, decide, enrolled, key};
use crate::{
    agent::{AgentFacts, AgentState},
    backend::AgentRegistry,
    conformance::{
        Harness, refused,
        sample::{at, name},
    },
    error::ErrorKind,
};

/// > `arrive` notes the boot. One that was over and comes back quarantines the agent and is `PermissionDenied`.
pub async fn a_boot_that_comes_back_is_a_second_machine<H: Harness<dyn AgentRegistry>>(
    harness: &H,
) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    let host = name("h1");
    for boot in ["boot-1", "boot-1", "boot-2", "boot-3", "boot-3"] {
        let there = registry.arrive(&host, &name(boot), at(200)).await.unwrap();
        assert_eq!((there.boot, there.state), (Some(name(boot)), AgentState::Active));
    }
    let copy = registry.arrive(&host, &name("boot-1"), at(200)).await;
    refused(copy, ErrorKind::PermissionDenied);
    let there = agent(&registry, "h1").await;
    assert_eq!((there.state, there.boot), (AgentState::Quarantined, Some(name("boot-3"))));
    assert!(!there.reason.is_empty());
    let original = registry.arrive(&host, &name("boot-3"), at(200)).await;
    refused(original, ErrorKind::PermissionDenied);
    refused(registry.identify(&key("h1")).await, ErrorKind::PermissionDenied);
    decide(&registry, "h1", AgentState::Active).await;
    registry.arrive(&host, &name("boot-1"), at(300)).await.unwrap();
}

/// > `arrive` and `hear` note when an agent was seen. A sight within five minutes after the noted one is not noted.
pub async fn sights_are_noted<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    assert_eq!(enrolled(&registry, "h1").await.last_seen_at, None);
    let host = name("h1");
    for (seconds, noted) in [(200, 200), (499, 200), (100, 200), (500, 500), (9_000, 9_000)] {
        registry.hear(&host, at(seconds)).await.unwrap();
        let seen = agent(&registry, "h1").await.last_seen_at;
        assert_eq!(seen, Some(at(noted)), "after a sight at {seconds} s");
    }
    for (seconds, noted) in [(9_100, 9_000), (9_300, 9_300)] {
        let there = registry.arrive(&host, &name("boot-1"), at(seconds)).await.unwrap();
        assert_eq!(there.last_seen_at, Some(at(noted)), "after it came at {seconds} s");
        assert_eq!(agent(&registry, "h1").await, there);
    }
}

/// > `describe` notes what a host says of itself, in place of what it said before.
pub async fn what_a_host_says_of_itself_is_kept<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    assert_eq!(enrolled(&registry, "h1").await.facts, AgentFacts::default());
    let host = name("h1");
    for version in ["1.0.0", "1.1.0", "1.1.0"] {
        let mut facts = AgentFacts::default();
        version.clone_into(&mut facts.agent_version);
        (facts.cpus, facts.addresses) = (4, vec!["192.0.2.1".to_owned()]);
        registry.describe(&host, &facts).await.unwrap();
        assert_eq!(agent(&registry, "h1").await.facts, facts);
        assert_eq!(registry.arrive(&host, &name("boot-1"), at(200)).await.unwrap().facts, facts);
    }
}
