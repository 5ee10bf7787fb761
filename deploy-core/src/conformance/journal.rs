//! Cases for [`Journal`].
use super::{ConcurrentHarness, DurableHarness, Harness, permit, race, refused, sample};
use crate::{
    access::{Action, Permit, Resource},
    backend::{AppendError, Journal, JournalExt as _, RolloutRef},
    error::{BackendError, ErrorKind},
    id::{Seq, StreamId},
    plan::FORMAT,
    rollout::Record,
};
use sample::{first, last, middle, name, stream};
use std::sync::Arc;

/// Can write what a newer program would have written. By default it appends, as a journal does that looks at formats when it
/// reads; the example of [`conformance`](crate::conformance) is one of these.
///
/// ```
/// # use deploy_core::{backend::Journal, conformance::Harness, id::StreamId, memory::MemoryJournal, rollout::Record};
/// # use std::sync::{Arc, Mutex};
/// use deploy_core::conformance::journal::JournalHarness;
/// # struct Files;
/// # impl Harness<dyn Journal> for Files {
/// #     type Guard = Mutex<Vec<(StreamId, Record)>>;
/// #     async fn fresh(&self) -> (Arc<dyn Journal>, Self::Guard) {
/// #         (Arc::new(MemoryJournal::new()), Mutex::default())
/// #     }
/// # }
///
/// impl JournalHarness for Files {
///     async fn plant(&self, _: &Arc<dyn Journal>, files: &Self::Guard, stream: &StreamId, record: Record) {
///         // Past the journal, which would refuse it.
///         files.lock().unwrap().push((stream.clone(), record));
///     }
/// }
/// ```
pub trait JournalHarness: Harness<dyn Journal> {
    /// Appends a record whose format this program does not know, as the program that knows it would. A journal whose
    /// `append` refuses such a record needs a way around it here.
    fn plant(
        &self,
        journal: &Arc<dyn Journal>,
        _guard: &Self::Guard,
        stream: &StreamId,
        record: Record,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let head = journal.head(stream).await.unwrap();
            let permit = permit(Action::RolloutControl, Resource::System).await;
            journal.append(&permit, stream, head, &[record]).await.unwrap();
        }
    }
}

async fn control() -> Permit {
    permit(Action::RolloutControl, Resource::System).await
}

#[track_caller]
fn append_refused(result: Result<Seq, AppendError>, want: ErrorKind) {
    refused(result.map_err(backend_error), want);
}

#[track_caller]
fn backend_error(err: AppendError) -> BackendError {
    match err {
        AppendError::Backend(err) => err,
        AppendError::Conflict { actual, expected } => {
            panic!("conflict at {actual}, not at {expected}, where an error of the backend was due")
        }
    }
}

#[track_caller]
fn conflict(result: Result<Seq, AppendError>, want: Seq) {
    match result {
        Err(AppendError::Conflict { actual, .. }) => assert_eq!(actual, want),
        other => panic!("gave {other:?} where a conflict was due"),
    }
}

/// Appends `records` to the stream of `web`, which ends just before them.
async fn append(journal: &Arc<dyn Journal>, records: &[Record]) -> Seq {
    let before = Seq::new(records[0].seq.get() - 1);
    journal.append(&control().await, &stream("web"), before, records).await.unwrap()
}

/// > `append` is atomic
pub async fn append_stores_all_or_nothing<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let (permit, web) = (control().await, stream("web"));
    let gap = [first(1, "r1"), middle(2, "r1"), middle(4, "r1")];
    append_refused(journal.append(&permit, &web, Seq::ZERO, &gap).await, ErrorKind::InvalidInput);
    let two = [first(1, "r1"), middle(2, "r1"), first(3, "r2")];
    append_refused(journal.append(&permit, &web, Seq::ZERO, &two).await, ErrorKind::AlreadyExists);
    assert_eq!(journal.head(&web).await.unwrap(), Seq::ZERO);
    assert_eq!(journal.read(&web, Seq::ZERO, 10).await.unwrap(), []);
    assert_eq!(journal.rollouts(None, 10).await.unwrap(), []);
    refused(journal.rollout(&name("r1")).await, ErrorKind::NotFound);
}

