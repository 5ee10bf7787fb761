use super::{record::Record, segment, *};
use crate::attempt::{Acceptance, AttemptKey, End, State};
use deploy_agent_protocol::v1;
use proptest::prelude::*;
use std::{fs, os::unix::fs::FileExt as _};

fn key(service: u8, generation: u64) -> AttemptKey {
    AttemptKey { service: format!("s{service}").parse().unwrap(), generation }
}

/// What somebody asks of a host.
#[derive(Clone, Debug)]
enum Act {
    Accept(u8, u64),
    Advance(u8),
    Fence(u8, u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0..3_u8, 1..20_u64).prop_map(|(service, generation)| Act::Accept(service, generation)),
        (0..3_u8).prop_map(Act::Advance),
        (0..3_u8, 1..20_u64).prop_map(|(service, generation)| Act::Fence(service, generation)),
    ];
    prop::collection::vec(act, 1..30)
}

/// The records that follow from an act.
fn decide(attempts: &Attempts, act: &Act) -> Vec<Record> {
    match act {
        Act::Accept(service, generation) => {
            match attempts.accept(&key(*service, *generation), "token") {
                Ok(Acceptance::New(records)) => records,
                _ => vec![],
            }
        }
        Act::Fence(service, generation) => attempts.fence_off(&key(*service, *generation)),
        Act::Advance(service) => {
            let newest = attempts.of(&key(*service, 1).service).next_back();
            let Some((generation, attempt)) = newest else { return vec![] };
            let attempt_key = key(*service, generation);
            vec![match &attempt.state {
                State::Accepted { .. } => Record::Starting {
                    attempt: attempt_key,
                    boot_id: "boot".to_owned(),
                    cgroup: "/c".to_owned(),
                },
                State::Starting { .. } => Record::Exited {
                    attempt: attempt_key,
                    end: End::Died(v1::Died {
                        reason: "shim_lost".to_owned(),
                        ..v1::Died::default()
                    }),
                },
                State::Exited { closed: false, .. } => Record::Closed { attempt: attempt_key },
                State::Exited { log_stored: false, .. } => {
                    Record::LogStored { attempt: attempt_key }
                }
                State::Exited { .. } => return vec![],
            }]
        }
    }
}

/// A segment, with the state after each of its batches and where that ends.
struct History {
    bytes: Vec<u8>,
    after: Vec<(usize, Attempts)>,
    /// The state after each record.
    states: Vec<Attempts>,
}

fn history(before: &[Act], batches: &[Vec<Act>]) -> History {
    let mut attempts = Attempts::default();
    for act in before {
        decide(&attempts, act).iter().for_each(|it| attempts.apply(it).unwrap());
    }
    attempts.restart();
    let (mut bytes, mut next) = segment::begin(&attempts, 7);
    let mut states = vec![attempts.clone()];
    let mut after = vec![(bytes.len(), attempts.clone())];
    for batch in batches {
        let mut first = true;
        for record in batch
            .iter()
            .flat_map(|act| {
                let records = decide(&attempts, act);
                records.iter().for_each(|it| attempts.apply(it).unwrap());
                states.push(attempts.clone());
                records
            })
            .collect::<Vec<_>>()
        {
            record.write(next, first, &mut bytes);
            (next, first) = (next + 1, false);
        }
        after.push((bytes.len(), attempts.clone()));
    }
    states.iter_mut().for_each(Attempts::restart);
    after.iter_mut().for_each(|(_, it)| it.restart());
    History { bytes, after, states }
}

