//! Agents that may come in, and those that may not any more.
use crate::scene::{NOW, SERVER, Scene, meet};
use deploy_pki::{AGENT_LIFETIME, AgentPeer, RENEW_AFTER, Revocations};
use rustls::{ClientConfig, client::Resumption};
use std::time::Duration;

#[tokio::test]
async fn an_agent_is_known_by_its_certificate() {
    let scene = Scene::new();
    for host in ["h1", "web-3.eu.example.com", "A:b@c_d"] {
        let agent = scene.agent(host, NOW);
        let peer = scene.meet(scene.client(&agent.issued.chain, &agent.key)).await.unwrap();
        assert_eq!(peer.host.as_str(), host);
        assert_eq!(peer.key, agent.key.fingerprint());
        assert_eq!(peer.certificate, agent.issued.certificate);
        assert_eq!(peer.certificate.expires_at, NOW.after(AGENT_LIFETIME));
    }
    assert_eq!(RENEW_AFTER, Duration::from_secs(8 * 3_600));
}

#[tokio::test]
async fn two_certificates_of_one_key_are_two() {
    let scene = Scene::new();
    let agent = scene.agent("h1", NOW);
    let request = deploy_pki::CertificateRequest::parse(&agent.key.request().unwrap()).unwrap();
    let again = scene.authority.issue_agent(&request, &"h1".parse().unwrap(), NOW).unwrap();
    assert_ne!(again.certificate.serial, agent.issued.certificate.serial);
    let peer = AgentPeer::of(again.leaf()).unwrap();
    assert_eq!(peer.key, agent.key.fingerprint());
}

#[tokio::test]
async fn a_certificate_is_good_for_a_day_and_for_clocks_five_minutes_behind() {
    let scene = Scene::new();
    for (seconds, good) in [(299, true), (302, false)] {
        let agent = scene.agent("h1", NOW.after(Duration::from_secs(seconds)));
        let met = scene.meet(scene.client(&agent.issued.chain, &agent.key)).await;
        assert_eq!(met.is_ok(), good, "made {seconds} s from now: {met:?}");
    }
    let agent = scene.agent("h1", NOW);
    scene.clock.advance(AGENT_LIFETIME - Duration::from_secs(1));
    scene.meet(scene.client(&agent.issued.chain, &agent.key)).await.unwrap();
    scene.clock.advance(Duration::from_secs(2));
    let err = scene.meet(scene.client(&agent.issued.chain, &agent.key)).await.unwrap_err();
    assert!(err.contains("xpired"), "{err}");
}

#[tokio::test]
async fn who_is_revoked_is_refused_at_the_next_handshake() {
    let scene = Scene::new();
    let (one, two) = (scene.agent("h1", NOW), scene.agent("h2", NOW));
    // As somebody would do it who wants to come in: a session that could be taken up again would be.
    let clients = [&one, &two].map(|it| {
        let mut client = scene.client(&it.issued.chain, &it.key);
        client.resumption = Resumption::default();
        client
    });
    let [h1, h2] = clients.each_ref();
    let server = scene.acceptor().config(&scene.server()).unwrap();
    let visit = async |client: &ClientConfig| meet(server.clone(), client.clone(), SERVER).await;
    for client in [h1, h2, h1] {
        visit(client).await.unwrap();
    }
    scene.revocations.send_replace(Revocations::new().with_hosts(["h1".parse().unwrap()]));
    let err = visit(h1).await.unwrap_err();
    assert!(err.contains("evoked"), "{err}");
    visit(h2).await.unwrap();
    scene.revocations.send_replace(Revocations::new().with_keys([two.key.fingerprint()]));
    visit(h1).await.unwrap();
    visit(h2).await.unwrap_err();
}

#[tokio::test]
async fn who_is_revoked_loses_an_open_session() {
    let scene = Scene::new();
    let peer = AgentPeer::of(scene.agent("h1", NOW).issued.leaf()).unwrap();
    let list = scene.revocations.subscribe();
    let session = tokio::spawn(async move { Revocations::until_kept_out(list, &peer).await });
    scene.revocations.send_replace(Revocations::new().with_hosts(["h2".parse().unwrap()]));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!session.is_finished(), "somebody else was revoked");
    let both = ["h1", "h2"].map(|it| it.parse().unwrap());
    scene.revocations.send_replace(Revocations::new().with_hosts(both));
    session.await.unwrap();
}

#[tokio::test]
async fn without_a_list_nobody_comes_in() {
    let scene = Scene::new();
    let agent = scene.agent("h1", NOW);
    let server = scene.acceptor().config(&scene.server()).unwrap();
    let client = scene.client(&agent.issued.chain, &agent.key);
    let peer = AgentPeer::of(agent.issued.leaf()).unwrap();
    let list = scene.revocations.subscribe();
    drop(scene);
    meet(server, client, SERVER).await.unwrap_err();
    Revocations::until_kept_out(list, &peer).await;
}

#[tokio::test]
async fn a_hook_has_the_last_word() {
    let scene = Scene::new();
    let server = scene.acceptor().with_hook(|peer| peer.host.as_str() == "h1");
    for (host, good) in [("h1", true), ("h2", false)] {
        let agent = scene.agent(host, NOW);
        let client = scene.client(&agent.issued.chain, &agent.key);
        let server = server.config(&scene.server()).unwrap();
        let met = meet(server, client, SERVER).await;
        assert_eq!(met.is_ok(), good, "{met:?}");
    }
}
