use super::lock;
use crate::{
    access::{Action, Permit, Resource},
    backend::{AppendError, Journal, RolloutRef, check_previous, head_after},
    error::{BackendError, BackendResult, ErrorKind},
    id::{RolloutId, Seq, StreamId},
    plan::FORMAT,
    rollout::Record,
};
use async_trait::async_trait;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

/// Keeps journals in memory.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    floor: Seq,
    streams: BTreeMap<StreamId, Vec<Record>>,
    /// All rollouts, oldest first.
    rollouts: Vec<RolloutRef>,
    /// The place of each rollout in `rollouts`.
    places: BTreeMap<RolloutId, usize>,
}

impl MemoryJournal {
    /// A journal without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(
        &self,
        permit: &Permit,
        stream: &StreamId,
        expected: Seq,
        records: &[Record],
    ) -> Result<Seq, AppendError> {
        permit.demand(Action::RolloutControl, &Resource::of_stream(stream), "journal.append")?;
        head_after(expected, records)?;
        let mut state = lock(&self.state);
        let actual = state.head(stream);
        if actual != expected {
            return Err(AppendError::Conflict { actual, expected });
        }
        check_previous(state.last(stream), records)?;
        state.check_rollouts(stream, records)?;
        Ok(state.append(stream, records))
    }

    async fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: usize,
    ) -> BackendResult<Vec<Record>> {
        let state = lock(&self.state);
        let records = state.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let start = records.partition_point(|it| it.seq <= after);
        records.iter().skip(start).take(limit).map(readable).collect()
    }

    async fn head(&self, stream: &StreamId) -> BackendResult<Seq> {
        Ok(lock(&self.state).head(stream))
    }

    async fn rollouts(
        &self,
        stream: Option<&StreamId>,
        limit: usize,
    ) -> BackendResult<Vec<RolloutRef>> {
        let state = lock(&self.state);
        let newest_first = state.rollouts.iter().rev();
        let of_stream = newest_first.filter(|it| stream.is_none_or(|stream| it.stream == *stream));
        Ok(of_stream.take(limit).cloned().collect())
    }

    async fn rollout(&self, id: &RolloutId) -> BackendResult<RolloutRef> {
        let state = lock(&self.state);
        let found = state.places.get(id).and_then(|place| state.rollouts.get(*place));
        found.cloned().ok_or_else(|| {
            BackendError::new(ErrorKind::NotFound, "journal.rollout").with("rollout", id)
        })
    }

    async fn raise_floor(&self, permit: &Permit, floor: Seq) -> BackendResult<()> {
        const RAISE: &str = "journal.raise_floor";
        permit.demand(Action::RolloutControl, &Resource::System, RAISE)?;
        let mut state = lock(&self.state);
        let highest = state.streams.keys().map(|it| state.head(it)).max().unwrap_or_default();
        let highest = highest.max(state.floor);
        if floor < highest {
            return Err(BackendError::new(ErrorKind::Conflict, RAISE)
                .with("floor", floor)
                .with("head", highest));
        }
        state.floor = floor;
        Ok(())
    }
}

impl State {
    fn head(&self, stream: &StreamId) -> Seq {
        self.last(stream).max(self.floor)
    }

    fn last(&self, stream: &StreamId) -> Seq {
        self.streams.get(stream).and_then(|it| it.last()).map_or(Seq::ZERO, |it| it.seq)
    }

    /// The rollout of `stream` that is not over.
    fn open(&self, stream: &StreamId) -> Option<&RolloutId> {
        let last = self.streams.get(stream).and_then(|it| it.last())?;
        (!last.is_last()).then_some(&last.rollout)
    }

    /// Whether each record belongs to the rollout that is under way at its place.
    fn check_rollouts(&self, stream: &StreamId, records: &[Record]) -> BackendResult<()> {
        let mut open = self.open(stream);
        let mut new = BTreeSet::new();
        for record in records {
            let refused = |kind, why| {
                Err(BackendError::new(kind, "journal.append")
                    .with("rollout", &record.rollout)
                    .with("seq", record.seq)
                    .with("reason", why))
            };
            let used = self.places.contains_key(&record.rollout) || new.contains(&record.rollout);
            match (record.is_first(), open) {
                (true, Some(_)) => {
                    return refused(ErrorKind::AlreadyExists, "another rollout is not over");
                }
                (true, None) if used => {
                    return refused(ErrorKind::AlreadyExists, "its id was used before");
                }
                (true, None) => {
                    new.insert(&record.rollout);
                }
                (false, Some(id)) if *id == record.rollout => {}
                (false, _) => {
                    return refused(ErrorKind::InvalidInput, "its rollout is not under way");
                }
            }
            open = (!record.is_last()).then_some(&record.rollout);
        }
        Ok(())
    }

    fn append(&mut self, stream: &StreamId, records: &[Record]) -> Seq {
        for record in records {
            if record.is_first() {
                self.places.insert(record.rollout.clone(), self.rollouts.len());
                let found =
                    RolloutRef::new(record.rollout.clone(), stream.clone(), record.seq, None);
                self.rollouts.push(found);
            }
            let place = self.places.get(&record.rollout).copied();
            if let Some(found) = place.and_then(|it| self.rollouts.get_mut(it))
                && record.is_last()
            {
                found.last = Some(record.seq);
            }
        }
        self.streams.entry(stream.clone()).or_default().extend_from_slice(records);
        self.head(stream)
    }
}

fn readable(record: &Record) -> BackendResult<Record> {
    if record.format <= FORMAT {
        return Ok(record.clone());
    }
    Err(BackendError::new(ErrorKind::Unsupported, "journal.read")
        .with("seq", record.seq)
        .with("format", record.format)
        .with("known", FORMAT))
}
