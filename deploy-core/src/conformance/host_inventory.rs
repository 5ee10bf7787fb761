//! Cases for [`HostInventory`]. They need no more than a [`Harness`].
use super::{ConcurrentHarness, DurableHarness, Harness, permit, race, refused, sample};
use crate::{
    access::{Action, Permit, Resource},
    backend::{Expect, HostInventory, HostInventoryExt as _, Revision},
    error::ErrorKind,
    host::{Host, Installed, Labels},
    id::{HostName, Seq},
};
use sample::{at, host, name};
use std::sync::Arc;

async fn write() -> Permit {
    permit(Action::HostWrite, Resource::System).await
}

async fn see() -> Permit {
    permit(Action::HostObserve, Resource::System).await
}

async fn put(inventory: &Arc<dyn HostInventory>, host: Host, expect: Expect) -> Revision {
    inventory.put(&write().await, host, expect).await.unwrap()
}

/// The host `h1` in `zone`.
fn in_zone(zone: &str) -> Host {
    host("h1").with_labels(Labels::from([(name("zone"), name(zone))]))
}

fn seen(release: &str, generation: u64, seconds: u64) -> Installed {
    Installed::new(Some(name(release)), None, Seq::new(generation), at(seconds))
}

/// > `put` compares and sets
pub async fn put_compares_and_sets<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    let one = put(&inventory, in_zone("a"), Expect::Absent).await;
    assert_eq!(one, Revision::new(1));
    let two = put(&inventory, in_zone("b"), Expect::At(one)).await;
    let found = inventory.host(&name("h1")).await.unwrap();
    assert_eq!((found.revision, found.value), (two, in_zone("b")));
}

/// > A refused `put` changes nothing.
pub async fn a_refused_put_changes_nothing<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    let permit = write().await;
    let stray = inventory.put(&permit, in_zone("a"), Expect::At(Revision::new(1))).await;
    refused(stray, ErrorKind::NotFound);
    assert_eq!(inventory.hosts(None, 10).await.unwrap(), []);
    let one = put(&inventory, in_zone("a"), Expect::Absent).await;
    let again = inventory.put(&permit, in_zone("b"), Expect::Absent).await;
    refused(again, ErrorKind::AlreadyExists);
    let two = put(&inventory, in_zone("c"), Expect::At(one)).await;
    let late = inventory.put(&permit, in_zone("d"), Expect::At(one)).await;
    refused(late, ErrorKind::Conflict);
    let found = inventory.host(&name("h1")).await.unwrap();
    assert_eq!((found.revision, found.value), (two, in_zone("c")));
}

/// > `put` compares and sets
pub async fn one_of_many_writers_wins<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    one_wins(&vec![inventory; 8]).await;
}

async fn one_wins(handles: &[Arc<dyn HostInventory>]) {
    let one = put(&handles[0], in_zone("a"), Expect::Absent).await;
    let permit = write().await;
    let writers = handles.iter().enumerate().map(|(at, inventory)| {
        let (inventory, permit) = (Arc::clone(inventory), permit.clone());
        let value = in_zone(&format!("z{at}"));
        async move { inventory.put(&permit, value.clone(), Expect::At(one)).await.map(|_| value) }
    });
    let mut won = Vec::new();
    for done in race(writers).await {
        match done {
            Ok(value) => won.push(value),
            Err(err) => assert_eq!(err.kind(), ErrorKind::Conflict, "{}", err.chain()),
        }
    }
    assert_eq!(won.len(), 1, "{} writers won", won.len());
    for inventory in handles {
        assert_eq!(inventory.host(&name("h1")).await.unwrap().value, won[0]);
    }
}

/// > Revisions of a host grow with every change, also over a removal.
pub async fn revisions_grow_over_a_removal<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    let one = put(&inventory, in_zone("a"), Expect::Absent).await;
    let two = put(&inventory, in_zone("a"), Expect::At(one)).await;
    assert!(two > one);
    inventory.remove(&write().await, &name("h1")).await.unwrap();
    let three = put(&inventory, in_zone("a"), Expect::Absent).await;
    assert!(three > two, "revision {three} after {two}");
    let late = inventory.put(&write().await, in_zone("b"), Expect::At(two)).await;
    refused(late, ErrorKind::Conflict);
}

