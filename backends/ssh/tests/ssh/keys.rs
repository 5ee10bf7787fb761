//! Host keys: known, unknown, changed, revoked.
use crate::support::{
    at_port, config, host, named, options, read, refusal, says_hello, sshd, transport,
};
use deploy_core::error::ErrorKind;
use deploy_ssh::{HostKeyPolicy, SshTransport};
use deploy_test_support::sshd::{Sshd, SshdOptions, generate_key};
use std::{fs, process::Command};

fn fingerprint(key: &str, sshd: &Sshd) -> String {
    let file = sshd.folder().join("some.pub");
    fs::write(&file, key).unwrap();
    let out = Command::new("ssh-keygen").arg("-lf").arg(&file).output().unwrap();
    String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().into()
}

/// Nothing of a login was sent: not even a name.
fn assert_no_login(sshd: &Sshd) {
    sshd.wait_for_log("Connection ", 2).unwrap();
    let log = sshd.log();
    for sign in ["Accepted", "Failed", "user root", "publickey"] {
        assert!(!log.contains(sign), "{sign}: {log}");
    }
}

#[tokio::test]
async fn every_kind_of_host_key_is_checked() {
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let sshd = Sshd::start_with(SshdOptions::new().with_host_key(kind)).unwrap();
        says_hello(&transport(&sshd), &host(&sshd, 0)).await;
        fs::write(sshd.known_hosts(), "").unwrap();
        let err = refusal(&transport(&sshd), &host(&sshd, 0)).await;
        assert_eq!(err.kind(), ErrorKind::Unauthenticated, "{kind}");
    }
}

