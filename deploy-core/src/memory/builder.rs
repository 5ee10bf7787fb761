use super::lock;
use crate::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactReader, Build, BuildFailure, BuildFault, BuildLog, BuildOutput, BuildReport,
        BuildRequest, BuildState, Builder, Clock, Isolation, ListBuilds,
    },
    digest::{Digest, digest_of},
    error::{BackendError, BackendResult, ErrorKind},
    id::BuildId,
    spec::{ArtifactRef, CommitId, GitRemote},
};
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    io::Cursor,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::watch;

/// The files of a commit, by path.
type Files = BTreeMap<String, String>;

/// Builds in memory, of repositories that are there as well.
///
/// Its commands are `cp FROM TO`, `echo TEXT`, `exit CODE` and `sleep SECONDS`; any other fails. One build runs at a time.
///
/// ```
/// use deploy_core::memory::{MemoryBuilder, SystemClock};
/// use std::{collections::BTreeMap, sync::Arc};
///
/// let builder = MemoryBuilder::new(Arc::new(SystemClock::new()));
/// let files = BTreeMap::from([("input".to_owned(), "hello".to_owned())]);
/// let commit = builder.commit(&"https://git.example.com/web".parse()?, files);
/// assert_eq!(commit.as_str().len(), 64);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryBuilder {
    clock: Arc<dyn Clock>,
    repositories: Arc<Mutex<BTreeMap<GitRemote, (CommitId, Files)>>>,
    /// Oldest first.
    builds: Arc<watch::Sender<Vec<Entry>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    build: Build,
    log: Vec<u8>,
    outputs: BTreeMap<BuildOutput, Vec<u8>>,
    cancelled: bool,
}

impl MemoryBuilder {
    /// A builder that has nothing to build yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, repositories: Arc::default(), builds: Arc::new(watch::Sender::default()) }
    }

    /// Makes `files` what the revision `main` of a repository is.
    pub fn commit(&self, remote: &GitRemote, files: Files) -> CommitId {
        let id = CommitId::from(digest_of(&files));
        lock(&self.repositories).insert(remote.clone(), (id.clone(), files));
        id
    }

    fn entry(&self, id: &BuildId, operation: &'static str) -> BackendResult<Entry> {
        let found = self.builds.borrow().iter().find(|it| it.build.id == *id).cloned();
        found.ok_or_else(|| BackendError::new(ErrorKind::NotFound, operation).with("build", id))
    }

    fn change(&self, id: &BuildId, change: impl FnOnce(&mut Entry)) {
        self.builds.send_modify(|builds| {
            if let Some(entry) = builds.iter_mut().find(|it| it.build.id == *id) {
                change(entry);
            }
        });
    }

    async fn work(self, id: BuildId, request: BuildRequest) {
        let ended = tokio::select! {
            biased;
            () = self.cancelled(&id) => Err(BuildState::Cancelled),
            made = self.make(&id, &request) => made,
        };
        let now = self.clock.now();
        self.change(&id, |it| {
            it.build.ended_at = Some(now);
            it.build.state = match ended {
                Ok(()) => BuildState::Succeeded,
                Err(state) => state,
            };
        });
    }

    async fn cancelled(&self, id: &BuildId) {
        let is_cancelled = |it: &Entry| it.build.id == *id && it.cancelled;
        self.until(|builds| builds.iter().any(is_cancelled)).await;
    }

    async fn until(&self, so: impl Fn(&[Entry]) -> bool + Send + Sync) {
        let mut changes = self.builds.subscribe();
        // It fails only once the sender is gone, and `self` holds that.
        drop(changes.wait_for(|it| so(it)).await);
    }

    async fn make(&self, id: &BuildId, request: &BuildRequest) -> Result<(), BuildState> {
        let earlier = |builds: &[Entry]| {
            let mut before = builds.iter().take_while(|it| it.build.id != *id);
            before.all(|it| it.build.state.is_over())
        };
        self.until(earlier).await;
        let now = self.clock.now();
        self.change(id, |it| {
            (it.build.state, it.build.started_at) = (BuildState::Building, Some(now));
        });
        let found = lock(&self.repositories).get(&request.source.remote).cloned();
        let Some((commit, mut files)) = found.filter(|_| request.revision.as_str() == "main")
        else {
            return Err(self.fail(id, BuildFault::RevisionUnknown, "there is no such revision"));
        };
        self.change(id, |it| it.build.commit = Some(commit.clone()));
        if self.adopt(id, &request.identity(&commit)) {
            return Ok(());
        }
        let deadline = self.clock.now().after(request.recipe.limits.time);
        for command in &request.recipe.commands {
            tokio::select! {
                done = self.run(id, command, &mut files) => done?,
                () = self.clock.sleep_until(deadline) => return Err(BuildState::TimedOut),
            }
        }
        self.pack(id, request, &commit, &files)
    }

    /// Gives a build the outputs of one that is the same.
    fn adopt(&self, id: &BuildId, identity: &Digest) -> bool {
        let is_same = |it: &&Entry| {
            it.build.state == BuildState::Succeeded
                && it.build.identity().as_ref() == Some(identity)
        };
        let Some(same) = self.builds.borrow().iter().rev().find(is_same).cloned() else {
            return false;
        };
        self.change(id, |it| {
            it.build.same_as = same.build.same_as.or(Some(same.build.id));
            it.build.report = same.build.report;
            it.outputs = same.outputs;
        });
        true
    }

    async fn run(&self, id: &BuildId, command: &str, files: &mut Files) -> Result<(), BuildState> {
        let failed = || self.fail(id, BuildFault::CommandFailed, command);
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["cp", from, to] => {
                let copy = files.get(from).cloned().ok_or_else(failed)?;
                files.insert(to.to_owned(), copy);
            }
            ["echo", text] => {
                self.change(id, |it| it.log.extend(format!("{text}\n").bytes()));
            }
            ["exit", "0"] => {}
            ["sleep", seconds] => {
                let seconds = seconds.parse().map_err(|_| failed())?;
                let until = self.clock.now().after(Duration::from_secs(seconds));
                self.clock.sleep_until(until).await;
            }
            _ => return Err(failed()),
        }
        Ok(())
    }

    fn fail(&self, id: &BuildId, fault: BuildFault, message: &str) -> BuildState {
        self.change(id, |it| it.build.failure = Some(BuildFailure::new(fault, message)));
        BuildState::Failed
    }

    fn pack(
        &self,
        id: &BuildId,
        request: &BuildRequest,
        commit: &CommitId,
        files: &Files,
    ) -> Result<(), BuildState> {
        let mut package = String::new();
        for (inside, outside) in &request.recipe.outputs {
            let Some(file) = files.get(outside.as_str()) else {
                return Err(self.fail(id, BuildFault::OutputMissing, outside.as_str()));
            };
            package.push_str(&format!("{inside}\0{file}\0"));
        }
        let (package, provenance) = (package.into_bytes(), commit.to_string().into_bytes());
        let artifact = |bytes: &[u8]| {
            ArtifactRef::new(Digest::of(bytes), u64::try_from(bytes.len()).unwrap_or(u64::MAX))
        };
        let archive = request.recipe.archive;
        let (made, said) = (artifact(&package), artifact(&provenance));
        let report = BuildReport::new(made, archive, said, Isolation::Sandbox);
        self.change(id, |it| {
            it.build.report = Some(report);
            it.outputs =
                [(BuildOutput::Package, package), (BuildOutput::Provenance, provenance)].into();
        });
        Ok(())
    }
}