/// > `append` compares and sets the head
pub async fn append_at_another_head_is_a_conflict<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let (permit, web) = (control().await, stream("web"));
    assert_eq!(append(&journal, &[first(1, "r1"), middle(2, "r1")]).await, Seq::new(2));
    conflict(journal.append(&permit, &web, Seq::ZERO, &[first(1, "r2")]).await, Seq::new(2));
    conflict(journal.append(&permit, &web, Seq::new(1), &[middle(2, "r1")]).await, Seq::new(2));
    conflict(journal.append(&permit, &web, Seq::new(7), &[middle(8, "r1")]).await, Seq::new(2));
    assert_eq!(journal.head(&web).await.unwrap(), Seq::new(2));
    assert_eq!(append(&journal, &[middle(3, "r1")]).await, Seq::new(3));
}

/// > of any number of writers at one position, one wins
pub async fn one_of_many_writers_wins<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    append(&journal, &[first(1, "r1")]).await;
    one_wins(&vec![journal; 8]).await;
}

async fn one_wins(handles: &[Arc<dyn Journal>]) {
    let control = control().await;
    let writers = handles.iter().enumerate().map(|(at, journal)| {
        let (journal, permit) = (Arc::clone(journal), control.clone());
        async move {
            let mut record = middle(2, "r1");
            record.at = sample::at(100 + u64::try_from(at).unwrap());
            let done =
                journal.append(&permit, &stream("web"), Seq::new(1), &[record.clone()]).await;
            done.map(|_| record)
        }
    });
    let (won, lost): (Vec<_>, Vec<_>) = race(writers).await.into_iter().partition(Result::is_ok);
    let won: Vec<_> = won.into_iter().map(Result::unwrap).collect();
    assert_eq!(won.len(), 1, "{} writers won", won.len());
    lost.into_iter().for_each(|it| conflict(it.map(|record| record.seq), Seq::new(2)));
    for journal in handles {
        assert_eq!(journal.read(&stream("web"), Seq::new(1), 10).await.unwrap(), won);
    }
}

/// > Records are numbered 1, 2, 3… without a gap.
pub async fn records_are_numbered_without_a_gap<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let (permit, web) = (control().await, stream("web"));
    let bad: [&[Record]; 5] = [
        &[],
        &[first(0, "r1")],
        &[first(2, "r1")],
        &[first(1, "r1"), middle(3, "r1")],
        &[first(1, "r1"), middle(1, "r1")],
    ];
    for records in bad {
        let done = journal.append(&permit, &web, Seq::ZERO, records).await;
        append_refused(done, ErrorKind::InvalidInput);
    }
    append(&journal, &[first(1, "r1"), middle(2, "r1")]).await;
    let done = journal.append(&permit, &web, Seq::new(2), &[middle(4, "r1")]).await;
    append_refused(done, ErrorKind::InvalidInput);
    let done = journal.append(&permit, &web, Seq::new(2), &[]).await;
    append_refused(done, ErrorKind::InvalidInput);
    assert_eq!(journal.head(&web).await.unwrap(), Seq::new(2));
}

/// > `read` gives records in order, after the position given and no more than asked for, exactly as they were appended
pub async fn read_gives_what_was_appended<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let mut records = vec![first(1, "r1")];
    records.extend((2..=24).map(|seq| middle(seq, "r1")));
    append(&journal, &records[..1]).await;
    append(&journal, &records[1..20]).await;
    append(&journal, &records[20..]).await;
    let web = stream("web");
    assert_eq!(journal.read(&web, Seq::ZERO, 100).await.unwrap(), records);
    assert_eq!(journal.read(&web, Seq::new(5), 3).await.unwrap(), records[5..8]);
    assert_eq!(journal.read(&web, Seq::new(22), 100).await.unwrap(), records[22..]);
    for nothing in [Seq::new(24), Seq::new(25), Seq::new(u64::MAX)] {
        assert_eq!(journal.read(&web, nothing, 100).await.unwrap(), []);
    }
    assert_eq!(journal.read(&web, Seq::ZERO, 0).await.unwrap(), []);
}

