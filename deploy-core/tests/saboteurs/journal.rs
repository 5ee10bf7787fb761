use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{AppendError, BackendError, BackendResult, ErrorKind, Journal, RolloutRef},
    conformance::{Harness, journal::JournalHarness, permit, sample},
    id::{RolloutId, Seq, StreamId},
    memory::MemoryJournal,
    rollout::Record,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

sabotages! {
    AcceptsASecondRollout,
    AppendsWhatItCan,
    ClosesGaps,
    /// Takes an ad-hoc run for the service of the same name.
    ConfusesStreams,
    ForgetsAtACrash,
    ForgetsThatRolloutsEnd,
    GivesHeadOneForNothing,
    IgnoresLimits,
    IgnoresPermits,
    IgnoresTheHead,
    IsAlone,
    KnowsEveryRollout,
    ListsOldestFirst,
    LowersTheFloor,
    RaisesNoNewStream,
    ReadsFromThePosition,
    RemembersTheHead,
    SkipsNewerFormats,
    TakesAnyForTheOneBefore,
}

saboteurs!(Journal, Arc<MemoryJournal>);

fn state(_: Sabotage) -> Arc<MemoryJournal> {
    Arc::new(MemoryJournal::new())
}

fn open(sabotage: Sabotage, plain: &Arc<MemoryJournal>) -> Arc<dyn Journal> {
    Arc::new(Saboteur(plain.clone(), sabotage, Mutex::default()))
}

impl JournalHarness for Bad {}

/// The last are the heads that it has told since it appended anything.
#[derive(Debug)]
struct Saboteur(Arc<MemoryJournal>, Sabotage, Mutex<BTreeMap<StreamId, Seq>>);

impl Saboteur {
    fn stream(&self, stream: &StreamId) -> StreamId {
        match (self.1, stream) {
            (Sabotage::ConfusesStreams, StreamId::Run(run)) => {
                StreamId::Service(sample::name(run.as_str()))
            }
            _ => stream.clone(),
        }
    }

    /// The records, behind whichever is there.
    async fn chained(
        &self,
        permit: &Permit,
        stream: &StreamId,
        records: &[Record],
    ) -> Result<Seq, AppendError> {
        let head = self.0.head(stream).await?;
        let last = self.0.read(stream, Seq::ZERO, usize::MAX).await?.pop();
        let mut records = records.to_vec();
        records[0] = records[0].clone().behind(last.map_or(Seq::ZERO, |it| it.seq));
        self.0.append(permit, stream, head, &records).await
    }

    async fn renumbered(
        &self,
        permit: &Permit,
        stream: &StreamId,
        records: &[Record],
    ) -> Result<Seq, AppendError> {
        let head = self.0.head(stream).await?;
        let mut records = records.to_vec();
        let mut seq = head;
        for record in &mut records {
            seq = seq.next();
            record.seq = seq;
        }
        self.0.append(permit, stream, head, &records).await
    }
}

fn kind(err: &AppendError) -> Option<ErrorKind> {
    match err {
        AppendError::Backend(err) => Some(err.kind()),
        _ => None,
    }
}

#[async_trait]
impl Journal for Saboteur {
    async fn append(
        &self,
        permit_: &Permit,
        stream: &StreamId,
        expected: Seq,
        records: &[Record],
    ) -> Result<Seq, AppendError> {
        let Self(inner, sabotage, heads) = self;
        heads.lock().unwrap().clear();
        let stream = &self.stream(stream);
        let all = permit(Action::RolloutControl, Resource::System).await;
        let permit = if *sabotage == Sabotage::IgnoresPermits { &all } else { permit_ };
        let done = inner.append(permit, stream, expected, records).await;
        let Err(err) = &done else { return done };
        match (sabotage, kind(err)) {
            (Sabotage::AcceptsASecondRollout, Some(ErrorKind::AlreadyExists)) => {
                Ok(expected.next())
            }
            (Sabotage::AppendsWhatItCan, Some(_)) => {
                for (at, record) in records.iter().enumerate() {
                    let head = Seq::new(expected.get() + u64::try_from(at).unwrap());
                    inner.append(permit, stream, head, std::slice::from_ref(record)).await?;
                }
                done
            }
            (Sabotage::ClosesGaps, Some(ErrorKind::InvalidInput)) if !records.is_empty() => {
                self.renumbered(permit, stream, records).await
            }
            (Sabotage::IgnoresTheHead, None) => self.renumbered(permit, stream, records).await,
            (Sabotage::TakesAnyForTheOneBefore, Some(ErrorKind::InvalidInput)) => {
                self.chained(permit, stream, records).await
            }
            _ => done,
        }
    }

    async fn read(
        &self,
        stream: &StreamId,
        after: Seq,
        limit: usize,
    ) -> BackendResult<Vec<Record>> {
        let Self(inner, sabotage, _) = self;
        let stream = &self.stream(stream);
        match sabotage {
            Sabotage::IgnoresLimits => inner.read(stream, after, usize::MAX).await,
            Sabotage::ReadsFromThePosition => {
                inner.read(stream, Seq::new(after.get().saturating_sub(1)), limit).await
            }
            Sabotage::SkipsNewerFormats => {
                let head = inner.head(stream).await?.get();
                let mut records = Vec::new();
                for seq in after.get()..head {
                    records.extend(inner.read(stream, Seq::new(seq), 1).await.unwrap_or_default());
                }
                records.truncate(limit);
                Ok(records)
            }
            _ => inner.read(stream, after, limit).await,
        }
    }

    async fn head(&self, stream: &StreamId) -> BackendResult<Seq> {
        let head = self.0.head(&self.stream(stream)).await?;
        Ok(match self.1 {
            Sabotage::GivesHeadOneForNothing if head == Seq::ZERO => Seq::new(1),
            Sabotage::RaisesNoNewStream if self.0.read(stream, Seq::ZERO, 1).await?.is_empty() => {
                Seq::ZERO
            }
            Sabotage::RemembersTheHead => {
                *self.2.lock().unwrap().entry(stream.clone()).or_insert(head)
            }
            _ => head,
        })
    }

    async fn rollouts(
        &self,
        stream: Option<&StreamId>,
        limit: usize,
    ) -> BackendResult<Vec<RolloutRef>> {
        let mut rollouts = self.0.rollouts(stream, limit).await?;
        match self.1 {
            Sabotage::ForgetsThatRolloutsEnd => rollouts.iter_mut().for_each(|it| it.last = None),
            Sabotage::ListsOldestFirst => rollouts.reverse(),
            _ => {}
        }
        Ok(rollouts)
    }

    async fn rollout(&self, id: &RolloutId) -> BackendResult<RolloutRef> {
        let found = self.0.rollout(id).await;
        if self.1 == Sabotage::KnowsEveryRollout && found.is_err() {
            return Err(BackendError::new(ErrorKind::Unavailable, "journal.rollout"));
        }
        found
    }

    async fn raise_floor(&self, permit_: &Permit, floor: Seq) -> BackendResult<()> {
        let all = permit(Action::RolloutControl, Resource::System).await;
        let permit = if self.1 == Sabotage::IgnoresPermits { &all } else { permit_ };
        self.2.lock().unwrap().clear();
        match self.0.raise_floor(permit, floor).await {
            Err(err) if self.1 == Sabotage::LowersTheFloor && err.kind() == ErrorKind::Conflict => {
                Ok(())
            }
            raised => raised,
        }
    }
}
