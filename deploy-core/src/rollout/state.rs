use super::{
    Event, Outcome, Reason, Record, RecordError, Task, TaskState,
    task::{Counts, Row, Tally},
};
use crate::{
    id::{HostName, Principal, RolloutId, Seq},
    plan::{Plan, Target},
    spec::{Direction, Step, StepName},
    time::Timestamp,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

/// How long the fate of an attempt may stay uncertain before its task counts as unknown, if its host does not answer then
/// either. A later answer still wins.
pub const LOST_AFTER: Duration = Duration::from_secs(300);

/// The position of a target in the plan.
pub(super) type TargetIx = u32;

/// What a rollout that goes forward is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the machine must handle each")]
pub enum Phase {
    /// A person has to let the next wave go.
    AwaitingConfirm,
    /// The wave was watched, and is well.
    Baked,
    /// The wave is in place and being watched.
    Baking {
        /// Until when.
        until: Timestamp,
    },
    /// Targets of the wave are being worked on.
    Rolling,
    /// Nothing keeps the next wave from starting.
    Settled,
}

/// Whether starts are held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    None,
    Paused(Reason),
    Pausing(Reason),
}

/// What does not change while a rollout runs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) plan: Arc<Plan>,
    pub(super) index: BTreeMap<HostName, TargetIx>,
    /// The targets of each wave.
    pub(super) waves: Vec<Range<TargetIx>>,
    /// The most attempts that may be in flight while the rollout goes back.
    pub(super) back_limit: u32,
}

impl Frame {
    fn new(plan: Plan) -> Self {
        let mut waves = Vec::with_capacity(plan.waves.len());
        let mut index = BTreeMap::new();
        let mut next: TargetIx = 0;
        for wave in &plan.waves {
            let first = next;
            for target in wave {
                index.insert(target.host.name.clone(), next);
                next = next.saturating_add(1);
            }
            waves.push(first..next);
        }
        let widest = waves.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let widest = u32::try_from(widest).unwrap_or(u32::MAX);
        let back_limit = plan.strategy.max_parallel.map_or(widest, |it| it.get().min(widest));
        Self { plan: Arc::new(plan), index, waves, back_limit }
    }

    pub(super) fn wave(&self, wave: u32) -> Range<TargetIx> {
        usize::try_from(wave).ok().and_then(|it| self.waves.get(it)).cloned().unwrap_or(0..0)
    }

    pub(super) fn wave_of(&self, ix: TargetIx) -> u32 {
        u32::try_from(self.waves.partition_point(|wave| wave.end <= ix)).unwrap_or(u32::MAX)
    }

