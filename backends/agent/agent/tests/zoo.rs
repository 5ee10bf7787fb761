//! Hostile scripts under an agent, with each kind of control groups that this machine has.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod support;

use deploy_core::backend::ArtifactStore;
use deploy_test_support::zoo::{ANIMALS, Keeper};
use std::{fs, sync::Arc};
use support::{Fixture, LocalAgent};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_scripts_in_unified_groups() {
    visit("unified", "cgroup2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_scripts_in_freezer_groups() {
    visit("freezer", "freezer").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_scripts_without_groups() {
    visit("none", "").await;
}

/// Lets all loose under an agent with this kind of groups, where the machine has `mounted` what it takes.
async fn visit(groups: &str, mounted: &str) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    if !mounts.contains(mounted) || (groups != "none" && !rustix::process::geteuid().is_root()) {
        eprintln!("SKIPPED: {} scripts: there are no {groups} groups to be had", ANIMALS.len());
        return;
    }
    let policy = format!("cgroups = '{groups}'\nrun = true\nlog_mib = 8\nconcurrency = 64\n");
    let fixture = Fixture::with_policy(&policy).await;
    let store = Arc::clone(&fixture.store) as Arc<dyn ArtifactStore>;
    let executor = LocalAgent { host: fixture.host(), store: Arc::clone(&store), log_limit: 0 };
    let keeper = Keeper {
        executor: Arc::new(executor),
        store,
        on: fixture.on(),
        folder: fixture.dir.path().to_owned(),
        finds_all: true,
    };
    let found = keeper.visit(&std::env::var("ZOO").unwrap_or_default()).await;
    eprintln!("agent, {groups}: {found}");
    assert!(found.wrong.is_empty() && found.hidden.is_empty(), "{groups}: {found}");
}
