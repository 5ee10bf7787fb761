//! Certificates that are wrong in one way, shown by somebody who has stolen more than they should.
use crate::scene::{NOW, SERVER, Scene, meet};
use deploy_core::time::Timestamp;
use deploy_pki::MachineKey;
use rcgen::{
    CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

fn instant(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(i64::try_from(at.as_millis() / 1_000).unwrap()).unwrap()
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A certificate as an agent would have it, for its own host; to be changed.
fn like_an_agent() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![uri("deploy://host/h1")];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = instant(NOW);
    params.not_after = instant(Timestamp::from_millis(NOW.as_millis() + 3_600_000));
    params
}

/// Its chain and key, signed by one of the authority's issuers.
fn forged(
    scene: &Scene,
    issuer: &str,
    params: &CertificateParams,
) -> (Vec<CertificateDer<'static>>, MachineKey) {
    let (certificate, issuer) = scene.stolen(issuer);
    signed(scene, certificate, &issuer, params)
}

fn signed(
    scene: &Scene,
    certificate: CertificateDer<'static>,
    issuer: &Issuer<'_, KeyPair>,
    params: &CertificateParams,
) -> (Vec<CertificateDer<'static>>, MachineKey) {
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap().der().clone();
    let chain = vec![leaf, certificate, scene.authority.root().clone()];
    (chain, MachineKey::from_pem(&key.serialize_pem()).unwrap())
}

async fn is_let_in(scene: &Scene, chain: &[CertificateDer<'static>], key: &MachineKey) -> bool {
    scene.meet(scene.client(chain, key)).await.is_ok()
}

#[tokio::test]
async fn the_forger_forges_well() {
    let scene = Scene::new();
    let (chain, key) = forged(&scene, "agents", &like_an_agent());
    assert!(is_let_in(&scene, &chain, &key).await, "what follows would prove nothing");
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let (scene, other) = (Scene::new(), Scene::new());
    let agent = other.agent("h1", NOW);
    assert!(!is_let_in(&scene, &agent.issued.chain, &agent.key).await);
    // Also with the right root and issuer behind it.
    let (right, _) = scene.stolen("agents");
    let mixed = [agent.issued.leaf().clone(), right, scene.authority.root().clone()];
    assert!(!is_let_in(&scene, &mixed, &agent.key).await);
}

#[tokio::test]
async fn a_certificate_of_another_role_is_refused() {
    let scene = Scene::new();
    // The issuer of servers makes no agent, and the issuer of agents no server that could be one.
    let (chain, key) = forged(&scene, "servers", &like_an_agent());
    assert!(!is_let_in(&scene, &chain, &key).await);
    let mut params = like_an_agent();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (chain, key) = forged(&scene, "agents", &params);
    assert!(!is_let_in(&scene, &chain, &key).await);
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let scene = Scene::new();
    let seconds = |by: i64| instant(NOW) + time::Duration::seconds(by);
    for (from, until) in [(-3_600, -1), (1, 3_600)] {
        let mut params = like_an_agent();
        (params.not_before, params.not_after) = (seconds(from), seconds(until));
        let (chain, key) = forged(&scene, "agents", &params);
        assert!(!is_let_in(&scene, &chain, &key).await, "from {from} s until {until} s");
    }
}

#[tokio::test]
async fn a_certificate_that_names_no_host_is_refused() {
    let scene = Scene::new();
    let dns = SanType::DnsName("h1".try_into().unwrap());
    let long = format!("deploy://host/{}", "h".repeat(254));
    for names in [
        vec![],
        vec![dns.clone()],
        vec![uri("deploy://host/")],
        vec![uri("deploy://host/h1/h2")],
        vec![uri("deploy://host/h1%00")],
        vec![uri("deploy://host/../h1")],
        vec![uri("deploy://server/h1")],
        vec![uri("DEPLOY://host/h1")],
        vec![uri("spiffe://host/h1")],
        vec![uri(&long)],
        vec![uri("deploy://host/h1"), uri("deploy://host/h2")],
        vec![uri("deploy://host/h1"), dns],
    ] {
        let mut params = like_an_agent();
        params.subject_alt_names.clone_from(&names);
        let (chain, key) = forged(&scene, "agents", &params);
        assert!(!is_let_in(&scene, &chain, &key).await, "{names:?}");
    }
}

#[tokio::test]
async fn an_agent_signs_nobody() {
    let scene = Scene::new();
    let (chain, key) = forged(&scene, "agents", &like_an_agent());
    let mut params = like_an_agent();
    params.subject_alt_names = vec![uri("deploy://host/h2")];
    let signing = KeyPair::from_pem(&key.to_pem()).unwrap();
    let issuer = Issuer::from_ca_cert_der(&chain[0], signing).unwrap();
    let (forged, key) = signed(&scene, chain[0].clone(), &issuer, &params);
    assert!(!is_let_in(&scene, &forged, &key).await);
    let mut with_issuer = forged;
    with_issuer[2] = chain[1].clone();
    assert!(!is_let_in(&scene, &with_issuer, &key).await);
}

#[tokio::test]
async fn an_issuer_makes_no_issuer() {
    let scene = Scene::new();
    let (certificate, issuer) = scene.stolen("agents");
    let mut params = like_an_agent();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let (below, key) = signed(&scene, certificate.clone(), &issuer, &params);
    let issuer = Issuer::from_ca_cert_der(&below[0], KeyPair::from_pem(&key.to_pem()).unwrap());
    let (leaf, key) = signed(&scene, below[0].clone(), &issuer.unwrap(), &like_an_agent());
    let chain = [leaf[0].clone(), below[0].clone(), certificate];
    assert!(!is_let_in(&scene, &chain, &key).await);
}

#[tokio::test]
async fn odd_chains_are_refused() {
    let scene = Scene::new();
    let agent = scene.agent("h1", NOW);
    assert!(
        !is_let_in(&scene, std::slice::from_ref(agent.issued.leaf()), &agent.key).await,
        "without its issuer"
    );
    let many: Vec<_> = agent.issued.chain.iter().cycle().take(60).cloned().collect();
    assert!(!is_let_in(&scene, &many, &agent.key).await, "sixty certificates");
    let mut params = like_an_agent();
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 2, 3], vec![4; 8_000])];
    let (chain, key) = forged(&scene, "agents", &params);
    assert!(!is_let_in(&scene, &chain, &key).await, "of eight thousand bytes");
    let own = KeyPair::generate().unwrap();
    let alone = like_an_agent().self_signed(&own).unwrap().der().clone();
    let key = MachineKey::from_pem(&own.serialize_pem()).unwrap();
    assert!(!is_let_in(&scene, &[alone], &key).await, "signed by itself");
}