#[async_trait]
impl Builder for MemoryBuilder {
    async fn submit(&self, permit: &Permit, request: &BuildRequest) -> BackendResult<Build> {
        const OPERATION: &str = "build.submit";
        permit.demand(Action::BuildRun, &Resource::Service(request.service.clone()), OPERATION)?;
        let invalid =
            |why: String| BackendError::new(ErrorKind::InvalidInput, OPERATION).because(why);
        request.recipe.check().map_err(|why| invalid(why.to_owned()))?;
        if request.on.is_some() {
            return Err(invalid("there are no hosts".to_owned()));
        }
        let (by, now) = (permit.principal().clone(), self.clock.now());
        let mut taken = None;
        self.builds.send_modify(|builds| {
            let Ok(id) = format!("b{}", builds.len() + 1).parse() else { return };
            let build = Build::queued(id, request.clone(), by, now);
            taken = Some(build.clone());
            let (log, outputs) = (Vec::new(), BTreeMap::new());
            builds.push(Entry { build, log, outputs, cancelled: false });
        });
        let build = taken.ok_or_else(|| BackendError::new(ErrorKind::Internal, OPERATION))?;
        tokio::spawn(self.clone().work(build.id.clone(), request.clone()));
        Ok(build)
    }

    async fn build(&self, id: &BuildId) -> BackendResult<Build> {
        Ok(self.entry(id, "build.read")?.build)
    }

    async fn builds(&self, request: &ListBuilds) -> BackendResult<Vec<Build>> {
        let all = self.builds.borrow().clone();
        let newest = all.into_iter().rev().map(|it| it.build);
        let wanted = newest.filter(|it| {
            request.service.as_ref().is_none_or(|service| it.request.service == *service)
        });
        Ok(wanted.take(request.limit).collect())
    }

    async fn cancel(&self, permit: &Permit, id: &BuildId) -> BackendResult<Build> {
        const OPERATION: &str = "build.cancel";
        let build = self.entry(id, OPERATION)?.build;
        let service = Resource::Service(build.request.service.clone());
        permit.demand(Action::BuildRun, &service, OPERATION)?;
        self.change(id, |it| it.cancelled = true);
        Ok(build)
    }

    async fn log(&self, id: &BuildId, offset: u64, limit: usize) -> BackendResult<BuildLog> {
        let entry = self.entry(id, "build.log")?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(entry.log.len());
        let rest = entry.log.get(from..).unwrap_or_default();
        let bytes = rest.get(..limit.min(rest.len())).unwrap_or_default().to_vec();
        let is_last = entry.build.state.is_over() && bytes.len() == rest.len();
        Ok(BuildLog::new(bytes, is_last))
    }

    async fn open(&self, id: &BuildId, output: BuildOutput) -> BackendResult<ArtifactReader> {
        const OPERATION: &str = "build.open_output";
        let entry = self.entry(id, OPERATION)?;
        let made =
            entry.outputs.get(&output).filter(|_| entry.build.state == BuildState::Succeeded);
        let bytes = made.cloned().ok_or_else(|| {
            BackendError::new(ErrorKind::NotFound, OPERATION)
                .with("build", id)
                .with("output", output.as_str())
        })?;
        Ok(Box::pin(Cursor::new(bytes)))
    }
}
