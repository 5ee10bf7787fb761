//! Building on a host what another machine has asked for.
use super::handover::{Handover, HostReport, REPORT};
use crate::{
    git::RemotePolicy,
    kept::OUTPUTS,
    local::LocalBuilder,
    records::{failed, write_whole},
};
use deploy_core::{
    access::{Action, Resource},
    backend::{
        BackendError, BackendResult, Build, BuildState, Builder as _, Clock, ErrorKind, authorize,
    },
    memory::{MemoryAuthorizer, Rule},
};
use std::{
    fs, io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

/// How many builds a host keeps, with their logs and outputs.
const KEPT: usize = 20;
/// Between two looks for more of the log.
const PAUSE: Duration = Duration::from_millis(100);
/// How much of the log is passed on at a time.
const PIECE: usize = 64 << 10;

/// A host that builds what it is handed.
#[derive(Clone, Debug)]
pub struct HostSide {
    folder: PathBuf,
    output: PathBuf,
    clock: Arc<dyn Clock>,
}

impl HostSide {
    /// That builds in `folder`, and leaves in `output`, which is there and empty, what comes of it.
    #[must_use]
    pub fn new(
        folder: impl Into<PathBuf>,
        output: impl Into<PathBuf>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { folder: folder.into(), output: output.into(), clock }
    }

    /// Builds, and writes to `log` what the build prints. Once `cancelled` is done the build is ended, with all that it has started.
    ///
    /// Whatever the build comes to is in the report that is left, last of all; only what kept it from being one is an error.
    ///
    /// # Errors
    /// As those of [`LocalBuilder`], and `NoSpace` or `Unavailable` if nothing can be left.
    pub async fn carry_out(
        &self,
        handover: Handover,
        log: &mut (dyn AsyncWrite + Send + Unpin),
        cancelled: impl Future<Output = ()> + Send,
    ) -> BackendResult<Build> {
        let builder = self.builder(&handover)?;
        let (by, service) = (handover.by.clone(), handover.request.service.clone());
        // Whoever may run this program here may build here.
        let pattern = by.as_str().parse().map_err(|err| internal("build.here").because(err))?;
        let rules = MemoryAuthorizer::new(vec![Rule::allow(pattern, [Action::BuildRun])]);
        let permit = authorize(&rules, by, Action::BuildRun, Resource::Service(service)).await;
        let permit = permit.map_err(|err| internal("build.here").because(err))?;
        let build = builder.submit(&permit, &handover.request).await?;
        let following = self.follow(&builder, &build, log);
        tokio::pin!(following);
        let followed = tokio::select! {
            followed = &mut following => followed,
            () = cancelled => {
                builder.cancel(&permit, &build.id).await?;
                following.await
            }
        };
        followed?;
        let build = builder.build(&build.id).await?;
        let (from, to) = (builder.folder_of(&build.id), self.output.clone());
        let left = build.clone();
        let leave = tokio::task::spawn_blocking(move || leave(left, &from, &to)).await;
        let leave = leave.map_err(|err| internal("build.leave").because(err))?;
        leave.map_err(|err| failed("build.leave", err))?;
        Ok(build)
    }

    fn builder(&self, handover: &Handover) -> BackendResult<LocalBuilder> {
        let policy = match handover.private_remotes {
            true => RemotePolicy::own(),
            false => RemotePolicy::outsiders(),
        };
        let builder = LocalBuilder::open(&self.folder, Arc::clone(&self.clock))?;
        Ok(builder
            .with_tools(&handover.tools)?
            .with_sandbox(handover.sandbox)
            .with_policy(policy)
            .with_limit(handover.at_a_time)
            .with_kept(NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN))
            .with_name(handover.builder.clone()))
    }

    /// Passes on what a build prints, until it is over.
    async fn follow(
        &self,
        builder: &LocalBuilder,
        build: &Build,
        log: &mut (dyn AsyncWrite + Send + Unpin),
    ) -> BackendResult<()> {
        let mut offset = 0;
        loop {
            let piece = builder.log(&build.id, offset, PIECE).await?;
            offset += u64::try_from(piece.bytes.len()).unwrap_or(0);
            // Where nobody listens any more, the build still is to come to its end.
            drop(log.write_all(&piece.bytes).await);
            drop(log.flush().await);
            if piece.is_last {
                return Ok(());
            }
            if piece.bytes.is_empty() {
                self.clock.sleep_until(self.clock.now().after(PAUSE)).await;
            }
        }
    }
}

/// Leaves what a build has made, and the report of it last.
fn leave(build: Build, from: &Path, to: &Path) -> io::Result<()> {
    if build.state == BuildState::Succeeded {
        let report = build.report.iter();
        for output in report
            .flat_map(|it| OUTPUTS.into_iter().filter(|output| it.artifact(*output).is_some()))
        {
            let (from, to) = (from.join(output.as_str()), to.join(output.as_str()));
            // A link is enough where it is possible: neither is written to again.
            if fs::hard_link(&from, &to).is_err() {
                fs::copy(&from, &to)?;
            }
        }
    }
    let report = serde_json::to_vec(&HostReport::new(build))?;
    write_whole(&to.join(REPORT), &report)
}

fn internal(operation: &'static str) -> BackendError {
    BackendError::new(ErrorKind::Internal, operation)
}
