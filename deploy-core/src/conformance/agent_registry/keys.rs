use super::{Registry, agent, create, decide, enrolled, key, wish};
use crate::{
    agent::{Agent, AgentFacts, AgentState, Certificate},
    backend::{AgentRegistry, CertifyAgent},
    conformance::{
        ConcurrentHarness, Harness, refused,
        sample::{at, name},
    },
    error::{BackendResult, ErrorKind},
};

/// The certificate `serial` for the key `of`, asked for with the key `holder`.
async fn certify(
    registry: &Registry,
    holder: &str,
    of: &str,
    serial: &str,
) -> BackendResult<Agent> {
    let certificate = Certificate::new(serial, at(90_000));
    registry.certify(&CertifyAgent::new(key(holder), key(of), certificate)).await
}

async fn who(registry: &Registry, of: &str) -> String {
    registry.identify(&key(of)).await.unwrap().host.to_string()
}

/// > `identify` gives the agent whose key it is; an unknown key is `Unauthenticated`.
pub async fn a_key_says_who_it_is<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    refused(registry.identify(&key("h1")).await, ErrorKind::Unauthenticated);
    for host in ["h1", "h2"] {
        let made = enrolled(&registry, host).await;
        assert_eq!(registry.identify(&key(host)).await.unwrap(), made);
    }
    refused(registry.identify(&key("h3")).await, ErrorKind::Unauthenticated);
}

/// > `certify` notes the certificate of a key.
pub async fn a_certificate_is_noted<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    for serial in ["01", "02"] {
        certify(&registry, "h1", "h1", serial).await.unwrap();
        let there = agent(&registry, "h1").await;
        assert_eq!(there.key.certificate, Some(Certificate::new(serial, at(90_000))));
        assert_eq!((there.key.fingerprint, there.next_key), (key("h1"), None));
    }
    refused(certify(&registry, "h2", "h2", "03").await, ErrorKind::Unauthenticated);
}

/// > Another key than the agent has becomes its next one, and both are its own until `identify` is given the next: that supersedes the other.
pub async fn the_next_key_supersedes_the_one_before<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    for serial in ["02", "03"] {
        let certified = certify(&registry, "h1", "new", serial).await.unwrap();
        assert_eq!(certified.key.fingerprint, key("h1"));
        let next = certified.next_key.unwrap();
        assert_eq!(next.certificate, Some(Certificate::new(serial, at(90_000))));
    }
    assert_eq!(who(&registry, "h1").await, "h1", "until the next key is seen");
    assert_eq!(who(&registry, "new").await, "h1");
    let there = agent(&registry, "h1").await;
    assert_eq!((there.key.fingerprint, there.next_key), (key("new"), None));
    assert_eq!(there.key.certificate, Some(Certificate::new("03", at(90_000))));
    certify(&registry, "new", "newer", "04").await.unwrap();
    assert_eq!(who(&registry, "newer").await, "h1");
    refused(registry.identify(&key("h1")).await, ErrorKind::PermissionDenied);
}

/// > `certify` for a key that was superseded, or is another agent's, is `AlreadyExists`.
pub async fn a_key_is_certified_for_one_agent<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    for host in ["h1", "h2"] {
        enrolled(&registry, host).await;
    }
    refused(certify(&registry, "h1", "h2", "01").await, ErrorKind::AlreadyExists);
    certify(&registry, "h1", "new", "02").await.unwrap();
    refused(certify(&registry, "h2", "new", "03").await, ErrorKind::AlreadyExists);
    who(&registry, "new").await;
    refused(certify(&registry, "new", "h1", "04").await, ErrorKind::AlreadyExists);
    for (of, host) in [("new", "h1"), ("h2", "h2")] {
        assert_eq!(who(&registry, of).await, host);
    }
}

/// > A superseded key that comes back, to `identify` or `certify`, quarantines the agent and is `PermissionDenied`.
pub async fn a_superseded_key_that_comes_back_is_a_second_machine<H: Harness<dyn AgentRegistry>>(
    harness: &H,
) {
    let (registry, _guard) = harness.fresh().await;
    for host in ["h1", "h2", "h3", "h4"] {
        enrolled(&registry, host).await;
    }
    for host in ["h1", "h2"] {
        let new = format!("new-{host}");
        certify(&registry, host, &new, "02").await.unwrap();
        who(&registry, &new).await;
    }
    refused(registry.identify(&key("h1")).await, ErrorKind::PermissionDenied);
    refused(certify(&registry, "h2", "newer", "03").await, ErrorKind::PermissionDenied);
    create(&registry, "anew", 1).await;
    let mut anew = wish("anew", "h3");
    anew.key = key("new-h3");
    registry.enroll(&anew).await.unwrap();
    refused(registry.identify(&key("h3")).await, ErrorKind::PermissionDenied);
    for host in ["h1", "h2", "h3"] {
        let there = agent(&registry, host).await;
        assert_eq!(there.state, AgentState::Quarantined, "{host}");
        assert!(!there.reason.is_empty());
        let new = registry.identify(&key(&format!("new-{host}"))).await;
        refused(new, ErrorKind::PermissionDenied);
    }
    assert_eq!(who(&registry, "h4").await, "h4");
    // Two copies that ask for keys of their own: the first one's is superseded before it was ever seen.
    for new in ["copy-1", "copy-2"] {
        certify(&registry, "h4", new, "02").await.unwrap();
    }
    refused(registry.identify(&key("copy-1")).await, ErrorKind::PermissionDenied);
    assert_eq!(agent(&registry, "h4").await.state, AgentState::Quarantined);
}

/// > What a quarantined or revoked agent asks for is `PermissionDenied`, at once and everywhere
pub async fn who_is_kept_out_gets_nothing<H: Harness<dyn AgentRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    enrolled(&registry, "h1").await;
    enrolled(&registry, "h2").await;
    let host = name("h1");
    registry.arrive(&host, &name("boot-1"), at(200)).await.unwrap();
    for state in [AgentState::Revoked, AgentState::Quarantined] {
        let before = decide(&registry, "h1", state).await;
        refused(registry.identify(&key("h1")).await, ErrorKind::PermissionDenied);
        let certified = certify(&registry, "h1", "new", "02").await;
        refused(certified, ErrorKind::PermissionDenied);
        let arrived = registry.arrive(&host, &name("boot-2"), at(9_000)).await;
        refused(arrived, ErrorKind::PermissionDenied);
        refused(registry.hear(&host, at(9_000)).await, ErrorKind::PermissionDenied);
        let described = registry.describe(&host, &AgentFacts::default()).await;
        refused(described, ErrorKind::PermissionDenied);
        assert_eq!(agent(&registry, "h1").await, before, "it has changed something");
    }
    assert_eq!(who(&registry, "h2").await, "h2");
}

/// > is `PermissionDenied`, at once and everywhere
pub async fn who_is_revoked_is_kept_out_everywhere<H: ConcurrentHarness<dyn AgentRegistry>>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    enrolled(&one, "h1").await;
    for registry in [&one, &two] {
        assert_eq!(who(registry, "h1").await, "h1");
    }
    decide(&one, "h1", AgentState::Revoked).await;
    for registry in [&two, &one] {
        refused(registry.identify(&key("h1")).await, ErrorKind::PermissionDenied);
        refused(registry.hear(&name("h1"), at(300)).await, ErrorKind::PermissionDenied);
    }
}
