//! A server that somebody else wrote goes onto twenty hosts, is upgraded, and goes back.
use crate::fleet::{Fleet, until};
use deploy_test_support::real_service::{RealPackage, packages};
use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

const HOSTS: usize = 20;

const DESCRIPTOR: &str = r#"format = 1

[start]
command = 'exec bin/simple-http-server --ip "$DEPLOY_HOST" --port "$P_PORT" --nocache www'

[verify]
http = 'http://$DEPLOY_HOST:$P_PORT/version.txt'

[parameters.PORT]
type = "integer"
required = true
"#;

#[test]
fn a_real_service_goes_onto_twenty_hosts_and_back() {
    let fleet = Fleet::new(HOSTS);
    fleet.service(
        "web",
        "waves = [\"2\", \"*3\"]\nconfirm = \"after_first\"\nmin_healthy_time = \"0s\"\nhealthy_deadline = \"2m\"\n",
    );
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let [old, new] = packages();
    for package in [&old, &new] {
        release(&fleet, package, port);
        roll_out(&fleet, package);
        assert_versions(&fleet, port, package.version);
    }
    let newest = fleet.newest().unwrap();
    fleet.deploy(&["rollout", "rollback", &newest, "--yes"]).ended(0);
    assert_versions(&fleet, port, old.version);
    let status = fleet.deploy(&["status", "web"]).ended(0);
    assert_eq!(
        status.out.matches(&format!("web-{}", old.version)).count(),
        HOSTS,
        "{}",
        status.out
    );
}

fn release(fleet: &Fleet, package: &RealPackage, port: u16) {
    let descriptor = fleet.descriptor(&[("descriptor.toml", DESCRIPTOR)]);
    let port = format!("PORT={port}");
    let archive = package.archive.to_str().unwrap();
    let create = ["release", "create", "web", package.version, "--package", archive];
    let rest = ["--descriptor", &descriptor, "-p", &port];
    fleet.deploy(&[&create[..], &rest].concat()).ended(0);
}

fn roll_out(fleet: &Fleet, package: &RealPackage) {
    let release = format!("web-{}", package.version);
    // The canaries are in place, and somebody has to let the rest go.
    fleet.deploy(&["rollout", "start", "web", &release, "--yes"]).ended(11);
    let id = fleet.newest().unwrap();
    let why = fleet.deploy(&["rollout", "why", &id, &fleet.hosts[HOSTS - 1]]).ended(0);
    assert!(why.out.contains("confirm"), "{}", why.out);
    fleet.deploy(&["rollout", "confirm", &id]).ended(0);
    fleet.deploy(&["rollout", "resume", &id]).ended(0);
}

fn assert_versions(fleet: &Fleet, port: u16, version: &str) {
    for host in &fleet.hosts {
        until(&format!("{host} serves {version}"), || {
            ask(host, port).is_some_and(|it| it.trim() == version)
        });
    }
}

fn ask(host: &str, port: u16) -> Option<String> {
    let mut stream = TcpStream::connect((host, port)).ok()?;
    stream.write_all(b"GET /version.txt HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.split_once("\r\n\r\n")?.1.to_owned())
}
