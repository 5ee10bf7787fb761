//! Whose turn it is.

use deploy_core::{
    backend::{Build, BuildState},
    id::{BuildId, ServiceName},
    spec::BuildLimits,
    time::Timestamp,
};
use std::{collections::BTreeSet, time::Duration};

/// How long it may take to bring the source in.
pub(crate) const FETCH: Duration = Duration::from_secs(15 * 60);
/// How long it may take to pack what was made.
pub(crate) const PACK: Duration = Duration::from_secs(15 * 60);
/// How much longer than its stages may take a build is given before it counts as stuck.
const GRACE: Duration = Duration::from_secs(5 * 60);

/// What a queued build is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Begin.
    Now,
    /// Come to nothing: the place where it would work is taken by this build, which ought to be over long since.
    Stuck(BuildId),
    /// Ask again later.
    Wait,
}

/// Whether it is the turn of the queued build `id` at `now`, where at most `limit` run at a time. `builds` are all of them, oldest first.
///
/// Builds begin in the order in which they came. Those of one service share a copy of its repository, a cache and a place to work, so they go one after another; one
/// that waits for another of its service keeps nobody else waiting. A build whose process was stopped, or hangs, ends neither by itself nor by the death of the process: it
/// keeps its own service from building, but nobody else.
pub(crate) fn turn(builds: &[Build], id: &BuildId, limit: usize, now: Timestamp) -> Turn {
    let runs = |it: &&Build| !it.state.is_over() && it.state != BuildState::Queued;
    let (stuck, running): (Vec<_>, Vec<_>) =
        builds.iter().filter(runs).partition(|it| is_stuck(it, now));
    let mut busy: BTreeSet<&ServiceName> = running.iter().map(|it| &it.request.service).collect();
    let mut taken = busy.len();
    for build in builds.iter().filter(|it| it.state == BuildState::Queued) {
        let service = &build.request.service;
        if let Some(stuck) = stuck.iter().find(|it| it.request.service == *service) {
            if build.id == *id {
                return Turn::Stuck(stuck.id.clone());
            }
            continue;
        }
        if !busy.insert(service) {
            continue;
        }
        taken += 1;
        if build.id == *id {
            return if taken <= limit { Turn::Now } else { Turn::Wait };
        }
    }
    Turn::Wait
}

/// Whether a build that runs has had more time than all its stages may take.
fn is_stuck(build: &Build, now: Timestamp) -> bool {
    let longest = longest(&build.request.recipe.limits).saturating_add(GRACE);
    build.started_at.is_some_and(|it| now.since(it) > longest)
}

/// How long all stages of a build may take together.
pub(crate) fn longest(limits: &BuildLimits) -> Duration {
    FETCH.saturating_add(limits.time).saturating_add(PACK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::{
        backend::BuildRequest,
        conformance::sample::{at, name, principal},
        spec::{Recipe, Source},
    };
    use proptest::prelude::*;

    fn may_begin(builds: &[Build], id: &BuildId, limit: usize) -> bool {
        turn(builds, id, limit, at(1)) == Turn::Now
    }

    fn build(number: usize, service: &str, state: BuildState) -> Build {
        let source = Source::new(name("file:///srv/git"));
        let recipe = Recipe::new(Vec::new(), [].into());
        let request = BuildRequest::new(name(service), source, name("main"), recipe);
        let mut build =
            Build::queued(name(&format!("b{number}")), request, principal("ann"), at(1));
        build.state = state;
        build
    }

    #[test]
    fn the_order_is_that_of_arrival() {
        use BuildState::{Building, Queued, Succeeded};
        let builds = [
            build(1, "web", Succeeded),
            build(2, "web", Building),
            build(3, "web", Queued),
            build(4, "api", Queued),
            build(5, "db", Queued),
        ];
        let may = |id: usize, limit| may_begin(&builds, &builds[id - 1].id, limit);
        assert_eq!([3, 4, 5].map(|it| may(it, 1)), [false; 3]);
        assert_eq!([3, 4, 5].map(|it| may(it, 2)), [false, true, false]);
        assert_eq!([3, 4, 5].map(|it| may(it, 3)), [false, true, true]);
        assert!(!may(1, 9), "what is over does not begin");
    }

    #[test]
    fn a_build_that_is_stuck_keeps_its_own_service_waiting_and_no_other() {
        let mut builds = [
            build(1, "web", BuildState::Building),
            build(2, "web", BuildState::Queued),
            build(3, "api", BuildState::Queued),
        ];
        builds[0].started_at = Some(at(1));
        let began = at(1);
        let turns = |after: u64| {
            let now = began.after(Duration::from_secs(after * 60));
            [1, 2].map(|it: usize| turn(&builds, &builds[it].id, 1, now))
        };
        assert_eq!(turns(60), [Turn::Wait, Turn::Wait]);
        assert_eq!(turns(66), [Turn::Stuck(name("b1")), Turn::Now]);
    }

    fn any_build() -> impl Strategy<Value = (usize, BuildState)> {
        let states = [BuildState::Queued, BuildState::Building, BuildState::Failed];
        (0_usize..4, prop::sample::select(states.to_vec()))
    }

    proptest! {
        #[test]
        fn everybody_has_a_turn_and_nobody_more_than_one(asked in prop::collection::vec(any_build(), 0..20), limit in 1_usize..4) {
            let mut running = BTreeSet::new();
            let mut builds: Vec<_> = asked.iter().enumerate().map(|(at, (service, state))| {
                // A service never runs two of its builds, so none of these samples does.
                let first = *state == BuildState::Building && running.len() < limit && running.insert(*service);
                let state = if *state == BuildState::Building && !first { BuildState::Queued } else { *state };
                build(at, &format!("s{service}"), state)
            }).collect();
            let mut turns = 0;
            while builds.iter().any(|it| !it.state.is_over()) {
                let ids: Vec<_> = builds.iter().map(|it| it.id.clone()).collect();
                for (at, id) in ids.iter().enumerate() {
                    if may_begin(&builds, id, limit) {
                        builds[at].state = BuildState::Building;
                    }
                }
                let running: Vec<_> = builds.iter().filter(|it| it.state == BuildState::Building).collect();
                let services: BTreeSet<_> = running.iter().map(|it| &it.request.service).collect();
                prop_assert!(!running.is_empty() && running.len() <= limit, "{} run of {limit}", running.len());
                prop_assert_eq!(services.len(), running.len());
                builds.iter_mut().filter(|it| it.state == BuildState::Building).take(1).for_each(|it| it.state = BuildState::Succeeded);
                turns += 1;
                prop_assert!(turns <= asked.len());
            }
        }
    }
}