/// > `hosts` gives hosts in the order of their names, after the name given, and no more than asked for.
pub async fn hosts_are_paged_in_order<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    for text in ["h2", "h10", "H1", "h1", "h1.a"] {
        put(&inventory, host(text), Expect::Absent).await;
    }
    let page = async |after: Option<&str>, limit| {
        let after: Option<HostName> = after.map(name);
        let page = inventory.hosts(after.as_ref(), limit).await.unwrap();
        page.into_iter().map(|it| it.value.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["H1", "h1", "h1.a", "h10", "h2"]);
    assert_eq!(page(None, 2).await, ["H1", "h1"]);
    assert_eq!(page(Some("h1"), 2).await, ["h1.a", "h10"]);
    assert_eq!(page(Some("h11"), 9).await, ["h2"]);
    assert_eq!(page(Some("h2"), 9).await, Vec::<String>::new());
    assert_eq!(inventory.all_hosts().await.unwrap().len(), 5);
}

/// > A missing host is `NotFound`
pub async fn what_is_missing_is_not_found<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    put(&inventory, host("h2"), Expect::Absent).await;
    let h1 = name("h1");
    refused(inventory.host(&h1).await, ErrorKind::NotFound);
    refused(inventory.remove(&write().await, &h1).await, ErrorKind::NotFound);
    let recorded = inventory.record(&see().await, &h1, &name("web"), seen("r1", 1, 1)).await;
    refused(recorded, ErrorKind::NotFound);
    assert!(inventory.installed(&name("web")).await.unwrap().is_empty());
}

/// > `record` keeps what was seen under the newest generation
pub async fn record_keeps_the_newest_sight<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    put(&inventory, host("h1"), Expect::Absent).await;
    let sights = [
        (seen("r1", 5, 50), "r1", "the first"),
        (seen("r2", 4, 90), "r1", "an older generation, seen later"),
        (seen("r3", 5, 40), "r1", "the same generation, seen earlier"),
        (seen("r4", 5, 60), "r4", "the same generation, seen later"),
        (seen("r5", 6, 10), "r5", "a newer generation, by a clock that is late"),
    ];
    for (sight, kept, what) in sights {
        inventory.record(&see().await, &name("h1"), &name("web"), sight).await.unwrap();
        let installed = inventory.installed(&name("web")).await.unwrap();
        assert_eq!(installed[&name::<HostName>("h1")].release, Some(name(kept)), "{what}");
    }
}

/// > `installed` gives what was recorded for a service, of hosts that exist.
pub async fn installed_is_of_hosts_that_exist<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    let (h1, h2): (HostName, HostName) = (name("h1"), name("h2"));
    for text in ["h1", "h2"] {
        put(&inventory, host(text), Expect::Absent).await;
    }
    for (host, service, sight) in [
        (&h1, "web", seen("w1", 1, 1)),
        (&h2, "web", seen("w2", 2, 2)),
        (&h1, "db", seen("d1", 3, 3)),
    ] {
        inventory.record(&see().await, host, &name(service), sight).await.unwrap();
    }
    let web = inventory.installed(&name("web")).await.unwrap();
    let both = [(h1.clone(), seen("w1", 1, 1)), (h2.clone(), seen("w2", 2, 2))];
    assert_eq!(web, both.into());
    inventory.remove(&write().await, &h1).await.unwrap();
    let web = inventory.installed(&name("web")).await.unwrap();
    assert_eq!(web, [(h2, seen("w2", 2, 2))].into());
    put(&inventory, host("h1"), Expect::Absent).await;
    assert_eq!(inventory.installed(&name("web")).await.unwrap().len(), 1);
    assert!(inventory.installed(&name("db")).await.unwrap().is_empty());
}

