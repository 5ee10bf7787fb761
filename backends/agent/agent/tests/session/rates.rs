//! Limits that are set while bytes go: told to hosts, and kept by them and by the server.
//!
//! The bounds are wide: what is tested is that a limit counts, and not how exactly a busy machine keeps time.
use crate::{peers::Lab, support::scripts::eventually};
use deploy_agent_gateway::GatewayOptions;
use deploy_core::{
    id::HostName,
    limit::{Limit, LimitTable},
    plan::PlannedRelease,
    time::Timestamp,
};
use std::{fs, path::Path, time::Duration};

/// What 4 Mbit/s are, in bytes a second: all of it would take 50 s.
const SLOW: u64 = 500_000;
/// Less than a limit takes, and far more than a busy machine without one.
const SOON: Duration = Duration::from_secs(30);
/// How long it is watched that a limit is kept.
const WATCHED: Duration = Duration::from_secs(3);
/// More than may be under way before a limit counts: blocks, and what lies in sockets.
const UNDER_WAY: u64 = 8 << 20;

/// 4 Mbit/s for `scope`, and nothing for all else.
fn only(scope: &str) -> LimitTable {
    let limit = Limit::new(
        4.try_into().unwrap(),
        "ann".parse().unwrap(),
        Timestamp::from_millis(1_700_000_000_000),
    );
    [(scope.parse().unwrap(), limit)].into()
}

/// Stages on these hosts at once under a limit for `scope`, sees that no more comes than that, lifts it, and sees that all comes at once.
async fn is_kept_and_lifted(lab: &Lab, scope: &str, came: impl Fn() -> u64 + Send + Sync) {
    let release = lab.release().await;
    lab.rates.set(only(scope));
    let begun = lab.plane.clock.now();
    let watch = async {
        eventually("something came", || came() > 0).await;
        let (before, from) = (came(), lab.plane.clock.now());
        lab.plane.clock.sleep_until(from.after(WATCHED)).await;
        let (bytes, took) = (came() - before, lab.plane.clock.now().since(from));
        let allowed = SLOW * u64::try_from(took.as_millis()).unwrap() / 1_000;
        assert!(bytes <= allowed + UNDER_WAY, "{bytes} came in {took:?} under {scope}");
        assert!(bytes > 0, "nothing came in {took:?} under {scope}");
        lab.rates.set(LimitTable::new());
        lab.plane.clock.now()
    };
    let (lifted, ()) = tokio::join!(watch, lab.stage_all(&release));
    let (all, after) = (lab.plane.clock.now().since(begun), lab.plane.clock.now().since(lifted));
    assert!(all > WATCHED, "all of it came in {all:?} under {scope}");
    assert!(after < SOON, "the rest took {after:?} though nothing limits it");
}

/// How much of artifacts lies at a host that is not whole yet.
fn begun_at(state: &Path) -> u64 {
    let files = fs::read_dir(state.join("artifacts")).unwrap().flatten();
    let files = files.filter(|it| it.path().extension().is_some_and(|it| it == "part"));
    files.filter_map(|it| Some(it.metadata().ok()?.len())).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_a_host_counts_for_blocks() {
    let lab = Lab::new(1, "").await;
    is_kept_and_lifted(&lab, "host=host-0", || lab.given()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_a_host_counts_for_its_session() {
    let lab = Lab::with(1, "", |options: GatewayOptions, _| options).await;
    is_kept_and_lifted(&lab, "host=host-0", || begun_at(lab.hosts[0].state.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_server_counts_for_all_together() {
    let lab = Lab::new(2, "serve = false").await;
    is_kept_and_lifted(&lab, "origin", || lab.given()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_the_server_counts_for_sessions() {
    let lab = Lab::with(1, "", |options: GatewayOptions, _| options).await;
    is_kept_and_lifted(&lab, "origin", || begun_at(lab.hosts[0].state.path())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_a_rollout_counts_for_what_is_fetched_for_it() {
    let lab = Lab::new(1, "").await;
    is_kept_and_lifted(&lab, "rollout=r1", || lab.given()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_for_somebody_else_holds_nobody_back() {
    let lab = Lab::new(1, "").await;
    let (host, release): (HostName, PlannedRelease) =
        (lab.hosts[0].name.clone(), lab.release().await);
    let mut others = only("host=host-1");
    others.extend(only("rollout=r2"));
    others.extend(only("zone=a"));
    lab.rates.set(others);
    let watch = async {
        eventually("something came", || lab.given() > 0).await;
        lab.plane.clock.now()
    };
    let (begun, ()) = tokio::join!(watch, lab.stage(&host, &release));
    let took = lab.plane.clock.now().since(begun);
    assert!(took < SOON, "24 MiB took {took:?}, which is as slow as a limit");
}

/// Also an agent that is started anew, and has been told nothing yet.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_told_again_at_each_session() {
    let mut lab = Lab::new(1, "").await;
    let host = lab.hosts[0].name.clone();
    lab.rates.set(only("host=host-0"));
    lab.hosts[0].kill();
    eventually("the agent has gone", || !lab.plane.gateway.is_connected(&host)).await;
    lab.hosts[0].start();
    eventually("the agent is back", || lab.plane.gateway.is_connected(&host)).await;
    is_kept_and_lifted(&lab, "host=host-0", || lab.given()).await;
}