    pub(super) fn wave_count(&self) -> u32 {
        u32::try_from(self.waves.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn target(&self, ix: TargetIx) -> Option<&Target> {
        let wave = usize::try_from(self.wave_of(ix)).ok()?;
        let first = self.waves.get(wave)?.start;
        self.plan.waves.get(wave)?.get(usize::try_from(ix.checked_sub(first)?).ok()?)
    }
}

/// A rollout, as its journal tells it.
///
/// Everything in it is a function of its records: replaying them gives an equal value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    pub(super) id: RolloutId,
    pub(super) frame: Arc<Frame>,
    pub(super) by: Principal,
    pub(super) accepted_at: Timestamp,
    pub(super) head: Seq,
    /// What its next fact follows: `head`, or a floor above it, until that fact is there.
    pub(super) expected: Seq,
    pub(super) updated_at: Timestamp,

    pub(super) direction: Direction,
    pub(super) hold: Hold,
    pub(super) aborting: Option<Reason>,
    pub(super) turned_back: Option<Reason>,
    /// Whether the journal was brought back to an earlier state while this was under way, and nobody has told it to go on since: hosts
    /// may have moved on, so that it does nothing by itself.
    pub(super) restored: bool,
    pub(super) outcome: Option<Outcome>,

    /// The newest wave that has begun.
    pub(super) wave: Option<u32>,
    pub(super) phase: Phase,
    /// Targets of the watched wave whose health is not confirmed yet.
    pub(super) watching: BTreeSet<TargetIx>,

    pub(super) forward: Vec<Task>,
    /// Empty until the rollout turns back.
    pub(super) back: Vec<Task>,
    /// May start now, as far as the waves are concerned.
    pub(super) ready: BTreeSet<TargetIx>,
    /// Will be tried again, and when.
    pub(super) delayed: BTreeSet<(Timestamp, TargetIx)>,
    pub(super) in_flight: BTreeSet<TargetIx>,
    /// Unknown because their hosts gave no answer: these are asked on, and nothing waits for them.
    pub(super) unanswered: BTreeSet<TargetIx>,
    /// Their hosts fetch what they are to run.
    pub(super) staging: BTreeSet<TargetIx>,
    /// Their hosts are to fetch what they are to run, once others have done so or the rollout goes on.
    pub(super) unstaged: BTreeSet<TargetIx>,
    /// How many targets of each wave have nothing on their hosts yet that they are to run; kept where waves wait for that.
    pub(super) unready: BTreeMap<u32, u32>,
    /// The wave that a person let begin with fewer staged targets than the strategy wants.
    pub(super) unstaged_allowed: Option<u32>,
    /// Their hosts wait to be told to keep what attempts did, and nobody has decided that yet.
    pub(super) unconfirmed: BTreeSet<TargetIx>,
    /// Tasks in the current direction that the rollout waits for: of the waves begun, or of all touched hosts.
    pub(super) open: u32,

    pub(super) counts: Counts,
    pub(super) back_counts: Counts,
    pub(super) tally: Tally,
    pub(super) wave_tally: BTreeMap<u32, Tally>,
    pub(super) row: Row,
    pub(super) starts: u64,
    pub(super) last_start: Option<Timestamp>,
    /// Since when the progress deadline counts.
    pub(super) last_progress: Timestamp,
    /// Since when nothing has been in flight, while nothing is.
    pub(super) idle_since: Timestamp,
}

impl Rollout {
    /// Rebuilds a rollout from its journal.
    ///
    /// # Errors
    /// If the records are not a history that this machine can have written.
    pub fn replay<'a>(records: impl IntoIterator<Item = &'a Record>) -> Result<Self, RecordError> {
        let mut records = records.into_iter();
        let nothing = RecordError { seq: Seq::ZERO, reason: "there is no record" };
        let first = records.next().ok_or(nothing)?;
        let mut rollout = Self::accept(first)?;
        for record in records {
            rollout.apply(record)?;
        }
        Ok(rollout)
    }

    fn accept(record: &Record) -> Result<Self, RecordError> {
        let err = |reason| RecordError { seq: record.seq, reason };
        let Event::Accepted { plan, by, .. } = &record.event else {
            return Err(err("the first record of a rollout accepts a plan"));
        };
        plan.check().map_err(|_invalid| err("the plan breaks its own invariants"))?;
        let frame = Frame::new(Plan::clone(plan));
        let first_step = frame.first_step(Direction::Forward, 0);
        let targets = frame.index.len();
        let mut counts = Counts::default();
        counts.add(TaskState::Pending, u32::try_from(targets).unwrap_or(u32::MAX));
        let mut rollout = Self {
            id: record.rollout.clone(),
            frame: Arc::new(frame),
            by: by.clone(),
            accepted_at: record.at,
            head: record.seq,
            expected: record.seq,
            updated_at: record.at,
            direction: Direction::Forward,
            hold: Hold::None,
            aborting: None,
            turned_back: None,
            restored: false,
            outcome: None,
            wave: None,
            phase: Phase::Settled,
            watching: BTreeSet::new(),
            forward: vec![Task::new(first_step); targets],
            back: Vec::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            staging: BTreeSet::new(),
            unstaged: BTreeSet::new(),
            unready: BTreeMap::new(),
            unstaged_allowed: None,
            unconfirmed: BTreeSet::new(),
            open: 0,
            counts,
            back_counts: Counts::default(),
            tally: Tally::default(),
            wave_tally: BTreeMap::new(),
            row: Row::default(),
            starts: 0,
            last_start: None,
            last_progress: record.at,
            idle_since: record.at,
        };
        rollout.begin_staging(record.at);
        Ok(rollout)
    }

    /// Which rollout this is.
    #[must_use]
    pub const fn id(&self) -> &RolloutId {
        &self.id
    }

