//! From the source of a real program to hosts in two zones, and back.
use crate::{
    host::TestHost,
    network::{may_divide, run},
    plane::{Plane, until},
    source::{NAME, Repository, VERSIONS, toolchain},
    zone::{Zone, may_shape},
};
use deploy_test_support::skip::skipped;
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// What the sessions of a zone may take of its link during a rollout, in bytes: TLS, orders, logs, heartbeats.
const TALK: u64 = 50_000;

/// A program, from its repository.
struct Shop<'a> {
    plane: &'a Plane,
    service: PathBuf,
    tools: String,
}

impl<'a> Shop<'a> {
    fn new(plane: &'a Plane, repository: &Repository) -> Self {
        let (tools, remote) = (toolchain(), repository.url());
        let service = plane.path("service.toml");
        // What debuggers and profilers need stays: programs are deployed like that.
        let text = format!(
            "name = \"{NAME}\"\nowner = \"ann\"\ndeploy_path = \"/srv/{NAME}\"\naccount = \"root\"\nselector = \"role=web\"\n\n\
            [strategy]\nmin_healthy_time = \"0s\"\n\n\
            [build]\nremote = \"{remote}\"\ncommands = [\"{tools}/bin/cargo build --release --offline\"]\n\
            environment = {{ RUSTC = \"{tools}/bin/rustc\", CARGO_PROFILE_RELEASE_DEBUG = \"1\" }}\n\
            outputs = {{ \"bin/{NAME}\" = \"target/release/{NAME}\" }}\ndescriptor = \"deploy\"\n"
        );
        fs::write(&service, text).unwrap();
        let shop = Self { plane, service, tools };
        shop.apply(&plane.path("data"));
        shop
    }

    fn apply(&self, data: &Path) {
        let (data, service) = (data.to_str().unwrap(), self.service.to_str().unwrap());
        self.plane.deploy(&["--data-dir", data, "service", "apply", service]);
    }

    /// Builds a version with the data folder `data`, and gives the digest of its package.
    fn build(&self, version: &str, data: &Path) -> String {
        let (data, revision) = (data.to_str().unwrap(), format!("v{version}"));
        let how = ["--tools", &self.tools, "--sandbox", "required", "--push"];
        let build = ["--data-dir", data, "build", NAME, "--rev", &revision];
        let built = self.plane.deploy(&[&build[..], &how].concat());
        assert_eq!(built["build"]["state"], "succeeded", "{built}");
        built["build"]["package"].as_str().unwrap().to_owned()
    }

    /// Makes the release of what was built, signed.
    fn release(&self, version: &str, package: &str, key: &str) {
        let hex = package.strip_prefix("sha256:").unwrap();
        let stored = format!("data/artifacts/blobs/sha256/{}/{hex}", &hex[..2]);
        let archive = self.plane.path(&format!("{version}.tar.gz"));
        fs::copy(self.plane.path(&stored), &archive).unwrap();
        let create = ["release", "create", NAME, version, "--package", archive.to_str().unwrap()];
        let more = ["--descriptor", version, "--sign-key", key];
        let made = self.plane.deploy(&[&create[..], &more].concat());
        assert_eq!(made["package"], package);
    }

    /// What one host fetches for a version, as the plan says: in which way, how many bytes, and how many the whole has.
    fn planned(&self, version: &str) -> (String, u64, u64) {
        let plan = self.plane.sent(&["plan", NAME, &format!("{NAME}-{version}")]);
        let transfers = plan["transfers"].as_array().unwrap();
        assert_eq!(transfers.len(), 1, "{transfers:?}");
        let (it, number) = (&transfers[0], |name: &str| transfers[0][name].as_u64().unwrap());
        assert_eq!(number("hosts"), 4, "{it}");
        (it["way"].as_str().unwrap().to_owned(), number("bytes"), number("whole"))
    }