/// > sees every append that has returned
pub async fn streams_are_apart<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let permit = control().await;
    let streams = [stream("web"), StreamId::Run(name("web")), stream("db")];
    for (at, stream) in streams.iter().enumerate() {
        let record = first(1, &format!("r{at}"));
        journal.append(&permit, stream, Seq::ZERO, std::slice::from_ref(&record)).await.unwrap();
        assert_eq!(journal.read(stream, Seq::ZERO, 10).await.unwrap(), [record]);
        assert_eq!(journal.head(stream).await.unwrap(), Seq::new(1));
    }
}

/// > `head` of a stream that nobody wrote is 0, or the floor.
pub async fn head_of_nothing_is_zero<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    append(&journal, &[first(1, "r1")]).await;
    assert_eq!(journal.head(&stream("db")).await.unwrap(), Seq::ZERO);
    assert_eq!(journal.read(&stream("db"), Seq::ZERO, 10).await.unwrap(), []);
}

/// > `rollouts` lists each rollout once
pub async fn rollouts_are_listed_newest_first<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let (permit, web, db) = (control().await, stream("web"), stream("db"));
    append(&journal, &[first(1, "r1"), middle(2, "r1"), last(3, "r1"), first(4, "r2")]).await;
    journal.append(&permit, &db, Seq::ZERO, &[first(1, "r3")]).await.unwrap();
    let r1 = RolloutRef::new(name("r1"), web.clone(), Seq::new(1), Some(Seq::new(3)));
    let r2 = RolloutRef::new(name("r2"), web.clone(), Seq::new(4), None);
    let r3 = RolloutRef::new(name("r3"), db.clone(), Seq::new(1), None);
    let all = journal.rollouts(None, 10).await.unwrap();
    assert_eq!(all, [r3.clone(), r2.clone(), r1.clone()]);
    assert_eq!(journal.rollouts(None, 2).await.unwrap(), [r3.clone(), r2.clone()]);
    assert_eq!(journal.rollouts(Some(&web), 10).await.unwrap(), [r2.clone(), r1.clone()]);
    assert_eq!(journal.rollouts(Some(&web), 1).await.unwrap(), [r2]);
    assert_eq!(journal.rollouts(Some(&stream("none")), 10).await.unwrap(), []);
    journal.append(&permit, &db, Seq::new(1), &[last(2, "r3")]).await.unwrap();
    let over = RolloutRef::new(name("r3"), db, Seq::new(1), Some(Seq::new(2)));
    assert_eq!(journal.rollout(&name("r3")).await.unwrap(), over);
    assert_eq!(journal.records(&r1).await.unwrap().len(), 3);
}

/// > `rollout` finds one by its id, or is `NotFound`.
pub async fn rollout_is_found_by_its_id<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    refused(journal.rollout(&name("r1")).await, ErrorKind::NotFound);
    append(&journal, &[first(1, "r1")]).await;
    let found = journal.rollout(&name("r1")).await.unwrap();
    assert_eq!(found, RolloutRef::new(name("r1"), stream("web"), Seq::new(1), None));
    refused(journal.rollout(&name("r2")).await, ErrorKind::NotFound);
}

/// > A second first record while a rollout of the stream is not over is `AlreadyExists`
pub async fn one_rollout_of_a_stream_at_a_time<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let (permit, web) = (control().await, stream("web"));
    append(&journal, &[first(1, "r1"), middle(2, "r1")]).await;
    let second = journal.append(&permit, &web, Seq::new(2), &[first(3, "r2")]).await;
    append_refused(second, ErrorKind::AlreadyExists);
    assert_eq!(journal.head(&web).await.unwrap(), Seq::new(2));
    let over = journal.append(&permit, &web, Seq::new(2), &[last(3, "r1"), first(4, "r2")]).await;
    assert_eq!(over.unwrap(), Seq::new(4));
}

