//! Plans and rollouts, as machine output shows them.
use crate::reason::{readable, sentence};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use deploy_core::{
    backend::LogChunk,
    digest::digest_of,
    plan::{Plan, PlanReport, RoomReport, TransferReport, Verdict, Work},
    rollout::{AttemptEnd, BudgetColumn, Explanation, Rollout, RolloutView, TaskState, TaskView},
    spec::{Direction, Limit},
    time::Timestamp,
};
use deploy_wire as wire;
use std::collections::BTreeMap;

/// A plan, and what the planner says about it where that is known.
#[must_use]
pub fn plan(plan: &Plan, report: Option<&PlanReport>) -> wire::Plan {
    let targets = |wave: &Vec<deploy_core::plan::Target>| {
        wave.iter()
            .map(|it| wire::PlanHost {
                host: it.host.name.to_string(),
                from: it.ran().map(ToString::to_string),
                to: it.to.as_ref().map(ToString::to_string),
                reason: None,
                record: Some(digest_of(&it.host).to_string()),
            })
            .collect()
    };
    let waves = (1..).zip(&plan.waves);
    wire::Plan {
        digest: plan.digest().to_string(),
        service: plan.service.to_string(),
        work: work(plan).to_owned(),
        release: plan.release.to_string(),
        parent: plan.parent.map(|it| it.to_string()),
        created_at: plan.created_at.to_string(),
        created_by: plan.created_by.to_string(),
        seed: plan.seed,
        strategy: wire::Strategy::from(&plan.strategy),
        waves: waves.map(|(wave, it)| wire::PlanWave { wave, targets: targets(it) }).collect(),
        no_ops: plan.no_ops.iter().map(ToString::to_string).collect(),
        left_out: report.map_or_else(Vec::new, left_out),
        transfers: report.map_or_else(Vec::new, |it| it.transfers.iter().map(transfer).collect()),
        room: report.and_then(|it| it.room.as_ref()).map(room),
        warnings: report
            .map_or_else(Vec::new, |it| it.warnings.iter().map(ToString::to_string).collect()),
        summary: report.map(ToString::to_string).unwrap_or_default(),
    }
}

fn transfer(report: &TransferReport) -> wire::PlanTransfer {
    wire::PlanTransfer {
        hosts: report.hosts,
        release: report.release.to_string(),
        from: report.from.as_ref().map(ToString::to_string),
        via: Some(report.via.to_owned()),
        way: report.way.to_string(),
        bytes: report.bytes,
        whole: report.whole,
    }
}

fn room(report: &RoomReport) -> wire::PlanRoom {
    let short = report.short.iter().flat_map(|short| {
        short.disks.iter().map(|disk| wire::PlanShortfall {
            host: short.host.to_string(),
            folder: disk.folder.clone(),
            needed_bytes: disk.needed_bytes,
            free_bytes: disk.free_bytes,
            missing_bytes: disk.missing_bytes(),
            needed_inodes: disk.needed_inodes,
            free_inodes: disk.free_inodes,
            missing_inodes: disk.missing_inodes(),
        })
    });
    let unchecked = report.unchecked.iter().map(|it| wire::PlanUnchecked {
        reason: it.reason.to_string(),
        hosts: it.hosts.iter().map(ToString::to_string).collect(),
    });
    wire::PlanRoom {
        hosts: report.hosts,
        checked: report.checked,
        short: short.collect(),
        unchecked: unchecked.collect(),
    }
}

const fn work(plan: &Plan) -> &'static str {
    match plan.work {
        Work::Release if plan.repairs.is_some() => "repair",
        Work::Release => "release",
        Work::Rollback => "rollback",
        Work::Run => "run",
    }
}

/// What a rollout brings to hosts: `to web-2`, or `back from web-2`.
#[must_use]
pub fn bound(work: &str, release: &str) -> String {
    if work == "rollback" { format!("back from {release}") } else { format!("to {release}") }
}

fn left_out(report: &PlanReport) -> Vec<wire::PlanHost> {
    let out = report.out().filter_map(|it| match &it.verdict {
        Verdict::Out { reason, runs } => Some(wire::PlanHost {
            host: it.host.to_string(),
            from: runs.as_ref().map(ToString::to_string),
            to: None,
            reason: Some(reason.to_string()),
            record: None,
        }),
        Verdict::Change { .. } | Verdict::NoOp => None,
    });
    out.collect()
}

