use crate::{
    access::Permit,
    error::{BackendError, BackendResult, ErrorKind},
    id::{RolloutId, Seq, StreamId},
    rollout::Record,
};
use async_trait::async_trait;
use std::fmt;

/// Why nothing was appended, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The backend failed. On `OutcomeUnknown` the caller reads the stream again.
    #[error("the journal could not be written")]
    Backend(#[from] BackendError),
    /// Somebody else has appended: this writer has to read on first.
    #[error("the stream is at {actual}, not at {expected}")]
    Conflict {
        /// Where the stream is.
        actual: Seq,
        /// Where the caller thought it was.
        expected: Seq,
    },
}

/// Where a rollout lies in the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RolloutRef {
    /// Which rollout.
    pub rollout: RolloutId,
    /// In which stream.
    pub stream: StreamId,
    /// The position of its first record.
    pub first: Seq,
    /// The position of its last record; `None` while it is not over.
    pub last: Option<Seq>,
}

impl RolloutRef {
    /// A rollout that begins at `first` of `stream`, and if it is over ends at `last`.
    #[must_use]
    pub const fn new(rollout: RolloutId, stream: StreamId, first: Seq, last: Option<Seq>) -> Self {
        Self { rollout, stream, first, last }
    }
}

/// Where a stream at `expected` is once `records` are appended.
///
/// # Errors
/// `InvalidInput` if they do not follow on from there, or are none: what every [`Journal::append`] has to look at.
pub fn head_after(expected: Seq, records: &[Record]) -> BackendResult<Seq> {
    let refused = || BackendError::new(ErrorKind::InvalidInput, "journal.append");
    if records.is_empty() {
        return Err(refused().with("records", 0));
    }
    let mut head = expected;
    for record in records {
        let follows = record.previous() == head || head == expected && record.previous() < head;
        head = head.next();
        if record.seq != head || !follows {
            let err = refused().with("seq", record.seq).with("due", head);
            return Err(err.with("previous", record.previous()));
        }
    }
    Ok(head)
}

/// Whether `records` name `last` as the record before them: what every [`Journal::append`] has to look at besides, for what is
/// appended above a floor.
///
/// # Errors
/// `InvalidInput` if they name another.
pub fn check_previous(last: Seq, records: &[Record]) -> BackendResult<()> {
    match records.first() {
        Some(first) if first.previous() != last => {
            Err(BackendError::new(ErrorKind::InvalidInput, "journal.append")
                .with("seq", first.seq)
                .with("previous", first.previous())
                .with("last", last))
        }
        _ => Ok(()),
    }
}

