//! What follows from the end of an attempt: the outputs of the build, once they are what its host says.
use super::{
    collect::{Left, NotCollected},
    judge::{judge, judge_statement},
    work::{End, Job, Work, last_line, unusable},
};
use crate::{
    ended::{Ended, internal},
    kept,
};
use deploy_core::backend::{
    AttemptReport, BuildFailure, BuildFault, BuildOutput, BuildReport, BuildState,
};
use std::{fs, io, sync::Arc};

impl Work {
    /// What follows from the end of the attempt.
    pub(super) async fn conclude(
        &mut self,
        job: &Job,
        report: AttemptReport,
    ) -> Result<BuildReport, End> {
        let host = &job.placement.host;
        let message = match report {
            AttemptReport::Succeeded => return self.bring_in(job).await,
            AttemptReport::Killed => {
                self.halt.check()?;
                format!("somebody has killed it on host `{host}`")
            }
            AttemptReport::TimedOut { .. } => return Err(Ended::TimedOut.into()),
            AttemptReport::KillFailed { survivors } => {
                let survivors = survivors.join(", ");
                let message = format!(
                    "these processes cannot be ended on host `{host}`: {survivors}; end them by hand"
                );
                return Err(BuildFailure::new(BuildFault::Survivors, message).into());
            }
            AttemptReport::Lost { reason, .. } => {
                return Err(End::Lost(format!("{reason}, on host `{host}`; build again")));
            }
            AttemptReport::Failed { code, .. } => {
                self.halt.check()?;
                let last = last_line(&self.log_path());
                let message = format!("host `{host}` cannot build (exit code {code}): {last}");
                return Err(BuildFailure::new(BuildFault::HostMissing, message).into());
            }
            other => format!("on host `{host}` it has ended in an unknown way: {other:?}"),
        };
        Err(internal(message).into())
    }

    /// Takes over what the host has made, once it is what the host says.
    async fn bring_in(&mut self, job: &Job) -> Result<BuildReport, End> {
        let shared = Arc::clone(&self.shared);
        let left = Left {
            shared: &shared,
            permit: &job.permit,
            on: &job.request.on,
            placement: &job.placement,
            halt: &self.halt.clone(),
            until: shared.clock.now().after(self.longest()),
        };
        let said = left.report().await.map_err(|why| self.not_collected(job, why))?;
        let untrue = |why| self.not_collected(job, NotCollected::Untrue(why));
        judge(&said, &job.placement.handover).map_err(untrue)?;
        self.build.commit.clone_from(&said.commit);
        self.build.tag.clone_from(&said.tag);
        self.build.warnings.clone_from(&said.warnings);
        let Some(report) = said.report.clone().filter(|_| said.state == BuildState::Succeeded)
        else {
            return Err(End::AsSaid(Box::new(said)));
        };
        if let Some(report) = self.same(&report)? {
            return Ok(report);
        }
        self.enter(BuildState::Packing)?;
        let folder = shared.records.folder(&self.build.id);
        let collected = left.outputs(&report, &folder).await;
        collected.map_err(|why| self.not_collected(job, why))?;
        let statement = fs::read(folder.join(BuildOutput::Provenance.as_str()))?;
        let untrue = |why| self.not_collected(job, NotCollected::Untrue(why));
        judge_statement(&statement, &said, &job.placement.handover).map_err(|why| {
            left.remove(&report, &folder);
            untrue(why)
        })?;
        Ok(report)
    }

    /// The report of a build that is the same and is here already. One that was made anew and came to other bytes is a build of its own.
    fn same(&mut self, report: &BuildReport) -> Result<Option<BuildReport>, End> {
        let records = &self.shared.records;
        let builds = records.all(self.shared.clock.now()).map_err(unusable)?;
        let Some(same) = kept::same(records, &builds, &self.build, report.isolation) else {
            return Ok(None);
        };
        let made = |it: &BuildReport| (it.package, it.descriptor);
        let Some(there) = same.report.clone().filter(|it| made(it) == made(report)) else {
            return Ok(None);
        };
        match kept::adopt(records, same, &self.build) {
            // It was among the oldest, and was removed just now.
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            adopted => adopted?,
        }
        self.build.same_as = Some(same.same_as.clone().unwrap_or_else(|| same.id.clone()));
        Ok(Some(there))
    }

    fn not_collected(&self, job: &Job, why: NotCollected) -> End {
        let host = &job.placement.host;
        let (fault, message) = match why {
            NotCollected::Stopped(ended) => return ended.into(),
            NotCollected::Failed(err) => (
                BuildFault::Internal,
                format!("what host `{host}` has built cannot be collected: {}", err.chain()),
            ),
            NotCollected::Untrue(why) => {
                (BuildFault::HostUntrue, format!("host `{host}` is not to be believed: {why}"))
            }
        };
        BuildFailure::new(fault, message).into()
    }
}