/// > A permit for another action is `PermissionDenied`
pub async fn writing_takes_a_permit<H: Harness<dyn HostInventory>>(harness: &H) {
    let (inventory, _guard) = harness.fresh().await;
    let (h1, web) = (name::<HostName>("h1"), name("web"));
    let record = Resource::Host(h1.clone(), None);
    let wrong = [
        permit(Action::HostExecute, record.clone()).await,
        permit(Action::HostWrite, Resource::Host(name("h2"), None)).await,
    ];
    for permit in &wrong {
        let put = inventory.put(permit, host("h1"), Expect::Absent).await;
        refused(put, ErrorKind::PermissionDenied);
    }
    refused(inventory.host(&h1).await, ErrorKind::NotFound);
    let right = permit(Action::HostWrite, record).await;
    inventory.put(&right, host("h1"), Expect::Absent).await.unwrap();
    for permit in &wrong {
        refused(inventory.remove(permit, &h1).await, ErrorKind::PermissionDenied);
    }
    let mine = Resource::Host(h1.clone(), Some(name("web")));
    let theirs = Resource::Host(h1.clone(), Some(name("db")));
    for permit in [right.clone(), permit(Action::HostObserve, theirs).await] {
        let recorded = inventory.record(&permit, &h1, &web, seen("r1", 1, 1)).await;
        refused(recorded, ErrorKind::PermissionDenied);
    }
    assert!(inventory.installed(&web).await.unwrap().is_empty());
    for action in [Action::HostExecute, Action::HostObserve] {
        let permit = permit(action, mine.clone()).await;
        inventory.record(&permit, &h1, &web, seen("r1", 1, 1)).await.unwrap();
    }
    inventory.remove(&right, &h1).await.unwrap();
}

/// > Revisions of a host grow with every change, also over a removal.
pub async fn what_was_put_survives_a_crash<H: DurableHarness<dyn HostInventory>>(harness: &H) {
    let (inventory, guard) = harness.fresh().await;
    for text in ["h1", "h2"] {
        put(&inventory, host(text), Expect::Absent).await;
        let sight = seen("r1", 1, 1);
        inventory.record(&see().await, &name(text), &name("web"), sight).await.unwrap();
    }
    inventory.remove(&write().await, &name("h1")).await.unwrap();
    let inventory = harness.reopen(inventory, &guard).await;
    assert_eq!(inventory.all_hosts().await.unwrap(), [host("h2")]);
    assert_eq!(inventory.installed(&name("web")).await.unwrap().len(), 1);
    assert!(put(&inventory, host("h1"), Expect::Absent).await > Revision::new(1));
}

/// > `put` compares and sets
pub async fn one_of_two_processes_wins<H: ConcurrentHarness<dyn HostInventory>>(harness: &H) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    one_wins(&[&one, &two, &one, &two, &one, &two].map(Arc::clone)).await;
}

/// > `installed` gives what was recorded for a service, of hosts that exist.
pub async fn another_process_sees_a_sight<H: ConcurrentHarness<dyn HostInventory>>(harness: &H) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    put(&one, host("h1"), Expect::Absent).await;
    for (generation, release) in [(1, "r1"), (2, "r2"), (3, "r3")] {
        let writer = if generation % 2 == 0 { &one } else { &two };
        let sight = seen(release, generation, 1);
        writer.record(&see().await, &name("h1"), &name("web"), sight.clone()).await.unwrap();
        for reader in [&one, &two] {
            let installed = reader.installed(&name("web")).await.unwrap();
            assert_eq!(installed, [(name("h1"), sight.clone())].into());
        }
    }
    two.remove(&write().await, &name("h1")).await.unwrap();
    assert!(one.installed(&name("web")).await.unwrap().is_empty());
}

/// One test for each case of [`HostInventory`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! host_inventory_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::host_inventory_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            host_inventory, $harness;
            put_compares_and_sets
            a_refused_put_changes_nothing
            one_of_many_writers_wins
            revisions_grow_over_a_removal
            hosts_are_paged_in_order
            what_is_missing_is_not_found
            record_keeps_the_newest_sight
            installed_is_of_hosts_that_exist
            writing_takes_a_permit
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            host_inventory, $harness;
            what_was_put_survives_a_crash
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            host_inventory, $harness;
            one_of_two_processes_wins
            another_process_sees_a_sight
        }
    };
}
