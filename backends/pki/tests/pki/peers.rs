//! Hosts that give each other blocks.
use crate::scene::{Agent, NOW, SERVER, Scene, meet};
use deploy_pki::{MachineKey, PeerTls};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer};

fn tls(scene: &Scene) -> PeerTls {
    PeerTls::new(scene.authority.fingerprint(), scene.clock.clone())
}

fn client(tls: &PeerTls, agent: &Agent) -> ClientConfig {
    tls.client(agent.issued.chain.to_vec(), &agent.key).unwrap()
}

fn server(tls: &PeerTls, agent: &Agent) -> ServerConfig {
    tls.server(agent.issued.chain.to_vec(), &agent.key).unwrap()
}

#[tokio::test]
async fn hosts_of_one_authority_meet_each_other_and_its_servers() {
    let (scene, other) = (Scene::new(), Scene::new());
    let (h1, h2) = (scene.agent("h1", NOW), scene.agent("h2", NOW));
    let tls = tls(&scene);
    let seen = meet(server(&tls, &h2), client(&tls, &h1), "10.0.0.2").await.unwrap();
    assert_eq!(seen.host.as_str(), "h1");
    let blocks = scene.acceptor().block_config(&scene.server()).unwrap();
    meet(blocks, client(&tls, &h1), SERVER).await.unwrap();

    let stranger = other.agent("h2", NOW);
    let elsewhere = self::tls(&other);
    meet(server(&elsewhere, &stranger), client(&tls, &h1), "10.0.0.2").await.unwrap_err();
    meet(server(&tls, &h2), client(&elsewhere, &stranger), "10.0.0.2").await.unwrap_err();
    tls.server(stranger.issued.chain.to_vec(), &stranger.key).unwrap_err();
}

#[tokio::test]
async fn a_host_is_no_server_of_sessions() {
    let scene = Scene::new();
    let (h1, h2) = (scene.agent("h1", NOW), scene.agent("h2", NOW));
    let tls = tls(&scene);
    let session = scene.client(&h1.issued.chain, &h1.key);
    let mut posing = server(&tls, &h2);
    posing.alpn_protocols = vec![b"h2".to_vec()];
    let err = meet(posing, session, SERVER).await.unwrap_err();
    assert!(err.contains("NotValidFor") || err.contains("Purpose"), "{err}");
}

#[tokio::test]
async fn what_one_issuer_may_not_make_is_not_believed() {
    let scene = Scene::new();
    let h1 = scene.agent("h1", NOW);
    let tls = tls(&scene);
    // Of the issuer of agents, one that names no host, as a server's does; of the issuer of servers, one that names a host.
    let host = || SanType::URI("deploy://host/h2".try_into().unwrap());
    let name = || SanType::DnsName(SERVER.try_into().unwrap());
    for (issuer, names) in [("agents", name()), ("servers", host())] {
        let (certificate, issuer) = scene.stolen(issuer);
        let key = MachineKey::generate().unwrap();
        let pair = rcgen::KeyPair::from_pem(&key.to_pem()).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![names];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let leaf: CertificateDer<'_> = params.signed_by(&pair, &issuer).unwrap().der().clone();
        let chain = vec![leaf, certificate, scene.authority.root().clone()];
        let posing = tls.server(chain, &key).unwrap();
        let err = meet(posing, client(&tls, &h1), SERVER).await.unwrap_err();
        assert!(err.contains("InvalidPurpose") || err.contains("NotValidFor"), "{err}");
    }
}
