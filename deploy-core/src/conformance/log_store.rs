//! Cases for [`LogStore`]. They need no more than a [`Harness`].
use super::{ConcurrentHarness, DurableHarness, Harness, refused, sample};
use crate::{
    backend::{LogChunk, LogPosition, LogQuery, LogStore},
    error::ErrorKind,
    id::Seq,
};
use sample::{at, name};
use std::sync::Arc;

/// A chunk of the first attempt of `r1` on `h1`.
fn chunk(offset: u64, bytes: &[u8]) -> LogChunk {
    of("r1", "h1", 1, offset, bytes)
}

fn of(rollout: &str, host: &str, generation: u64, offset: u64, bytes: &[u8]) -> LogChunk {
    LogChunk::new(name(rollout), name(host), Seq::new(generation), offset, at(7), bytes.to_vec())
}

async fn length(logs: &Arc<dyn LogStore>) -> u64 {
    logs.length(&name("r1"), &name("h1"), Seq::new(1)).await.unwrap()
}

async fn read(logs: &Arc<dyn LogStore>, query: &LogQuery) -> Vec<LogChunk> {
    logs.read(query).await.unwrap().into_iter().map(|(_, chunk)| chunk).collect()
}

fn all() -> LogQuery {
    LogQuery::new(name("r1"))
}

/// The output of the first attempt of `r1` on `h1`; fails if its chunks do not follow on from one another.
async fn output(logs: &Arc<dyn LogStore>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let query = all().with_host(name("h1")).with_generation(Seq::new(1));
    for chunk in read(logs, &query).await {
        assert_eq!(chunk.offset, u64::try_from(bytes.len()).unwrap(), "a chunk is out of place");
        bytes.extend(chunk.bytes);
    }
    bytes
}

/// > Appending a chunk that follows on from what is stored stores it whole.
pub async fn a_chunk_that_follows_is_stored<H: Harness<dyn LogStore>>(harness: &H) {
    let (logs, _guard) = harness.fresh().await;
    let binary: Vec<u8> = (0..=255).collect();
    logs.append(&[chunk(0, b"one "), chunk(4, &binary)]).await.unwrap();
    logs.append(&[chunk(260, b" end")]).await.unwrap();
    let stored = read(&logs, &all()).await;
    assert_eq!(stored, [chunk(0, b"one "), chunk(4, &binary), chunk(260, b" end")]);
}

/// > A chunk that overlaps what is stored adds only what is new: no byte is stored twice.
pub async fn no_byte_is_stored_twice<H: Harness<dyn LogStore>>(harness: &H) {
    let (logs, _guard) = harness.fresh().await;
    logs.append(&[chunk(0, b"hello")]).await.unwrap();
    logs.append(&[chunk(0, b"hello")]).await.unwrap();
    logs.append(&[chunk(1, b"ell")]).await.unwrap();
    logs.append(&[chunk(3, b"lo world"), chunk(8, b"rld!")]).await.unwrap();
    assert_eq!(output(&logs).await, b"hello world!");
    assert_eq!(length(&logs).await, 12);
}

/// > A chunk that leaves a gap is `Conflict`, and stores nothing.
pub async fn a_gap_is_a_conflict<H: Harness<dyn LogStore>>(harness: &H) {
    let (logs, _guard) = harness.fresh().await;
    refused(logs.append(&[chunk(1, b"x")]).await, ErrorKind::Conflict);
    assert_eq!(length(&logs).await, 0);
    let some = [chunk(0, b"abc"), chunk(4, b"e"), chunk(3, b"d")];
    refused(logs.append(&some).await, ErrorKind::Conflict);
    assert_eq!(output(&logs).await, b"abc", "what comes before the gap is stored, and no more");
}

/// > `length` is where the next chunk of an attempt has to begin; 0 where nothing is stored.
pub async fn length_is_of_one_attempt<H: Harness<dyn LogStore>>(harness: &H) {
    let (logs, _guard) = harness.fresh().await;
    assert_eq!(length(&logs).await, 0);
    let chunks = [
        chunk(0, b"four"),
        of("r1", "h1", 2, 0, b"a"),
        of("r1", "h2", 1, 0, b"bb"),
        of("r2", "h1", 1, 0, b"ccc"),
    ];
    logs.append(&chunks).await.unwrap();
    for (chunk, length) in chunks.iter().zip([4, 1, 2, 3]) {
        let found = logs.length(&chunk.rollout, &chunk.host, chunk.generation).await.unwrap();
        assert_eq!(found, length);
    }
}