/// Append-only streams of facts: the only durable state of the engine.
///
/// # Contract
/// * `append` is atomic, and durable when it returns `Ok`, also over a crash of the process or the machine.
/// * `append` compares and sets the head: of any number of writers at one position, one wins, and the others get `Conflict`
///   with the head as it is.
/// * Records are numbered 1, 2, 3… without a gap. `append` of records that do not follow on from `expected`, or of none, is
///   `InvalidInput`.
/// * `raise_floor` gives up all positions up to the one given, for good and in every stream, also in those that nobody has written
///   yet: `head` is there or above from then on, and what is appended next stands behind it.
/// * The first record above a floor names the one before it (`Record::behind`), so that readers know the gap from a loss. `append` of
///   one that names another is `InvalidInput`.
/// * A floor below the head of any stream is a `Conflict`; the floor as it is changes nothing.
/// * `read` gives records in order, after the position given and no more than asked for, exactly as they were appended, and
///   sees every append that has returned.
/// * `head` of a stream that nobody wrote is 0, or the floor.
/// * `rollouts` lists each rollout once, from its first record (`Record::is_first`) on, newest first, with the position of its last record
///   (`Record::is_last`) once that is there; `rollout` finds one by its id, or is `NotFound`.
/// * A second first record while a rollout of the stream is not over is `AlreadyExists`, and so is a rollout id that was used before.
/// * A record of a newer format than this program knows makes `read` fail with `Unsupported`, never be skipped.
/// * A permit for another action than `RolloutControl` on the stream's service (on the system, for an ad-hoc run and for the floor) is
///   `PermissionDenied`.
///
/// ```
/// use deploy_core::{
///     backend::{Journal, ErrorKind},
///     id::{Seq, StreamId},
///     memory::MemoryJournal,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (journal, web) = (MemoryJournal::new(), StreamId::Service("web".parse()?));
/// assert_eq!(journal.head(&web).await?, Seq::ZERO);
/// assert_eq!(journal.read(&web, Seq::ZERO, 100).await?, []);
/// let missing = journal.rollout(&"web-2026-11-22".parse()?).await.unwrap_err();
/// assert_eq!(missing.kind(), ErrorKind::NotFound);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// Appends `records` if the stream is at `expected`; gives the new head.
    async fn append(
        &self,
        permit: &Permit,
        stream: &StreamId,
        expected: Seq,
        records: &[Record],
    ) -> Result<Seq, AppendError>;

    /// Up to `limit` records after `after`.
    async fn read(&self, stream: &StreamId, after: Seq, limit: usize)
    -> BackendResult<Vec<Record>>;

    /// The position that the next record follows: that of the last one, or the floor above it.
    async fn head(&self, stream: &StreamId) -> BackendResult<Seq>;

    /// Up to `limit` rollouts of one stream or of all, newest first.
    async fn rollouts(
        &self,
        stream: Option<&StreamId>,
        limit: usize,
    ) -> BackendResult<Vec<RolloutRef>>;

    /// Where a rollout lies.
    async fn rollout(&self, id: &RolloutId) -> BackendResult<RolloutRef>;

    /// Gives up all positions up to `floor`: for a journal that was brought back to an earlier state, and whose lost records may have
    /// had them.
    async fn raise_floor(&self, permit: &Permit, floor: Seq) -> BackendResult<()>;
}

/// Conveniences for callers. Backends implement none of these.
///
/// ```
/// use deploy_core::{backend::{JournalExt, RolloutRef}, id::{Seq, StreamId}, memory::MemoryJournal};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let web = StreamId::Service("web".parse()?);
/// let at = RolloutRef::new("web-00ff".parse()?, web, Seq::new(1), None);
/// assert_eq!(MemoryJournal::new().records(&at).await?, []);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait JournalExt: Journal {
    /// All records of one rollout, in order.
    fn records(
        &self,
        rollout: &RolloutRef,
    ) -> impl Future<Output = BackendResult<Vec<Record>>> + Send {
        async move {
            const PAGE: usize = 4_096;
            let before = before_first(rollout)?;
            let mut records: Vec<Record> = Vec::new();
            loop {
                let after = records.last().map_or(before, |it| it.seq);
                let page = self.read(&rollout.stream, after, PAGE).await?;
                let full = page.len() == PAGE;
                records.extend(page.into_iter().take_while(|it| it.rollout == rollout.rollout));
                let over = records.last().is_some_and(Record::is_last);
                if over || !full {
                    return Ok(records);
                }
            }
        }
    }

    /// The first record of one rollout: the plan that was accepted.
    fn accepted(
        &self,
        rollout: &RolloutRef,
    ) -> impl Future<Output = BackendResult<Option<Record>>> + Send {
        async move {
            let found = self.read(&rollout.stream, before_first(rollout)?, 1).await?;
            Ok(found.into_iter().next().filter(|it| it.rollout == rollout.rollout))
        }
    }
}

fn before_first(rollout: &RolloutRef) -> BackendResult<Seq> {
    if rollout.first == Seq::ZERO {
        return Err(BackendError::new(ErrorKind::InvalidInput, "journal.records")
            .with("first", rollout.first));
    }
    Ok(rollout.first.before())
}

impl<T: Journal + ?Sized> JournalExt for T {}