#[tokio::test]
async fn nobody_comes_in_without_a_certificate() {
    let scene = Scene::new();
    let err = scene.meet(scene.connector().stranger().unwrap()).await.unwrap_err();
    assert!(err.contains("NoCertificatesPresented") || err.contains("no certificates"), "{err}");
}

#[tokio::test]
async fn strangers_come_in_where_they_may_and_forgers_do_not() {
    let scene = Scene::new();
    let other = Scene::new().agent("h1", NOW);
    let port = || scene.acceptor().with_strangers().config(&scene.server()).unwrap();
    let stranger = scene.connector().stranger().unwrap();
    assert_eq!(meet(port(), stranger, SERVER).await.unwrap_err(), "nobody");
    let agent = scene.agent("h1", NOW);
    let known = meet(port(), scene.client(&agent.issued.chain, &agent.key), SERVER).await.unwrap();
    assert_eq!(known.host.as_str(), "h1");
    meet(port(), scene.client(&other.issued.chain, &other.key), SERVER).await.unwrap_err();
    scene.revocations.send_modify(|it| {
        it.hosts.insert(known.host);
    });
    let revoked = scene.client(&agent.issued.chain, &agent.key);
    meet(port(), revoked, SERVER).await.unwrap_err();
}

/// What the gateway answers to these bytes.
async fn answer_to(scene: &Scene, bytes: &[u8]) -> Vec<u8> {
    let server = scene.acceptor().config(&scene.server()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(bytes).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    assert!(TlsAcceptor::from(std::sync::Arc::new(server)).accept(stream).await.is_err());
    let mut heard = Vec::new();
    let _reset = client.read_to_end(&mut heard).await;
    heard
}

#[tokio::test]
async fn older_tls_and_plain_text_are_refused() {
    const PROTOCOL_VERSION: [u8; 7] = [21, 3, 3, 0, 2, 2, 70];
    let scene = Scene::new();
    // A hello of TLS 1.2: version, random, no session, one cipher suite, no compression, one signature algorithm.
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    hello.extend([0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let mut message = vec![1, 0, 0, u8::try_from(hello.len()).unwrap()];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, u8::try_from(message.len()).unwrap()];
    record.extend(message);
    assert_eq!(answer_to(&scene, &record).await, PROTOCOL_VERSION);
    let plain = answer_to(&scene, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!plain.windows(4).any(|it| it == b"HTTP"), "{plain:?}");
}

#[tokio::test]
async fn an_agent_is_no_server() {
    let scene = Scene::new();
    let agent = scene.agent("h1", NOW);
    let key = rustls::pki_types::PrivateKeyDer::try_from(
        KeyPair::from_pem(&agent.key.to_pem()).unwrap().serialize_der(),
    );
    let chain = agent.issued.chain.to_vec();
    let identity = deploy_pki::ServerIdentity::new(chain, key.unwrap()).unwrap();
    let server = scene.acceptor().config(&identity).unwrap();
    let client = scene.client(&agent.issued.chain, &agent.key);
    meet(server, client, SERVER).await.unwrap_err();
    // Not even if the issuer of agents names it like one, for servers.
    let mut params = like_an_agent();
    params.subject_alt_names = vec![SanType::DnsName(SERVER.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let (chain, key) = forged(&scene, "agents", &params);
    let key = KeyPair::from_pem(&key.to_pem()).unwrap().serialize_der();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key).unwrap();
    let identity = deploy_pki::ServerIdentity::new(chain, key).unwrap();
    let server = scene.acceptor().config(&identity).unwrap();
    let client = scene.client(&agent.issued.chain, &agent.key);
    meet(server, client, SERVER).await.unwrap_err();
}