#[tokio::test]
async fn an_unknown_host_is_refused_before_anything_is_sent() {
    let sshd = sshd();
    fs::write(sshd.known_hosts(), "").unwrap();
    let err = refusal(&transport(&sshd), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    let found = fingerprint(&sshd.host_key().unwrap(), &sshd);
    assert!(err.chain().contains(&found), "{}", err.chain());
    assert_no_login(&sshd);
}

#[tokio::test]
async fn a_changed_key_is_refused_before_anything_is_sent() {
    let mut sshd = sshd();
    let before = fingerprint(&sshd.host_key().unwrap(), &sshd);
    sshd.change_host_key().unwrap();
    let after = fingerprint(&sshd.host_key().unwrap(), &sshd);
    for policy in [HostKeyPolicy::Strict, HostKeyPolicy::AcceptNew] {
        let transport = SshTransport::new(options(&sshd).with_host_keys(policy));
        let err = refusal(&transport, &host(&sshd, 0)).await;
        assert_eq!(err.kind(), ErrorKind::Unauthenticated);
        let text = err.chain();
        let line = format!("{}:1", sshd.known_hosts().display());
        for part in [&before, &after, &line, &"ssh-keygen -R".to_owned()] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    assert_no_login(&sshd);
}

#[tokio::test]
async fn the_file_is_read_again_when_it_has_changed() {
    let sshd = sshd();
    let transport = transport(&sshd);
    fs::write(sshd.known_hosts(), "").unwrap();
    refusal(&transport, &host(&sshd, 0)).await;
    sshd.write_known_hosts().unwrap();
    says_hello(&transport, &host(&sshd, 0)).await;
}

#[tokio::test]
async fn a_new_host_is_accepted_once_if_that_was_asked_for() {
    let mut sshd = Sshd::start_with(SshdOptions::new().with_hosts(2)).unwrap();
    let known = sshd.folder().join("own/known_hosts");
    let accepting = || {
        let options = options(&sshd).with_known_hosts(vec![known.clone()]);
        SshTransport::new(options.with_host_keys(HostKeyPolicy::AcceptNew))
    };
    says_hello(&accepting(), &host(&sshd, 0)).await;
    says_hello(&accepting(), &host(&sshd, 0)).await;
    says_hello(&accepting(), &host(&sshd, 1)).await;
    let (port, key) = (sshd.port().unwrap(), sshd.host_key().unwrap());
    let lines: String =
        sshd.addresses().iter().map(|it| format!("[{it}]:{port} {key}\n")).collect();
    assert_eq!(read(&known), lines);

    sshd.change_host_key().unwrap();
    let options = options(&sshd).with_known_hosts(vec![known.clone()]);
    let transport = SshTransport::new(options.with_host_keys(HostKeyPolicy::AcceptNew));
    let err = refusal(&transport, &host(&sshd, 0)).await;
    assert!(err.chain().contains("has changed"), "{}", err.chain());
    assert_eq!(read(&known), lines);
}

#[tokio::test]
async fn keys_are_not_accepted_into_nowhere() {
    let sshd = sshd();
    let options = options(&sshd).with_known_hosts(vec!["/dev/null".into()]);
    let transport = SshTransport::new(options.with_host_keys(HostKeyPolicy::AcceptNew));
    let err = refusal(&transport, &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated, "{}", err.chain());
}

#[tokio::test]
async fn hashed_names_are_found() {
    let sshd = sshd();
    let hashed = Command::new("ssh-keygen").arg("-Hf").arg(sshd.known_hosts()).output().unwrap();
    assert!(hashed.status.success());
    assert!(read(&sshd.known_hosts()).starts_with("|1|"));
    says_hello(&transport(&sshd), &host(&sshd, 0)).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let sshd = sshd();
    let line = format!("{}@revoked * {}\n", read(&sshd.known_hosts()), sshd.host_key().unwrap());
    fs::write(sshd.known_hosts(), line).unwrap();
    let err = refusal(&transport(&sshd), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("revokes"), "{}", err.chain());
    assert_no_login(&sshd);
}

#[tokio::test]
async fn an_authority_is_not_a_host_key() {
    let sshd = sshd();
    let line = format!("@cert-authority * {}\n", sshd.host_key().unwrap());
    fs::write(sshd.known_hosts(), line).unwrap();
    let err = refusal(&transport(&sshd), &host(&sshd, 0)).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("certificates of hosts are not supported"), "{}", err.chain());
}

#[tokio::test]
async fn a_server_with_several_keys_is_asked_for_the_known_one() {
    let folder = tempfile::tempdir().unwrap();
    let rsa = folder.path().join("rsa");
    generate_key(&rsa, "rsa", "").unwrap();
    let sshd =
        Sshd::start_with(SshdOptions::new().with_config(format!("HostKey {}", rsa.display())))
            .unwrap();
    let (address, port) = (sshd.addresses()[0], sshd.port().unwrap());
    let key = read(&folder.path().join("rsa.pub"));
    fs::write(sshd.known_hosts(), format!("[{address}]:{port} {key}")).unwrap();
    says_hello(&transport(&sshd), &host(&sshd, 0)).await;
}

#[tokio::test]
async fn another_port_is_another_host() {
    let (one, two) = (sshd(), sshd());
    let both = format!("{}{}", read(&one.known_hosts()), read(&two.known_hosts()));
    fs::write(one.known_hosts(), both).unwrap();
    let transport = transport(&one);
    says_hello(&transport, &host(&one, 0)).await;
    // Known, but it does not know our key.
    let err =
        refusal(&transport, &at_port(&two.addresses()[0].to_string(), two.port().unwrap())).await;
    assert!(err.chain().contains("none of our keys"), "{}", err.chain());
}

#[tokio::test]
async fn the_configuration_cannot_switch_the_check_off() {
    let sshd = sshd();
    let file = config(&sshd, "StrictHostKeyChecking no\n");
    let transport = SshTransport::new(options(&sshd).with_config_files(vec![file.clone()]));
    let err = refusal(&transport, &named("web")).await;
    assert_eq!(err.kind(), ErrorKind::InvalidInput);
    assert!(err.chain().contains(&format!("{}:1", file.display())), "{}", err.chain());
}
