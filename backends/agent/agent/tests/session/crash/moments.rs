//! Agents killed at any moment, by a clock that nothing else goes by.
use super::{Site as _, WORKERS, agents::AgentSite, subject::End};
use deploy_core::backend::AttemptReport;
use deploy_test_support::strace;
use std::{
    hash::{BuildHasher as _, RandomState},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// The longest that the first agent of an attempt lives, in milliseconds. Later ones live longer: sooner or later one gets there, also on a busy machine.
const LONGEST: u64 = 400;

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "processes are killed by the clock on the wall")]
async fn agents_killed_at_any_moment_lose_nothing() {
    let minutes = strace::asked_for("CRASH_MINUTES", 0).unwrap() as u64;
    let until = Instant::now() + Duration::from_secs((minutes * 60).max(5));
    let mut working = JoinSet::new();
    for worker in 0..WORKERS {
        let mut site = AgentSite::open().await;
        working.spawn(async move {
            let (random, mut kills, mut attempts) = (RandomState::new(), 0_u64, 0_u64);
            while Instant::now() < until || attempts == 0 {
                attempts += 1;
                let asking = site.subject.next();
                let mut end = tokio::spawn(asking.clone().settle());
                let mut before = 0;
                let end = loop {
                    let agent = site.agent(&[]);
                    let moment = random.hash_one((worker, kills)) % (LONGEST + before * 20);
                    let ended = tokio::time::timeout(Duration::from_millis(moment), &mut end).await;
                    // Whatever it is at.
                    drop(agent);
                    kills += 1;
                    before += 1;
                    if let Ok(ended) = ended {
                        break ended.unwrap();
                    }
                };
                let whole = site.subject.check(&asking, &end, "killed at some moment");
                let lost = matches!(end, End::Reported(AttemptReport::Lost { .. }));
                assert!(whole || !lost, "an agent was killed, and with it a shim: {end:?}");
            }
            (kills, attempts)
        });
    }
    let done = working.join_all().await;
    let sum = |of: fn(&(u64, u64)) -> u64| done.iter().map(of).sum::<u64>();
    let (kills, attempts) = (sum(|it| it.0), sum(|it| it.1));
    eprintln!("{kills} agents killed in {attempts} attempts");
    assert!(kills >= 10 && attempts >= WORKERS as u64, "{kills} kills in {attempts} attempts");
}
