//! Hosts behind other hosts.
use crate::support::{eventually, named, options, read, refusal, run, says_hello, sshd, sshd_with};
use deploy_core::error::ErrorKind;
use deploy_ssh::SshTransport;
use deploy_test_support::sshd::Sshd;
use std::{fmt::Write as _, fs, path::PathBuf};

/// A configuration that knows each of `hosts` by its name.
fn config(folder: &Sshd, hosts: &[(&str, &Sshd, &str)]) -> PathBuf {
    let mut text = String::new();
    for (name, sshd, lines) in hosts {
        let (address, port) = (sshd.addresses()[0], sshd.port().unwrap());
        let (key, known) = (sshd.identity(), sshd.known_hosts());
        write!(
            text,
            "Host {name}\nHostName {address}\nPort {port}\nIdentityFile {}\nUserKnownHostsFile {}\n\
             GlobalKnownHostsFile none\n{lines}\n",
            key.display(),
            known.display()
        )
        .unwrap();
    }
    let path = folder.folder().join("config");
    fs::write(&path, text).unwrap();
    path
}

fn transport(sshd: &Sshd, file: PathBuf) -> SshTransport {
    let mut options = options(sshd).with_identity_files(vec![]).with_config_files(vec![file]);
    options.known_hosts = None;
    SshTransport::new(options)
}

#[tokio::test]
async fn a_host_is_reached_through_another() {
    let (gate, web) = (sshd(), sshd());
    let file = config(&web, &[("web", &web, "ProxyJump gate"), ("gate", &gate, "")]);
    let transport = transport(&web, file);
    says_hello(&transport, &named("web")).await;
    let (out, _) =
        run(&transport, &named("web"), "head -c 1000000 /dev/zero | tr '\\0' x").await.unwrap();
    assert_eq!(out.len(), 1_000_000);
    assert_eq!(gate.log().matches("Accepted publickey").count(), 1);
    assert_eq!(web.log().matches("Accepted publickey").count(), 1);
    drop(transport);
    eventually("the tunnel is closed", || gate.connections().unwrap() == 0).await;
}

#[tokio::test]
async fn two_hosts_on_the_way_are_gone_through_in_order() {
    let (outer, inner, web) = (sshd(), sshd(), sshd());
    let hosts =
        [("web", &web, "ProxyJump outer,inner"), ("outer", &outer, ""), ("inner", &inner, "")];
    let transport = transport(&web, config(&web, &hosts));
    says_hello(&transport, &named("web")).await;
    // Both share the connections on the way.
    says_hello(&transport, &named("inner")).await;
    for sshd in [&outer, &inner, &web] {
        assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
    }
    assert_eq!(outer.log().matches("Accepted publickey").count(), 1);
}

#[tokio::test]
async fn the_key_of_the_host_behind_is_checked_too() {
    let (gate, mut web) = (sshd(), sshd());
    web.change_host_key().unwrap();
    let file = config(&web, &[("web", &web, "ProxyJump gate"), ("gate", &gate, "")]);
    let err = refusal(&transport(&web, file), &named("web")).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("has changed"), "{}", err.chain());
}

#[tokio::test]
async fn trouble_on_the_way_names_the_host_on_the_way() {
    let (mut gate, web) = (sshd(), sshd());
    gate.change_host_key().unwrap();
    let file = config(&web, &[("web", &web, "ProxyJump gate"), ("gate", &gate, "")]);
    let err = refusal(&transport(&web, file), &named("web")).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("the jump host"), "{}", err.chain());
    assert!(!web.log().contains("Connection from"));
}

#[tokio::test]
async fn a_jump_host_that_forwards_nothing_is_told_apart() {
    let (gate, mut web) = (sshd_with("AllowTcpForwarding no"), sshd());
    let file = config(&web, &[("web", &web, "ProxyJump gate"), ("gate", &gate, "")]);
    let err = refusal(&transport(&web, file.clone()), &named("web")).await;
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    assert!(err.chain().contains("AllowTcpForwarding"), "{}", err.chain());

    let gate = sshd();
    let file = config(&web, &[("web", &web, "ProxyJump gate"), ("gate", &gate, "")]);
    web.stop();
    let err = refusal(&transport(&web, file), &named("web")).await;
    assert!(err.chain().contains("cannot connect"), "{}", err.chain());
    assert!(!read(&web.known_hosts()).is_empty());
}