/// A rollout; with `hosts`, every target of it.
#[must_use]
pub fn rollout(rollout: &Rollout, hosts: bool) -> wire::Rollout {
    let view = rollout.view();
    let tasks: Vec<TaskView> = rollout.tasks().collect();
    let attention = tasks.iter().filter(|it| needs_attention(it)).map(task).collect();
    wire::Rollout {
        id: view.id.to_string(),
        service: view.service.to_string(),
        work: work(rollout.plan()).to_owned(),
        release: view.release.to_string(),
        plan: rollout.plan().digest().to_string(),
        state: view.state.to_string(),
        reason: reason(&view),
        waits_for_person: rollout.waits_for_person(),
        bakes_until: view.bakes_until.map(|it| it.to_string()),
        seq: view.head.get(),
        budget: budget(rollout),
        started_at: view.accepted_at.to_string(),
        started_by: view.by.to_string(),
        ended_at: ended_at(rollout, &view).map(|it| it.to_string()),
        counts: counts(tasks.iter()),
        no_ops: view.no_ops,
        wave: view.wave,
        waves: waves(rollout, &view, &tasks),
        attention,
        tasks: hosts.then(|| tasks.iter().map(task).collect()),
    }
}

/// How much of the failure budget is used up.
fn budget(rollout: &Rollout) -> wire::BudgetUse {
    let plan = rollout.plan();
    let budget = &plan.strategy.failure_budget.rollout;
    let forward = plan.targets().filter_map(|it| rollout.task(&it.host.name, Direction::Forward));
    let mut counted: BTreeMap<BudgetColumn, u32> = BTreeMap::new();
    for column in forward.filter_map(|task| task.counted) {
        *counted.entry(column).or_default() += 1;
    }
    let used = |column, limit: Limit| wire::BudgetColumn {
        count: counted.get(&column).copied().unwrap_or(0),
        limit: limit.of(plan.target_count()),
    };
    wire::BudgetUse {
        failed: used(BudgetColumn::Failed, budget.max_failed),
        timed_out: used(BudgetColumn::TimedOut, budget.max_timed_out),
        unreachable: used(BudgetColumn::Unreachable, budget.max_unreachable),
        unknown: used(BudgetColumn::Unknown, budget.max_unknown),
    }
}

/// A rollout in one line.
#[must_use]
pub fn summary(rollout: &Rollout) -> wire::RolloutSummary {
    let view = rollout.view();
    wire::RolloutSummary {
        id: view.id.to_string(),
        service: view.service.to_string(),
        work: work(rollout.plan()).to_owned(),
        release: view.release.to_string(),
        state: view.state.to_string(),
        started_at: view.accepted_at.to_string(),
        started_by: view.by.to_string(),
        ended_at: ended_at(rollout, &view).map(|it| it.to_string()),
    }
}

fn ended_at(rollout: &Rollout, view: &RolloutView) -> Option<Timestamp> {
    rollout.outcome().map(|_| view.updated_at)
}

/// Why a rollout is in its state.
#[must_use]
pub fn reason(view: &RolloutView) -> Option<String> {
    if view.awaits_confirm {
        return Some(format!("wave {} is in place, and somebody has to confirm it", view.wave));
    }
    view.reason.as_ref().map(ToString::to_string)
}

/// How a sentence goes on behind a rollout's state.
#[must_use]
pub fn because(reason: Option<&str>) -> String {
    match reason {
        None => String::new(),
        Some(reason) if reason.starts_with("by ") || reason.starts_with("because ") => {
            format!(", {reason}")
        }
        Some(reason) => format!(": {reason}"),
    }
}

/// Whether somebody should look at a target.
#[must_use]
pub fn needs_attention(task: &TaskView) -> bool {
    task.state.is_trouble() || matches!(task.state, TaskState::Uncertain | TaskState::Waiting)
}

/// One target.
#[must_use]
pub fn task(task: &TaskView) -> wire::Task {
    wire::Task {
        host: task.host.to_string(),
        wave: task.wave,
        state: state(task).to_owned(),
        attempts: task.attempts,
        reason: task_reason(task),
    }
}

/// What happened to a target, if that is more than that it went well.
#[must_use]
pub fn task_reason(task: &TaskView) -> Option<String> {
    if let Some(doubt) = &task.doubt {
        return Some(format!("nobody knows how its attempt goes: {}", sentence(doubt)));
    }
    if let Some(why) = &task.not_staged {
        return Some(format!("could not be staged: {}", sentence(why)));
    }
    let end = task.last_end.as_ref().filter(|it| **it != AttemptEnd::Succeeded)?;
    let end = readable(end);
    Some(match task.retry_at {
        Some(at) => format!("{end}; next try {at}"),
        None => end.to_string(),
    })
}

/// A target's state; one that succeeded in going back is `rolled_back`.
fn state(task: &TaskView) -> &'static str {
    match (task.direction, task.state) {
        (Direction::Back, TaskState::Succeeded) => "rolled_back",
        (_, state) => state.as_str(),
    }
}

