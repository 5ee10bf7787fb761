//! Steps on hosts, while what drives them is killed.
use crate::{
    host::TestHost,
    network::may_divide,
    plane::{Plane, until},
};
use deploy_wire::{NewRollout, Rollout, RolloutCommand, Task};
use std::fs;

/// How many lines a step prints.
const LINES: usize = 400;

/// A service on all hosts, whose releases wait in the middle of a step.
pub(crate) struct TestService(&'static str);

impl TestService {
    /// With this strategy; and its release `1`.
    pub(crate) fn new(plane: &Plane, name: &'static str, strategy: &str) -> Self {
        // It counts that it runs, prints half of what it has to print, and the rest once it may go on.
        let half = LINES / 2;
        let post = format!(
            "#!/bin/sh\necho \"$DEPLOY_ATTEMPT\" >> \"$DEPLOY_SHARED/ran\"\n\
            i=1; while [ $i -le {half} ]; do echo \"line $i\"; i=$((i+1)); done\n\
            while ! test -e /srv/open-{name}; do sleep 0.05; done\n\
            while [ $i -le {LINES} ]; do echo \"line $i\"; i=$((i+1)); done\n"
        );
        let descriptor = "format = 1\n[steps.post]\nscript = \"post.sh\"\ntimeout = \"120s\"\n\
            [steps.verify]\nenabled = false\n";
        let folder = plane.path(&format!("service-{name}"));
        fs::create_dir_all(folder.join("package")).unwrap();
        fs::create_dir_all(folder.join("descriptor")).unwrap();
        for (file, text) in [
            ("package/version", "1"),
            ("descriptor/descriptor.toml", descriptor),
            ("descriptor/post.sh", post.as_str()),
        ] {
            fs::write(folder.join(file), text).unwrap();
        }
        let at = |file: &str| folder.join(file).to_str().unwrap().to_owned();
        let service = Self(name);
        service.apply(plane, strategy);
        let (package, descriptor) = (at("package"), at("descriptor"));
        let create = ["release", "create", name, "1", "--package", &package, "--descriptor"];
        plane.deploy(&[&create[..], &[&descriptor]].concat());
        service
    }

    /// With this strategy from now on, and what stands below it.
    pub(crate) fn apply(&self, plane: &Plane, strategy: &str) {
        let name = self.0;
        let service = format!(
            "name = \"{name}\"\nowner = \"ann\"\ndeploy_path = \"/srv/{name}\"\naccount = \"root\"\n\
            selector = \"role=web\"\n\n[strategy]\nmin_healthy_time = \"0s\"\n{strategy}\n"
        );
        let file = plane.path(&format!("service-{name}.toml"));
        fs::write(&file, service).unwrap();
        plane.deploy(&["service", "apply", file.to_str().unwrap()]);
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.0
    }

    /// Starts its release, through the API.
    pub(crate) fn start(&self, plane: &Plane) -> Rollout {
        let asked = NewRollout {
            service: self.0.to_owned(),
            release: format!("{}-1", self.0),
            ..NewRollout::default()
        };
        plane.api(async |client| client.start(&asked).await)
    }

    pub(crate) fn tell(&self, plane: &Plane, command: &RolloutCommand) {
        let rollout = plane.rollout(self.0).id;
        plane.api(async |client| client.command(&rollout, command).await);
    }

    /// The attempts in which its step has begun on a host.
    pub(crate) fn ran(&self, host: &TestHost) -> Vec<String> {
        let ran = host.read(&format!("{}/shared/ran", self.0));
        ran.lines().map(ToOwned::to_owned).collect()
    }

    pub(crate) fn is_running(&self, host: &TestHost) -> bool {
        !self.ran(host).is_empty()
    }

    /// Lets its step on a host go on.
    pub(crate) fn open(&self, host: &TestHost) {
        fs::write(host.srv(&format!("open-{}", self.0)), "").unwrap();
    }

    pub(crate) fn state(&self, plane: &Plane) -> String {
        plane.rollout(self.0).state
    }

    pub(crate) fn task(&self, plane: &Plane, host: &TestHost) -> Task {
        let tasks = plane.rollout(self.0).tasks.unwrap_or_default();
        tasks.into_iter().find(|it| it.host == host.name).unwrap()
    }

    /// That a host runs the release, that its step ran as often as there were attempts and never twice in one, and that
    /// nothing is missing of what it has printed.
    #[track_caller]
    pub(crate) fn check(&self, plane: &Plane, host: &TestHost, attempts: usize) {
        let name = &host.name;
        assert_eq!(host.read(&format!("{}/current/version", self.0)), "1", "{name}");
        let ran = self.ran(host);
        let mut once = ran.clone();
        once.sort();
        once.dedup();
        assert_eq!((ran.len(), once.len()), (attempts, attempts), "{name}: {ran:?}");
        let printed = plane.printed(self.0, name);
        let (_, last) = printed.last().unwrap_or_else(|| panic!("{name} has printed nothing"));
        let lines: Vec<&str> = last.lines().filter(|it| it.starts_with("line ")).collect();
        let wanted: Vec<String> = (1..=LINES).map(|it| format!("line {it}")).collect();
        assert_eq!(lines, wanted, "{} on {name}", self.0);
    }
}

/// A control plane with so many hosts, all of them connected.
pub(crate) fn fleet(count: u32) -> (Plane, Vec<TestHost>) {
    let plane = Plane::new("0.0.0.0");
    let token = plane.join_token(count, "1h").secret;
    let mut hosts: Vec<_> = (1..=count).map(|it| TestHost::divided(&plane, it)).collect();
    hosts.iter_mut().for_each(|it| it.join(&plane, &token));
    let names: Vec<String> = hosts.iter().map(|it| it.name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    until("all agents are connected", || plane.are_connected(&names));
    (plane, hosts)
}

#[test]
fn a_step_survives_its_server_and_its_agent() {
    if !may_divide("a_step_survives_its_server_and_its_agent") {
        return;
    }
    let (mut plane, mut hosts) = fleet(2);
    let web = TestService::new(&plane, "web", "");
    web.start(&plane);
    until("the step runs on both", || hosts.iter().all(|it| web.is_running(it)));
    plane.kill();
    hosts[0].kill_agent();
    // One step ends while nobody is there to hear it, and the other later.
    web.open(&hosts[0]);
    plane.start();
    hosts[0].start();
    until("the agents are back", || plane.are_connected(&["h1", "h2"]));
    web.open(&hosts[1]);
    until("the rollout has ended", || web.state(&plane) == "succeeded");
    hosts.iter().for_each(|it| web.check(&plane, it, 1));
    plane.stop();
}

#[test]
fn a_host_that_is_gone_is_not_taken_for_failed_and_comes_back() {
    if !may_divide("a_host_that_is_gone_is_not_taken_for_failed_and_comes_back") {
        return;
    }
    let (plane, hosts) = fleet(1);
    let web = TestService::new(&plane, "web", "");
    web.start(&plane);
    until("the step runs", || web.is_running(&hosts[0]));
    hosts[0].cut();
    until("the server has noticed", || plane.are_connected(&[]));
    assert_eq!(web.task(&plane, &hosts[0]).state, "running");
    web.open(&hosts[0]);
    hosts[0].mend();
    until("the rollout has ended", || web.state(&plane) == "succeeded");
    web.check(&plane, &hosts[0], 1);
}
