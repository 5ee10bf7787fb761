//! A PostgreSQL server that does what servers do: it crashes, and it keeps a commit waiting.
use crate::support::{Server, TestDatabase, may, sample, told};
use deploy_core::{
    access::{Action, Permit},
    backend::{AcquireLease, AppendError, Journal as _, LeaseStore as _},
    error::{ErrorKind, Retry},
    id::{Seq, StreamId},
    rollout::Record,
};
use deploy_sql::{ConnectPostgres, Database, SqlJournal, SqlLeaseStore};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection as _, Executor as _, PgConnection};
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

/// Reads a stream from a server that may still be on its way down or up.
async fn read_all(journal: &SqlJournal, stream: &StreamId) -> Vec<Record> {
    loop {
        match journal.read(stream, Seq::ZERO, usize::MAX).await {
            Ok(records) => return records,
            Err(err) if err.kind().retry() == Retry::Safe => {}
            Err(err) => panic!("{err:?}"),
        }
    }
}

#[tokio::test]
async fn a_crash_of_the_server_loses_nothing_that_was_confirmed() {
    let server = Server::private();
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
    let records = read_all(&journal, &stream).await;
    assert_eq!(records.len() as u64, confirmed.get());
    assert!(records.iter().zip(1..).all(|(record, seq)| *record == sample::record(seq)));
}

#[tokio::test]
async fn a_server_that_a_power_cut_would_hurt_is_refused() {
    let server = Server::private();
    let test = TestDatabase::on(&server);
    Database::connect_postgres(&test.url()).await.unwrap().close().await;
    for setting in ["fsync", "full_page_writes"] {
        let turn = |value: &str| {
            server.psql("postgres", &format!("ALTER SYSTEM SET {setting} = {value}"));
            server.psql("postgres", "SELECT pg_reload_conf()");
            while server.psql("postgres", &format!("SHOW {setting}")) != value {}
        };
        turn("off");
        let err = Database::connect_postgres(&test.url()).await.unwrap_err();
        assert_eq!(err.kind(), ErrorKind::Unsupported);
        let text = told(&err);
        assert!(text.contains(&format!("`{setting}`")) && text.contains("`off`"), "{text}");
        turn("on");
    }
    Database::connect_postgres(&test.url()).await.unwrap();
}

#[tokio::test]
async fn a_commit_that_is_not_confirmed_in_time_is_unknown_and_not_repeated() {
    let server = Server::private();
    let test = TestDatabase::on(&server);
    let request = ConnectPostgres::new(test.url()).with_commit_deadline(Duration::from_secs(2));
    let journal = SqlJournal::new(&Database::connect_postgres_with(&request).await.unwrap());
    let permit = may(Action::RolloutControl).await;
    let stream = sample::stream("web");

    // The synchronous standby is gone.
    server.psql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'gone'");
    server.psql("postgres", "SELECT pg_reload_conf()");
    let mut head = Seq::ZERO;
    let unconfirmed = async {
        loop {
            // The setting takes a moment to reach every connection.
            let record = sample::record(head.next().get());
            match journal.append(&permit, &stream, head, &[record]).await {
                Ok(next) => head = next,
                Err(err) => break err,
            }
        }
    };
    let limited = tokio::time::timeout(Duration::from_secs(20), unconfirmed);
    let err = limited.await.expect("the deadline holds");
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

#[tokio::test]
async fn a_lease_counts_from_when_it_was_taken_and_not_from_when_it_was_asked_for() {
    let test = TestDatabase::new();
    let leases = SqlLeaseStore::new(&Database::connect_postgres(&test.url()).await.unwrap());
    let first = leases.acquire(&AcquireLease::new("service/web", "one")).await.unwrap();
    leases.release(&first).await.unwrap();
    let mut blocker = PgConnection::connect(&test.url()).await.unwrap();
    blocker.execute("BEGIN; SELECT * FROM deploy.leases FOR UPDATE").await.unwrap();

    let request = AcquireLease::new("service/web", "two").with_ttl(Duration::from_millis(500));
    let blocked = async {
        const WAITERS: &str = "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(WAITERS).fetch_one(&mut blocker).await.unwrap() == 0 {}
        blocker.execute("SELECT pg_sleep(1)").await.unwrap();
        let now = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)";
        let now = sqlx::query_scalar::<_, i64>(now).fetch_one(&mut blocker).await.unwrap();
        blocker.execute("COMMIT").await.unwrap();
        now
    };
    let (lease, released_at) = tokio::join!(leases.acquire(&request), blocked);
    let (lease, released_at) = (lease.unwrap(), u64::try_from(released_at).unwrap());
    assert_eq!(lease.epoch, first.epoch + 1);
    let expires_at = lease.expires_at.as_millis();
    assert!(
        expires_at > released_at,
        "it ended at {expires_at}, before it was given at {released_at}"
    );
}
