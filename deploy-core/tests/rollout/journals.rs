//! Journals of programs before this one: they are read for good. And journals that somebody has damaged.
use crate::play::{Play, host, secs, waves};
use deploy_core::{
    rollout::{AttemptEnd, LOST_AFTER, Record, Reply, Rollout, RolloutView},
    spec::{Confirm, Effect, OnFailure, Staging, StepName},
};
use proptest::prelude::*;
use std::{collections::BTreeSet, fs, num::NonZeroU32, path::PathBuf};

/// A rollout in which much goes wrong, and which comes to its end.
fn eventful() -> Play {
    let mut strategy = waves("1,6,1");
    strategy.confirm = Confirm::AfterFirst;
    strategy.bake_time = secs(60);
    strategy.retries.retries = 1;
    strategy.progress_deadline = secs(3_600);
    strategy.failure_budget.rollout.max_failed = "4".parse().unwrap();
    strategy.failure_budget.rollout.max_unknown = "50%".parse().unwrap();
    let mut play = Play::with_effect(8, strategy, Effect::Check);
    play.succeed(0);
    play.pass(secs(60));
    play.reply(0, Reply::Healthy);
    play.confirm();
    let failed = || AttemptEnd::Failed { step: None, code: None, reason: "no room".to_owned() };
    play.reply(1, Reply::Ended(failed()));
    let lost = |step| AttemptEnd::Lost { step, reason: "it was restarted".to_owned() };
    play.reply(2, Reply::Ended(lost(Some(StepName::Install))));
    play.reply(2, Reply::Ended(AttemptEnd::ResolvedDone { step: StepName::Install }));
    play.reply(3, Reply::Ended(lost(None)));
    play.reply(4, Reply::Ended(lost(Some(StepName::Start))));
    play.reply(4, Reply::Ended(AttemptEnd::ResolvedNotDone { step: StepName::Start }));
    play.lose(5);
    play.reply(5, Reply::StillRunning);
    play.lose(5);
    play.kill(6);
    play.reply(6, Reply::Ended(AttemptEnd::KillFailed { survivors: vec!["7:sleep".to_owned()] }));
    play.pass(LOST_AFTER);
    play.lose(5);
    play.reply(1, Reply::Ended(AttemptEnd::TimedOut { step: StepName::Start }));
    play.skip(1);
    play.pause();
    play.succeed(2);
    play.resume();
    play.exclude(3);
    play.retry(6);
    play.kill(6);
    play.reply(6, Reply::Ended(AttemptEnd::Killed));
    play.unreachable(4);
    play.pass(secs(400));
    play.succeed(4);
    play.reply(2, Reply::Unhealthy { reason: "503".to_owned() });
    play.pass(secs(60));
    play.reply(4, Reply::Healthy);
    play.succeed(7);
    play.pass(secs(60));
    play.reply(7, Reply::Healthy);
    play
}

/// One that pauses by itself, turns back, and is aborted on its way.
fn turned_back() -> Play {
    let mut strategy = waves("2");
    strategy.on_failure = OnFailure::Rollback;
    let mut play = Play::new(3, strategy);
    play.pass(secs(600));
    play.succeed(0);
    play.fail(1);
    play.abort();
    play.succeed(0);
    play.fail(1);
    play
}

/// One that uses up its budget, and turns back because a person wants it.
fn paused() -> Play {
    let mut play = Play::new(2, waves("1"));
    play.fail(0);
    play.turn_back();
    play.succeed(0);
    play
}

/// One with a host that does not answer those who want to end its attempt.
fn unanswered() -> Play {
    let mut play = Play::new(1, waves("1"));
    play.kill(0);
    play.lose(0);
    play.succeed(0);
    play
}

/// One whose hosts wait to be told to keep the release, and go back.
fn reverted() -> Play {
    let mut strategy = waves("1,*2");
    strategy.health.confirm_timeout = Some(secs(60));
    let mut play = Play::new(3, strategy);
    play.reply(0, Reply::AwaitsConfirm);
    play.succeed(0);
    play.reply(1, Reply::AwaitsConfirm);
    play.reply(1, Reply::StillRunning);
    let reason = "nobody confirmed it in time".to_owned();
    play.reply(1, Reply::Ended(AttemptEnd::SelfReverted { reason }));
    play.reply(2, Reply::AwaitsConfirm);
    let (step, reason) = (Some(StepName::Start), String::new());
    play.reply(2, Reply::Ended(AttemptEnd::RevertFailed { step, code: Some(1), reason }));
    play.turn_back();
    play.succeed(0);
    play.succeed(2);
    play
}

/// One whose hosts fetch ahead of their attempts, and some of which cannot.
fn staged() -> Play {
    let mut strategy = waves("1,*2");
    strategy.staging = NonZeroU32::new(2).map(Staging::new);
    let mut play = Play::new(4, strategy);
    play.reply(1, Reply::Staged);
    play.reply(2, Reply::NotStaged { reason: "the disk is full".to_owned() });
    play.pause();
    play.succeed(0);
    play.resume();
    play.succeed(1);
    play.reply(3, Reply::Staged);
    play.succeed(2);
    play.succeed(3);
    play
}

