//! The kit on builds of real repositories.
#![expect(clippy::unwrap_used, reason = "a failed test panics")]
use deploy_build::LocalBuilder;
use deploy_core::{
    backend::Builder,
    conformance::{Harness, builder::BuilderHarness},
    memory::SystemClock,
    spec::Source,
};
use std::{fs, process::Command, sync::Arc};
use tempfile::TempDir;

struct Here;

impl Harness<dyn Builder> for Here {
    type Guard = TempDir;

    async fn fresh(&self) -> (Arc<dyn Builder>, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::new());
        (Arc::new(LocalBuilder::open(folder.path().join("builds"), clock).unwrap()), folder)
    }
}

impl BuilderHarness for Here {
    async fn commit(&self, folder: &TempDir, input: &str) -> Source {
        let repository = folder.path().join("repository");
        fs::create_dir_all(&repository).unwrap();
        fs::write(repository.join("input"), input).unwrap();
        let identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com"];
        for arguments in [
            &["init", "--quiet", "--initial-branch=main"][..],
            &["add", "--all"],
            &["commit", "--quiet", "--allow-empty", "--message", input],
        ] {
            let mut git = Command::new("git");
            let git = git.args(identity).args(arguments).current_dir(&repository).status();
            assert!(git.unwrap().success());
        }
        Source::new(format!("file://{}", repository.display()).parse().unwrap())
    }
}

deploy_core::builder_conformance!(Here, core);
