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
    path::Path,
    process::{Child, Command, Stdio},
};

const DATABASE: &str = "DEPLOY_TEST_CRASH_DATABASE";
const ROUNDS: u64 = 25;
/// Records in one append.
pub(crate) const BATCH: u64 = 3;

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

/// A writer that runs.
pub(crate) struct Writer {
    process: Child,
    heads: Box<dyn Iterator<Item = u64> + Send>,
    seen: u64,
}

impl Writer {
    pub(crate) fn start(path: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["crash::writer", "--exact", "--ignored", "--nocapture"])
            .env(DATABASE, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
        let heads =
            lines.filter_map(|it| it.rsplit_once("confirmed ").and_then(|(_, it)| it.parse().ok()));
        Self { process, heads: Box::new(heads), seen: 0 }
    }

    /// Waits until another few appends were confirmed, and gives the head: another number in every round, and so another
    /// moment.
    pub(crate) fn wait(&mut self, round: u64) -> u64 {
        let few = usize::try_from(round * 7 % 23).unwrap();
        self.seen = self.heads.nth(few).expect("the writer appends");
        self.seen
    }

    /// Kills it, and gives the last head that it saw confirmed.
    pub(crate) fn kill(mut self) -> u64 {
        self.process.kill().unwrap();
        let confirmed = self.heads.last().unwrap_or(self.seen);
        self.process.wait().unwrap();
        confirmed
    }
}

/// All that was `confirmed` is there, no more than what was `sent`, no append in part, and every record as it was
/// written.
pub(crate) async fn check(database: &Database, round: u64, confirmed: u64, sent: u64) {
    let journal = SqlJournal::new(database);
    let stream = sample::stream("web");
    let head = journal.head(&stream).await.unwrap().get();
    assert!(head >= confirmed, "round {round}: {confirmed} was confirmed, and {head} is there");
    assert!(head <= sent, "round {round}: {head} is there, and only {sent} was sent");
    assert_eq!(head % BATCH, 0, "round {round}: half an append is there");
    let rollout = RolloutRef::new(sample::name("r1"), stream, Seq::new(1), None);
    assert_eq!(journal.rollouts(None, 10).await.unwrap(), std::slice::from_ref(&rollout));
    let records = journal.records(&rollout).await.unwrap();
    let due: Vec<_> = (1..=head).map(sample::record).collect();
    assert!(records == due, "round {round}: the records are not those that were written");
}

#[tokio::test]
async fn a_killed_writer_loses_nothing_that_was_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=ROUNDS {
        let mut writer = Writer::start(&folder.path().join("deploy.db"));
        writer.wait(round);
        let confirmed = writer.kill();
        check(&support::open_sqlite(&folder).await, round, confirmed, confirmed + BATCH).await;
    }
}