proptest! {
    /// Whatever a power cut leaves of what was not synced, what was synced is known, and nothing that was never decided.
    #[test]
    fn every_prefix_is_a_state_that_was(before in acts(), batches in prop::collection::vec(acts(), 1..6)) {
        let history = history(&before, &batches);
        let floor = history.after[0].0;
        for cut in floor..=history.bytes.len() {
            let synced = history.after.iter().take_while(|(end, _)| *end <= cut).last().unwrap();
            let read = segment::replay(&history.bytes[..cut], synced.0).unwrap();
            prop_assert!(read.end >= synced.0);
            // A record of several that were decided at one go may be the last: each of them alone is as right.
            if read.end == synced.0 {
                prop_assert_eq!(&read.attempts, &synced.1);
            }
            // Going on from there is possible.
            let again = segment::replay(&history.bytes[..read.end], synced.0).unwrap();
            prop_assert_eq!(&again, &read);
        }
        for cut in 0..floor {
            prop_assert!(segment::replay(&history.bytes[..cut], 0).is_err());
        }
        let whole = segment::replay(&history.bytes, history.bytes.len()).unwrap();
        prop_assert_eq!(Some(&whole.attempts), history.states.last());
    }

    #[test]
    fn a_bit_that_flipped_is_found(
        before in acts(),
        batches in prop::collection::vec(acts(), 1..6),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut history = history(&before, &batches);
        let at = at.index(history.bytes.len());
        history.bytes[at] ^= 1 << bit;
        let synced = history.bytes.len();
        prop_assert!(segment::replay(&history.bytes, synced).is_err());
        // When it is not known how far it was synced, only what no batch follows on may be taken for a torn tail.
        let last = history.after.iter().rev().find(|(end, _)| *end < synced).map_or(0, |it| it.0);
        if let Ok(read) = segment::replay(&history.bytes, 0) {
                prop_assert!(at >= last, "byte {} of {} was taken for the tail", at, synced);
                prop_assert!(read.end <= at);
            }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(segment::replay(&bytes, 0).is_err());
        let mut tail = segment::begin(&Attempts::default(), 0).0;
        let floor = tail.len();
        tail.extend(&bytes);
        let read = segment::replay(&tail, 0);
        prop_assert!(read.is_err() || read.unwrap().end == floor);
    }
}

fn accept(journal: &Journal, generation: u64) -> Decided {
    let accept = |attempts: &mut Attempts| (decide(attempts, &Act::Accept(1, generation)), ());
    journal.decide(accept).unwrap().1
}

fn advance(journal: &Journal) -> Decided {
    journal.decide(|attempts| (decide(attempts, &Act::Advance(1)), ())).unwrap().1
}

#[tokio::test]
async fn what_was_durable_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    journal.durable(accept(&journal, 3)).await.unwrap();
    drop(journal);
    let journal = Journal::open(folder.path()).unwrap();
    let (fence, _) = journal.look(|it| it.fence(&key(1, 3).service));
    assert_eq!(fence, 3);
    assert!(matches!(
        journal.look(|it| it.accept(&key(1, 3), "token")).0,
        Ok(Acceptance::Unstarted)
    ));
}

#[tokio::test]
async fn a_journal_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    for generation in 1..=6_000 {
        let _ = accept(&journal, generation);
        (0..3).for_each(|_| _ = advance(&journal));
        journal.durable(advance(&journal)).await.unwrap();
    }
    let size = |name: &str| {
        fs::read_dir(folder.path())
            .unwrap()
            .flatten()
            .filter(|it| it.file_name().to_str().unwrap().starts_with(name))
            .map(|it| it.metadata().unwrap().len())
            .collect::<Vec<_>>()
    };
    assert_eq!(size("segment.").len(), 1);
    assert!(size("segment.")[0] <= 1 << 20, "{:?}", size("segment."));
    let before = journal.look(Attempts::clone).0;
    drop(journal);
    let after = Journal::open(folder.path()).unwrap().look(Attempts::clone).0;
    assert_eq!(after.fence(&key(1, 1).service), 6_000);
    assert!(before.of(&key(1, 1).service).count() >= after.of(&key(1, 1).service).count());
}

#[tokio::test]
async fn a_journal_that_cannot_be_synced_is_poisoned_for_good() {
    let folder = tempfile::tempdir().unwrap();
    drop(Journal::open(folder.path()).unwrap());
    static SYNCS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let fail_once = |file: &fs::File| {
        // The first is that of opening.
        if SYNCS.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1 {
            return Err(io::Error::from_raw_os_error(5));
        }
        file.sync_data()
    };
    let journal = Journal::open_with(folder.path(), fail_once).unwrap();
    let decided = accept(&journal, 1);
    let poisoned = journal.durable(decided).await.unwrap_err();
    assert!(poisoned.to_string().contains("started anew"), "{poisoned}");
    assert_eq!(journal.decide(|_| (vec![], ())).unwrap_err(), poisoned);
    assert_eq!(journal.failed().await, poisoned.to_string());
    assert_eq!(SYNCS.load(std::sync::atomic::Ordering::SeqCst), 2, "it was tried again");
}

#[tokio::test]
async fn damage_is_refused_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    journal.durable(accept(&journal, 1)).await.unwrap();
    drop(journal);
    let path = fs::read_dir(folder.path()).unwrap().flatten().map(|it| it.path());
    let path = path.into_iter().find(|it| it.to_str().unwrap().contains("segment.")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(b"!", 50).unwrap();
    let refused = Journal::open(folder.path()).unwrap_err().to_string();
    assert!(refused.contains(path.to_str().unwrap()) && refused.contains("byte 28"), "{refused}");
}