/// > so is a rollout id that was used before.
pub async fn a_rollout_id_is_used_once<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let (permit, web, db) = (control().await, stream("web"), stream("db"));
    append(&journal, &[first(1, "r1"), last(2, "r1")]).await;
    let same = journal.append(&permit, &web, Seq::new(2), &[first(3, "r1")]).await;
    append_refused(same, ErrorKind::AlreadyExists);
    let other = journal.append(&permit, &db, Seq::ZERO, &[first(1, "r1")]).await;
    append_refused(other, ErrorKind::AlreadyExists);
    assert_eq!(journal.head(&db).await.unwrap(), Seq::ZERO);
}

/// > A record of a newer format than this program knows makes `read` fail with `Unsupported`
pub async fn a_newer_format_is_not_skipped<H: JournalHarness>(harness: &H) {
    let (journal, guard) = harness.fresh().await;
    let web = stream("web");
    append(&journal, &[first(1, "r1")]).await;
    let mut newer = middle(2, "r1");
    newer.format = FORMAT + 1;
    harness.plant(&journal, &guard, &web, newer).await;
    refused(journal.read(&web, Seq::ZERO, 10).await, ErrorKind::Unsupported);
    refused(journal.read(&web, Seq::new(1), 10).await, ErrorKind::Unsupported);
    assert_eq!(journal.read(&web, Seq::ZERO, 1).await.unwrap().len(), 1);
}

/// A journal with `r1` over in the stream of `web`, up to 3, and `r2` begun in that of `db`, and nothing to be written up to 1,000.
async fn raised<H: JournalHarness>(harness: &H) -> (Arc<dyn Journal>, H::Guard) {
    let (journal, guard) = harness.fresh().await;
    let permit = control().await;
    append(&journal, &[first(1, "r1"), middle(2, "r1"), last(3, "r1")]).await;
    journal.append(&permit, &stream("db"), Seq::ZERO, &[first(1, "r2")]).await.unwrap();
    journal.raise_floor(&permit, Seq::new(1_000)).await.unwrap();
    (journal, guard)
}

/// > `raise_floor` gives up all positions up to the one given, for good and in every stream
pub async fn a_floor_is_raised_in_every_stream<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = raised(harness).await;
    let permit = control().await;
    let floor = Seq::new(1_000);
    let next = [
        (stream("web"), Seq::new(3), first(4, "r3"), first(1_001, "r3").behind(Seq::new(3))),
        (stream("db"), Seq::new(1), middle(2, "r2"), middle(1_001, "r2").behind(Seq::new(1))),
        (stream("new"), Seq::ZERO, first(1, "r4"), first(1_001, "r4").behind(Seq::ZERO)),
    ];
    for (stream, before, given_up, record) in next {
        assert_eq!(journal.head(&stream).await.unwrap(), floor);
        conflict(journal.append(&permit, &stream, before, &[given_up]).await, floor);
        let done = journal.append(&permit, &stream, floor, std::slice::from_ref(&record)).await;
        assert_eq!(done.unwrap(), Seq::new(1_001));
        assert_eq!(journal.head(&stream).await.unwrap(), Seq::new(1_001));
        assert_eq!(journal.read(&stream, before, 10).await.unwrap(), [record]);
    }
}

