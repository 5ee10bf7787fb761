//! Logging in: with which keys, and what is said when none is taken.
use crate::support::{
    config, host, named, options, read, refusal, says_hello, sshd, sshd_with, transport,
};
use deploy_core::error::ErrorKind;
use deploy_ssh::{SshOptions, SshTransport};
use deploy_test_support::sshd::{SshAgent, Sshd, generate_key};
use std::{fs, path::PathBuf};

/// Makes a key that can log in.
fn allowed(sshd: &Sshd, name: &str, kind: &str, passphrase: &str) -> PathBuf {
    let key = sshd.folder().join(name);
    generate_key(&key, kind, passphrase).unwrap();
    let public = read(&key.with_extension("pub"));
    let keys = read(&sshd.authorized_keys());
    fs::write(sshd.authorized_keys(), format!("{keys}{public}")).unwrap();
    key
}

fn with_key(sshd: &Sshd, key: PathBuf) -> SshOptions {
    options(sshd).with_identity_files(vec![key])
}

#[tokio::test]
async fn every_kind_of_key_logs_in() {
    let sshd = sshd();
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = allowed(&sshd, kind, kind, "");
        says_hello(&SshTransport::new(with_key(&sshd, key)), &host(&sshd, 0)).await;
    }
    assert!(sshd.log().contains("Accepted publickey"));
}

#[tokio::test]
async fn rsa_keys_never_sign_with_sha_1() {
    let sshd = sshd_with("PubkeyAcceptedAlgorithms ssh-rsa");
    let key = allowed(&sshd, "rsa", "rsa", "");
    let err = refusal(&SshTransport::new(with_key(&sshd, key)), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(!sshd.log().contains("Accepted publickey"));
}

#[tokio::test]
async fn a_wrong_key_is_named_by_its_fingerprint() {
    let sshd = sshd();
    let key = sshd.folder().join("other");
    generate_key(&key, "ed25519", "").unwrap();
    let err = refusal(&SshTransport::new(with_key(&sshd, key.clone())), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    let text = err.chain();
    assert!(text.contains("SHA256:") && text.contains(&key.display().to_string()), "{text}");
    let secret = read(&key).lines().nth(1).unwrap().to_owned();
    assert!(!text.contains(&secret), "{text}");
}

#[tokio::test]
async fn without_a_key_there_is_no_connection() {
    let sshd = sshd();
    let missing = sshd.folder().join("missing");
    let err = refusal(&SshTransport::new(with_key(&sshd, missing)), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("no key to offer"), "{}", err.chain());
    assert!(!sshd.log().contains("Connection from"), "{}", sshd.log());
}

#[tokio::test]
async fn an_encrypted_key_needs_the_agent() {
    let sshd = sshd();
    let key = allowed(&sshd, "encrypted", "ed25519", "secret");
    let err = refusal(&SshTransport::new(with_key(&sshd, key.clone())), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(
        err.chain().contains("encrypted") && err.chain().contains("ssh-add"),
        "{}",
        err.chain()
    );

    let agent = SshAgent::start().unwrap();
    let with_agent = || with_key(&sshd, key.clone()).with_agent_socket(Some(agent.socket()));
    refusal(&SshTransport::new(with_agent()), &host(&sshd, 0)).await;
    agent.add(&key, "secret").unwrap();
    says_hello(&SshTransport::new(with_agent()), &host(&sshd, 0)).await;
}

#[tokio::test]
async fn the_agent_signs_with_every_kind_of_key() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let sshd = sshd();
        let agent = SshAgent::start().unwrap();
        let key = allowed(&sshd, "key", kind, "");
        agent.add(&key, "").unwrap();
        let options =
            options(&sshd).with_identity_files(vec![]).with_agent_socket(Some(agent.socket()));
        says_hello(&SshTransport::new(options), &host(&sshd, 0)).await;
    }
}

#[tokio::test]
async fn identities_only_keeps_the_agents_other_keys_back() {
    let sshd = sshd();
    let agent = SshAgent::start().unwrap();
    agent.add(&sshd.identity(), "").unwrap();
    let wrong = sshd.folder().join("wrong");
    generate_key(&wrong, "ed25519", "").unwrap();
    let with = |lines: &str| {
        let file = config(&sshd, lines);
        let options = with_key(&sshd, wrong.clone()).with_agent_socket(Some(agent.socket()));
        SshTransport::new(options.with_config_files(vec![file]))
    };
    says_hello(&with("IdentitiesOnly no"), &named("web")).await;
    let err = refusal(&with("IdentitiesOnly yes"), &named("web")).await;
    assert_eq!(err.chain().matches("SHA256:").count(), 1, "{}", err.chain());
    says_hello(
        &with(&format!("IdentitiesOnly yes\nIdentityFile {}", sshd.identity().display())),
        &named("web"),
    )
    .await;
    refusal(&with("IdentityAgent none"), &named("web")).await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_said_so() {
    let sshd = sshd();
    let socket = sshd.folder().join("no-agent");
    let options =
        options(&sshd).with_identity_files(vec![]).with_agent_socket(Some(socket.clone()));
    let err = refusal(&SshTransport::new(options), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains(&socket.display().to_string()), "{}", err.chain());
}

#[tokio::test]
async fn too_many_keys_for_the_server_are_explained() {
    let sshd = sshd_with("MaxAuthTries 2");
    let keys = (0..6).map(|at| {
        let key = sshd.folder().join(format!("k{at}"));
        generate_key(&key, "ed25519", "").unwrap();
        key
    });
    let transport = SshTransport::new(options(&sshd).with_identity_files(keys.collect()));
    let err = refusal(&transport, &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("IdentitiesOnly"), "{}", err.chain());
}

#[tokio::test]
async fn a_server_that_wants_more_than_a_key_is_told_apart() {
    let sshd = sshd_with("AuthenticationMethods publickey,password\nPasswordAuthentication yes");
    let err = refusal(&transport(&sshd), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("wants more than a key"), "{}", err.chain());
}

#[tokio::test]
async fn nothing_is_guessed_about_the_account() {
    let sshd = sshd();
    let transport = SshTransport::new(options(&sshd).with_user(None));
    let err = refusal(&transport, &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
    assert!(err.chain().contains("which account"), "{}", err.chain());
}
