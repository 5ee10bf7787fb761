//! A disk that runs full.
use crate::support::{self, Memory, may, own_mounts, sample};
use deploy_core::{
    access::Action,
    backend::{AppendError, Journal as _, LogChunk, LogStore as _},
    conformance::run,
    error::ErrorKind,
    id::Seq,
};
use deploy_sql::{Database, SqlJournal, SqlLogStore};
use std::fs;

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    if own_mounts("full::a_full_disk_is_told_and_loses_nothing") {
        run(fill());
    }
}

async fn fill() {
    let folder = tempfile::tempdir().unwrap();
    let _memory = Memory::over(folder.path(), "4m").unwrap();
    let database = support::open_sqlite(&folder).await;
    let reserve = folder.path().join("reserve");
    fs::write(&reserve, vec![0; 1 << 20]).unwrap();
    let journal = SqlJournal::new(&database);
    let permit = may(Action::RolloutControl).await;
    let stream = sample::stream("web");

    let mut head = Seq::ZERO;
    let append = async |head: Seq| {
        let records: Vec<_> = (1..=100).map(|it| sample::record(head.get() + it)).collect();
        journal.append(&permit, &stream, head, &records).await
    };
    let err = loop {
        match append(head).await {
            Ok(new) => head = new,
            Err(AppendError::Backend(err)) => break err,
            Err(err) => panic!("{err:?}"),
        }
    };
    assert_eq!(err.kind(), ErrorKind::NoSpace, "{}", err.chain());
    assert!(err.chain().contains("make room"), "{}", err.chain());
    assert!(head > Seq::ZERO);
    assert_eq!(journal.head(&stream).await.unwrap(), head);
    assert_eq!(
        journal.read(&stream, Seq::ZERO, usize::MAX).await.unwrap().len() as u64,
        head.get()
    );

    let chunk = LogChunk::new(
        sample::name("r1"),
        sample::name("h1"),
        head,
        0,
        sample::at(1),
        vec![7; 2 << 20],
    );
    let err = SqlLogStore::new(&database).append(&[chunk]).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NoSpace, "{}", err.chain());

    // The same handle goes on once there is room, without a restart.
    fs::remove_file(reserve).unwrap();
    head = append(head).await.unwrap();
    let reopened =
        SqlJournal::new(&Database::open_sqlite(folder.path().join("deploy.db")).await.unwrap());
    let records = reopened.read(&stream, Seq::ZERO, usize::MAX).await.unwrap();
    assert!(records.iter().zip(1..).all(|(record, seq)| *record == sample::record(seq)));
    assert_eq!(records.len() as u64, head.get());
}