/// > The first record above a floor names the one before it
pub async fn a_record_above_a_floor_names_the_one_before<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = raised(harness).await;
    let (permit, web, floor) = (control().await, stream("web"), Seq::new(1_000));
    let bad = [first(1_001, "r3"), first(1_001, "r3").behind(Seq::new(2))];
    for record in bad {
        let done = journal.append(&permit, &web, floor, &[record]).await;
        append_refused(done, ErrorKind::InvalidInput);
    }
    let jumps = [first(1_001, "r3").behind(Seq::new(3)), middle(1_002, "r3").behind(Seq::new(3))];
    append_refused(journal.append(&permit, &web, floor, &jumps).await, ErrorKind::InvalidInput);
    assert_eq!(journal.head(&web).await.unwrap(), floor);

    let new = [first(1_001, "r3").behind(Seq::new(3)), middle(1_002, "r3")];
    assert_eq!(journal.append(&permit, &web, floor, &new).await.unwrap(), Seq::new(1_002));
    for after in [3, 4, 999, 1_000] {
        assert_eq!(journal.read(&web, Seq::new(after), 10).await.unwrap(), new, "after {after}");
    }
    let all = journal.read(&web, Seq::ZERO, 10).await.unwrap();
    assert_eq!(all.iter().map(|it| it.seq.get()).collect::<Vec<_>>(), [1, 2, 3, 1_001, 1_002]);
    let r3 = RolloutRef::new(name("r3"), web.clone(), Seq::new(1_001), None);
    assert_eq!(journal.rollout(&name("r3")).await.unwrap(), r3);
    assert_eq!(journal.records(&r3).await.unwrap(), new);
}

/// > A floor below the head of any stream is a `Conflict`; the floor as it is changes nothing.
pub async fn a_floor_is_never_lowered<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = raised(harness).await;
    let (permit, db) = (control().await, stream("db"));
    refused(journal.raise_floor(&permit, Seq::new(999)).await, ErrorKind::Conflict);
    journal.raise_floor(&permit, Seq::new(1_000)).await.unwrap();
    let record = middle(1_001, "r2").behind(Seq::new(1));
    journal.append(&permit, &db, Seq::new(1_000), &[record]).await.unwrap();
    refused(journal.raise_floor(&permit, Seq::new(1_000)).await, ErrorKind::Conflict);
    assert_eq!(journal.head(&stream("web")).await.unwrap(), Seq::new(1_000));
    journal.raise_floor(&permit, Seq::new(2_000)).await.unwrap();
    for it in ["web", "db", "new"] {
        assert_eq!(journal.head(&stream(it)).await.unwrap(), Seq::new(2_000));
    }
}

/// > and for the floor) is `PermissionDenied`.
pub async fn raising_the_floor_takes_a_permit<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let wrong = [
        permit(Action::ServiceWrite, Resource::System).await,
        permit(Action::RolloutControl, Resource::Service(name("web"))).await,
    ];
    for permit in wrong {
        let raised = journal.raise_floor(&permit, Seq::new(10)).await;
        refused(raised, ErrorKind::PermissionDenied);
        assert_eq!(journal.head(&stream("web")).await.unwrap(), Seq::ZERO);
    }
}

/// > A permit for another action than `RolloutControl` on the stream's service
pub async fn append_takes_a_permit<H: JournalHarness>(harness: &H) {
    let (journal, _guard) = harness.fresh().await;
    let web = Resource::Service(name("web"));
    let run = StreamId::Run(name("adhoc"));
    let wrong = [
        (stream("web"), permit(Action::ServiceWrite, web.clone()).await),
        (stream("db"), permit(Action::RolloutControl, web.clone()).await),
        (run.clone(), permit(Action::RolloutControl, web.clone()).await),
    ];
    for (stream, permit) in wrong {
        let done = journal.append(&permit, &stream, Seq::ZERO, &[first(1, "r1")]).await;
        append_refused(done, ErrorKind::PermissionDenied);
        assert_eq!(journal.head(&stream).await.unwrap(), Seq::ZERO);
    }
    let right = [
        (stream("web"), permit(Action::RolloutControl, web).await),
        (run, permit(Action::RolloutControl, Resource::System).await),
    ];
    for (at, (stream, permit)) in right.into_iter().enumerate() {
        let record = first(1, &format!("r{at}"));
        journal.append(&permit, &stream, Seq::ZERO, &[record]).await.unwrap();
    }
}