    /// Drives a rollout to its end, and says how many bytes came into each zone for it.
    fn drive(&self, zones: &[Zone], arguments: &[&str]) -> Vec<u64> {
        let before: Vec<u64> = zones.iter().map(Zone::came).collect();
        let command = [&["rollout"], arguments, &["--yes", "--output", "json"]].concat();
        let printed = self.plane.sent_and_shown(&command);
        let end: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
        assert_eq!(end["state"], "succeeded", "{printed}");
        zones.iter().zip(before).map(|(zone, before)| zone.came() - before).collect()
    }
}

/// That of so many bytes, which two hosts of each zone needed, little more than one copy came into it.
#[track_caller]
fn took_one_copy(came: &[u64], bytes: u64) {
    for came in came {
        assert!((bytes..bytes + bytes / 10 + TALK).contains(came), "{came} of {bytes} bytes came");
    }
}

/// That all hosts run this version: the program itself is asked.
#[track_caller]
fn run_version(hosts: &[TestHost], version: &str) {
    for host in hosts {
        let program = host.srv(&format!("{NAME}/current/bin/{NAME}"));
        let said = Command::new(program).arg("--version").output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert!(said.contains(version), "{} runs {said}", host.name);
    }
}

fn may_build(test: &str) -> bool {
    let builds = run("bwrap", &["--ro-bind", "/", "/", "--unshare-all", "true"]);
    if !builds {
        skipped(
            test,
            "bubblewrap is missing (`cargo xtask packages`), or may not make sandboxes here",
        );
    }
    builds
}

#[test]
fn a_real_crate_is_built_signed_and_brought_to_two_zones_and_back() {
    const TEST: &str = "a_real_crate_is_built_signed_and_brought_to_two_zones_and_back";
    if !may_divide(TEST) || !may_shape(TEST) || !may_build(TEST) {
        return;
    }
    let plane = Plane::new("0.0.0.0");
    let Some(repository) = Repository::fetch(&plane.path("source"), TEST) else { return };
    let [old, new] = VERSIONS.map(|(version, _)| version);
    let shop = Shop::new(&plane, &repository);

    // The same source makes the same package, also where nothing is known of it.
    let first = shop.build(old, &plane.path("data"));
    let elsewhere = plane.path("elsewhere");
    shop.apply(&elsewhere);
    assert_eq!(shop.build(old, &elsewhere), first);
    let second = shop.build(new, &plane.path("data"));
    assert_ne!(second, first);
    let key = plane.path("publisher.key").to_str().unwrap().to_owned();
    let made = plane.deploy(&["key", "create", &key, "--no-password"]);
    shop.release(old, &first, &key);
    shop.release(new, &second, &key);

    let mut zones = [Zone::new(&plane, "fra", 1), Zone::new(&plane, "nyc", 2)];
    let publishers = format!("[publishers]\nkeys = [{}]\n", made["public_key"]);
    let mut hosts = Vec::new();
    for (zone, names) in zones.iter_mut().zip([["fra-1", "fra-2"], ["nyc-1", "nyc-2"]]) {
        hosts.extend(names.map(|name| zone.join(&plane, name, &publishers)));
    }
    until("all agents are connected", || {
        let agents = plane.agents();
        let is_there = |host: &TestHost| {
            agents.iter().any(|it| it.host == host.name && it.connected == Some(true))
        };
        hosts.iter().all(is_there)
    });

    let (_, bytes, _) = shop.planned(old);
    assert!(bytes > 512 << 10, "{bytes}: too little to go in several blocks");
    let came = shop.drive(&zones, &["start", NAME, &format!("{NAME}-{old}")]);
    took_one_copy(&came, bytes);
    run_version(&hosts, old);

    let (way, bytes, whole) = shop.planned(new);
    assert_eq!(way, "delta");
    assert!(bytes < whole / 2, "{bytes} of {whole}");
    let came = shop.drive(&zones, &["start", NAME, &format!("{NAME}-{new}")]);
    took_one_copy(&came, bytes);
    run_version(&hosts, new);

    let came = shop.drive(&zones, &["rollback", NAME]);
    took_one_copy(&came, 0);
    run_version(&hosts, old);
}
