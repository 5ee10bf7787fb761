//! What an agent asks of a server, and the port of people.
use crate::scene::{NOW, SERVER, Scene, meet};
use deploy_core::memory::ManualClock;
use deploy_pki::{PkiError, SERVER_LIFETIME, ServerIdentity, api_config};
use rustls::{ClientConfig, RootCertStore, pki_types::PrivateKeyDer, version::TLS13};
use std::{sync::Arc, time::Duration};

#[tokio::test]
async fn an_agent_trusts_one_authority_alone() {
    let (scene, other) = (Scene::new(), Scene::new());
    let agent = scene.agent("h1", NOW);
    let client = || scene.client(&agent.issued.chain, &agent.key);
    let acceptor = scene.acceptor();
    meet(acceptor.config(&scene.server()).unwrap(), client(), SERVER).await.unwrap();
    let foreign = acceptor.config(&other.server()).unwrap();
    meet(foreign, client(), SERVER).await.unwrap_err();
    // Under whatever name it is reached: who it is does not depend on that.
    let server = acceptor.config(&scene.server()).unwrap();
    meet(server, client(), "other.example.com").await.unwrap();
}

#[tokio::test]
async fn a_server_that_only_shows_the_right_root_is_not_trusted() {
    let (scene, other) = (Scene::new(), Scene::new());
    let agent = scene.agent("h1", NOW);
    // The chain of another authority, with the right root added.
    let (stolen, issuer) = other.stolen("servers");
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![SERVER.to_owned()]).unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap().der().clone();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![leaf, stolen, scene.authority.root().clone()];
    let mixed = ServerIdentity::new(chain, key).unwrap();
    let server = scene.acceptor().config(&mixed).unwrap();
    let client = scene.client(&agent.issued.chain, &agent.key);
    let err = meet(server, client, SERVER).await.unwrap_err();
    assert!(err.contains("BadSignature"), "{err}");
}

#[tokio::test]
async fn the_certificate_of_a_server_expires() {
    let scene = Scene::new();
    let server = scene.server();
    scene.clock.advance(SERVER_LIFETIME + Duration::from_secs(1));
    let agent = scene.agent("h1", NOW.after(SERVER_LIFETIME));
    let client = scene.client(&agent.issued.chain, &agent.key);
    let err = meet(scene.acceptor().config(&server).unwrap(), client, SERVER).await.unwrap_err();
    assert!(err.contains("xpired"), "{err}");
}

#[tokio::test]
async fn people_need_no_certificate() {
    let scene = Scene::new();
    let server = scene.authority.issue_server(&[SERVER, "127.0.0.1", "::1"], NOW).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(scene.authority.root().clone()).unwrap();
    for name in [SERVER, "127.0.0.1", "::1"] {
        // As any other program would connect that trusts the root; its clock is that of this machine.
        let clock = Arc::new(ManualClock::at(NOW));
        let config = api_config(&server, clock).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_details(provider, fixed())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots.clone())
            .with_no_client_auth();
        assert_eq!(meet(config, client, name).await.unwrap_err(), "nobody", "{name}");
    }
}

#[derive(Debug)]
struct Fixed;

impl rustls::time_provider::TimeProvider for Fixed {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let now = Duration::from_millis(NOW.as_millis());
        Some(rustls::pki_types::UnixTime::since_unix_epoch(now))
    }
}

fn fixed() -> Arc<Fixed> {
    Arc::new(Fixed)
}

#[test]
fn names_are_checked() {
    let scene = Scene::new();
    for name in ["", "a b", "http://x", "*", "-x.example.com", "x/24"] {
        let err = scene.authority.issue_server(&[name], NOW).unwrap_err();
        assert!(matches!(err, PkiError::Name(_)), "{name}: {err:?}");
    }
    let none: [&str; 0] = [];
    assert!(matches!(scene.authority.issue_server(&none, NOW), Err(PkiError::Name(_))));
}

#[test]
fn a_given_certificate_must_have_its_key() {
    let (one, two) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let params = rcgen::CertificateParams::new(vec![SERVER.to_owned()]).unwrap();
    let chain = params.self_signed(&one).unwrap().pem();
    let identity = |key: &str| ServerIdentity::from_pem(chain.as_bytes(), key.as_bytes());
    assert_eq!(identity(&one.serialize_pem()).unwrap().chain().len(), 1);
    assert!(matches!(identity(&two.serialize_pem()), Err(PkiError::Tls(_))));
    assert!(matches!(identity("no key"), Err(PkiError::Certificate(_))));
    let told = format!("{:?}", identity(&one.serialize_pem()).unwrap());
    assert_eq!(told, "ServerIdentity { chain: 1, .. }");
}
