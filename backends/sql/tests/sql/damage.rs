//! Rows that are not as this program wrote them.
use crate::support::{self, TestDatabase, may, sample};
use deploy_core::{
    access::Action,
    backend::{Expect, HostInventory as _, Journal as _, ServiceRegistry as _},
    error::{BackendError, ErrorKind},
    id::Seq,
};
use deploy_sql::{Database, SqlHostInventory, SqlJournal, SqlServiceRegistry};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use std::fmt::Debug;
use tempfile::TempDir;

/// Three records, one host, one service with one release.
async fn fill(database: &Database) {
    let records = [1, 2, 3].map(sample::record);
    let permit = may(Action::RolloutControl).await;
    SqlJournal::new(database)
        .append(&permit, &sample::stream("web"), Seq::ZERO, &records)
        .await
        .unwrap();
    let permit = may(Action::HostWrite).await;
    SqlHostInventory::new(database).put(&permit, sample::host("h1"), Expect::Absent).await.unwrap();
    let permit = may(Action::ServiceWrite).await;
    let registry = SqlServiceRegistry::new(database);
    registry.put_service(&permit, sample::service("web"), Expect::Absent).await.unwrap();
    registry.create_release(&permit, sample::release("web", "web-1", sample::at(1))).await.unwrap();
}

async fn sqlite_after(sql: &'static str) -> (Database, TempDir) {
    let (database, folder) = support::sqlite().await;
    fill(&database).await;
    let url = format!("sqlite://{}", folder.path().join("deploy.db").display());
    SqliteConnection::connect(&url).await.unwrap().execute(sql).await.unwrap();
    (database, folder)
}

#[track_caller]
fn names<T: Debug>(result: Result<T, BackendError>, kind: ErrorKind, table: &str, key: &str) {
    let err = result.unwrap_err();
    let text = err.chain();
    assert_eq!(err.kind(), kind, "{text}");
    assert!(text.contains(&format!("table=`{table}`, key=`{key}`")), "{text}");
}

#[tokio::test]
async fn a_flipped_letter_in_a_record_is_corrupt() {
    let sql = "UPDATE records SET body = replace(body, 'h1', 'h2') WHERE seq = 2";
    let (database, _folder) = sqlite_after(sql).await;
    let journal = SqlJournal::new(&database);
    let stream = sample::stream("web");
    names(
        journal.read(&stream, Seq::ZERO, 10).await,
        ErrorKind::Corrupt,
        "records",
        "service/web 2",
    );
    assert_eq!(journal.read(&stream, Seq::new(2), 10).await.unwrap(), [sample::record(3)]);
}

#[tokio::test]
async fn a_missing_record_is_corrupt() {
    let (database, _folder) = sqlite_after("DELETE FROM records WHERE seq = 2").await;
    let read = SqlJournal::new(&database).read(&sample::stream("web"), Seq::ZERO, 10).await;
    names(read, ErrorKind::Corrupt, "records", "service/web 2");
}

#[tokio::test]
async fn a_record_in_the_place_of_another_is_corrupt() {
    let sql = "UPDATE records SET (checksum, body) = (SELECT checksum, body FROM records WHERE seq = 3) \
         WHERE seq = 2";
    let (database, _folder) = sqlite_after(sql).await;
    let read = SqlJournal::new(&database).read(&sample::stream("web"), Seq::ZERO, 10).await;
    names(read, ErrorKind::Corrupt, "records", "service/web 2");
}

#[tokio::test]
async fn a_lost_tail_is_corrupt() {
    let (database, _folder) = sqlite_after("DELETE FROM records WHERE seq = 3").await;
    let read = SqlJournal::new(&database).read(&sample::stream("web"), Seq::ZERO, 10).await;
    names(read, ErrorKind::Corrupt, "records", "service/web 3");
}

#[tokio::test]
async fn a_damaged_host_service_or_release_is_corrupt() {
    let sql = "UPDATE hosts SET body = replace(body, 'h1', 'h2'); \
         UPDATE service_revisions SET body = '{'; UPDATE releases SET checksum = 0";
    let (database, _folder) = sqlite_after(sql).await;
    let inventory = SqlHostInventory::new(&database);
    names(inventory.host(&sample::name("h1")).await, ErrorKind::Corrupt, "hosts", "h1");
    names(inventory.hosts(None, 10).await, ErrorKind::Corrupt, "hosts", "h1");
    let registry = SqlServiceRegistry::new(&database);
    names(
        registry.service(&sample::name("web")).await,
        ErrorKind::Corrupt,
        "service_revisions",
        "web",
    );
    names(registry.release(&sample::name("web-1")).await, ErrorKind::Corrupt, "releases", "web-1");
}

#[tokio::test]
async fn a_newer_format_is_unsupported_in_every_table() {
    let sql = "UPDATE hosts SET format = 9; UPDATE service_revisions SET format = 9; \
         UPDATE releases SET format = 9; UPDATE records SET format = 9 WHERE seq = 2";
    let (database, _folder) = sqlite_after(sql).await;
    let unsupported = ErrorKind::Unsupported;
    names(
        SqlHostInventory::new(&database).host(&sample::name("h1")).await,
        unsupported,
        "hosts",
        "h1",
    );
    let registry = SqlServiceRegistry::new(&database);
    names(registry.service(&sample::name("web")).await, unsupported, "service_revisions", "web");
    names(registry.release(&sample::name("web-1")).await, unsupported, "releases", "web-1");
    let read = SqlJournal::new(&database).read(&sample::stream("web"), Seq::ZERO, 10).await;
    names(read, unsupported, "records", "service/web 2");
}

#[tokio::test]
async fn damage_is_found_on_postgres_too() {
    let test = TestDatabase::new();
    let database = Database::connect_postgres(&test.url()).await.unwrap();
    fill(&database).await;
    test.psql("UPDATE deploy.records SET body = replace(body, 'h1', 'h2') WHERE seq = 2");
    test.psql("UPDATE deploy.hosts SET format = 9");
    let read = SqlJournal::new(&database).read(&sample::stream("web"), Seq::ZERO, 10).await;
    names(read, ErrorKind::Corrupt, "records", "service/web 2");
    let host = SqlHostInventory::new(&database).host(&sample::name("h1")).await;
    names(host, ErrorKind::Unsupported, "hosts", "h1");
}
