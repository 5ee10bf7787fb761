//! A PostgreSQL server that does what servers do: it crashes, and it keeps a commit waiting.
use crate::support::{Server, TestDatabase, may, sample};
use deploy_core::{
    access::{Action, Permit},
    backend::{AppendError, Journal as _},
    error::{ErrorKind, Retry},
    id::Seq,
};
use deploy_sql::{ConnectPostgres, Database, SqlJournal};
use rustix::process::{Pid, Signal, kill_process};
use std::{slice, time::Duration};

/// Kills a process of the server, on which it ends all others, and goes through crash recovery.
fn crash(server: &Server) {
    let backend = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'";
    let process = server.psql("postgres", backend).parse().unwrap();
    kill_process(Pid::from_raw(process).unwrap(), Signal::KILL).unwrap();
}

/// Appends one record, through any crash: calls find their way back by themselves, and say what a caller may rely on.
async fn append(journal: &SqlJournal, permit: &Permit, head: Seq) -> Seq {
    let record = sample::record(head.next().get());
    loop {
        match journal.append(permit, &sample::stream("web"), head, slice::from_ref(&record)).await {
            Ok(head) => return head,
            Err(AppendError::Backend(err)) if err.kind().retry() == Retry::Safe => {}
            Err(AppendError::Backend(err)) if err.kind() == ErrorKind::OutcomeUnknown => {}
            // The one before, whose outcome was unknown, did take effect.
            Err(AppendError::Conflict { actual, expected }) if actual == expected.next() => {
                return actual;
            }
            Err(err) => panic!("{err:?}"),
        }
    }
}

#[tokio::test]
async fn a_crash_of_the_server_loses_nothing_that_was_confirmed() {
    let folder = tempfile::Builder::new().permissions(open_to_all()).tempdir().unwrap();
    let server = Server::start(folder.path());
    let test = TestDatabase::on(&server);
    let journal = SqlJournal::new(&Database::connect_postgres(&test.url()).await.unwrap());
    let permit = may(Action::RolloutControl).await;
    let stream = sample::stream("web");
    let mut confirmed = Seq::ZERO;
    for round in 1..=3 {
        for _ in 0..20 {
            confirmed = append(&journal, &permit, confirmed).await;
        }
        assert_eq!(confirmed, Seq::new(round * 20));
        crash(&server);
    }
    confirmed = append(&journal, &permit, confirmed).await;
    let records = journal.read(&stream, Seq::ZERO, usize::MAX).await.unwrap();
    assert_eq!(records.len() as u64, confirmed.get());
    assert!(records.iter().zip(1..).all(|(record, seq)| *record == sample::record(seq)));
}

#[tokio::test]
async fn a_commit_that_is_not_confirmed_in_time_is_unknown_and_not_repeated() {
    let folder = tempfile::Builder::new().permissions(open_to_all()).tempdir().unwrap();
    let server = Server::start(folder.path());
    let test = TestDatabase::on(&server);
    let request = ConnectPostgres::new(test.url()).with_commit_deadline(Duration::from_millis(300));
    let journal = SqlJournal::new(&Database::connect_postgres_with(&request).await.unwrap());
    let permit = may(Action::RolloutControl).await;
    let stream = sample::stream("web");

    // The synchronous standby is gone.
    server.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'gone'");
    server.psql("postgres", "SELECT pg_reload_conf()");
    let mut head = Seq::ZERO;
    let err = loop {
        // The setting takes a moment to reach every connection.
        let record = sample::record(head.next().get());
        match journal.append(&permit, &stream, head, &[record]).await {
            Ok(next) => head = next,
            Err(err) => break err,
        }
    };
    let AppendError::Backend(err) = err else { panic!("{err:?}") };
    assert_eq!(err.kind(), ErrorKind::OutcomeUnknown, "{}", err.chain());
    assert_eq!(journal.head(&stream).await.unwrap(), head, "not visible before the standby has it");

    server.psql("postgres", "ALTER SYSTEM RESET synchronous_standby_names");
    server.psql("postgres", "SELECT pg_reload_conf()");
    let visible = async {
        while journal.head(&stream).await.unwrap() == head {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), visible).await.unwrap();
    assert_eq!(journal.head(&stream).await.unwrap(), head.next(), "it was committed all the same");
    let next = sample::record(head.get() + 2);
    journal.append(&permit, &stream, head.next(), &[next]).await.unwrap();
}

/// The server runs as an account of its own.
fn open_to_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}
