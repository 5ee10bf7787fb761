//! Cases for [`ServiceRegistry`]. They need no more than a [`Harness`].
mod channels;

use super::{ConcurrentHarness, DurableHarness, Harness, permit, race, refused, sample};
use crate::{
    access::{Action, Permit, Resource},
    backend::{Expect, Revision, ServiceRegistry, ServiceRegistryExt as _},
    error::ErrorKind,
    id::AccountName,
    spec::Service,
};
use sample::{at, name, release, service};
use std::sync::Arc;

pub use channels::*;

async fn write() -> Permit {
    permit(Action::ServiceWrite, Resource::System).await
}

/// The service `web`, told apart by its account.
fn web(account: &str) -> Service {
    service("web").with_account(name::<AccountName>(account))
}

async fn put(registry: &Arc<dyn ServiceRegistry>, service: Service, expect: Expect) -> Revision {
    registry.put_service(&write().await, service, expect).await.unwrap()
}

/// > `put_service` compares and sets
pub async fn put_service_compares_and_sets<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let one = put(&registry, web("a"), Expect::Absent).await;
    assert_eq!(one, Revision::new(1));
    let two = put(&registry, web("b"), Expect::At(one)).await;
    assert_eq!(two, Revision::new(2));
    let found = registry.service(&name("web")).await.unwrap();
    assert_eq!((found.revision, found.value), (two, web("b")));
}

/// > A refused `put_service` changes nothing.
pub async fn a_refused_put_service_changes_nothing<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let permit = write().await;
    let stray = registry.put_service(&permit, web("a"), Expect::At(Revision::new(1))).await;
    refused(stray, ErrorKind::NotFound);
    refused(registry.service(&name("web")).await, ErrorKind::NotFound);
    let one = put(&registry, web("a"), Expect::Absent).await;
    let again = registry.put_service(&permit, web("b"), Expect::Absent).await;
    refused(again, ErrorKind::AlreadyExists);
    let two = put(&registry, web("c"), Expect::At(one)).await;
    for stale in [one, Revision::new(3)] {
        let late = registry.put_service(&permit, web("d"), Expect::At(stale)).await;
        refused(late, ErrorKind::Conflict);
    }
    let found = registry.service(&name("web")).await.unwrap();
    assert_eq!((found.revision, found.value), (two, web("c")));
    assert_eq!(registry.history(&name("web"), 10).await.unwrap().len(), 2);
}

/// > Of any number of writers at one revision, one wins.
pub async fn one_of_many_writers_wins<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    one_wins(&vec![registry; 8]).await;
}

async fn one_wins(handles: &[Arc<dyn ServiceRegistry>]) {
    one_wins_with(handles, Expect::Absent, ErrorKind::AlreadyExists).await;
    one_wins_with(handles, Expect::At(Revision::new(1)), ErrorKind::Conflict).await;
    assert_eq!(handles[0].history(&name("web"), 10).await.unwrap().len(), 2);
}

async fn one_wins_with(handles: &[Arc<dyn ServiceRegistry>], expect: Expect, lost: ErrorKind) {
    let permit = write().await;
    let writers = handles.iter().enumerate().map(|(at, registry)| {
        let (registry, permit) = (Arc::clone(registry), permit.clone());
        let value = web(&format!("a{at}"));
        async move { registry.put_service(&permit, value.clone(), expect).await.map(|_| value) }
    });
    let mut won = Vec::new();
    for done in race(writers).await {
        match done {
            Ok(value) => won.push(value),
            Err(err) => assert_eq!(err.kind(), lost, "{}", err.chain()),
        }
    }
    assert_eq!(won.len(), 1, "{} writers won", won.len());
    for registry in handles {
        assert_eq!(registry.service(&name("web")).await.unwrap().value, won[0]);
    }
}

