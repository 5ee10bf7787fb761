//! Agents and shims that are killed at any system call, and what an oracle on the host says of it: nothing runs twice, nothing that has ended
//! well has not run, no line is lost, and everybody is told the same in the end.
//!
//! `CRASH_POINTS` asks for more points than those of every day, `CRASH_MINUTES` for more kills at any moment.
pub(crate) mod agents;
mod moments;
mod shims;
pub(crate) mod subject;
mod verdicts;

use deploy_test_support::strace::{self, Point};
use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// How many hosts are killed at a time: most of each point is waiting.
const WORKERS: usize = 4;

/// Something that can be killed again and again.
pub(crate) trait Site: Sized + Send + 'static {
    async fn open() -> Self;

    /// How often an attempt makes each call that nobody interrupts.
    async fn count(&mut self) -> std::collections::BTreeMap<String, usize>;

    /// Kills something at `point`, and sees to it that all is well afterwards. Says whether anything was killed.
    fn crash(&mut self, point: &Point) -> impl Future<Output = bool> + Send;
}

/// Kills at `wanted` points, at several sites side by side.
async fn everywhere<S: Site>(what: &str, wanted: usize) {
    let mut first = S::open().await;
    let counts = first.count().await;
    let points = Arc::new(Mutex::new(strace::spread(&counts, wanted).into_iter()));
    let mut sites = vec![first];
    for _ in 1..WORKERS {
        sites.push(S::open().await);
    }
    let mut working = JoinSet::new();
    for mut site in sites {
        let points = Arc::clone(&points);
        working.spawn(async move {
            let mut killed = 0;
            while let Some(point) = { points.lock().unwrap().next() } {
                killed += usize::from(site.crash(&point).await);
            }
            killed
        });
    }
    let killed: usize = working.join_all().await.into_iter().sum();
    eprintln!("{what}: killed at {killed} of {wanted} points, in {} kinds of calls", counts.len());
    // One that makes fewer calls than the one they were counted in is not killed, and on a busy machine many of them wait otherwise.
    assert!(killed >= wanted / 2, "{what}: killed at {killed} of {wanted} points only");
}