/// > `read` gives chunks in the order in which they were stored, after a position and no more than asked for
pub async fn read_goes_on_from_a_position<H: Harness<dyn LogStore>>(harness: &H) {
    let (logs, _guard) = harness.fresh().await;
    let chunks = [
        chunk(0, b"1"),
        of("r1", "h2", 2, 0, b"2"),
        of("r2", "h1", 1, 0, b"other"),
        chunk(1, b"3"),
        of("r1", "h2", 3, 0, b"4"),
    ];
    for chunk in &chunks {
        logs.append(std::slice::from_ref(chunk)).await.unwrap();
    }
    let mine = [&chunks[0], &chunks[1], &chunks[3], &chunks[4]].map(LogChunk::clone);
    assert_eq!(read(&logs, &all()).await, mine);
    assert_eq!(read(&logs, &all().with_host(name("h2"))).await, [mine[1].clone(), mine[3].clone()]);
    assert_eq!(read(&logs, &all().with_generation(Seq::new(3))).await, mine[3..]);
    let mut after = LogPosition::START;
    for expected in mine.chunks(2) {
        let page = logs.read(&all().with_after(after).with_limit(2)).await.unwrap();
        assert_eq!(
            page.iter().map(|(_, chunk)| chunk).collect::<Vec<_>>(),
            expected.iter().collect::<Vec<_>>()
        );
        assert!(page.iter().all(|(position, _)| *position > after), "positions grow");
        after = page.last().unwrap().0;
    }
    assert_eq!(read(&logs, &all().with_after(after)).await, []);
    logs.append(&[chunk(2, b"5")]).await.unwrap();
    assert_eq!(read(&logs, &all().with_after(after)).await, [chunk(2, b"5")]);
}

/// > the chunks of one attempt, put together, are its output byte for byte.
pub async fn output_is_kept_byte_for_byte<H: Harness<dyn LogStore>>(harness: &H) {
    let (logs, _guard) = harness.fresh().await;
    let bytes = sample::noise(300_000);
    for (at, piece) in bytes.chunks(7_001).enumerate() {
        let offset = u64::try_from(at * 7_001).unwrap();
        logs.append(&[chunk(offset, piece), of("r1", "h2", 1, offset, piece)]).await.unwrap();
    }
    assert!(output(&logs).await == bytes, "the output is not what was appended");
}

/// > What a process has appended is there after it was killed.
pub async fn what_was_appended_survives<H: DurableHarness<dyn LogStore>>(harness: &H) {
    let (logs, guard) = harness.fresh().await;
    logs.append(&[chunk(0, b"hello "), chunk(6, b"world")]).await.unwrap();
    let before = logs.read(&all()).await.unwrap();
    let logs = harness.reopen(logs, &guard).await;
    assert_eq!(length(&logs).await, 11);
    assert_eq!(logs.read(&all()).await.unwrap(), before);
    logs.append(&[chunk(11, b"!")]).await.unwrap();
    assert_eq!(output(&logs).await, b"hello world!");
    let after = before.last().unwrap().0;
    assert_eq!(read(&logs, &all().with_after(after)).await, [chunk(11, b"!")]);
}

/// > and sees every append that has returned
pub async fn another_process_sees_an_append<H: ConcurrentHarness<dyn LogStore>>(harness: &H) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    let mut after = LogPosition::START;
    for offset in 0..10 {
        let writer = if offset % 2 == 0 { &one } else { &two };
        writer.append(&[chunk(offset, b"x")]).await.unwrap();
        let mut last = after;
        for reader in [&one, &two] {
            assert_eq!(length(reader).await, offset + 1);
            let new = reader.read(&all().with_after(after)).await.unwrap();
            assert_eq!(new.iter().map(|(_, chunk)| chunk.offset).collect::<Vec<_>>(), [offset]);
            last = new[0].0;
        }
        after = last;
    }
}

/// > A chunk that overlaps what is stored adds only what is new: no byte is stored twice.
pub async fn two_writers_store_no_byte_twice<H: ConcurrentHarness<dyn LogStore>>(harness: &H) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    let bytes = sample::noise(4_000);
    let write = async |logs: &Arc<dyn LogStore>, size: usize| {
        for end in (size..=bytes.len()).step_by(size) {
            logs.append(&[chunk(0, &bytes[..end])]).await.unwrap();
        }
    };
    tokio::join!(write(&one, 100), write(&two, 160));
    assert!(output(&one).await == bytes && output(&two).await == bytes, "the writers got mixed up");
}

/// One test for each case of [`LogStore`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! log_store_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::log_store_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            log_store, $harness;
            a_chunk_that_follows_is_stored
            no_byte_is_stored_twice
            a_gap_is_a_conflict
            length_is_of_one_attempt
            read_goes_on_from_a_position
            output_is_kept_byte_for_byte
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            log_store, $harness;
            what_was_appended_survives
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            log_store, $harness;
            another_process_sees_an_append
            two_writers_store_no_byte_twice
        }
    };
}