/// > `history` gives every value a service ever had, newest first, and no more than asked for.
pub async fn history_is_whole<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let mut expect = Expect::Absent;
    for account in ["a", "b", "c"] {
        expect = Expect::At(put(&registry, web(account), expect).await);
    }
    put(&registry, service("db"), Expect::Absent).await;
    let history = registry.history(&name("web"), 10).await.unwrap();
    let found: Vec<_> = history.into_iter().map(|it| (it.revision.get(), it.value)).collect();
    assert_eq!(found, [(3, web("c")), (2, web("b")), (1, web("a"))]);
    let newest = registry.history(&name("web"), 2).await.unwrap();
    assert_eq!(newest.iter().map(|it| it.revision.get()).collect::<Vec<_>>(), [3, 2]);
}

/// > `services` gives services in the order of their names, after the name given, and no more than asked for.
pub async fn services_are_paged_in_order<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    for text in ["d", "b", "a-b", "c", "a"] {
        put(&registry, service(text), Expect::Absent).await;
    }
    let page = async |after: Option<&str>, limit| {
        let after = after.map(name);
        let page = registry.services(after.as_ref(), limit).await.unwrap();
        page.into_iter().map(|it| it.value.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, ["a", "a-b", "b", "c", "d"]);
    assert_eq!(page(None, 2).await, ["a", "a-b"]);
    assert_eq!(page(Some("a-b"), 2).await, ["b", "c"]);
    assert_eq!(page(Some("bb"), 9).await, ["c", "d"]);
    assert_eq!(page(Some("d"), 9).await, Vec::<String>::new());
    assert_eq!(registry.all_services().await.unwrap().len(), 5);
}

/// > Releases are immutable: creating the same release again succeeds, creating another one under the same id is `AlreadyExists`.
pub async fn releases_are_immutable<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let permit = write().await;
    put(&registry, service("web"), Expect::Absent).await;
    put(&registry, service("db"), Expect::Absent).await;
    let one = release("web", "r1", at(1)).with_provenance("commit 1");
    registry.create_release(&permit, one.clone()).await.unwrap();
    registry.create_release(&permit, one.clone()).await.unwrap();
    let others = [one.clone().with_provenance("commit 2"), release("db", "r1", at(1))];
    for other in others {
        refused(registry.create_release(&permit, other).await, ErrorKind::AlreadyExists);
    }
    assert_eq!(registry.release(&name("r1")).await.unwrap(), one);
    assert_eq!(registry.releases(&name("web"), 10).await.unwrap(), [one]);
    assert_eq!(registry.releases(&name("db"), 10).await.unwrap(), []);
}

/// > A release of a service that does not exist is `NotFound`.
pub async fn a_release_needs_its_service<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let stray = registry.create_release(&write().await, release("web", "r1", at(1))).await;
    refused(stray, ErrorKind::NotFound);
    refused(registry.release(&name("r1")).await, ErrorKind::NotFound);
}

/// > `releases` gives the releases of a service, newest first
pub async fn releases_are_listed_newest_first<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let permit = write().await;
    put(&registry, service("web"), Expect::Absent).await;
    put(&registry, service("db"), Expect::Absent).await;
    for (id, seconds) in [("b", 2), ("z", 1), ("a", 3), ("c", 2)] {
        registry.create_release(&permit, release("web", id, at(seconds))).await.unwrap();
    }
    registry.create_release(&permit, release("db", "d", at(2))).await.unwrap();
    let releases = registry.releases(&name("web"), 10).await.unwrap();
    let ids: Vec<_> = releases.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["a", "c", "b", "z"]);
    assert_eq!(registry.releases(&name("web"), 3).await.unwrap(), releases[..3]);
}

/// > A missing service or release is `NotFound`.
pub async fn what_is_missing_is_not_found<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    put(&registry, service("db"), Expect::Absent).await;
    refused(registry.service(&name("web")).await, ErrorKind::NotFound);
    refused(registry.history(&name("web"), 1).await, ErrorKind::NotFound);
    refused(registry.releases(&name("web"), 1).await, ErrorKind::NotFound);
    refused(registry.release(&name("r1")).await, ErrorKind::NotFound);
}

