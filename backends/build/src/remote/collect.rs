//! Bringing in what a host has built.
use super::{
    Shared,
    handover::{HostReport, REPORT},
    place::Placement,
    turn::is_passing,
    work::RETRY,
};
use crate::{
    ended::{Ended, Halt},
    kept::OUTPUTS,
};
use deploy_core::{
    access::Permit,
    backend::{
        BackendError, Build, BuildOutput, BuildReport, CollectRequest, ErrorKind, HostRequest,
        Piece,
    },
    digest::Hasher,
    id::OutputName,
    spec::ArtifactRef,
    time::Timestamp,
};
use std::path::Path;
use tokio::{fs::File, io::AsyncWriteExt as _};

/// The largest report, in bytes.
const LARGEST_REPORT: u64 = 1 << 20;

/// Why something that a host was to give is not there.
#[derive(Debug)]
pub(super) enum NotCollected {
    /// It cannot be had.
    Failed(BackendError),
    /// Somebody has cancelled the build, or it takes too long.
    Stopped(Ended),
    /// It is not what the host says that it is.
    Untrue(String),
}

impl From<BackendError> for NotCollected {
    fn from(err: BackendError) -> Self {
        Self::Failed(err)
    }
}

impl From<Ended> for NotCollected {
    fn from(ended: Ended) -> Self {
        Self::Stopped(ended)
    }
}

/// What an attempt has left.
#[derive(Debug)]
pub(super) struct Left<'a> {
    pub(super) shared: &'a Shared,
    pub(super) permit: &'a Permit,
    pub(super) on: &'a HostRequest,
    pub(super) placement: &'a Placement,
    pub(super) halt: &'a Halt,
    /// When all of it has to be here.
    pub(super) until: Timestamp,
}

impl Left<'_> {
    /// What the host says of the build.
    pub(super) async fn report(&self) -> Result<Build, NotCollected> {
        let mut text = Vec::new();
        loop {
            let offset = u64::try_from(text.len()).unwrap_or(u64::MAX);
            let piece = self.piece(REPORT, offset).await?;
            if piece.size > LARGEST_REPORT || offset > LARGEST_REPORT {
                let why = format!("its report has more than {LARGEST_REPORT} bytes");
                return Err(NotCollected::Untrue(why));
            }
            if piece.bytes.is_empty() {
                break;
            }
            text.extend(piece.bytes);
        }
        HostReport::from_json(&text)
            .map_err(|why| NotCollected::Untrue(format!("its report cannot be read: {why}")))
    }

    /// Brings everything in that `report` names, into `folder`, and compares it. Nothing stays there that does not compare.
    pub(super) async fn outputs(
        &self,
        report: &BuildReport,
        folder: &Path,
    ) -> Result<(), NotCollected> {
        for output in OUTPUTS {
            if let Some(artifact) = report.artifact(output)
                && let Err(why) = self.output(output, artifact, folder).await
            {
                self.remove(report, folder);
                return Err(why);
            }
        }
        Ok(())
    }

    /// Removes what is not to be believed.
    pub(super) fn remove(&self, report: &BuildReport, folder: &Path) {
        for output in OUTPUTS.into_iter().filter(|it| report.artifact(*it).is_some()) {
            let path = folder.join(output.as_str());
            // They go with the build at the latest.
            drop(std::fs::remove_file(path.with_extension("new")));
            drop(std::fs::remove_file(path));
        }
    }

    /// Brings in one file, under its name only once it is what it should be: under that name there may be one already that other builds share.
    async fn output(
        &self,
        output: BuildOutput,
        artifact: ArtifactRef,
        folder: &Path,
    ) -> Result<(), NotCollected> {
        const OPERATION: &str = "build.collect";
        let failed = |err| crate::records::failed(OPERATION, err);
        let name = output.as_str();
        let path = folder.join(name);
        let new = path.with_extension("new");
        let mut file = File::create(&new).await.map_err(failed)?;
        let (mut hasher, mut have) = (Hasher::new(), 0_u64);
        while have < artifact.size {
            let piece = self.piece(name, have).await?;
            have = have.saturating_add(u64::try_from(piece.bytes.len()).unwrap_or(u64::MAX));
            if piece.bytes.is_empty() || have > artifact.size {
                break;
            }
            hasher.update(&piece.bytes);
            file.write_all(&piece.bytes).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        if have != artifact.size || hasher.finish() != artifact.digest {
            return Err(NotCollected::Untrue(format!(
                "its {name} is not {}, as its report says",
                artifact.digest
            )));
        }
        tokio::fs::rename(&new, &path).await.map_err(failed)?;
        Ok(())
    }

    /// A piece of what was left, however often the host has to be asked, for as long as the builder is patient.
    async fn piece(&self, name: &str, offset: u64) -> Result<Piece, NotCollected> {
        let output: OutputName = name
            .parse()
            .map_err(|err| BackendError::new(ErrorKind::Internal, "build.collect").because(err))?;
        let Placement { generation, token, .. } = self.placement;
        let request = CollectRequest::new(self.on.clone(), *generation, token.clone(), output);
        let request = request.from(offset);
        let clock = &*self.shared.clock;
        let until = clock.now().after(self.shared.patience);
        loop {
            let collected = tokio::select! {
                collected = self.shared.hosts.executor.collect(self.permit, &request) => collected,
                ended = self.halt.until(self.until) => return Err(ended.into()),
            };
            match collected {
                Err(err) if is_passing(&err) && clock.now() < until => {
                    clock.sleep_until(clock.now().after(RETRY)).await;
                }
                collected => return Ok(collected?),
            }
        }
    }
}
