//! What shows whether a rollout went as it should: its journal, what ran on the hosts, and the output that was kept.
use crate::fleet::Fleet;
use deploy_core::{
    backend::{Journal as _, JournalExt as _},
    rollout::{AttemptEnd, Event, Outcome, Record},
    spec::StepName,
};
use deploy_sql::{Database, SqlJournal};
use std::{collections::BTreeMap, fs};

/// A rollout, as its journal tells it.
#[derive(Debug)]
pub(super) struct Journaled {
    pub(super) id: String,
    pub(super) outcome: Option<Outcome>,
    attempts: BTreeMap<String, Vec<Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    generation: u64,
    end: Option<AttemptEnd>,
}

impl Journaled {
    /// The newest rollout, if there is one.
    ///
    /// The database is open for this look alone: what a killed process has left is found by the one that comes after it.
    pub(super) fn newest(fleet: &Fleet) -> Option<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let records = runtime.block_on(async {
            let file = fleet.path("data").join("deploy.db");
            let journal = SqlJournal::new(&Database::open_sqlite(file).await.unwrap());
            let newest = journal.rollouts(None, 1).await.unwrap();
            match newest.first() {
                Some(newest) => journal.records(newest).await.unwrap(),
                None => Vec::new(),
            }
        });
        let id = records.first()?.rollout.to_string();
        let mut journaled = Self { id, outcome: None, attempts: BTreeMap::new() };
        for record in &records {
            journaled.take(record);
        }
        Some(journaled)
    }

    fn take(&mut self, record: &Record) {
        match &record.event {
            Event::AttemptStarted { host, .. } => {
                let attempt = Attempt { generation: record.seq.get(), end: None };
                self.attempts.entry(host.to_string()).or_default().push(attempt);
            }
            Event::AttemptEnded { host, generation, end, .. } => {
                let attempts = self.attempts.get_mut(host.as_str()).unwrap();
                let attempt = attempts.iter_mut().find(|it| it.generation == generation.get());
                let before = attempt.unwrap().end.replace(end.clone());
                assert_eq!(before, None, "{host}: attempt {generation} ended twice: {end}");
            }
            Event::Finished { outcome } => self.outcome = Some(*outcome),
            _ => {}
        }
    }

    fn attempts(&self, host: &str) -> &[Attempt] {
        self.attempts.get(host).map_or(&[], Vec::as_slice)
    }
}

/// Every step ran once for each attempt that the journal says had it, and never otherwise; every line is kept, once.
#[track_caller]
pub(super) fn assert_sound(fleet: &Fleet, rollout: &Journaled, release: &str, what: &str) {
    assert_eq!(rollout.outcome, Some(Outcome::Succeeded), "{what}: {rollout:?}");
    let mut kept = kept_output(fleet, &rollout.id);
    for (number, host) in fleet.hosts.iter().enumerate() {
        let what = format!("{what}, {host}");
        let mut ran = ran_on(fleet, number, release);
        let attempts = rollout.attempts(host);
        let (mut failed, mut succeeded) = (0, 0);
        for Attempt { generation, end } in attempts {
            let at = format!("{what}, attempt {generation} that {end:?}");
            let steps: &[&str] = match end {
                Some(AttemptEnd::Succeeded) => {
                    succeeded += 1;
                    &["install", "start"]
                }
                Some(AttemptEnd::Failed {
                    step: Some(StepName::Install), code: Some(9), ..
                }) => {
                    failed += 1;
                    &["install"]
                }
                // That promises that nothing was started.
                Some(AttemptEnd::Unreachable { .. }) => &[],
                _ => panic!("{at}: nothing on the hosts ends like this"),
            };
            assert_eq!(ran.remove(generation).unwrap_or_default(), steps, "{at}");
            let printed = printed_on(fleet, number, *generation);
            assert_eq!(printed.matches("line ").count(), steps.len().min(1) * 5, "{at}: {printed}");
            let kept = kept.remove(&(host.clone(), *generation)).unwrap_or_default();
            assert_eq!(kept, printed, "{at}: the output that was kept is not what was printed");
        }
        assert!(ran.is_empty(), "{what}: ran without being journaled: {ran:?}");
        let fails = usize::from(fleet.root(number).join("fails-first").exists());
        assert_eq!((failed, succeeded), (fails, 1), "{what}: {attempts:?}");
        let current = fs::read_link(fleet.root(number).join("srv/web/current")).unwrap();
        assert!(current.ends_with(release), "{what}: {} is current", current.display());
    }
    assert!(kept.is_empty(), "{what}: output of attempts that nobody made: {kept:?}");
}

/// The steps of a release that have counted themselves on a host, by attempt.
fn ran_on(fleet: &Fleet, host: usize, release: &str) -> BTreeMap<u64, Vec<String>> {
    let mut ran: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let steps = fs::read_to_string(fleet.root(host).join("steps")).unwrap_or_default();
    for line in steps.lines() {
        let [of, generation, step] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a step has counted itself as `{line}`")
        };
        if of == release {
            ran.entry(generation.parse().unwrap()).or_default().push(step.to_owned());
        }
    }
    ran
}

/// What an attempt has printed, as the host has it; nothing if it was never started.
fn printed_on(fleet: &Fleet, host: usize, generation: u64) -> String {
    let attempt = fleet.root(host).join(format!("srv/web/.deploy/attempts/{generation}"));
    fs::read_to_string(attempt.join("log")).unwrap_or_default()
}

/// The output of each attempt, by its host and generation, as `rollout logs` has it.
fn kept_output(fleet: &Fleet, rollout: &str) -> BTreeMap<(String, u64), String> {
    let said = fleet.deploy(&["rollout", "logs", rollout, "--output", "json"]).ended(0);
    let mut kept: BTreeMap<(String, u64), String> = BTreeMap::new();
    for line in said.out.lines() {
        let chunk: serde_json::Value = serde_json::from_str(line).unwrap();
        let generation = chunk["generation"].as_u64().unwrap();
        let output =
            kept.entry((chunk["host"].as_str().unwrap().to_owned(), generation)).or_default();
        assert_eq!(
            chunk["offset"],
            output.len(),
            "a gap or a repeat in attempt {generation}: {line}"
        );
        output.push_str(chunk["text"].as_str().unwrap());
    }
    kept
}