/// > and durable when it returns `Ok`, also over a crash
pub async fn append_survives_a_crash<H: JournalHarness + DurableHarness<dyn Journal>>(harness: &H) {
    let (journal, guard) = harness.fresh().await;
    let records = [first(1, "r1"), middle(2, "r1"), last(3, "r1"), first(4, "r2")];
    append(&journal, &records).await;
    let journal = harness.reopen(journal, &guard).await;
    assert_eq!(journal.read(&stream("web"), Seq::ZERO, 10).await.unwrap(), records);
    assert_eq!(journal.head(&stream("web")).await.unwrap(), Seq::new(4));
    assert_eq!(journal.rollouts(None, 10).await.unwrap().len(), 2);
    let (permit, web) = (control().await, stream("web"));
    let second = journal.append(&permit, &web, Seq::new(4), &[first(5, "r3")]).await;
    append_refused(second, ErrorKind::AlreadyExists);
    assert_eq!(append(&journal, &[last(5, "r2")]).await, Seq::new(5));
}

/// > for good
pub async fn a_floor_survives_a_crash<H: JournalHarness + DurableHarness<dyn Journal>>(
    harness: &H,
) {
    let (journal, guard) = raised(harness).await;
    let journal = harness.reopen(journal, &guard).await;
    for it in ["web", "db", "new"] {
        assert_eq!(journal.head(&stream(it)).await.unwrap(), Seq::new(1_000));
    }
}

/// > of any number of writers at one position, one wins
pub async fn one_of_two_processes_wins<H: JournalHarness + ConcurrentHarness<dyn Journal>>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    append(&one, &[first(1, "r1")]).await;
    let handles = [&one, &two, &one, &two, &one, &two].map(Arc::clone);
    one_wins(&handles).await;
}

/// > sees every append that has returned
pub async fn another_process_sees_an_append<H: JournalHarness + ConcurrentHarness<dyn Journal>>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    let mut records = vec![first(1, "r1")];
    records.extend((2..=10).map(|seq| middle(seq, "r1")));
    for (at, record) in records.iter().enumerate() {
        append(if at % 2 == 0 { &one } else { &two }, std::slice::from_ref(record)).await;
        for reader in [&one, &two] {
            assert_eq!(reader.head(&stream("web")).await.unwrap(), record.seq);
            assert_eq!(reader.read(&stream("web"), Seq::ZERO, 100).await.unwrap(), records[..=at]);
        }
    }
}

/// > `head` is there or above from then on
pub async fn another_process_sees_a_floor<H: JournalHarness + ConcurrentHarness<dyn Journal>>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    append(&one, &[first(1, "r1")]).await;
    one.raise_floor(&control().await, Seq::new(1_000)).await.unwrap();
    let late = two.append(&control().await, &stream("web"), Seq::new(1), &[middle(2, "r1")]).await;
    conflict(late, Seq::new(1_000));
}

/// One test for each case of [`Journal`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! journal_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::journal_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            journal, $harness;
            append_stores_all_or_nothing
            append_at_another_head_is_a_conflict
            one_of_many_writers_wins
            records_are_numbered_without_a_gap
            read_gives_what_was_appended
            streams_are_apart
            head_of_nothing_is_zero
            rollouts_are_listed_newest_first
            rollout_is_found_by_its_id
            one_rollout_of_a_stream_at_a_time
            a_rollout_id_is_used_once
            a_newer_format_is_not_skipped
            append_takes_a_permit
            a_floor_is_raised_in_every_stream
            a_record_above_a_floor_names_the_one_before
            a_floor_is_never_lowered
            raising_the_floor_takes_a_permit
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            journal, $harness;
            append_survives_a_crash
            a_floor_survives_a_crash
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            journal, $harness;
            one_of_two_processes_wins
            another_process_sees_an_append
            another_process_sees_a_floor
        }
    };
}
