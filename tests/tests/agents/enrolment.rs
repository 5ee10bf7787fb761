//! Who is let in, and who is not any more.
use crate::{
    host::TestHost,
    plane::{Plane, until},
};
use deploy_wire::{AgentDecision, NewHost};
use std::{fs, process::Output};

fn refused(enrolled: &Output) -> String {
    assert!(!enrolled.status.success(), "it was let in: {enrolled:?}");
    String::from_utf8_lossy(&enrolled.stderr).into_owned()
}

#[test]
fn a_line_to_paste_makes_a_machine_a_host() {
    let plane = Plane::new("127.0.0.1");
    let line = plane.prints(&["host", "join-token", "create", "--label", "zone=a"]);
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = |word| words.iter().position(|it| *it == word).unwrap();
    let (token, server) = (words[at("echo") + 1], words[at("--server") + 1]);
    assert_eq!(server, format!("127.0.0.1:{}", plane.agents_port()));
    let mut host = TestHost::plain(&plane, "h1");
    host.join(&plane, token);
    until("it is connected", || plane.are_connected(&["h1"]));
    let shown = plane.deploy(&["host", "show", "h1"]);
    assert_eq!(
        (&shown["connection"]["via"], &shown["labels"]["zone"]),
        (&"agent".into(), &"a".into())
    );
    let agent = plane.agents().remove(0);
    assert_eq!(agent.natural_key, "instance/test/here/h1");
    assert!(agent.facts.cpus.is_some() && agent.facts.kernel.is_some(), "{agent:?}");
    assert!(plane.prints(&["host", "agent", "list"]).contains("active"));
    assert!(!plane.server_log().contains(token.split('_').nth(2).unwrap()), "the secret is logged");
}

#[test]
fn the_command_line_lets_hosts_in_and_out_from_anywhere() {
    let plane = Plane::new("127.0.0.1");
    let made = plane.sent(&["host", "join-token", "create", "--uses", "2"]);
    let mut host = TestHost::plain(&plane, "h1");
    host.join(&plane, made["secret"].as_str().unwrap());
    until("it is connected", || plane.sent(&["host", "agent", "show", "h1"])["connected"] == true);
    let id = made["token"]["id"].as_str().unwrap();
    plane.sent(&["host", "join-token", "revoke", id]);
    assert_eq!(plane.sent(&["host", "join-token", "list"])[0]["refusal"], "it was revoked");
    let revoked = plane.sent(&["host", "agent", "revoke", "h1", "--reason", "sold"]);
    assert_eq!((&revoked[0]["connected"], &revoked[0]["reason"]), (&false.into(), &"sold".into()));
    assert_eq!(plane.sent(&["host", "agent", "accept", "h1"])["state"], "active");
    plane.sent(&["host", "agent", "remove", "h1"]);
    assert_eq!(plane.sent(&["host", "agent", "list"]), serde_json::json!([]));
}

#[test]
fn a_token_that_is_worth_nothing_gives_nothing() {
    let plane = Plane::new("127.0.0.1");
    let once = plane.join_token(1, "1h");
    assert!(TestHost::plain(&plane, "h1").enrol(&plane, &once.secret).status.success());
    let late = TestHost::plain(&plane, "h2");
    let said = refused(&late.enrol(&plane, &once.secret));
    assert!(said.contains("used up"), "{said}");

    let short = plane.join_token(1, "1s");
    until("it has expired", || {
        let tokens = plane.deploy(&["host", "join-token", "list"]);
        let tokens = tokens.as_array().unwrap();
        tokens.iter().any(|it| it["refusal"] == "it has expired")
    });
    let said = refused(&late.enrol(&plane, &short.secret));
    assert!(said.contains("expired"), "{said}");

    let revoked = plane.join_token(1, "1h");
    plane.deploy(&["host", "join-token", "revoke", &revoked.token.id]);
    let said = refused(&late.enrol(&plane, &revoked.secret));
    assert!(said.contains("revoked"), "{said}");

    // Not the one that was made: the right id, with another secret.
    let good = plane.join_token(1, "1h").secret;
    let (id, rest) = good.rsplit_once('_').unwrap().0.rsplit_once('_').unwrap();
    let forged = good.replace(rest, &"0".repeat(rest.len()));
    assert!(forged.starts_with(id));
    let said = refused(&late.enrol(&plane, &forged));
    assert!(!said.contains("used up") && !said.contains(&"0".repeat(64)), "{said}");

    let elsewhere = Plane::new("127.0.0.1").join_token(1, "1h");
    let said = refused(&late.enrol(&plane, &elsewhere.secret));
    assert!(said.contains("UnknownIssuer") || said.contains("authority"), "{said}");
    assert!(!late.state().join("credentials.toml").exists());
    assert_eq!(plane.agents().len(), 1);
}

#[test]
fn who_is_revoked_loses_the_session_at_once_whoever_says_so() {
    let plane = Plane::new("127.0.0.1");
    let token = plane.join_token(2, "1h").secret;
    let mut hosts = ["h1", "h2"].map(|it| TestHost::plain(&plane, it));
    hosts.iter_mut().for_each(|it| it.join(&plane, &token));
    until("both are connected", || plane.are_connected(&["h1", "h2"]));
    // By the server itself: the answer comes after the cut.
    let sold = AgentDecision::Revoke { reason: "sold".to_owned() };
    let decided = plane.api(async |client| client.decide_agent("h1", &sold).await);
    assert_eq!((decided.state.as_str(), decided.connected), ("revoked", Some(false)));
    assert!(plane.are_connected(&["h2"]));
    // By another process over the same data.
    plane.deploy(&["host", "agent", "revoke", "h2"]);
    until("the server has noticed", || plane.are_connected(&[]));
    until("it is told why", || hosts[1].log().contains("CertificateRevoked"));
    plane.api(async |client| client.decide_agent("h2", &AgentDecision::Accept).await);
    hosts[1].kill_agent();
    hosts[1].start();
    until("it is let in again", || plane.are_connected(&["h2"]));
}