/// > A permit for another action than `ServiceWrite` on the service is `PermissionDenied`.
pub async fn writing_takes_a_permit<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let web = Resource::Service(name("web"));
    let wrong = [
        permit(Action::RolloutControl, web.clone()).await,
        permit(Action::ServiceWrite, Resource::Service(name("db"))).await,
    ];
    for permit in &wrong {
        let put = registry.put_service(permit, service("web"), Expect::Absent).await;
        refused(put, ErrorKind::PermissionDenied);
    }
    refused(registry.service(&name("web")).await, ErrorKind::NotFound);
    let right = permit(Action::ServiceWrite, web).await;
    registry.put_service(&right, service("web"), Expect::Absent).await.unwrap();
    for permit in &wrong {
        let create = registry.create_release(permit, release("web", "r1", at(1))).await;
        refused(create, ErrorKind::PermissionDenied);
    }
    registry.create_release(&right, release("web", "r1", at(1))).await.unwrap();
}

/// > `history` gives every value a service ever had
pub async fn what_was_put_survives_a_crash<H: DurableHarness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, guard) = harness.fresh().await;
    let one = put(&registry, web("a"), Expect::Absent).await;
    let two = put(&registry, web("b"), Expect::At(one)).await;
    let release = release("web", "r1", at(1));
    registry.create_release(&write().await, release.clone()).await.unwrap();
    let registry = harness.reopen(registry, &guard).await;
    assert_eq!(registry.history(&name("web"), 10).await.unwrap().len(), 2);
    assert_eq!(registry.release(&name("r1")).await.unwrap(), release);
    assert_eq!(put(&registry, web("c"), Expect::At(two)).await, Revision::new(3));
}

/// > Of any number of writers at one revision, one wins.
pub async fn one_of_two_processes_wins<H: ConcurrentHarness<dyn ServiceRegistry>>(harness: &H) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    one_wins(&[&one, &two, &one, &two, &one, &two].map(Arc::clone)).await;
}

/// > `releases` gives the releases of a service, newest first
pub async fn another_process_sees_a_release<H: ConcurrentHarness<dyn ServiceRegistry>>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    put(&one, service("web"), Expect::Absent).await;
    let mut releases = Vec::new();
    for (seconds, id) in [(1, "r1"), (2, "r2"), (3, "r3")] {
        let writer = if seconds % 2 == 0 { &one } else { &two };
        releases.insert(0, release("web", id, at(seconds)));
        writer.create_release(&write().await, releases[0].clone()).await.unwrap();
        for reader in [&one, &two] {
            assert_eq!(reader.release(&name(id)).await.unwrap(), releases[0]);
            assert_eq!(reader.releases(&name("web"), 10).await.unwrap(), releases);
        }
    }
}

/// One test for each case of [`ServiceRegistry`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! service_registry_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::service_registry_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            service_registry, $harness;
            put_service_compares_and_sets
            a_refused_put_service_changes_nothing
            one_of_many_writers_wins
            history_is_whole
            services_are_paged_in_order
            releases_are_immutable
            a_release_needs_its_service
            releases_are_listed_newest_first
            what_is_missing_is_not_found
            writing_takes_a_permit
            move_channel_compares_and_sets
            a_refused_move_changes_nothing
            one_of_many_moves_wins
            a_closed_channel_is_kept
            the_history_of_a_channel_is_whole
            channels_are_paged_in_order
            a_missing_channel_is_not_found
            moving_takes_a_permit
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            service_registry, $harness;
            what_was_put_survives_a_crash
            moves_survive_a_crash
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            service_registry, $harness;
            one_of_two_processes_wins
            another_process_sees_a_release
            one_of_two_processes_moves_a_channel
        }
    };
}
