//! Shims, killed at their N-th system call, under an agent that stays.
use super::{
    Site, everywhere,
    subject::{Asking, End, Subject},
};
use crate::support::{Fixture, LocalAgent, scripts::eventually};
use deploy_agent::{HostOptions, JournaledHost, Policy};
use deploy_test_support::strace::{self, Point};
use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, sync::Arc};

#[tokio::test(flavor = "multi_thread")]
async fn a_shim_killed_at_its_nth_system_call_is_noticed() {
    if strace::is_there("the crash points of shims") {
        let wanted = strace::asked_for("CRASH_POINTS", 200).unwrap();
        everywhere::<ShimSite>("shims", wanted).await;
    }
}

/// A host that runs its shims behind other words.
struct ShimSite {
    subject: Subject,
    program: PathBuf,
}

impl ShimSite {
    /// Has the next shim started behind these words. What else an agent starts is not.
    fn put_before(&self, before: &[String]) {
        let own = env!("CARGO_BIN_EXE_deploy-agent");
        let text = format!("#!/bin/sh\nexec {} {own} \"$@\"\n", before.join(" "));
        let new = self.program.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, &self.program).unwrap();
    }

    async fn settle(&mut self, before: &[String]) -> (Asking, End) {
        self.put_before(before);
        let asking = self.subject.next();
        let end = asking.clone().settle().await;
        (asking, end)
    }
}

impl Site for ShimSite {
    async fn open() -> Self {
        let fixture = Fixture::new("auto").await;
        let program = fixture.dir.path().join("program");
        let policy = Policy::parse(&fixture.policy).unwrap();
        let state = fixture.dir.path().join("agent");
        let options = HostOptions::new("h1", state, policy).with_program(&program);
        let host = Arc::new(JournaledHost::open(options).await.unwrap());
        let store = Arc::clone(&fixture.store) as _;
        let executor = Arc::new(LocalAgent { host, store, log_limit: 0 });
        let on = fixture.on();
        Self { subject: Subject::new(fixture, executor, on).await, program }
    }

    async fn count(&mut self) -> BTreeMap<String, usize> {
        let file = self.subject.fixture.dir.path().join("calls");
        let (asked, end) = self.settle(&strace::counting(&file)).await;
        assert!(self.subject.check(&asked, &end, "uninterrupted"), "{end:?}");
        strace::counted(&file).unwrap()
    }

    async fn crash(&mut self, point: &Point) -> bool {
        let (asked, end) = self.settle(&strace::killing(point)).await;
        let what = format!("{point:?}");
        let undisturbed = self.subject.check(&asked, &end, &what);
        assert_eq!(asked.probe().await, Some(end), "{what}: what is told has changed");
        // What ended is gone, and what is being ended is about to be.
        eventually("nothing is left", || self.subject.fixture.processes().is_empty()).await;
        !undisturbed
    }
}
