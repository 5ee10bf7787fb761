//! Requests for certificates: what they say is not to be trusted, and they may be anything.
use crate::scene::{NOW, Scene};
use deploy_pki::{AgentPeer, CertificateRequest, LONGEST_REQUEST, MachineKey, PkiError};
use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::pki_types::CertificateDer;
use std::sync::LazyLock;

static REQUEST: LazyLock<Vec<u8>> =
    LazyLock::new(|| MachineKey::generate().unwrap().request().unwrap());

static CERTIFICATE: LazyLock<Vec<u8>> =
    LazyLock::new(|| Scene::new().agent("h1", NOW).issued.leaf().to_vec());

#[test]
fn a_key_is_kept_as_text() {
    let key = MachineKey::generate().unwrap();
    let again = MachineKey::from_pem(&key.to_pem()).unwrap();
    assert_eq!(again.fingerprint(), key.fingerprint());
    assert_ne!(MachineKey::generate().unwrap().fingerprint(), key.fingerprint());
    let told = format!("{key:?}");
    assert!(told.starts_with("MachineKey(KeyFingerprint(sha256:") && told.len() < 120, "{told}");
    for wrong in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(MachineKey::from_pem(wrong).is_err());
    }
}

#[test]
fn what_a_request_says_of_itself_is_not_looked_at() {
    let scene = Scene::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["deploy.example.com".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("deploy://host/h2".try_into().unwrap()));
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    params.distinguished_name.push(rcgen::DnType::CommonName, "h2");
    let request = params.serialize_request(&key).unwrap();
    let request = CertificateRequest::parse(request.der()).unwrap();
    let issued = scene.authority.issue_agent(&request, &"h1".parse().unwrap(), NOW).unwrap();
    let peer = AgentPeer::of(issued.leaf()).unwrap();
    assert_eq!((peer.host.as_str(), peer.key), ("h1", request.key()));
    let holds = |text: &str| issued.leaf().windows(text.len()).any(|it| it == text.as_bytes());
    assert!(!holds("h2") && !holds("example"));
}

#[test]
fn only_keys_of_one_sort_are_certified() {
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let err = CertificateRequest::parse(request.der()).unwrap_err();
        assert!(err.to_string().contains("P-256"), "{err}");
    }
}

#[test]
fn long_requests_are_not_looked_at() {
    let mut long = REQUEST.clone();
    long.resize(LONGEST_REQUEST + 1, 0);
    let err = CertificateRequest::parse(&long).unwrap_err();
    assert!(matches!(err, PkiError::Request("it is too long")), "{err:?}");
}

proptest! {
    #[test]
    fn a_request_that_was_changed_is_refused(at in 0_usize..10_000, bit in 0_u32..8) {
        let mut changed = REQUEST.clone();
        let at = at % changed.len();
        changed[at] ^= 1 << bit;
        if let Ok(read) = CertificateRequest::parse(&changed) {
            // A signature can be written in more than one way; the key it is by cannot.
            let whole = CertificateRequest::parse(&REQUEST).unwrap();
            prop_assert_eq!(read.key(), whole.key());
        }
    }

    #[test]
    fn no_request_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(CertificateRequest::parse(&bytes).is_err());
    }

    #[test]
    fn a_request_may_end_anywhere(end in 0_usize..10_000) {
        let end = end % REQUEST.len();
        prop_assert!(CertificateRequest::parse(&REQUEST[..end]).is_err());
    }

    #[test]
    fn no_certificate_is_too_odd(at in 0_usize..10_000, to: u8, end in 0_usize..10_000) {
        let mut changed = CERTIFICATE.clone();
        let at = at % changed.len();
        changed[at] = to;
        changed.truncate(1 + end % changed.len());
        if let Ok(peer) = AgentPeer::of(&CertificateDer::from(changed.as_slice())) {
            prop_assert!(!peer.host.as_str().is_empty());
        }
    }
}
