//! Hosts with next to no processes and memory left for their agent.
use crate::{
    crash::{Site as _, agents::AgentSite, subject::End},
    support::scripts::eventually,
};
use deploy_core::backend::{AttemptReport, KillReport};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A control group that limits what is in it. Whoever is in it when it is dropped goes back to where all are.
#[derive(Debug)]
struct Group {
    folder: PathBuf,
    outside: PathBuf,
}

impl Group {
    /// One that `controller` limits; `None`, and loudly, where there is none to be had.
    fn of(controller: &str) -> Option<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let controllers = fs::read_to_string(root.join("cgroup.subtree_control"));
        let outside = match controllers {
            Ok(it) if it.split_whitespace().any(|it| it == controller) => root.to_owned(),
            _ => root.join(controller),
        };
        let folder = outside.join(format!("deploy-test-{controller}-{}", std::process::id()));
        match fs::create_dir(&folder) {
            Ok(()) => Some(Self { folder, outside }),
            Err(err) => {
                eprintln!("SKIPPED: no control group that limits {controller}: {err}");
                None
            }
        }
    }

    /// Sets the first of `files` that is there: versions 1 and 2 call them by different names.
    fn limit(&self, files: &[&str], to: &str) {
        let file = files.iter().map(|it| self.folder.join(it)).find(|it| it.exists()).unwrap();
        fs::write(file, to).unwrap();
    }

    fn take(&self, pid: u32) {
        fs::write(self.folder.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let procs = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            // It may have ended meanwhile.
            let _gone = fs::write(self.outside.join("cgroup.procs"), pid);
        }
        drop::<io::Result<()>>(fs::remove_dir(&self.folder));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_without_processes_to_start_refuses_and_still_kills() {
    let Some(group) = Group::of("pids") else { return };
    let mut site = AgentSite::open().await;
    let mut agent = site.agent(&[]);
    site.hold_steps(true);
    let running = site.subject.next();
    let end = tokio::spawn(running.clone().settle());
    site.runs(1).await;
    group.limit(&["pids.max"], "1");
    group.take(agent.id().unwrap());
    assert_eq!(running.kill().await.unwrap(), KillReport::Killed);
    assert_eq!(end.await.unwrap(), End::Reported(AttemptReport::Killed));
    let starved = site.subject.next().run_once().await;
    starved.expect_err("an agent that can start nothing has started something");
    assert!(agent.try_wait().unwrap().is_none(), "it has ended");
    drop(group);
    site.hold_steps(false);
    let last = site.subject.next();
    let end = last.clone().settle().await;
    assert!(site.subject.check(&last, &end, "afterwards"), "{end:?}");
    eventually("nothing is left", || site.subject.fixture.processes().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_little_memory_passes_on_what_a_step_prints() {
    const ENOUGH: u64 = 24 << 20;
    let Some(group) = Group::of("memory") else { return };
    group.limit(&["memory.limit_in_bytes", "memory.max"], &ENOUGH.to_string());
    let mut site = AgentSite::open().await;
    let mut agent = site.agent(&[]);
    group.take(agent.id().unwrap());
    let flood = site.subject.fixture.dir.path().join("flood");
    fs::write(&flood, "").unwrap();
    let flooding = site.subject.next();
    let end = flooding.clone().settle().await;
    assert!(matches!(end, End::Reported(_)), "{end:?}");
    assert!(flooding.printed() > 2 * ENOUGH, "{} bytes", flooding.printed());
    assert!(agent.try_wait().unwrap().is_none(), "it has ended");
    fs::remove_file(flood).unwrap();
    let last = site.subject.next();
    let end = last.clone().settle().await;
    assert!(site.subject.check(&last, &end, "afterwards"), "{end:?}");
}
