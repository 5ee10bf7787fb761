//! Several processes use one file at once, as two terminals do.
use crate::support::{self, may, sample};
use deploy_core::{
    access::Action,
    backend::{AcquireLease, Journal as _, LeaseStore as _},
    id::Seq,
};
use deploy_sql::{Database, SqlJournal, SqlLeaseStore};
use std::{
    env,
    process::{Command, Stdio},
};

const DATABASE: &str = "DEPLOY_TEST_SHARED_DATABASE";
const STREAM: &str = "DEPLOY_TEST_SHARED_STREAM";
const PROCESSES: u64 = 4;
const APPENDS: u64 = 50;

/// One of the processes: it makes the database if it comes first, appends, and counts with the others.
#[tokio::test]
#[ignore = "the other half of the test below, which starts it"]
async fn one_of_them() {
    let (Ok(path), Ok(stream)) = (env::var(DATABASE), env::var(STREAM)) else {
        return;
    };
    let database = Database::open_sqlite(path).await.unwrap();
    let journal = SqlJournal::new(&database);
    let leases = SqlLeaseStore::new(&database);
    let permit = may(Action::RolloutControl).await;
    let rollout = format!("{stream}-r");
    let mut head = Seq::ZERO;
    for number in 1..=APPENDS {
        let record = match number {
            1 => sample::first(number, &rollout),
            _ => sample::middle(number, &rollout),
        };
        head = journal.append(&permit, &sample::stream(&stream), head, &[record]).await.unwrap();
        let request = AcquireLease::new("shared", &stream);
        if let Ok(lease) = leases.acquire(&request).await {
            leases.release(&lease).await.unwrap();
        }
    }
}

#[tokio::test]
async fn processes_that_start_at_once_share_a_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deploy.db");
    let start = |number| {
        Command::new(env::current_exe().unwrap())
            .args(["processes::one_of_them", "--exact", "--ignored", "--nocapture"])
            .env(DATABASE, &path)
            .env(STREAM, format!("service-{number}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let processes: Vec<_> = (1..=PROCESSES).map(start).collect();
    for process in processes {
        let out = process.wait_with_output().unwrap();
        let said =
            [out.stdout, out.stderr].map(|it| String::from_utf8_lossy(&it).into_owned()).concat();
        assert!(out.status.success() && said.contains("1 passed"), "{}:\n{said}", out.status);
    }
    let journal = SqlJournal::new(&support::open_sqlite(&folder).await);
    for number in 1..=PROCESSES {
        let stream = sample::stream(&format!("service-{number}"));
        assert_eq!(journal.head(&stream).await.unwrap(), Seq::new(APPENDS));
    }
    assert_eq!(journal.rollouts(None, 10).await.unwrap().len() as u64, PROCESSES);
}
