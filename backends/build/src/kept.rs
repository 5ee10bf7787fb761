//! What is kept of builds, for whoever asks.
use crate::records::{Records, failed};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactReader, BackendError, BackendResult, Build, BuildLog, BuildOutput, BuildReport,
        BuildState, Clock, ErrorKind, Isolation, ListBuilds,
    },
    id::BuildId,
};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

/// The most that is read of a log at a time, in bytes.
const LARGEST_PIECE: usize = 1 << 20;
/// Everything that a build may make.
pub(crate) const OUTPUTS: [BuildOutput; 3] =
    [BuildOutput::Descriptor, BuildOutput::Package, BuildOutput::Provenance];

/// The newest of `builds` that is the same as `build`, was kept from the machine by `isolation` at least, and whose outputs are all there.
pub(crate) fn same<'a>(
    records: &Records,
    builds: &'a [Build],
    build: &Build,
    isolation: Isolation,
) -> Option<&'a Build> {
    let identity = build.identity()?;
    let is_there = |report: &BuildReport, it: &Build| {
        let folder = records.folder(&it.id);
        let size = |output: BuildOutput| {
            fs::metadata(folder.join(output.as_str())).map(|it| it.len()).ok()
        };
        OUTPUTS
            .iter()
            .filter_map(|output| Some((output, report.artifact(*output)?)))
            .all(|(output, artifact)| size(*output) == Some(artifact.size))
    };
    builds.iter().find(|it| {
        it.state == BuildState::Succeeded
            && it.identity() == Some(identity)
            && it
                .report
                .as_ref()
                .is_some_and(|report| report.isolation >= isolation && is_there(report, it))
    })
}

/// Whom the statement of `build` names as the builder.
pub(crate) fn builder(records: &Records, build: &Build) -> Option<String> {
    let path = records.folder(&build.id).join(BuildOutput::Provenance.as_str());
    let statement: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    statement.pointer("/predicate/runDetails/builder/id")?.as_str().map(str::to_owned)
}

/// Makes what `from` made what `to` has made.
pub(crate) fn adopt(records: &Records, from: &Build, to: &Build) -> io::Result<()> {
    let report = from.report.iter();
    for output in
        report.flat_map(|it| OUTPUTS.into_iter().filter(|output| it.artifact(*output).is_some()))
    {
        let path = |build: &Build| records.folder(&build.id).join(output.as_str());
        // Whoever worked on it before may have come as far.
        match fs::remove_file(path(to)) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => fs::hard_link(path(from), path(to))?,
        }
    }
    Ok(())
}

/// The builds of a folder, as whoever asks for them sees them.
pub(crate) struct Kept<'a> {
    pub(crate) records: &'a Records,
    pub(crate) clock: &'a Arc<dyn Clock>,
}

impl Kept<'_> {
    pub(crate) async fn build(&self, id: &BuildId) -> BackendResult<Build> {
        let (id, now) = (id.clone(), self.clock.now());
        self.blocking("build.read", move |records| records.read(&id, now)).await
    }

    pub(crate) async fn builds(&self, request: &ListBuilds) -> BackendResult<Vec<Build>> {
        let now = self.clock.now();
        let all = self.blocking("build.list", move |records| records.all(now)).await?;
        let wanted = |it: &Build| {
            request.service.as_ref().is_none_or(|service| it.request.service == *service)
        };
        Ok(all.into_iter().filter(wanted).take(request.limit).collect())
    }

    pub(crate) async fn cancel(&self, permit: &Permit, id: &BuildId) -> BackendResult<Build> {
        const OPERATION: &str = "build.cancel";
        let build = self.build(id).await?;
        let service = Resource::Service(build.request.service.clone());
        permit.demand(Action::BuildRun, &service, OPERATION)?;
        if !build.state.is_over() {
            let file = self.records.cancel_file(id);
            let cancel =
                move |_: &Records| File::create(file).map_err(|err| failed(OPERATION, err));
            self.blocking(OPERATION, cancel).await?;
        }
        Ok(build)
    }

    /// A piece of the log of a build.
    pub(crate) async fn log(
        &self,
        id: &BuildId,
        offset: u64,
        limit: usize,
    ) -> BackendResult<BuildLog> {
        const OPERATION: &str = "build.log";
        // The state first: what is over by now prints nothing more.
        let build = self.build(id).await?;
        let read = move |records: &Records| {
            piece(records, &build, offset, limit).map_err(|err| failed(OPERATION, err))
        };
        self.blocking(OPERATION, read).await
    }

    /// What a build made.
    pub(crate) async fn open(
        &self,
        id: &BuildId,
        output: BuildOutput,
    ) -> BackendResult<ArtifactReader> {
        const OPERATION: &str = "build.open_output";
        let build = self.build(id).await?;
        let missing = || {
            BackendError::new(ErrorKind::NotFound, OPERATION)
                .with("build", &build.id)
                .with("output", output.as_str())
        };
        let artifact =
            build.report.as_ref().and_then(|it| it.artifact(output)).ok_or_else(missing)?;
        let path = self.records.folder(&build.id).join(output.as_str());
        let file = tokio::fs::File::open(&path).await.map_err(|err| failed(OPERATION, err))?;
        let size = file.metadata().await.map_err(|err| failed(OPERATION, err))?.len();
        if size != artifact.size {
            return Err(BackendError::new(ErrorKind::Corrupt, OPERATION)
                .with("build", &build.id)
                .with("path", path.display()));
        }
        Ok(Box::pin(file))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Records) -> BackendResult<T> + Send + 'static,
    ) -> BackendResult<T> {
        let records = self.records.clone();
        blocking(operation, move || work(&records)).await
    }
}

/// Does what blocks where nothing else waits for it.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> BackendResult<T> + Send + 'static,
) -> BackendResult<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|err| BackendError::new(ErrorKind::Internal, operation).because(err))?
}

fn piece(records: &Records, build: &Build, offset: u64, limit: usize) -> io::Result<BuildLog> {
    let mut file = File::open(records.folder(&build.id).join("log"))?;
    let length = file.metadata()?.len();
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(offset))?;
    file.take(u64::try_from(limit.min(LARGEST_PIECE)).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes)?;
    let end = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    Ok(BuildLog::new(bytes, build.state.is_over() && end >= length))
}

/// Removes the oldest builds that are over, as far as there are more than `kept` of `builds`, which are all, newest first.
pub(crate) fn retain(records: &Records, builds: &[Build], kept: usize) {
    for build in builds.iter().filter(|it| it.state.is_over()).skip(kept) {
        // What cannot be removed now is tried again after the next build.
        drop(records.remove(&build.id));
    }
}
