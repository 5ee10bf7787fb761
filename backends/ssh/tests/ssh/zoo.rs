//! Hostile scripts over SSH. The launcher knows no control groups, so there is one kind of host for them.
use crate::conformance::Fixture;
use deploy_core::backend::ArtifactStore;
use deploy_test_support::zoo::{ANIMALS, Keeper};
use std::sync::Arc;

/// What the host contract says cannot be found without control groups.
const HIDDEN: [&str; 1] = ["cleans_its_environment"];

#[tokio::test(flavor = "multi_thread")]
async fn hostile_scripts_over_ssh() {
    let skipped = 2 * ANIMALS.len();
    eprintln!("SKIPPED: {skipped} scripts: over SSH there are neither unified nor freezer groups");
    let fixture = Fixture::new();
    let keeper = Keeper {
        executor: fixture.executor(),
        store: Arc::clone(&fixture.store) as Arc<dyn ArtifactStore>,
        on: fixture.on(),
        folder: fixture.sshd.folder().to_owned(),
        finds_all: false,
    };
    let found = keeper.visit(&std::env::var("ZOO").unwrap_or_default()).await;
    eprintln!("SSH: {found}");
    assert!(found.wrong.is_empty(), "{found}");
    assert!(found.hidden.iter().all(|it| HIDDEN.contains(it)), "{found}");
}
