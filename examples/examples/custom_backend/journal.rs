use crate::support::lock;
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        AppendError, BackendError, BackendResult, ErrorKind, Journal, RolloutRef, check_previous,
        head_after,
    },
    id::{RolloutId, Seq, StreamId},
    plan::FORMAT,
    rollout::Record,
};
use std::sync::Mutex;

/// Keeps all records of all streams in one list, and finds everything by reading it.
#[derive(Debug, Default)]
pub(crate) struct ListJournal {
    records: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    records: Vec<(StreamId, Record)>,
    floor: Seq,
}

#[async_trait]
impl Journal for ListJournal {
    async fn append(
        &self,
        permit: &Permit,
        stream: &StreamId,
        expected: Seq,
        records: &[Record],
    ) -> Result<Seq, AppendError> {
        permit.demand(Action::RolloutControl, &Resource::of_stream(stream), APPEND)?;
        head_after(expected, records)?;
        let mut list = lock(&self.records);
        let actual = list.head(stream);
        if actual != expected {
            return Err(AppendError::Conflict { actual, expected });
        }
        check_previous(list.last(stream), records)?;
        list.check(stream, records)?;
        list.records.extend(records.iter().map(|it| (stream.clone(), it.clone())));
        Ok(list.head(stream))
    }

    async fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: usize,
    ) -> BackendResult<Vec<Record>> {
        let list = lock(&self.records);
        let asked = list.of(stream).filter(|it| it.seq > after).take(limit);
        let known = asked.map(|it| if it.format <= FORMAT { Ok(it.clone()) } else { Err(it) });
        known.collect::<Result<_, _>>().map_err(|newer| {
            BackendError::new(ErrorKind::Unsupported, "journal.read")
                .with("seq", newer.seq)
                .with("format", newer.format)
        })
    }

    async fn head(&self, stream: &StreamId) -> BackendResult<Seq> {
        Ok(lock(&self.records).head(stream))
    }

    async fn rollouts(
        &self,
        stream: Option<&StreamId>,
        limit: usize,
    ) -> BackendResult<Vec<RolloutRef>> {
        let list = lock(&self.records);
        let mine = list.rollouts().filter(|it| stream.is_none_or(|stream| it.stream == *stream));
        Ok(mine.take(limit).collect())
    }

    async fn rollout(&self, id: &RolloutId) -> BackendResult<RolloutRef> {
        let found = lock(&self.records).rollouts().find(|it| it.rollout == *id);
        found.ok_or_else(|| {
            BackendError::new(ErrorKind::NotFound, "journal.rollout").with("rollout", id)
        })
    }

    async fn raise_floor(&self, permit: &Permit, floor: Seq) -> BackendResult<()> {
        permit.demand(Action::RolloutControl, &Resource::System, RAISE_FLOOR)?;
        let mut list = lock(&self.records);
        let heads = list.records.iter().map(|(_, record)| record.seq);
        let highest = heads.chain([list.floor]).max().unwrap_or_default();
        if floor < highest {
            return Err(BackendError::new(ErrorKind::Conflict, RAISE_FLOOR).with("head", highest));
        }
        list.floor = floor;
        Ok(())
    }
}

const APPEND: &str = "journal.append";
const RAISE_FLOOR: &str = "journal.raise_floor";

impl List {
    fn of(&self, stream: &StreamId) -> impl DoubleEndedIterator<Item = &Record> {
        self.records.iter().filter(move |it| it.0 == *stream).map(|it| &it.1)
    }

    fn head(&self, stream: &StreamId) -> Seq {
        self.last(stream).max(self.floor)
    }

    fn last(&self, stream: &StreamId) -> Seq {
        self.of(stream).next_back().map_or(Seq::ZERO, |it| it.seq)
    }

    /// All rollouts, newest first.
    fn rollouts(&self) -> impl Iterator<Item = RolloutRef> {
        let firsts = self.records.iter().rev().filter(|it| it.1.is_first());
        firsts.map(|(stream, first)| {
            let id = &first.rollout;
            let last = self.of(stream).find(|it| it.rollout == *id && it.is_last());
            RolloutRef::new(id.clone(), stream.clone(), first.seq, last.map(|it| it.seq))
        })
    }

    /// Refuses records that do not belong to the rollout that is under way where they would stand.
    fn check(&self, stream: &StreamId, records: &[Record]) -> BackendResult<()> {
        let under_way = |it: &&Record| !it.is_last();
        let mut open = self.of(stream).next_back().filter(under_way).map(|it| &it.rollout);
        let mut used: Vec<_> = self.records.iter().map(|it| &it.1.rollout).collect();
        for record in records {
            let refused = match open {
                _ if !record.is_first() && open != Some(&record.rollout) => {
                    Some((ErrorKind::InvalidInput, "its rollout is not under way"))
                }
                Some(_) if record.is_first() => {
                    Some((ErrorKind::AlreadyExists, "another rollout is under way"))
                }
                None if used.contains(&&record.rollout) => {
                    Some((ErrorKind::AlreadyExists, "its id was used before"))
                }
                _ => None,
            };
            if let Some((kind, reason)) = refused {
                let error = BackendError::new(kind, APPEND).with("rollout", &record.rollout);
                return Err(error.with("reason", reason));
            }
            used.push(&record.rollout);
            open = Some(&record.rollout).filter(|_| !record.is_last());
        }
        Ok(())
    }
}
