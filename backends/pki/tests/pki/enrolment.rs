//! From a join token to a session and out again, with a registry of agents behind the authority.
use crate::scene::{NOW, SERVER, Scene, meet};
use deploy_core::{
    access::{Action, Resource},
    agent::{Agent, AgentState, KeyFingerprint},
    backend::{AgentRegistry as _, CertifyAgent, CreateJoinToken, EnrollAgent, ErrorKind},
    conformance::permit,
    id::TokenId,
    memory::MemoryAgentRegistry,
    token::{JoinToken, TokenSecret},
};
use deploy_pki::{
    CertificateRequest, Issued, MachineKey, PinnedConnector, Revocations, api_config,
};
use std::time::Duration;

/// A server's end: what it makes of a request for a certificate, once it knows whose it is.
async fn certify(
    scene: &Scene,
    registry: &MemoryAgentRegistry,
    holder: KeyFingerprint,
    agent: &Agent,
    request: &[u8],
) -> Issued {
    let request = CertificateRequest::parse(request).unwrap();
    let issued = scene.authority.issue_agent(&request, &agent.host, NOW).unwrap();
    let noted = CertifyAgent::new(holder, request.key(), issued.certificate.clone());
    registry.certify(&noted).await.unwrap();
    issued
}

/// Makes a join token, and gives the line that is pasted on a host.
async fn join_token(scene: &Scene, registry: &MemoryAgentRegistry) -> String {
    let (id, secret) = (TokenId::from_bits(7), TokenSecret::from_bytes([3; 32]));
    let until = NOW.after(Duration::from_secs(600));
    let permit = permit(Action::HostEnroll, Resource::System).await;
    let request = CreateJoinToken::new(id.clone(), secret.hash(), NOW, until);
    registry.create_join_token(&permit, &request).await.unwrap();
    JoinToken::new(id, secret, scene.authority.fingerprint()).reveal()
}

async fn enrolled(scene: &Scene, registry: &MemoryAgentRegistry) -> (MachineKey, Agent, Issued) {
    let token: JoinToken = join_token(scene, registry).await.parse().unwrap();
    let key = MachineKey::generate().unwrap();
    let (host, machine) = ("h1".parse().unwrap(), "machine/4f".parse().unwrap());
    let (id, secret) = (token.id, token.secret.hash());
    let wish = EnrollAgent::new(id, secret, key.fingerprint(), host, machine, NOW);
    let agent = registry.enroll(&wish).await.unwrap();
    let request = key.request().unwrap();
    let issued = certify(scene, registry, key.fingerprint(), &agent, &request).await;
    (key, agent, issued)
}

#[tokio::test]
async fn a_host_gives_its_secret_to_the_server_that_the_token_names() {
    let (scene, other) = (Scene::new(), Scene::new());
    let registry = MemoryAgentRegistry::new();
    let token: JoinToken = join_token(&scene, &registry).await.parse().unwrap();
    let host = PinnedConnector::new(token.authority, scene.clock.clone());
    let port = |of: &Scene| api_config(&of.server(), of.clock.clone()).unwrap();
    let met = meet(port(&scene), host.stranger().unwrap(), SERVER).await;
    assert_eq!(met.unwrap_err(), "nobody", "it has no certificate yet");
    let met = meet(port(&other), host.stranger().unwrap(), SERVER).await;
    assert!(met.unwrap_err().contains("UnknownIssuer"));
}

#[tokio::test]
async fn an_enrolled_host_is_let_in_and_rotates_its_key() {
    let scene = Scene::new();
    let registry = MemoryAgentRegistry::new();
    let (key, agent, issued) = enrolled(&scene, &registry).await;
    let peer = scene.meet(scene.client(&issued.chain, &key)).await.unwrap();
    assert_eq!(registry.identify(&peer.key).await.unwrap().host, peer.host);

    let next = MachineKey::generate().unwrap();
    let request = next.request().unwrap();
    let renewed = certify(&scene, &registry, peer.key, &agent, &request).await;
    for (chain, key) in [(&issued.chain, &key), (&renewed.chain, &next)] {
        let peer = scene.meet(scene.client(chain, key)).await.unwrap();
        assert_eq!(registry.identify(&peer.key).await.unwrap().host.as_str(), "h1");
    }
    let known = registry.agent(&agent.host).await.unwrap();
    assert_eq!(known.key.certificate, Some(renewed.certificate));
}

#[tokio::test]
async fn a_copy_of_a_key_ends_both_sessions() {
    let scene = Scene::new();
    let registry = MemoryAgentRegistry::new();
    let (key, agent, issued) = enrolled(&scene, &registry).await;
    let next = MachineKey::generate().unwrap();
    let request = next.request().unwrap();
    let renewed = certify(&scene, &registry, key.fingerprint(), &agent, &request).await;
    let peer = scene.meet(scene.client(&renewed.chain, &next)).await.unwrap();
    registry.identify(&peer.key).await.unwrap();
    let list = scene.revocations.subscribe();
    let session = tokio::spawn(async move { Revocations::until_kept_out(list, &peer).await });

    // The copy still has a good certificate of the key before.
    let copy = scene.meet(scene.client(&issued.chain, &key)).await.unwrap();
    let err = registry.identify(&copy.key).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{}", err.chain());
    assert_eq!(registry.agent(&agent.host).await.unwrap().state, AgentState::Quarantined);
    scene.revocations.send_replace(Revocations::new().with_hosts([agent.host]));
    session.await.unwrap();
    for (chain, key) in [(&issued.chain, &key), (&renewed.chain, &next)] {
        scene.meet(scene.client(chain, key)).await.unwrap_err();
    }
}
