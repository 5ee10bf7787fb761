//! Cases for [`Scheduler`]. They need no more than a [`Harness`].
use super::{Harness, sample};
use crate::{
    backend::{Placement, PlacementRequest, Scheduler},
    host::{Host, Labels},
    id::HostName,
};
use sample::{host, name};
use std::{collections::BTreeSet, sync::Arc};

/// Nine hosts in three zones of unequal size.
fn hosts() -> Vec<Host> {
    let zones = ["a", "a", "a", "a", "a", "b", "b", "b", "c"];
    let labelled = zones.iter().enumerate().map(|(at, zone)| {
        host(&format!("h{at}")).with_labels(Labels::from([(name("zone"), name(zone))]))
    });
    labelled.collect()
}

fn place_on(count: u32) -> PlacementRequest {
    PlacementRequest::new(name("web"), count, hosts()).with_spread(vec![name("zone")]).with_seed(42)
}

async fn place(scheduler: &Arc<dyn Scheduler>, request: &PlacementRequest) -> Placement {
    scheduler.place(request).await.unwrap()
}

fn chosen(placement: &Placement) -> BTreeSet<HostName> {
    placement.chosen.iter().map(|(host, _)| host.clone()).collect()
}

/// > The answer is a function of the request: no clock and no dice of its own.
pub async fn the_same_request_gets_the_same_answer<H: Harness<dyn Scheduler>>(harness: &H) {
    let (one, _guard) = harness.fresh().await;
    let (two, _guard) = harness.fresh().await;
    for count in 0..10 {
        let answer = place(&one, &place_on(count)).await;
        for scheduler in [&one, &two, &one] {
            assert_eq!(place(scheduler, &place_on(count)).await, answer);
        }
    }
}

/// > It chooses from the hosts given, each at most once, and as many as asked for or as there are; `missing` says the difference.
pub async fn it_chooses_as_many_as_there_are<H: Harness<dyn Scheduler>>(harness: &H) {
    let (scheduler, _guard) = harness.fresh().await;
    let given: BTreeSet<_> = hosts().into_iter().map(|it| it.name).collect();
    for (count, expected, missing) in [(0, 0, 0), (1, 1, 0), (5, 5, 0), (9, 9, 0), (12, 9, 3)] {
        let placement = place(&scheduler, &place_on(count)).await;
        assert_eq!((placement.chosen.len(), placement.missing), (expected, missing));
        assert_eq!(chosen(&placement).len(), expected, "a host was chosen twice");
        assert!(chosen(&placement).is_subset(&given), "{placement:?}");
    }
    let nowhere = PlacementRequest::new(name("web"), 2, Vec::new());
    assert_eq!(place(&scheduler, &nowhere).await, Placement::new(Vec::new(), 2));
    let mut gone = place_on(2);
    gone.current = [name("gone")].into();
    assert!(chosen(&place(&scheduler, &gone).await).is_subset(&given), "a host was made up");
}

/// > The order in which hosts are given does not matter.
pub async fn the_order_of_hosts_does_not_matter<H: Harness<dyn Scheduler>>(harness: &H) {
    let (scheduler, _guard) = harness.fresh().await;
    for count in 1..9 {
        let answer = place(&scheduler, &place_on(count)).await;
        let mut backwards = place_on(count);
        backwards.hosts.reverse();
        assert_eq!(place(&scheduler, &backwards).await, answer);
        let mut rotated = place_on(count);
        rotated.hosts.rotate_left(4);
        assert_eq!(place(&scheduler, &rotated).await, answer);
    }
}

/// > Hosts that run the service are kept before others are taken.
pub async fn what_runs_is_kept<H: Harness<dyn Scheduler>>(harness: &H) {
    let (scheduler, _guard) = harness.fresh().await;
    let current: BTreeSet<HostName> = ["h1", "h2", "h3", "h4"].map(name).into();
    for count in 0..=9 {
        let request = place_on(count).with_current(current.clone());
        let chosen = chosen(&place(&scheduler, &request).await);
        if chosen.len() <= current.len() {
            assert!(chosen.is_subset(&current), "{chosen:?} of {current:?}");
        } else {
            assert!(chosen.is_superset(&current), "{chosen:?} of {current:?}");
        }
    }
}

/// One test for each case of [`Scheduler`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! scheduler_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::scheduler_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            scheduler, $harness;
            the_same_request_gets_the_same_answer
            it_chooses_as_many_as_there_are
            the_order_of_hosts_does_not_matter
            what_runs_is_kept
        }
    };
}
