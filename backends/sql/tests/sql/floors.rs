//! Positions that were given up, and records that are lost: readers know one from the other.
use crate::support::{self, may, sample};
use deploy_core::{
    access::Action,
    backend::{ErrorKind, Journal as _},
    id::{Seq, StreamId},
    rollout::Record,
};
use deploy_sql::{Database, SqlJournal};
use proptest::{prelude::*, sample::Index};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tempfile::TempDir;

fn web() -> StreamId {
    sample::stream("web")
}

/// A database with a stream of so many records, then positions that are given up, and so on.
async fn filled(pieces: &[(u64, u64)]) -> (Database, TempDir, Vec<Record>) {
    let (database, folder) = support::sqlite().await;
    let (journal, permit) = (SqlJournal::new(&database), may(Action::RolloutControl).await);
    let mut written: Vec<Record> = Vec::new();
    for (records, given_up) in pieces {
        let head = journal.head(&web()).await.unwrap();
        let mut records: Vec<Record> = (1..=*records)
            .map(|it| record(head.get() + it, written.is_empty() && it == 1))
            .collect();
        let previous = written.last().map_or(Seq::ZERO, |it| it.seq);
        if let Some(first) = records.first_mut() {
            *first = first.clone().behind(previous);
            journal.append(&permit, &web(), head, &records).await.unwrap();
        }
        written.extend(records);
        let head = journal.head(&web()).await.unwrap();
        journal.raise_floor(&permit, Seq::new(head.get() + given_up)).await.unwrap();
    }
    (database, folder, written)
}

fn record(seq: u64, is_first: bool) -> Record {
    if is_first { sample::first(seq, "r1") } else { sample::middle(seq, "r1") }
}

async fn execute(folder: &TempDir, sql: String) {
    let url = format!("sqlite://{}", folder.path().join("deploy.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.unwrap();
}

#[tokio::test]
async fn what_was_given_up_is_read_over_and_what_is_lost_is_not() {
    let (database, folder, written) = filled(&[(3, 1 << 50), (2, 0)]).await;
    let journal = SqlJournal::new(&database);
    assert_eq!(written[4].seq, Seq::new((1 << 50) + 5));
    assert_eq!(journal.read(&web(), Seq::ZERO, 10).await.unwrap(), written);
    let url = format!("sqlite://{}", folder.path().join("deploy.db").display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    for lost in &written {
        let keep =
            format!("CREATE TEMP TABLE kept AS SELECT * FROM records WHERE seq = {}", lost.seq);
        connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(keep))).await.unwrap();
        connection.execute("DELETE FROM records WHERE seq = (SELECT seq FROM kept)").await.unwrap();
        let err = journal.read(&web(), Seq::ZERO, 10).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Corrupt, "{}", err.chain());
        assert!(err.chain().contains("it is missing"), "{}", err.chain());
        let restore = "INSERT INTO records SELECT * FROM kept; DROP TABLE kept";
        connection.execute(sqlx::raw_sql(restore)).await.unwrap();
    }
    assert_eq!(journal.read(&web(), Seq::ZERO, 10).await.unwrap(), written);
}

#[tokio::test]
async fn a_floor_alone_excuses_no_loss() {
    let (database, folder, written) = filled(&[(3, 100)]).await;
    let journal = SqlJournal::new(&database);
    assert_eq!(journal.read(&web(), Seq::ZERO, 10).await.unwrap(), written);
    execute(&folder, "DELETE FROM records WHERE seq = 3".to_owned()).await;
    let err = journal.read(&web(), Seq::ZERO, 10).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Corrupt, "{}", err.chain());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Wherever positions were given up, every page is what was written, and no record can be lost unseen.
    #[test]
    fn every_page_is_what_was_written_and_no_loss_goes_unseen(
        pieces in prop::collection::vec((0..4_u64, prop_oneof![Just(0), 1..9_u64, 1_u64 << 40..1 << 50]), 1..6),
        pick in any::<Index>(), page in 1..5_usize, skip in 0..20_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (database, folder, written) = filled(&pieces).await;
            let journal = SqlJournal::new(&database);
            for after in [Seq::ZERO, Seq::new(skip)] {
                let read = journal.read(&web(), after, page).await.unwrap();
                let due = written.iter().filter(|it| it.seq > after).take(page);
                prop_assert_eq!(read, due.cloned().collect::<Vec<_>>());
            }
            if !written.is_empty() {
                let lost = pick.get(&written).seq;
                execute(&folder, format!("DELETE FROM records WHERE seq = {lost}")).await;
                let read = journal.read(&web(), Seq::ZERO, usize::MAX).await;
                prop_assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt);
            }
            Ok(())
        })?;
    }
}