#[test]
fn who_is_not_a_host_any_more_is_let_go_and_may_come_anew() {
    let plane = Plane::new("127.0.0.1");
    let mut host = TestHost::plain(&plane, "h1");
    host.join(&plane, &plane.join_token(1, "1h").secret);
    until("it is connected", || plane.are_connected(&["h1"]));
    plane.deploy(&["host", "remove", "h1"]);
    until("the server has noticed", || plane.are_connected(&[]));
    until("it is told why", || host.log().contains("not in the inventory any more"));
    host.kill_agent();
    host.join(&plane, &plane.join_token(1, "1h").secret);
    until("it is a host again", || plane.are_connected(&["h1"]));
    plane.deploy(&["host", "agent", "remove", "h1"]);
    until("the server has noticed", || plane.are_connected(&[]));
    assert!(plane.agents().is_empty());
}

#[test]
fn a_machine_installed_anew_keeps_its_name_and_what_people_have_said_of_it() {
    let plane = Plane::new("127.0.0.1");
    let mut host = TestHost::plain(&plane, "h1");
    host.join(&plane, &plane.join_token(1, "1h").secret);
    plane.deploy(&["host", "label", "h1", "role=db", "rack=7"]);
    host.kill_agent();
    fs::remove_dir_all(host.state()).unwrap();
    "another-name".clone_into(&mut host.name);
    let token =
        plane.deploy(&["host", "join-token", "create", "--label", "role=web", "--label", "zone=a"]);
    host.join(&plane, token["secret"].as_str().unwrap());
    until("it is connected under its name", || plane.are_connected(&["h1"]));
    let labels = &plane.deploy(&["host", "show", "h1"])["labels"];
    assert_eq!(*labels, serde_json::json!({"role": "db", "rack": "7", "zone": "a"}));
}

#[test]
fn a_copy_of_a_machine_is_quarantined_until_a_person_decides() {
    let plane = Plane::new("127.0.0.1");
    let mut host = TestHost::plain(&plane, "h1");
    host.join(&plane, &plane.join_token(1, "1h").secret);
    until("it is connected", || plane.are_connected(&["h1"]));
    // The copy shows the key after the original has renewed it.
    let kept = fs::read(host.state().join("credentials.toml")).unwrap();
    let key = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .lines()
            .find(|it| it.starts_with("key"))
            .map(ToOwned::to_owned)
    };
    assert!(key(&kept).is_some());
    let copy = TestHost::plain(&plane, "copy");
    fs::write(copy.state().join("credentials.toml"), &kept).unwrap();
    // A machine that is installed anew: its old key is superseded.
    host.kill_agent();
    fs::remove_file(host.state().join("credentials.toml")).unwrap();
    host.join(&plane, &plane.join_token(1, "1h").secret);
    until("it is connected again, under its name", || plane.are_connected(&["h1"]));
    let mut copy = copy;
    copy.start();
    until("both are locked out", || {
        let agents = plane.agents();
        agents[0].state == "quarantined" && agents[0].connected == Some(false)
    });
    assert!(plane.prints(&["host", "agent", "list"]).contains("quarantined"));
    assert!(plane.prints(&["host", "agent", "show", "h1"]).contains("copied"));
    drop(copy);
    plane.deploy(&["host", "agent", "accept", "h1"]);
    host.kill_agent();
    host.start();
    until("the original is let in", || plane.are_connected(&["h1"]));
}

#[test]
fn a_join_token_takes_over_no_host_that_is_reached_in_another_way() {
    let plane = Plane::new("127.0.0.1");
    let there = NewHost {
        name: "db-1".to_owned(),
        connection: deploy_wire::Connection { via: "ssh".to_owned(), ..Default::default() },
        labels: std::iter::once(("role".to_owned(), "db".to_owned())).collect(),
    };
    plane.api(async |client| client.add_host(&there).await);
    let token = plane.join_token(1, "1h");
    let said = refused(&TestHost::plain(&plane, "db-1").enrol(&plane, &token.secret));
    assert!(said.contains("reached in another way"), "{said}");
    assert_eq!(plane.deploy(&["host", "show", "db-1"])["connection"]["via"], "ssh");
    // It has used nothing, and a person may make room.
    plane.deploy(&["host", "remove", "db-1"]);
    let mut host = TestHost::plain(&plane, "db-1");
    host.join(&plane, &token.secret);
    until("it is connected", || plane.are_connected(&["db-1"]));
}

#[test]
fn agents_come_back_to_the_next_server() {
    let mut plane = Plane::new("127.0.0.1");
    let mut host = TestHost::plain(&plane, "h1");
    host.join(&plane, &plane.join_token(1, "1h").secret);
    until("it is connected", || plane.are_connected(&["h1"]));
    for restart in [Plane::stop, Plane::kill] {
        restart(&mut plane);
        plane.start();
        until("it is connected again", || plane.are_connected(&["h1"]));
    }
}
