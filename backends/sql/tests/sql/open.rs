//! Databases that are refused, and what is said of them.
use crate::support::{self, Memory, TestDatabase, may, own_mounts, sample, told};
use deploy_core::{
    access::Action,
    backend::{AppendError, Journal as _},
    error::ErrorKind,
    id::Seq,
};
use deploy_sql::{Database, OpenError, OpenReason, OpenSqlite, SqlJournal};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

async fn refused(path: impl AsRef<Path> + Send) -> OpenError {
    let request = OpenSqlite::new(path.as_ref()).with_busy_timeout(Duration::from_millis(200));
    Database::open_sqlite_with(&request).await.unwrap_err()
}

/// A plain connection, as another program would have it.
async fn other_program(path: &Path) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap()
}

fn names(err: &OpenError, path: &Path, advice: &str) {
    let text = told(err);
    assert!(text.contains(path.to_str().unwrap()) && text.contains(advice), "{text}");
}

#[tokio::test]
async fn a_new_file_is_for_this_account_alone() {
    let (database, folder) = support::sqlite().await;
    let journal = SqlJournal::new(&database);
    let permit = may(Action::RolloutControl).await;
    journal.append(&permit, &sample::stream("web"), Seq::ZERO, &[sample::record(1)]).await.unwrap();
    let mut files = 0;
    for file in fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
        files += 1;
    }
    assert!(files >= 4, "two databases and their write-ahead logs, not {files} files");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_file_can_be_opened_many_times_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = folder.path().join(format!("{round}.db"));
        let opening: Vec<_> =
            (0..8).map(|_| tokio::spawn(Database::open_sqlite(path.clone()))).collect();
        for opened in opening {
            if let Err(err) = opened.await.unwrap() {
                panic!("round {round}: {}", told(&err));
            }
        }
    }
}

/// SQLite's busy timeout does not wait for this lock, which a process that is just making the file has.
#[tokio::test]
async fn a_file_that_another_process_is_making_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deploy.db");
    let mut other = other_program(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let opening = tokio::spawn(Database::open_sqlite(path));
    wait(Duration::from_millis(200)).await;
    assert!(!opening.is_finished(), "{:?}", opening.await.unwrap().map_err(|err| told(&err)));
    other.execute("ROLLBACK").await.unwrap();
    opening.await.unwrap().unwrap();
}

#[expect(clippy::disallowed_methods, reason = "that nothing happens is seen only by waiting")]
async fn wait(by: Duration) {
    tokio::time::sleep(by).await;
}

#[tokio::test]
async fn a_locked_file_is_refused_and_the_message_says_what_to_do() {
    let (_, folder) = support::sqlite().await;
    let path = folder.path().join("deploy.db");
    let mut other = other_program(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let err = refused(&path).await;
    assert_eq!((err.reason(), err.kind()), (&OpenReason::Locked, ErrorKind::Unavailable));
    names(&err, &path, "fuser");
    other.execute("ROLLBACK").await.unwrap();
    Database::open_sqlite(&path).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_lasts_makes_a_write_unavailable_and_one_that_ends_only_late() {
    let (_, folder) = support::sqlite().await;
    let path = folder.path().join("deploy.db");
    let open = async |timeout| {
        let request = OpenSqlite::new(&path).with_busy_timeout(timeout);
        SqlJournal::new(&Database::open_sqlite_with(&request).await.unwrap())
    };
    let hasty = open(Duration::from_millis(50)).await;
    let patient = open(Duration::from_secs(60)).await;
    let permit = may(Action::RolloutControl).await;
    let stream = sample::stream("web");
    let records = [sample::record(1)];
    let mut other = other_program(&path).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();

    let err = hasty.append(&permit, &stream, Seq::ZERO, &records).await.unwrap_err();
    let AppendError::Backend(err) = err else { panic!("{err:?}") };
    assert_eq!(err.kind(), ErrorKind::Unavailable, "{}", err.chain());
    assert!(err.chain().contains(path.to_str().unwrap()), "{}", err.chain());
    assert_eq!(hasty.head(&stream).await.unwrap(), Seq::ZERO, "readers do not wait for writers");

    let waiting = patient.append(&permit, &stream, Seq::ZERO, &records);
    let (appended, released) = tokio::join!(waiting, other.execute("ROLLBACK"));
    released.unwrap();
    assert_eq!(appended.unwrap(), Seq::new(1));
    assert_eq!(hasty.head(&stream).await.unwrap(), Seq::new(1));
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "buy milk\n".repeat(1_000)).unwrap();
    let err = refused(&text).await;
    assert_eq!((err.reason(), err.kind()), (&OpenReason::NotADatabase, ErrorKind::Corrupt));
    names(&err, &text, "no SQLite database");
    assert_eq!(fs::read_to_string(&text).unwrap(), "buy milk\n".repeat(1_000));

    let err = refused(folder.path()).await;
    assert_eq!(*err.reason(), OpenReason::NotADatabase);

    let err = refused(folder.path().join("missing/deploy.db")).await;
    assert_eq!((err.reason(), err.kind()), (&OpenReason::FolderMissing, ErrorKind::NotFound));
    let err = refused(text.join("deploy.db")).await;
    assert_eq!(*err.reason(), OpenReason::FolderMissing);
}

#[tokio::test]
async fn the_database_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("recipes.db");
    other_program(&path).await.execute("CREATE TABLE recipes (name TEXT)").await.unwrap();
    let err = refused(&path).await;
    assert_eq!((err.reason(), err.kind()), (&OpenReason::Foreign, ErrorKind::InvalidInput));
    names(&err, &path, "another program");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (database, folder) = support::sqlite().await;
    database.close().await;
    let path = folder.path().join("deploy.db");
    other_program(&path)
        .await
        .execute("INSERT INTO deploy_schema (version) VALUES (99)")
        .await
        .unwrap();
    let err = refused(&path).await;
    assert_eq!(*err.reason(), OpenReason::NewerSchema { found: 99, known: 5 });
    assert_eq!(err.kind(), ErrorKind::Unsupported);
    names(&err, &path, "newer program");

    let database = TestDatabase::new();
    Database::connect_postgres(&database.url()).await.unwrap();
    database.psql("INSERT INTO deploy.deploy_schema (version) VALUES (99)");
    let err = Database::connect_postgres(&database.url()).await.unwrap_err();
    assert_eq!(*err.reason(), OpenReason::NewerSchema { found: 99, known: 5 });
}

