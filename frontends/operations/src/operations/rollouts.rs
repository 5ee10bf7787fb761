use super::{Listed, Operations};
use crate::{
    LogTail, Tail, documents,
    narrate::Narrator,
    parse::{field, refused},
    problem::{IntoProblem as _, OrProblem as _},
};
use deploy_core::{
    backend::{JournalExt as _, RolloutRef},
    digest::Digest,
    engine::{Command, Parts, PlanRelease, PlanRollback, PlatformError},
    error::ErrorKind,
    id::{HostName, RolloutId, ServiceName, StreamId},
    plan::{Plan, PlanReport},
    rollout::{Event, Refusal, Rollout},
};
use deploy_wire::{
    self as wire, NewPlan, NewRollbackPlan, NewRollout, Problem, ProblemCode, RolloutCommand,
    SeenPlan,
};
use std::collections::VecDeque;

/// How many lines of a host in trouble are shown beside what happened to it.
const LAST_LINES: usize = 5;

impl Operations {
    /// Plans a release onto the hosts of its service. Nothing is changed by that.
    ///
    /// # Errors
    /// If there is no such service or release, or no plan can be made.
    pub async fn plan(&self, asked: &NewPlan) -> Result<wire::Plan, Problem> {
        let request = self.request(&asked.service, &asked.release, asked.seed)?;
        let (plan, report) = self.make_plan(request).await?;
        self.with_room(&plan, report).await
    }

    /// Starts a rollout: of the plan that was seen, if that would be the plan now, or of a new one.
    ///
    /// # Errors
    /// If the principal may not, the plan would be another one now, or another rollout of the service is not over.
    pub async fn start(&self, asked: &NewRollout) -> Result<RolloutId, Problem> {
        if let Some(started) = self.started().await? {
            return Ok(started);
        }
        let Some(seen) = &asked.plan else {
            let request = self.request(&asked.service, &asked.release, asked.seed)?;
            let (plan, _) = self.make_plan(request).await?;
            return self.accept(plan).await;
        };
        if asked.seed.is_some_and(|it| it != seen.seed) {
            return Err(refused("seed", "the plan that was seen has another one"));
        }
        let made_at = field("plan.created_at", &seen.created_at)?;
        let request = self.request(&asked.service, &asked.release, Some(seen.seed))?;
        let (plan, _) = self.make_plan(request.made_at(made_at)).await?;
        same_plan(&plan, seen)?;
        self.accept(plan).await
    }

    pub(super) async fn accept(&self, plan: Plan) -> Result<RolloutId, Problem> {
        self.demand_installable(&plan).await?;
        let started = self.platform.start_asked(&self.principal, plan, self.request_name());
        started.await.or_problem()
    }

    /// Plans to take back what a rollout did that is over. Nothing is changed by that.
    ///
    /// # Errors
    /// If there is no such rollout, or nothing to go back to.
    pub async fn plan_rollback(&self, asked: &NewRollbackPlan) -> Result<wire::Plan, Problem> {
        let rollout = self.find_rollout(&asked.rollout).await?;
        let seed = asked.seed.unwrap_or_else(|| self.parts().clock.now().as_millis());
        let request = PlanRollback::new(rollout, seed);
        let planned = self.platform.plan_rollback(&self.principal, request).await;
        let (plan, report) = planned.or_problem()?;
        self.with_room(&plan, report).await
    }

    /// A plan that somebody is to read, with what its hosts say of their room. Who starts one has read it, and its hosts look again.
    async fn with_room(&self, plan: &Plan, mut report: PlanReport) -> Result<wire::Plan, Problem> {
        let looked = self.platform.look_for_room(&self.principal, plan, &mut report).await;
        looked.or_problem()?;
        Ok(documents::plan(plan, Some(&report)))
    }

    /// Takes back what a rollout did that is over, by a new rollout: of the plan that was seen, or of a new one.
    async fn start_rollback(
        &self,
        rollout: &RolloutId,
        seen: Option<&SeenPlan>,
    ) -> Result<RolloutId, Problem> {
        if let Some(started) = self.started().await? {
            return Ok(started);
        }
        let request = match seen {
            Some(seen) => PlanRollback::new(rollout.clone(), seen.seed)
                .made_at(field("plan.created_at", &seen.created_at)?),
            None => PlanRollback::new(rollout.clone(), self.parts().clock.now().as_millis()),
        };
        let planned = self.platform.plan_rollback(&self.principal, request).await;
        let (plan, _) = planned.or_problem()?;
        if let Some(seen) = seen {
            same_plan(&plan, seen)?;
        }
        self.accept(plan).await
    }

