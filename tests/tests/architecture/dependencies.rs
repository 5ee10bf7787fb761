//! What is built from what.
use crate::workspace::{Package, members, packages, root, tree};
use std::{collections::BTreeSet, fs};

/// Not backends but what backends that reach hosts share: what happens there, what is brought there and how, how to talk to it, and by which
/// certificates the two ends know each other.
const SHARED: [&str; 7] = [
    "deploy-agent-identity",
    "deploy-agent-protocol",
    "deploy-distribution",
    "deploy-host",
    "deploy-package",
    "deploy-parts",
    "deploy-pki",
];

fn none_of(names: &BTreeSet<String>, forbidden: &[&str], what: &str) {
    let found: Vec<_> = forbidden.iter().filter(|it| names.contains(**it)).collect();
    assert!(found.is_empty(), "{what} has {found:?}");
}

fn names_of(members: &[Package], folder: &str) -> BTreeSet<String> {
    let names: BTreeSet<_> =
        members.iter().filter(|it| it.is_in(folder)).map(|it| it.name.clone()).collect();
    assert!(!names.is_empty(), "there is no package in {folder}");
    names
}

#[test]
fn the_pure_half_knows_no_runtime() {
    let pure = tree("deploy-core", &["--no-default-features"]);
    assert!(pure.contains("serde"), "{pure:?} cannot be the pure half");
    let effects = ["async-trait", "futures-core", "mio", "tokio", "tracing"];
    let chance = ["fastrand", "getrandom", "rand", "rand_core"];
    none_of(&pure, &[&effects[..], &chance].concat(), "the pure half of deploy-core");
}

/// Otherwise the same plan would mean another thing on a machine with other time zones.
#[test]
fn time_zones_come_with_the_program() {
    let packages = packages();
    let jiff = packages.iter().find(|it| it.name == "jiff").unwrap();
    let system = ["tz-system", "tzdb-concatenated", "tzdb-zoneinfo"];
    none_of(&jiff.features, &system, "jiff");
    assert!(jiff.features.contains("tzdb-bundle-always"), "{:?}", jiff.features);
}

#[test]
fn the_core_knows_no_medium() {
    let core = tree("deploy-core", &["--all-features"]);
    assert!(core.contains("tokio"), "{core:?} cannot be all of deploy-core");
    let media = ["axum", "clap", "hyper", "object_store", "russh", "serde_json", "sqlx", "toml"];
    none_of(&core, &media, "deploy-core");
    let ours: Vec<_> = core.iter().filter(|it| it.starts_with("deploy-")).collect();
    assert_eq!(ours, ["deploy-core"]);
}

#[test]
fn a_backend_knows_no_other_backend_and_no_frontend() {
    let members = members();
    let backends = names_of(&members, "backends");
    let frontends = names_of(&members, "frontends");
    assert!(SHARED.iter().all(|it| backends.contains(*it)) && backends.len() > 5, "{backends:?}");
    for backend in members.iter().filter(|it| it.is_in("backends")) {
        for dependency in &backend.dependencies {
            let other = backends.contains(dependency) && !SHARED.contains(&&**dependency);
            let wrong = other || frontends.contains(dependency);
            assert!(!wrong, "{} depends on {dependency}", backend.name);
        }
    }
}

#[test]
fn a_frontend_knows_no_other_frontend_but_what_all_share() {
    let members = members();
    let mut others = names_of(&members, "frontends");
    for shared in ["deploy-operations", "deploy-wire"] {
        assert!(others.remove(shared), "{others:?}");
    }
    for frontend in members.iter().filter(|it| it.is_in("frontends")) {
        let mut others = others.clone();
        // `deploy serve` is the server, in the one program that there is.
        if frontend.name == "deploy-cli" {
            others.remove("deploy-server");
            others.remove("deploy-client");
        }
        none_of(&frontend.dependencies, &ours(&others), &frontend.name);
    }
}

fn ours(names: &BTreeSet<String>) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

#[test]
fn a_frontend_knows_backends_and_not_what_they_are_made_of() {
    for frontend in members().iter().filter(|it| it.is_in("frontends")) {
        none_of(&frontend.dependencies, &["object_store", "russh", "sqlx"], &frontend.name);
    }
}

/// The wire is what other programs are written against: it holds data, and no way to do anything.
#[test]
fn the_wire_is_data() {
    let wire = tree("deploy-wire", &[]);
    none_of(&wire, &["async-trait", "axum", "clap", "tokio"], "deploy-wire");
}

#[test]
fn what_is_shipped_needs_nothing_of_the_tests() {
    let members = members();
    let tests = names_of(&members, "tests");
    for member in members.iter().filter(|it| !it.is_in("tests")) {
        none_of(&member.dependencies, &ours(&tests), &member.name);
    }
}

/// Versions below which something is known to be wrong. Advisory databases are late with some of these.
const FLOORS: [(&str, [u64; 3]); 6] = [
    ("git2", [0, 20, 4]),
    ("russh", [0, 65, 1]),
    ("rustls-webpki", [0, 103, 13]),
    ("sqlx", [0, 8, 1]),
    ("tar", [0, 4, 46]),
    ("tough", [0, 20, 0]),
];

/// Crates that are unmaintained, or wrong in a way that matters here.
const BANNED: [&str; 6] =
    ["astral-tokio-tar", "async-tar", "serde_yaml", "serde_yml", "tokio-tar", "users"];

/// Name and version of every package in `Cargo.lock`.
fn locked() -> Vec<(String, [u64; 3])> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let packages = lock["package"].as_array().unwrap().iter();
    packages
        .map(|it| (it["name"].as_str().unwrap().into(), version(it["version"].as_str().unwrap())))
        .collect()
}

fn version(text: &str) -> [u64; 3] {
    let release = text.split(['-', '+']).next().unwrap();
    let parts: Vec<u64> = release.split('.').map(|it| it.parse().unwrap()).collect();
    parts.try_into().unwrap()
}

#[test]
fn no_version_is_below_its_floor() {
    let locked = locked();
    assert!(locked.len() > 100, "only {} packages are locked", locked.len());
    for (name, floor) in FLOORS {
        for (_, version) in locked.iter().filter(|it| it.0 == name) {
            assert!(*version >= floor, "{name} is at {version:?}, and {floor:?} is the oldest");
        }
    }
    for name in BANNED {
        assert!(locked.iter().all(|it| it.0 != name), "{name} is not to be used");
    }
}