#[test]
fn a_read_only_disk_is_refused() {
    if own_mounts("open::a_read_only_disk_is_refused") {
        deploy_core::conformance::run(async {
            let folder = tempfile::tempdir().unwrap();
            let memory = Memory::over(folder.path(), "8m").unwrap();
            support::open_sqlite(&folder).await.close().await;
            memory.make_read_only().unwrap();
            let err = refused(folder.path().join("deploy.db")).await;
            assert_eq!(*err.reason(), OpenReason::FolderReadOnly, "{}", told(&err));
            assert_eq!(err.kind(), ErrorKind::PermissionDenied);
            let err = refused(folder.path().join("new.db")).await;
            assert_eq!(*err.reason(), OpenReason::FolderReadOnly, "{}", told(&err));
        });
    }
}

/// SQLite would open it, and refuse the first write.
#[test]
fn a_file_that_cannot_be_written_is_refused() {
    if own_mounts("open::a_file_that_cannot_be_written_is_refused") {
        deploy_core::conformance::run(async {
            let (database, folder) = support::sqlite().await;
            database.close().await;
            for name in ["deploy.db", "deploy.logs.db", "deploy.db-wal"] {
                let file = folder.path().join(name);
                fs::OpenOptions::new().create(true).append(true).open(&file).unwrap();
                let fixed = support::ReadOnly::over(&file).unwrap();
                let err = refused(folder.path().join("deploy.db")).await;
                assert_eq!(*err.reason(), OpenReason::ReadOnly, "{name}: {}", told(&err));
                assert_eq!(err.kind(), ErrorKind::PermissionDenied);
                names(&err, &file, "writable");
                drop(fixed);
                Database::open_sqlite(folder.path().join("deploy.db")).await.unwrap().close().await;
            }
        });
    }
}

#[test]
fn a_full_disk_is_told_when_a_database_is_opened() {
    if own_mounts("open::a_full_disk_is_told_when_a_database_is_opened") {
        deploy_core::conformance::run(async {
            let folder = tempfile::tempdir().unwrap();
            let _memory = Memory::over(folder.path(), "2m").unwrap();
            support::open_sqlite(&folder).await.close().await;
            let reserve = folder.path().join("reserve");
            fs::write(&reserve, vec![0; 4 << 20]).unwrap_err();
            let path = folder.path().join("deploy.db");
            let err = refused(&path).await;
            assert_eq!((err.reason(), err.kind()), (&OpenReason::NoSpace, ErrorKind::NoSpace));
            names(&err, &path, "make room");
            fs::remove_file(reserve).unwrap();
            Database::open_sqlite(&path).await.unwrap();
        });
    }
}

/// A copy that ran out of room leaves an empty file, and to SQLite that is a new database.
#[tokio::test]
async fn a_database_whose_logs_are_all_that_is_left_is_refused() {
    let (database, folder) = support::sqlite().await;
    database.close().await;
    let path = folder.path().join("deploy.db");
    fs::write(&path, "").unwrap();
    let err = refused(&path).await;
    assert_eq!((err.reason(), err.kind()), (&OpenReason::Emptied, ErrorKind::Corrupt));
    names(&err, &path, "restore");
    fs::remove_file(&path).unwrap();
    assert_eq!(*refused(&path).await.reason(), OpenReason::Emptied);
    assert!(!path.exists(), "it is left as it is");
    fs::remove_file(folder.path().join("deploy.logs.db")).unwrap();
    Database::open_sqlite(&path).await.unwrap();
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_confirmed_is_refused() {
    let database = TestDatabase::new();
    database.set("synchronous_commit", "off");
    let err = Database::connect_postgres(&database.url()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported);
    let text = told(&err);
    assert!(text.contains("synchronous_commit") && text.contains("`off`"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://ann:s3cret@localhost/deploy?host={}", folder.path().display());
    let err = Database::connect_postgres(&url).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    let text = told(&err);
    assert!(text.contains(folder.path().to_str().unwrap()) && !text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_not_found() {
    let url = support::Server::shared().url("no_such_database");
    let err = Database::connect_postgres(&url).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound, "{}", told(&err));
}
