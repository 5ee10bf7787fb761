use crate::lab::Lab;
use std::net::TcpStream;

#[test]
fn the_demonstration_ends_well_and_leaves_nothing() {
    let lab = Lab::new();
    let ran = lab.ok(&["demo", "--dir", "stage"]);
    for said in ["All 6 hosts really serve version 2.", "was rolled back", "stayed healthy"] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    assert!(!lab.path("stage").exists());
    let address = ran.stdout.lines().find_map(|it| it.trim().strip_prefix("web-1 http://"));
    let address = address.and_then(|it| it.split('/').next()).unwrap().to_owned();
    crate::lab::eventually("the servers are gone", || TcpStream::connect(&address).is_err());
}
