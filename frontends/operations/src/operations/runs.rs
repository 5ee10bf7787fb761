use super::{Operations, rollouts::same_plan};
use crate::{
    documents,
    parse::{field, refused},
    problem::{OrProblem as _, invalid},
};
use deploy_core::{
    access::{Action, Resource},
    backend::ArtifactKind,
    digest::Digest,
    engine::PlanRun,
    id::{RolloutId, ServiceName},
    plan::{Plan, PlanReport},
    spec::{AbsolutePath, ArtifactRef, OnFailure, Release, Service, Strategy},
    time::Timestamp,
};
use deploy_host::{
    archive::{Limits, PackedFile, pack_files},
    descriptor::{self, Descriptor},
    duration,
};
use deploy_wire::{self as wire, NewRun, Problem};
use std::{num::NonZeroU32, time::Duration};

/// Where what runs did is listed.
const REPOSITORY: &str = "runs";

/// The largest script, in bytes.
const LARGEST_SCRIPT: usize = 1 << 20;

impl Operations {
    /// Plans a run. Nothing is changed by that.
    ///
    /// # Errors
    /// If the principal may not run anything, a field means nothing, or no plan can be made.
    pub async fn plan_run(&self, asked: &NewRun) -> Result<wire::Plan, Problem> {
        let (plan, report, _) = self.make_run(asked).await?;
        Ok(documents::plan(&plan, Some(&report)))
    }

    /// Starts a run: of the plan that was seen, if that would be the plan now, or of a new one.
    ///
    /// # Errors
    /// If the principal may not, a field means nothing, or the plan would be another one now.
    pub async fn start_run(&self, asked: &NewRun) -> Result<RolloutId, Problem> {
        if let Some(started) = self.started().await? {
            return Ok(started);
        }
        let (plan, _, script) = self.make_run(asked).await?;
        if let Some(seen) = &asked.plan {
            same_plan(&plan, seen)?;
        }
        let (repository, version) =
            (field("repository", REPOSITORY)?, field("run", plan.service.as_str())?);
        let put = self.platform.put_bytes(
            &self.principal,
            repository,
            ArtifactKind::Descriptor,
            version,
            &script.archive,
        );
        put.await.or_problem()?;
        self.accept(plan).await
    }

    async fn make_run(&self, asked: &NewRun) -> Result<(Plan, PlanReport, Packed), Problem> {
        // A script may do anything there: it takes the right to, on all hosts.
        self.permit(Action::HostExecute, Resource::System).await?;
        let seen = asked.plan.as_ref();
        if asked.seed.zip(seen).is_some_and(|(seed, seen)| seed != seen.seed) {
            return Err(refused("seed", "the plan that was seen has another one"));
        }
        let at: Timestamp = match seen {
            Some(seen) => field("plan.created_at", &seen.created_at)?,
            None => self.parts().clock.now(),
        };
        let seed = seen.map(|it| it.seed).or(asked.seed).unwrap_or_else(|| at.as_millis());
        let id = run_id(at)?;
        let script = Packed::new(asked)?;
        let service = self.run_service(&id, asked)?;
        let release = Release::new(
            field("run", id.as_str())?,
            id.clone(),
            field("run", id.as_str())?,
            ArtifactRef::new(script.digest, script.size),
            script.descriptor.steps(),
            at,
            self.principal.clone(),
        );
        let request = PlanRun::new(service, release, seed).made_at(at);
        let planned = self.platform.plan_run(&self.principal, request).await.or_problem()?;
        Ok((planned.0, planned.1, script))
    }

    /// A service for this run alone.
    fn run_service(&self, id: &ServiceName, asked: &NewRun) -> Result<Service, Problem> {
        let parallel = NonZeroU32::new(asked.max_parallel);
        let parallel = parallel.ok_or_else(|| refused("max_parallel", "it must be more than 0"))?;
        let root: AbsolutePath = field("path", &asked.path)?;
        let mut strategy = Strategy::new();
        strategy.waves = field("waves", &asked.waves)?;
        strategy.max_parallel = Some(parallel);
        strategy.on_failure = OnFailure::Abort;
        let max_failed = field("max_failed", &asked.max_failed)?;
        let budget = &mut strategy.failure_budget.rollout;
        budget.max_failed = max_failed;
        budget.max_timed_out = max_failed;
        budget.max_unreachable = max_failed;
        budget.max_unknown = max_failed;
        let timeout = Duration::from_millis(asked.timeout_ms);
        strategy.progress_deadline = timeout.saturating_mul(2).max(strategy.progress_deadline);
        let path = field("path", &format!("{root}/deploy-{id}"))?;
        let selector = field("selector", &asked.selector)?;
        let mut service = Service::new(id.clone(), self.principal.clone(), path, selector);
        service.account = asked.account.as_ref().map(|it| field("account", it)).transpose()?;
        Ok(service.with_strategy(strategy))
    }
}

/// A name for a run: when it was planned.
fn run_id(at: Timestamp) -> Result<ServiceName, Problem> {
    let digits: String = at.to_string().chars().filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at_checked(8).unwrap_or((&digits, ""));
    field("run", &format!("run-{day}-{time}"))
}

/// A script, packed as a descriptor with the one step `run`.
struct Packed {
    descriptor: Descriptor,
    archive: Vec<u8>,
    digest: Digest,
    size: u64,
}

impl Packed {
    fn new(asked: &NewRun) -> Result<Self, Problem> {
        if asked.script.len() > LARGEST_SCRIPT {
            return Err(refused("script", format_args!("it may have {LARGEST_SCRIPT} bytes")));
        }
        if asked.timeout_ms == 0 {
            return Err(refused("timeout_ms", "it must be longer than 0"));
        }
        let timeout = duration::format(Duration::from_millis(asked.timeout_ms));
        let text =
            format!("format = 1\n\n[steps.run]\nscript = \"run.sh\"\ntimeout = \"{timeout}\"\n");
        let (executable, script) = (asked.script.starts_with("#!"), asked.script.as_bytes());
        let files = [
            PackedFile { path: descriptor::FILE_NAME, executable: false, bytes: text.as_bytes() },
            PackedFile { path: "run.sh", executable, bytes: script },
        ];
        let archive = pack_files(files, Limits::DESCRIPTOR, Vec::new()).map_err(invalid)?;
        let descriptor = descriptor::read(&archive).map_err(invalid)?.descriptor;
        let size = u64::try_from(archive.len()).unwrap_or(u64::MAX);
        Ok(Self { descriptor, digest: Digest::of(&archive), archive, size })
    }
}
