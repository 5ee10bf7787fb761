//! A writer is killed in the middle of its appends, again and again: nothing that was confirmed is lost.
use crate::support::{self, sample};
use deploy_core::{
    access::{Action, Resource},
    backend::{Journal as _, JournalExt as _, RolloutRef},
    conformance::permit,
    id::Seq,
};
use deploy_sql::{Database, SqlJournal};
use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
};

const DATABASE: &str = "DEPLOY_TEST_CRASH_DATABASE";
const ROUNDS: u64 = 25;
/// Records in one append.
const BATCH: u64 = 3;

/// The writer, in a process of its own: it appends until it is killed, and prints each head that was confirmed.
#[tokio::test]
#[ignore = "the other half of the test below, which starts it"]
async fn writer() {
    let Ok(path) = env::var(DATABASE) else { return };
    let journal = SqlJournal::new(&Database::open_sqlite(path).await.unwrap());
    let permit = permit(Action::RolloutControl, Resource::System).await;
    let stream = sample::stream("web");
    let mut head = journal.head(&stream).await.unwrap();
    loop {
        let records: Vec<_> = (1..=BATCH).map(|it| sample::record(head.get() + it)).collect();
        head = journal.append(&permit, &stream, head, &records).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "confirmed {head}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_was_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deploy.db");
    let stream = sample::stream("web");
    for round in 1..=ROUNDS {
        let mut writer = Command::new(env::current_exe().unwrap())
            .args(["crash::writer", "--exact", "--ignored", "--nocapture"])
            .env(DATABASE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(writer.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut heads = lines.filter_map(|it| {
            it.rsplit_once("confirmed ").and_then(|(_, it)| it.parse::<u64>().ok())
        });
        // Another number of appends in every round, and so another moment.
        let seen = heads.nth(usize::try_from(round * 7 % 23).unwrap()).expect("the writer appends");
        writer.kill().unwrap();
        let confirmed = heads.last().unwrap_or(seen);
        writer.wait().unwrap();

        let journal = SqlJournal::new(&support::open_sqlite(&folder).await);
        let head = journal.head(&stream).await.unwrap().get();
        assert!(head >= confirmed, "round {round}: {confirmed} was confirmed, and {head} is there");
        assert!(
            head <= confirmed + BATCH,
            "round {round}: {head} is there, and only {confirmed} was confirmed"
        );
        assert_eq!(head % BATCH, 0, "round {round}: half an append is there");
        let rollout = RolloutRef::new("r1".parse().unwrap(), stream.clone(), Seq::new(1), None);
        assert_eq!(journal.rollouts(None, 10).await.unwrap(), [rollout.clone()]);
        let records = journal.records(&rollout).await.unwrap();
        let due: Vec<_> = (1..=head).map(sample::record).collect();
        assert!(records == due, "round {round}: the records are not those that were written");
    }
}
