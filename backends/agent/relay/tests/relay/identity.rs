//! Who is a relay, and who is a host.
use crate::lab::{Lab, eventually, settings};
use deploy_agent_identity::EnrolError;
use deploy_agent_protocol::v1::{
    AgentFrame, AnnounceRequest, Hello, PassRequest, agent_frame::Kind,
};
use deploy_core::{
    access::{Action, Resource},
    agent::AgentState,
    backend::AgentRegistry as _,
    conformance::permit,
    id::HostName,
};
use deploy_relay::RelayError;
use futures_util::stream;
use std::fs;
use tonic::{Code, Status};

fn announcement() -> AnnounceRequest {
    let (address, boot_id) = (":7446".to_owned(), "boot-1".to_owned());
    AnnounceRequest { address, boot_id, ..AnnounceRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_is_no_host_and_a_host_no_relay() {
    let lab = Lab::new().await;
    lab.enrol_relay("fra-1", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    lab.enrol_host(&lab.door, "h1", &[]).await.unwrap();
    let registered = lab.book.0.lock().unwrap().clone();
    assert_eq!(registered.iter().map(HostName::as_str).collect::<Vec<_>>(), ["h1"]);

    let hello = Hello { protocol: 2, boot_id: "boot-1".to_owned(), ..Hello::default() };
    let frames = stream::iter([AgentFrame { kind: Some(Kind::Hello(hello)) }]);
    let refused = lab.client("fra-1").await.session(frames).await.unwrap_err();
    assert!(refused.message().contains("is a relay, and no host"), "{refused}");

    let mut host = lab.client("h1").await;
    let asked = PassRequest { root: vec![1; 32], size: 1 << 20 };
    let refused: [Status; 2] =
        [host.announce(announcement()).await.unwrap_err(), host.pass(asked).await.unwrap_err()];
    for refused in refused {
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("is a host, and no relay"), "{refused}");
    }
    assert!(lab.relays.alive().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_has_a_pass_for_what_is_given_and_for_nothing_else() {
    let lab = Lab::new().await;
    lab.enrol_relay("fra-1", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    let mut relay = lab.client("fra-1").await;
    for (root, size, code) in [
        (vec![1; 32], 1 << 20, Code::NotFound),
        (vec![1; 31], 1 << 20, Code::InvalidArgument),
        (vec![1; 32], u64::MAX, Code::InvalidArgument),
    ] {
        let refused = relay.pass(PassRequest { root, size }).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_a_token_for_relays_and_a_machine_that_comes_as_one() {
    let lab = Lab::new().await;
    for labels in [&[][..], &[("role", "web"), ("zone", "fra")], &[("role", "relay")]] {
        let refused = lab.enrol_relay("fra-1", labels).await.unwrap_err();
        let EnrolError::Refused(status) = refused else { panic!("{refused}") };
        assert!(status.message().contains("--relay --zone"), "{status}");
    }
    assert!(lab.book.0.lock().unwrap().is_empty());
    // What was refused is no obstacle to the right one.
    lab.enrol_relay("fra-1", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    // A host whose service is called so stays one.
    lab.enrol_host(&lab.door, "h1", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    assert_eq!(lab.book.0.lock().unwrap().len(), 1);
    lab.client("h1").await.announce(announcement()).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_locked_out_loses_its_place() {
    let lab = Lab::new().await;
    let _relay = lab.relay("fra-1", "fra").await;
    let name: HostName = "fra-1".parse().unwrap();
    let decide = permit(Action::HostEnroll, Resource::Host(name.clone(), None)).await;
    lab.agents.decide(&decide, &name, AgentState::Revoked, "sold").await.unwrap();
    lab.gateway.disconnect(&name);
    assert!(!lab.relays.is_alive(&name), "it is out at once");
    lab.client("fra-1").await.announce(announcement()).await.unwrap_err();
    assert!(!lab.relays.is_alive(&name), "and stays so");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_machines_with_the_key_of_one_relay_are_both_out() {
    let lab = Lab::new().await;
    lab.enrol_relay("fra-1", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    let mut relay = lab.client("fra-1").await;
    let mut from = async |boot: &str| {
        let boot_id = boot.to_owned();
        relay.announce(AnnounceRequest { boot_id, ..announcement() }).await
    };
    from("boot-1").await.unwrap();
    from("boot-2").await.unwrap();
    let refused = from("boot-1").await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    let agent = lab.agents.agent(&"fra-1".parse().unwrap()).await.unwrap();
    assert_eq!(agent.state, AgentState::Quarantined);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_relay_from_running_is_said() {
    let lab = Lab::new().await;
    let missing = lab.open_relay("none", settings()).await.unwrap_err();
    assert!(missing.to_string().contains("this machine is not enrolled"), "{missing}");
    lab.enrol_relay("fra-1", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    let open = lab.open_relay("fra-1", settings()).await.unwrap();
    let busy = lab.open_relay("fra-1", settings()).await.unwrap_err();
    assert!(matches!(busy, RelayError::Busy(_)), "{busy}");

    lab.enrol_relay("fra-2", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    let mut taken = settings();
    taken.blocks.listen = open.address().unwrap();
    let refused = lab.open_relay("fra-2", taken).await.unwrap_err();
    assert!(refused.to_string().contains("`blocks.listen`"), "{refused}");
    let blocks = lab.folder("fra-2").join("blocks");
    fs::remove_dir(&blocks).unwrap();
    fs::write(blocks, "no folder").unwrap();
    let refused = lab.open_relay("fra-2", settings()).await.unwrap_err();
    assert!(matches!(refused, RelayError::Folder { .. }), "{refused}");
    eventually("nothing is left of what failed", || lab.relays.alive().is_empty()).await;
}
