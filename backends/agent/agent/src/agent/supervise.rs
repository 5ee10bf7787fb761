//! Looks after an attempt until it has ended, also one that another agent has started.
use super::{Host, launch::listen};
use crate::{
    attempt::{
        Attempt, AttemptKey, Attempts, End, State,
        recovery::{Cause, Seen, Verdict, verdict},
    },
    folder::{Folder, Supervisor},
    journal::record::Record,
    package::PackageTree,
    process::{
        cgroup::Cgroups,
        ending::Ending,
        proc_fs::{Process, is_running},
        tree::Tree,
    },
    spec::Spec,
    time::uptime,
};
use deploy_agent_protocol::v1::Died;
use deploy_core::{
    id::ServiceName,
    telemetry::{GENERATION, TARGET_BACKEND},
};
use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};
use tokio::{net::unix::pipe, sync::watch, task::spawn_blocking, time::interval};

/// How often to look whether a shim that is about to be gone is.
const GOING: Duration = Duration::from_millis(20);
/// So many have supervised an attempt, or were kept from it, before nobody does any more.
const MOST_PLACES: u32 = 32;

impl Host {
    /// Goes on with what the journal says is under way.
    pub(super) fn recover(self: &Arc<Self>) {
        let (unfinished, _) = self.journal.look(|attempts| {
            let starting =
                attempts.all().filter(|(_, it)| matches!(it.state, State::Starting { .. }));
            starting.map(|(key, _)| key).collect::<Vec<_>>()
        });
        for key in unfinished {
            self.live().insert(key.clone(), watch::Sender::new(0));
            let folder = self.folder(&key);
            // A pipe whose writer was gone before it was opened never ends: only that of a shim that is seen afterwards is listened to.
            let news = listen(&folder).ok().filter(|_| folder.shim(&self.boot_id).is_some());
            let host = Arc::clone(self);
            self.spawn(async move { host.supervise(key, news).await });
        }
        let host = Arc::clone(self);
        self.spawn(async move { host.sweep().await });
    }

    /// Listens to a shim until it is done, and then writes how the attempt ended.
    pub(super) async fn supervise(self: Arc<Self>, key: AttemptKey, news: Option<pipe::Receiver>) {
        let mut news = news;
        let settled = loop {
            if let Some(news) = news.take() {
                self.listen(&key, news).await;
            }
            match self.settle(&key).await {
                Ok(Some(resumed)) => news = Some(resumed),
                Ok(None) => break Ok(()),
                Err(err) => break Err(err),
            }
        };
        match settled {
            Ok(()) => _ = self.live().remove(&key),
            Err(err) => {
                // What is not written is not said. Whoever waits for it waits for an agent that can write again.
                tracing::error!(
                    target: TARGET_BACKEND,
                    { { GENERATION } = key.generation, error = %err },
                    "the end of an attempt cannot be written down"
                );
                return;
            }
        }
        self.sweep().await;
    }