fn waves(rollout: &Rollout, view: &RolloutView, tasks: &[TaskView]) -> Vec<wire::Wave> {
    let mut by_wave: BTreeMap<u32, Vec<&TaskView>> = BTreeMap::new();
    for task in tasks {
        by_wave.entry(task.wave).or_default().push(task);
    }
    let over = rollout.outcome().is_some();
    let waves = by_wave.into_iter().map(|(wave, tasks)| {
        let counts = counts(tasks.into_iter());
        let state = wave_state(view, over, wave, counts).to_owned();
        wire::Wave { wave, state, counts }
    });
    waves.collect()
}

fn wave_state(view: &RolloutView, over: bool, wave: u32, counts: wire::Counts) -> &'static str {
    let left = counts.pending + counts.running > 0;
    match wave.cmp(&view.wave) {
        _ if over && left => "unfinished",
        std::cmp::Ordering::Greater => "pending",
        std::cmp::Ordering::Equal if view.awaits_confirm => "awaiting_confirm",
        std::cmp::Ordering::Equal if view.bakes_until.is_some() => "baking",
        // A host of an earlier wave may be tried again.
        std::cmp::Ordering::Equal | std::cmp::Ordering::Less if left => "running",
        std::cmp::Ordering::Equal | std::cmp::Ordering::Less => "done",
    }
}

/// How many targets are in which state.
#[must_use]
pub fn counts<'a>(tasks: impl Iterator<Item = &'a TaskView>) -> wire::Counts {
    let mut counts = wire::Counts::default();
    for task in tasks {
        counts.total += 1;
        let column = match (task.state, task.direction) {
            (
                TaskState::Pending | TaskState::Staged | TaskState::Staging | TaskState::Waiting,
                _,
            ) => &mut counts.pending,
            (
                TaskState::AwaitingConfirm
                | TaskState::Running
                | TaskState::Resolving
                | TaskState::Killing
                | TaskState::Uncertain,
                _,
            ) => &mut counts.running,
            (TaskState::Succeeded, Direction::Forward) => &mut counts.succeeded,
            (TaskState::Succeeded, Direction::Back) => &mut counts.rolled_back,
            (TaskState::Failed | TaskState::KillFailed | TaskState::SelfReverted, _) => {
                &mut counts.failed
            }
            (TaskState::TimedOut, _) => &mut counts.timed_out,
            (TaskState::Unreachable, _) => &mut counts.unreachable,
            (TaskState::Killed, _) => &mut counts.killed,
            (TaskState::Skipped | TaskState::Excluded, _) => &mut counts.skipped,
            _ => &mut counts.unknown,
        };
        *column += 1;
    }
    counts
}

/// A piece of an attempt's output.
#[must_use]
pub fn log_line(chunk: &LogChunk) -> wire::LogLine {
    wire::LogLine {
        host: chunk.host.to_string(),
        generation: chunk.generation.get(),
        offset: chunk.offset,
        at: chunk.at.to_string(),
        text: String::from_utf8_lossy(&chunk.bytes).into_owned(),
        base64: str::from_utf8(&chunk.bytes).is_err().then(|| STANDARD.encode(&chunk.bytes)),
    }
}

/// Why a target is where it is, with what happened to it.
#[must_use]
pub fn explanation(
    rollout: &Rollout,
    mut explanation: Explanation,
    history: Vec<String>,
    last_lines: Vec<String>,
) -> wire::Explanation {
    explanation.task.last_end = explanation.task.last_end.as_ref().map(readable);
    explanation.task.not_staged = explanation.task.not_staged.as_deref().map(sentence);
    explanation.task.doubt = explanation.task.doubt.as_deref().map(sentence);
    wire::Explanation {
        rollout: rollout.id().to_string(),
        host: explanation.task.host.to_string(),
        state: state(&explanation.task).to_owned(),
        summary: explanation.to_string(),
        hint: hint(rollout, &explanation.task, last_lines.is_empty()),
        history,
        last_lines,
    }
}

/// What to do about a host in trouble.
fn hint(rollout: &Rollout, task: &TaskView, silent: bool) -> Option<String> {
    if !needs_attention(task) {
        return None;
    }
    let (id, host) = (rollout.id(), &task.host);
    let look = match &task.last_end {
        Some(AttemptEnd::Unreachable { .. }) => {
            format!("`deploy host check host={host}` says whether it can be reached now\n")
        }
        _ if silent => String::new(),
        _ => {
            format!("`deploy rollout logs {id} --host {host}` shows all that was printed there\n")
        }
    };
    if rollout.outcome().is_some() {
        return Some(format!("{look}a new rollout tries it again"));
    }
    Some(format!(
        "{look}`deploy rollout retry {id} {host}` tries it again, `deploy rollout skip {id} {host}` leaves it as it is"
    ))
}