    fn request(
        &self,
        service: &str,
        release: &str,
        seed: Option<u64>,
    ) -> Result<PlanRelease, Problem> {
        let seed = seed.unwrap_or_else(|| self.parts().clock.now().as_millis());
        Ok(PlanRelease::new(field("service", service)?, field("release", release)?, seed))
    }

    async fn make_plan(&self, request: PlanRelease) -> Result<(Plan, PlanReport), Problem> {
        self.platform.plan(&self.principal, request).await.or_problem()
    }

    /// Rollouts, newest first: of a service, or of all.
    ///
    /// # Errors
    /// If the journal cannot be read, or there is no rollout `after`.
    pub async fn rollouts(
        &self,
        service: Option<ServiceName>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed<wire::RolloutSummary>, Problem> {
        let stream = service.map(StreamId::Service);
        // The journal counts from the newest: where what lies before `after` are references, and no rollout is loaded for them.
        let most = if after.is_some() { usize::MAX } else { limit.saturating_add(1) };
        let found = self.parts().journal.rollouts(stream.as_ref(), most).await.or_problem()?;
        let listed = Listed::behind(found, after, limit, |it| it.rollout.to_string())?;
        let mut items = Vec::new();
        for at in &listed.items {
            items.push(documents::summary(&replay(self.parts(), at).await?));
        }
        Ok(Listed { items, next: listed.next })
    }

    /// A rollout; with `hosts`, every target of it.
    ///
    /// # Errors
    /// If there is none.
    pub async fn rollout(&self, id: &RolloutId, hosts: bool) -> Result<wire::Rollout, Problem> {
        Ok(documents::rollout(&self.platform.load(id).await.or_problem()?, hosts))
    }

    /// The rollout that `named` means: its id, or the newest one of a service.
    ///
    /// # Errors
    /// If it means none.
    pub async fn find_rollout(&self, named: &str) -> Result<RolloutId, Problem> {
        let journal = &self.parts().journal;
        if let Ok(id) = named.parse::<RolloutId>() {
            match journal.rollout(&id).await {
                Ok(found) => return Ok(found.rollout),
                Err(err) if err.kind() == ErrorKind::NotFound => {}
                Err(err) => return Err(err).or_problem(),
            }
        }
        if let Ok(service) = named.parse::<ServiceName>() {
            let stream = StreamId::Service(service);
            let newest = journal.rollouts(Some(&stream), 1).await.or_problem()?;
            if let Some(newest) = newest.into_iter().next() {
                return Ok(newest.rollout);
            }
        }
        let message = format!(
            "there is no rollout `{}`, and no service of that name was rolled out",
            named.escape_debug()
        );
        Err(Problem::new(ProblemCode::NotFound, message)
            .with_hint("`deploy rollout list` shows all rollouts"))
    }

    /// Tells a rollout what to do; gives the rollout that does it: for the rollback of one that is over, a new one.
    ///
    /// # Errors
    /// If the principal may not, or the rollout does not take the command as it stands.
    pub async fn command(
        &self,
        id: &RolloutId,
        asked: &RolloutCommand,
    ) -> Result<wire::Rollout, Problem> {
        let command = command(asked)?;
        if let RolloutCommand::Rollback { note, plan } = asked
            && self.platform.load(id).await.or_problem()?.outcome().is_some()
        {
            if !note.is_empty() {
                let why = "it is for a rollout that is not over: this one is, and a new one takes its hosts back";
                return Err(refused("note", why));
            }
            let new = self.start_rollback(id, plan.as_ref()).await?;
            return self.rollout(&new, false).await;
        }
        let told = self.platform.command(&self.principal, id, command).await;
        let rollout = told.map_err(|err| not_taken(err, id))?;
        Ok(documents::rollout(&rollout, false))
    }

    /// What a host waits for, or why it ended as it did.
    ///
    /// # Errors
    /// If there is no such rollout, or its plan does not have the host.
    pub async fn why(&self, id: &RolloutId, host: &HostName) -> Result<wire::Explanation, Problem> {
        let (tail, records) = Tail::open(self.parts(), id).await?;
        why(self.parts(), &tail.rollout, &records, host).await
    }
}

/// Whether a plan that was made again is still the one that somebody has seen.
pub(super) fn same_plan(plan: &Plan, seen: &SeenPlan) -> Result<(), Problem> {
    let digest: Digest = field("plan.digest", &seen.digest)?;
    if plan.digest() == digest {
        return Ok(());
    }
    let message = "what the plan was made from has changed since: it would be another one";
    Err(Problem::new(ProblemCode::InventoryChanged, message)
        .with_hint("make a new plan, and look at that")
        .with_context("plan", digest)
        .with_context("now", plan.digest()))
}

/// A rollout that does not take a command, with what it would take.
fn not_taken(err: PlatformError, id: &RolloutId) -> Problem {
    let hint = match &err {
        PlatformError::Refused(Refusal::Over) => Some(format!(
            "`deploy rollout start` starts a new one, `deploy rollout rollback {id}` takes its hosts back"
        )),
        PlatformError::Refused(Refusal::NotTarget(_)) => {
            Some(format!("`deploy rollout show {id} --hosts` shows its hosts"))
        }
        PlatformError::Refused(Refusal::Running(host)) => {
            Some(format!("`deploy rollout kill {id} {host}` ends what runs there"))
        }
        PlatformError::Refused(_) => Some(format!("`deploy rollout show {id}` shows where it is")),
        _ => None,
    };
    let mut problem = err.into_problem().with_context("rollout", id);
    problem.message = format!("rollout {id}: {}", problem.message);
    match hint {
        Some(hint) => problem.with_hint(hint),
        None => problem,
    }
}

/// What is asked about a host that is none of a rollout's.
///
/// # Errors
/// If it is not.
pub fn demand_target(rollout: &Rollout, host: &HostName) -> Result<(), Problem> {
    if rollout.task_of(host).is_some() {
        return Ok(());
    }
    let refusal = PlatformError::Refused(Refusal::NotTarget(host.clone()));
    Err(not_taken(refusal, rollout.id()))
}

async fn replay(parts: &Parts, at: &RolloutRef) -> Result<Rollout, Problem> {
    let records = parts.journal.records(at).await.or_problem()?;
    let replayed = Rollout::replay(&records);
    let in_rollout = |source| PlatformError::Record { rollout: at.rollout.clone(), source };
    replayed.map_err(in_rollout).or_problem()
}

/// What a command of the wire means.
fn command(asked: &RolloutCommand) -> Result<Command, Problem> {
    Ok(match asked {
        RolloutCommand::Abort { note, kill } => Command::Abort { note: note.clone(), kill: *kill },
        RolloutCommand::Confirm => Command::Confirm,
        RolloutCommand::Exclude { host } => Command::Exclude(field("host", host)?),
        RolloutCommand::Kill { host } => Command::Kill(field("host", host)?),
        RolloutCommand::Pause { note } => Command::Pause { note: note.clone() },
        RolloutCommand::Resume => Command::Resume,
        RolloutCommand::Retry { host } => {
            Command::Retry(host.as_ref().map(|it| field("host", it)).transpose()?)
        }
        RolloutCommand::Rollback { note, .. } => Command::Rollback { note: note.clone() },
        RolloutCommand::Skip { host } => Command::Skip(field("host", host)?),
        _ => return Err(refused("command", "this program does not know it")),
    })
}

/// Why `host` is where it is, from the records of its rollout, and from what was printed there.
///
/// # Errors
/// If the plan does not have the host, or the logs cannot be read.
pub async fn why(
    parts: &Parts,
    rollout: &Rollout,
    records: &[deploy_core::rollout::Record],
    host: &HostName,
) -> Result<wire::Explanation, Problem> {
    let explanation = rollout.why(host, parts.clock.now());
    let not_target = || PlatformError::Refused(Refusal::NotTarget(host.clone()));
    let explanation = explanation.ok_or_else(|| not_taken(not_target(), rollout.id()))?;
    let mut narrator = Narrator::default();
    let history = records.iter().filter_map(|record| {
        let told = narrator.tell(record, rollout).map(|it| it.text);
        let text = match &record.event {
            Event::AttemptStarted { first_step, .. } => {
                Some(format!("{host}: an attempt begins with {first_step}"))
            }
            _ => told,
        };
        let text = text.filter(|_| record.event.host() == Some(host));
        text.map(|it| format!("{} {it}", record.at))
    });
    let last_lines = match documents::needs_attention(&explanation.task) {
        true => last_lines(parts, rollout.id(), host).await?,
        false => Vec::new(),
    };
    Ok(documents::explanation(rollout, explanation, history.collect(), last_lines))
}

/// The last lines that were printed on a host.
async fn last_lines(
    parts: &Parts,
    id: &RolloutId,
    host: &HostName,
) -> Result<Vec<String>, Problem> {
    let mut last = VecDeque::<String>::new();
    let mut keep = |_: &HostName, line: &str| {
        // Whoever looks again and again says the same again and again.
        if last.back().is_none_or(|it| it != line) {
            last.push_back(line.to_owned());
        }
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    };
    let mut logs = LogTail::new(id.clone()).of_host(Some(host.clone()));
    logs.lines(&*parts.logs, &mut keep).await?;
    logs.rest(keep);
    Ok(last.into())
}
