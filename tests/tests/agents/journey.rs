//! From nothing to two services on five hosts, while everything goes wrong at once.
use crate::{
    host::TestHost,
    network::may_divide,
    plane::{Plane, until},
    rollouts::{TestService, fleet},
};
use deploy_wire::RolloutCommand;

/// The first wave is one host, and a person looks at it: with the command line in between.
fn canary(plane: &Plane, web: &TestService, first: &TestHost) {
    web.start(plane);
    until("the canary is at it", || web.is_running(first));
    plane.deploy(&["rollout", "pause", web.name()]);
    until("it is paused", || web.state(plane).starts_with("paus"));
    web.open(first);
    web.tell(plane, &RolloutCommand::Resume);
    until("a person is asked", || plane.rollout(web.name()).waves[0].state == "awaiting_confirm");
    web.tell(plane, &RolloutCommand::Confirm);
}

#[test]
fn two_services_come_onto_five_hosts_whatever_is_lost_on_the_way() {
    if !may_divide("two_services_come_onto_five_hosts_whatever_is_lost_on_the_way") {
        return;
    }
    let (mut plane, mut hosts) = fleet(5);
    let web =
        TestService::new(&plane, "web", "waves = [\"1\", \"100%\"]\nconfirm = \"after_first\"");
    let db = TestService::new(&plane, "db", "");
    canary(&plane, &web, &hosts[0]);
    db.start(&plane);
    until("all hosts are in the middle of a step", || {
        hosts.iter().all(|it| web.is_running(it) && db.is_running(it))
    });

    // Two hosts are cut off, the server dies, an agent dies, and a host loses its power.
    hosts[1..3].iter().for_each(TestHost::cut);
    plane.kill();
    hosts[3].kill_agent();
    hosts[4].reboot();
    // Meanwhile steps end that nobody hears of.
    for host in &hosts[..4] {
        web.open(host);
        db.open(host);
    }
    plane.start();
    hosts[3].start();
    until("those who can have come back", || plane.are_connected(&["h1", "h4", "h5"]));
    hosts[1..3].iter().for_each(TestHost::mend);

    // What became of the step that the power was cut of nobody knows: a person decides.
    for service in [&web, &db] {
        until("all is known that can be", || {
            let state = |host| service.task(&plane, host).state;
            hosts[..4].iter().all(|it| state(it) == "succeeded") && state(&hosts[4]) == "unknown"
        });
        assert_eq!(service.ran(&hosts[4]).len(), 1, "nothing is run again unasked");
        service.open(&hosts[4]);
        service.tell(&plane, &RolloutCommand::Retry { host: Some("h5".to_owned()) });
        service.tell(&plane, &RolloutCommand::Resume);
        until("the rollout has ended", || service.state(&plane) == "succeeded");
        hosts[..4].iter().for_each(|it| service.check(&plane, it, 1));
        service.check(&plane, &hosts[4], 2);
    }
    plane.stop();
}