    /// What is being done.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.frame.plan
    }

    /// What is being done, to be kept beside the rollout.
    #[must_use]
    pub fn shared_plan(&self) -> Arc<Plan> {
        Arc::clone(&self.frame.plan)
    }

    /// The target of the plan on `host`.
    #[must_use]
    pub fn target(&self, host: &HostName) -> Option<&Target> {
        self.frame.target(*self.frame.index.get(host)?)
    }

    /// Who wanted it.
    #[must_use]
    pub const fn by(&self) -> &Principal {
        &self.by
    }

    /// When its plan was accepted.
    #[must_use]
    pub const fn accepted_at(&self) -> Timestamp {
        self.accepted_at
    }

    /// When the last record taken in was written: for a rollout that is over, its end.
    #[must_use]
    pub const fn updated_at(&self) -> Timestamp {
        self.updated_at
    }

    /// The position of the last record taken in.
    #[must_use]
    pub const fn head(&self) -> Seq {
        self.head
    }

    /// The position at which its stream has to be for its next fact to be appended.
    #[must_use]
    pub const fn expected(&self) -> Seq {
        self.expected
    }

    /// The same, of a stream that is at `head`: where that is above the last record that was taken in, the positions between were
    /// given up, and the next fact stands above them.
    #[must_use]
    pub fn at_head(mut self, head: Seq) -> Self {
        self.expected = self.head.max(head);
        self
    }

    /// How it ended; `None` while it goes on.
    #[must_use]
    pub const fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Which way it goes.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The newest wave that has begun, counted from 0.
    #[must_use]
    pub const fn wave(&self) -> Option<u32> {
        self.wave
    }

    /// What it is doing, while it goes forward.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether nothing happens until a person does something.
    #[must_use]
    pub fn waits_for_person(&self) -> bool {
        let awaits = self.direction == Direction::Forward && self.phase == Phase::AwaitingConfirm;
        self.outcome.is_none()
            && self.aborting.is_none()
            && self.in_flight.is_empty()
            && self.staging.is_empty()
            && (awaits || matches!(self.hold, Hold::Paused(_)))
    }

    /// How many attempts are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// The task of `host` in `direction`; `None` if the plan has no such target, or the rollout has not turned back.
    #[must_use]
    pub fn task(&self, host: &HostName, direction: Direction) -> Option<&Task> {
        self.slot(direction, *self.frame.index.get(host)?)
    }

    /// The most attempts that may be in flight now.
    #[must_use]
    pub fn limit(&self) -> u32 {
        match self.direction {
            Direction::Back => self.frame.back_limit,
            Direction::Forward => {
                let wave = self.frame.wave(self.wave.unwrap_or(0));
                let size = u32::try_from(wave.len()).unwrap_or(u32::MAX);
                self.plan().strategy.max_parallel.map_or(size, |it| it.get().min(size))
            }
        }
    }

    pub(super) fn slot(&self, direction: Direction, ix: TargetIx) -> Option<&Task> {
        let tasks = match direction {
            Direction::Back => &self.back,
            Direction::Forward => &self.forward,
        };
        tasks.get(usize::try_from(ix).ok()?)
    }

    /// The newest task of a target: the one that goes back, once there is one.
    pub(super) fn newest(&self, ix: TargetIx) -> Option<&Task> {
        match self.slot(Direction::Back, ix) {
            Some(task) if task.attempts > 0 || !self.in_flight.contains(&ix) => Some(task),
            Some(_) | None => self.slot(Direction::Forward, ix),
        }
    }

    /// Which way the attempt `generation` of a target went.
    pub(super) fn direction_of(&self, ix: TargetIx, generation: Seq) -> Option<Direction> {
        [Direction::Back, Direction::Forward].into_iter().find(|direction| {
            self.slot(*direction, ix)
                .is_some_and(|task| task.attempts > 0 && task.generation == generation)
        })
    }

    pub(super) fn name(&self, ix: TargetIx) -> Option<&HostName> {
        self.frame.target(ix).map(|it| &it.host.name)
    }

    pub(super) fn tally_of(&self, wave: u32) -> Tally {
        self.wave_tally.get(&wave).copied().unwrap_or_default()
    }
}

impl Frame {
    /// The steps an attempt in `direction` on a target runs, in order.
    pub(super) fn steps(&self, direction: Direction, ix: TargetIx) -> impl Iterator<Item = &Step> {
        let moved = self.target(ix).and_then(|it| self.plan.movement(it, direction));
        moved.into_iter().flat_map(crate::plan::Move::steps)
    }

    pub(super) fn first_step(&self, direction: Direction, ix: TargetIx) -> StepName {
        self.steps(direction, ix).next().map_or(StepName::Fetch, |it| it.name)
    }
}