    async fn listen(&self, key: &AttemptKey, news: pipe::Receiver) {
        let mut buffer = [0; 4096];
        while news.readable().await.is_ok() {
            match news.try_read(&mut buffer) {
                Ok(0) => return,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            if let Some(live) = self.live().get(key) {
                live.send_modify(|it| *it += 1);
            }
        }
    }

    /// Finds out how an attempt ended, sees to it that nothing of it is left that must not be, and writes it down. If it has not, and only its shim is
    /// gone, another goes on for that one: then this gives what to listen to.
    async fn settle(&self, key: &AttemptKey) -> io::Result<Option<pipe::Receiver>> {
        let folder = self.folder(key);
        loop {
            let Some(attempt) = self.journal.look(|it| it.attempt(key).cloned()).0 else {
                return Ok(None);
            };
            let (of, seen_by) = (folder.clone(), self.boot_id.clone());
            let (look_at, shim) = (attempt.clone(), folder.shim(&self.boot_id));
            let found = spawn_blocking(move || verdict(&look_at, &look(&of, &look_at, &seen_by)));
            let record = match found.await.map_err(io::Error::other)? {
                Verdict::Settled => return Ok(None),
                Verdict::Resume => return self.resume_shim(&folder).map(Some),
                Verdict::Running => {
                    wait_for(shim).await;
                    continue;
                }
                Verdict::Await | Verdict::NeverStarted => {
                    tell_of(&folder, key);
                    Record::Withdrawn { attempt: key.clone() }
                }
                Verdict::Ended(ended) => {
                    Record::Exited { attempt: key.clone(), end: End::Ended(ended) }
                }
                Verdict::Died(cause) => {
                    let end = End::Died(self.bury(&folder, &attempt, cause).await?);
                    Record::Exited { attempt: key.clone(), end }
                }
            };
            let written = self.journal.write(vec![record]).await;
            return written.map(|()| None).map_err(io::Error::other);
        }
    }

    /// Ends what a shim that was killed has left of its step.
    async fn bury(&self, folder: &Folder, attempt: &Attempt, cause: Cause) -> io::Result<Died> {
        let last = folder.last_begun();
        let step = last.as_ref().map(|it| it.1.clone()).unwrap_or_default();
        let reason = cause.as_str().to_owned();
        let reverting = folder.has_waited();
        let (Cause::ShimLost, Some((index, _))) = (cause, last) else {
            return Ok(Died { reason, step, survivors: Vec::new(), reverting });
        };
        let index = index.to_string();
        let cgroups = match &attempt.state {
            State::Starting { cgroup, .. } => cgroup.parse().unwrap_or(Cgroups::None),
            State::Accepted { .. } | State::Exited { .. } => Cgroups::None,
        };
        let tree = tree(folder, attempt, &cgroups, &index);
        // Where nobody says how long its processes have, they have no time.
        let grace = spec_of(folder)?.map_or(Duration::ZERO, |it| it.grace());
        let survivors = spawn_blocking(move || Ending::new(tree, grace, uptime()).run());
        let survivors = survivors.await.map_err(io::Error::other)??;
        Ok(Died { reason, step, survivors, reverting })
    }

    /// What could not be ended of the newest attempt of a service and is still there, as `PID:NAME`. This blocks.
    pub(super) fn left_of(&self, service: &ServiceName) -> io::Result<Option<(u64, Vec<String>)>> {
        let newest = |attempts: &Attempts| {
            let (generation, attempt) = attempts.of(service).next_back()?;
            attempt.has_survivors().then(|| (generation, attempt.clone()))
        };
        let (Some((generation, attempt)), _) = self.journal.look(newest) else { return Ok(None) };
        let folder = self.folder(&AttemptKey { service: service.clone(), generation });
        let Some((index, _)) = folder.last_begun() else { return Ok(None) };
        // Without its control group they are found by their marks alone.
        let spec = spec_of(&folder)?;
        let cgroups = spec.map_or(Cgroups::None, |it| self.cgroups.group(&it.group()));
        let left = tree(&folder, &attempt, &cgroups, &index.to_string()).find()?;
        let names: Vec<_> = left.iter().map(Process::shown).collect();
        Ok((!names.is_empty()).then_some((generation, names)))
    }

    /// Removes what the journal knows nothing of any more.
    async fn sweep(self: &Arc<Self>) {
        self.journal.forget();
        let host = Arc::clone(self);
        let swept = spawn_blocking(move || {
            for (key, path) in folders(&host.options.state.join("attempts"))? {
                let (known, _) = host.journal.look(|it| it.attempt(&key).is_some());
                if !host.live().contains_key(&key) {
                    host.tidy(&Folder::at(path.clone()));
                    if !known {
                        fs::remove_dir_all(path)?;
                    }
                }
            }
            Ok::<_, io::Error>(())
        });
        if let Ok(Err(err)) = swept.await {
            tracing::warn!(target: TARGET_BACKEND, { error = %err }, "old attempts cannot be removed");
        }
    }
}

impl Host {
    /// Lets go of what an attempt that is over needs no more.
    fn tidy(&self, folder: &Folder) {
        // The package, which would be on the disk for as long as this name of it is; and control groups that are empty by now.
        for work in [folder.work(), folder.back().work()] {
            drop(fs::remove_file(work.join("package.tar.gz")));
            drop(PackageTree::remove(&work));
        }
        if let Some(spec) = folder.order().ok().and_then(|it| Spec::parse(it).ok()) {
            self.cgroups.group(&spec.group()).remove();
        }
    }
}

/// What there is to see of an attempt. A shim that has not said yet that it is there never will be: its place is taken. This blocks.
fn look(folder: &Folder, attempt: &Attempt, boot_id: &str) -> Seen {
    if folder.shim(boot_id).is_none() {
        folder.keep_from_starting(folder.next_place());
    }
    let shim_alive = folder.shim(boot_id).is_some();
    let last_boot = folder.started().map(|it| it.boot_id);
    let rebooted = match &attempt.state {
        State::Starting { boot_id: of_start, .. } => {
            last_boot.as_ref().unwrap_or(of_start) != boot_id
        }
        State::Accepted { .. } | State::Exited { .. } => false,
    };
    let exit = folder.exit().filter(|it| it.token == attempt.token);
    let last = folder.last_begun().map(|it| it.0);
    let steps = folder.order().map_or(0, |it| it.steps.len());
    Seen {
        rebooted,
        shim_alive,
        begun: last.is_some(),
        exit,
        waited: folder.has_waited(),
        going_back: last.is_some_and(|it| it >= steps),
        resumable: folder.next_place() < MOST_PLACES,
    }
}

/// Why an attempt did not start, where its shim has said something.
fn tell_of(folder: &Folder, key: &AttemptKey) {
    let said = fs::read_to_string(folder.path().join("shim.log")).unwrap_or_default();
    tracing::warn!(
        target: TARGET_BACKEND,
        { { GENERATION } = key.generation, said = said.trim() },
        "an attempt was accepted and did not start"
    );
}

/// What a step of an attempt has started, as far as it can be found without its shim.
fn tree(folder: &Folder, attempt: &Attempt, cgroups: &Cgroups, index: &str) -> Tree {
    let mark = format!("{}.{index}", attempt.token);
    let first = folder.first().filter(|it| it.0 == index).map(|it| (it.1, it.2));
    Tree { mark, first, cgroup: cgroups.group(index), reaper: None }
}

/// Waits until a shim that has closed its pipe is gone: that takes a moment.
async fn wait_for(shim: Option<Supervisor>) {
    let mut ticks = interval(GOING);
    while shim.as_ref().is_some_and(|it| is_running(it.pid, it.start)) {
        ticks.tick().await;
    }
}

/// The attempts that have a folder.
fn folders(attempts: &std::path::Path) -> io::Result<Vec<(AttemptKey, PathBuf)>> {
    let mut found = Vec::new();
    for service in fs::read_dir(attempts)? {
        let service = service?;
        let Some(name) = service.file_name().to_str().and_then(|it| it.parse().ok()) else {
            continue;
        };
        for attempt in fs::read_dir(service.path())? {
            let attempt = attempt?;
            let generation = attempt.file_name().to_str().and_then(|it| it.parse().ok());
            if let Some(generation) = generation {
                let key = AttemptKey { service: Clone::clone(&name), generation };
                found.push((key, attempt.path()));
            }
        }
    }
    Ok(found)
}

/// What an attempt was ordered to do; `None` where that is lost: an order is not synced, and a power cut may leave nothing or a part of it.
fn spec_of(folder: &Folder) -> io::Result<Option<Spec>> {
    match folder.order() {
        Ok(order) => Ok(Spec::parse(order).ok()),
        Err(err) if matches!(err.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {
            Ok(None)
        }
        Err(err) => Err(err),
    }
}