fn journals() -> [(&'static str, Play); 6] {
    [
        ("v1/eventful", eventful()),
        ("v1/paused", paused()),
        ("v2/reverted", reverted()),
        ("v2/staged", staged()),
        ("v1/turned_back", turned_back()),
        ("v1/unanswered", unanswered()),
    ]
}

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "rollout", "journals"].iter().collect()
}

fn line(value: &impl serde::Serialize) -> String {
    let mut line = serde_json::to_string(value).unwrap();
    line.push('\n');
    line
}

#[test]
#[ignore = "writes what the tests below read, once for each format"]
fn write_journals() {
    for format in ["v1", "v2"] {
        fs::create_dir_all(folder().join(format)).unwrap();
    }
    for (name, play) in journals() {
        let records: String = play.journal().iter().map(line).collect();
        fs::write(folder().join(format!("{name}.jsonl")), records).unwrap();
        let view = line(&play.rollout().view());
        fs::write(folder().join(format!("{name}.view.json")), view).unwrap();
    }
}

#[test]
fn journals_of_every_format_say_what_they_always_said() {
    for (name, play) in journals() {
        let text = fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
        let records: Vec<Record> =
            text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        let again: String = records.iter().map(line).collect();
        assert_eq!(again, text, "{name} is written in another way than it is read");
        let view = fs::read_to_string(folder().join(format!("{name}.view.json"))).unwrap();
        let view: RolloutView = serde_json::from_str(&view).unwrap();
        assert_eq!(Rollout::replay(&records).unwrap().view(), view, "{name}");
        assert!(play.rollout().outcome().is_some(), "{name} does not end any more");
    }
}

/// Every name in the records' `type`, `how` and `why` fields.
fn names(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Array(all) => all.iter().for_each(|it| names(it, found)),
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                if let ("type" | "how" | "why", Some(name)) = (key.as_str(), value.as_str()) {
                    found.insert(name.to_owned());
                }
                names(value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn a_fact_goes_by_the_name_that_is_written() {
    for (_, play) in journals() {
        for record in play.journal() {
            let written = serde_json::to_value(&record.event).unwrap();
            assert_eq!(written["type"], record.event.name());
        }
    }
}

#[test]
fn every_kind_of_fact_is_in_one_of_these_journals() {
    let mut found = BTreeSet::new();
    for (name, _) in journals() {
        let text = fs::read_to_string(folder().join(format!("{name}.jsonl"))).unwrap();
        for line in text.lines() {
            names(&serde_json::from_str(line).unwrap(), &mut found);
        }
    }
    let all = "abort_started accepted attempt_ended attempt_found attempt_started attempt_unanswered \
        attempt_uncertain \
        target_not_staged target_staged \
        bake_passed bake_started confirm_requested confirmed finished kill_requested pause_started \
        paused resumed rollback_started step_unresolved target_healthy target_retried target_skipped \
        target_unhealthy wave_started \
        failed kill_failed killed lost no_answer resolved_done resolved_not_done succeeded timed_out \
        unreachable \
        budget operator progress_deadline";
    let missing: Vec<&str> = all.split_whitespace().filter(|it| !found.contains(*it)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What may have happened to the records of a journal.
#[derive(Clone, Debug)]
enum Damage {
    Doubled(prop::sample::Index),
    Lost(prop::sample::Index),
    Swapped(prop::sample::Index, prop::sample::Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let index = any::<prop::sample::Index>;
    let damage = prop_oneof![
        index().prop_map(Damage::Doubled),
        index().prop_map(Damage::Lost),
        (index(), index()).prop_map(|(one, two)| Damage::Swapped(one, two)),
    ];
    prop::collection::vec(damage, 1..5)
}

proptest! {
    /// The numbers are made right again, so that it is left to the machine to notice.
    #[test]
    fn a_damaged_journal_is_refused_or_read_and_nothing_breaks(damages in damages()) {
        for (_, play) in journals() {
            let mut records = play.journal().to_vec();
            for damage in &damages {
                match damage {
                    Damage::Doubled(it) => {
                        let record = records[it.index(records.len())].clone();
                        records.push(record);
                    }
                    Damage::Lost(it) => drop(records.remove(it.index(records.len()))),
                    Damage::Swapped(one, two) => {
                        let (one, two) = (one.index(records.len()), two.index(records.len()));
                        records.swap(one, two);
                    }
                }
            }
            for (seq, record) in (1..).zip(&mut records) {
                record.seq = deploy_core::id::Seq::new(seq);
            }
            if let Ok(rollout) = Rollout::replay(&records) {
                let now = play.now();
                let _seen = (rollout.agenda(), rollout.wake_at(now), rollout.view());
                prop_assert!(rollout.why(&host(0), now).is_some());
            }
        }
    }
}
