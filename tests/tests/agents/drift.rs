//! Hosts that somebody has changed: agents say so, and what is said reaches people, and repairs.
use crate::{
    host::TestHost,
    network::may_divide,
    plane::{Plane, until},
    rollouts::{TestService, fleet},
};
use deploy_wire::HostStatus;
use std::{fs, os::unix::fs::symlink};

/// Puts a release on a host by hand, beside the one of the rollout.
fn change_by_hand(host: &TestHost, service: &TestService, release: &str) {
    let folder = host.srv(service.name());
    let release = format!("releases/{release}");
    fs::create_dir_all(folder.join(&release)).unwrap();
    fs::write(folder.join(&release).join("version"), "by hand").unwrap();
    fs::remove_file(folder.join("current")).unwrap();
    symlink(release, folder.join("current")).unwrap();
}

/// The agent ends, and another begins: it says what the host runs.
fn reconnect(plane: &Plane, host: &mut TestHost) {
    host.kill_agent();
    until("the server has noticed", || plane.are_connected(&[]));
    host.start();
    until("the agent is back", || plane.are_connected(&[&host.name]));
}

/// What the server knows of the one host of a service.
fn status(plane: &Plane, service: &TestService) -> HostStatus {
    plane.api(async |client| client.status(service.name()).await).hosts.remove(0)
}

/// Whether it is the release `web-1` that the host is known to run, and nothing else is owed to it.
fn is_well(status: &HostStatus) -> bool {
    status.release.as_deref() == Some("web-1") && !status.drift && status.owed.is_none()
}

#[test]
fn a_host_that_was_changed_by_hand_is_shown_and_mended_where_the_service_asks_for_it() {
    let name = "a_host_that_was_changed_by_hand_is_shown_and_mended_where_the_service_asks_for_it";
    if !may_divide(name) {
        return;
    }
    let (plane, mut hosts) = fleet(1);
    let web = TestService::new(&plane, "web", "");
    let host = &mut hosts[0];
    web.open(host);
    let rollout = web.start(&plane);
    until("the rollout has ended", || web.state(&plane) == "succeeded");
    assert!(is_well(&status(&plane, &web)), "{:?}", status(&plane, &web));

    change_by_hand(host, &web, "web-0");
    reconnect(&plane, host);
    // That the agent is there is said before what it has brought is written down.
    until("it is shown", || status(&plane, &web).drift);
    let seen = status(&plane, &web);
    let owed = seen.owed.clone().unwrap();
    assert_eq!(seen.release.as_deref(), Some("web-0"));
    assert_eq!((&*owed.cause, owed.release.as_deref()), ("drift", Some("web-1")));
    assert_eq!(owed.next, "left", "the service does not ask for repairs: {owed:?}");
    let shown = plane.sent(&["status", "web"]);
    assert_eq!(shown[0]["hosts"][0]["owed"]["cause"], "drift", "{shown}");
    let shown = plane.prints(&["status", "web"]);
    assert!(shown.contains("drift from web-1"), "{shown}");
    assert_eq!(plane.rollout("web").id, rollout.id, "nobody has asked for a repair");
    assert_eq!(host.read("web/current/version"), "by hand");

    web.apply(&plane, "[repair]\ndrift = \"repair\"");
    reconnect(&plane, host);
    until("it is mended", || is_well(&status(&plane, &web)));
    assert_eq!(host.read("web/current/version"), "1");
    assert_eq!(web.ran(host).len(), 2, "once in the rollout, and once in its repair");
    until("the repair has ended", || web.state(&plane) == "succeeded");
    let repair = plane.rollout("web");
    assert_ne!(repair.id, rollout.id);
    assert_eq!((&*repair.work, &*repair.started_by), ("repair", "deploy-keeper"));
}
