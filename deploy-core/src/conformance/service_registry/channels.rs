//! Where channels lead.
use crate::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactKind, ChannelKey, ChannelMove, ChannelTarget, Expect, Revision, ServiceRegistry,
        ServiceRegistryExt as _,
    },
    conformance::{ConcurrentHarness, DurableHarness, Harness, permit, race, refused, sample},
    digest::Digest,
    error::ErrorKind,
};
use sample::{at, name, principal};
use std::sync::Arc;

async fn may() -> Permit {
    permit(Action::ArtifactWrite, Resource::System).await
}

fn key(repository: &str, kind: ArtifactKind, channel: &str) -> ChannelKey {
    ChannelKey::new(name(repository), kind, name(channel))
}

fn stable() -> ChannelKey {
    key("web", ArtifactKind::Package, "stable")
}

fn moved(channel: ChannelKey, version: &str) -> ChannelMove {
    let digest = Digest::of(version.as_bytes());
    let to = ChannelTarget { version: name(version), digest };
    ChannelMove::new(channel, Some(to), at(1), principal("ann")).with_reason("it was tried")
}

/// `stable` of `web` goes to a version.
fn to(version: &str) -> ChannelMove {
    moved(stable(), version)
}

async fn put(registry: &Arc<dyn ServiceRegistry>, moved: ChannelMove, expect: Expect) -> Revision {
    registry.move_channel(&may().await, moved, expect).await.unwrap()
}

/// > `move_channel` compares and sets
pub async fn move_channel_compares_and_sets<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let one = put(&registry, to("1"), Expect::Absent).await;
    assert_eq!(one, Revision::new(1));
    let two = put(&registry, to("2"), Expect::At(one)).await;
    assert_eq!(two, Revision::new(2));
    let found = registry.channel(&stable()).await.unwrap();
    assert_eq!((found.revision, found.value), (two, to("2")));
}

/// > A refused `move_channel` changes nothing.
pub async fn a_refused_move_changes_nothing<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let permit = may().await;
    let stray = registry.move_channel(&permit, to("1"), Expect::At(Revision::new(1))).await;
    refused(stray, ErrorKind::NotFound);
    refused(registry.channel(&stable()).await, ErrorKind::NotFound);
    let one = put(&registry, to("1"), Expect::Absent).await;
    let again = registry.move_channel(&permit, to("2"), Expect::Absent).await;
    refused(again, ErrorKind::AlreadyExists);
    let two = put(&registry, to("3"), Expect::At(one)).await;
    for stale in [one, Revision::new(3)] {
        let late = registry.move_channel(&permit, to("4"), Expect::At(stale)).await;
        refused(late, ErrorKind::Conflict);
    }
    let found = registry.channel(&stable()).await.unwrap();
    assert_eq!((found.revision, found.value), (two, to("3")));
    assert_eq!(registry.channel_history(&stable(), 10).await.unwrap().len(), 2);
}

/// > Of any number of moves of a channel at one revision, one wins.
pub async fn one_of_many_moves_wins<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    one_wins(&vec![registry; 8]).await;
}

async fn one_wins(handles: &[Arc<dyn ServiceRegistry>]) {
    one_wins_with(handles, Expect::Absent, ErrorKind::AlreadyExists).await;
    one_wins_with(handles, Expect::At(Revision::new(1)), ErrorKind::Conflict).await;
    assert_eq!(handles[0].channel_history(&stable(), 10).await.unwrap().len(), 2);
}

async fn one_wins_with(handles: &[Arc<dyn ServiceRegistry>], expect: Expect, lost: ErrorKind) {
    let permit = may().await;
    let moves = handles.iter().enumerate().map(|(at, registry)| {
        let (registry, permit) = (Arc::clone(registry), permit.clone());
        let moved = to(&format!("1.{at}"));
        async move { registry.move_channel(&permit, moved.clone(), expect).await.map(|_| moved) }
    });
    let mut won = Vec::new();
    for done in race(moves).await {
        match done {
            Ok(moved) => won.push(moved),
            Err(err) => assert_eq!(err.kind(), lost, "{}", err.chain()),
        }
    }
    assert_eq!(won.len(), 1, "{} moves won", won.len());
    for registry in handles {
        assert_eq!(registry.channel(&stable()).await.unwrap().value, won[0]);
    }
}

/// > A channel that is closed is kept like any other, and can be moved on.
pub async fn a_closed_channel_is_kept<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let one = put(&registry, to("1"), Expect::Absent).await;
    let closed = ChannelMove::new(stable(), None, at(2), principal("bob"));
    let two = put(&registry, closed.clone(), Expect::At(one)).await;
    assert_eq!(registry.channel(&stable()).await.unwrap().value, closed);
    let all = registry.all_channels().await.unwrap();
    assert_eq!(all.into_iter().map(|it| it.value).collect::<Vec<_>>(), [closed]);
    let opened = registry.move_channel(&may().await, to("2"), Expect::Absent).await;
    refused(opened, ErrorKind::AlreadyExists);
    assert_eq!(put(&registry, to("2"), Expect::At(two)).await, Revision::new(3));
}

/// > `channel_history` gives every move of a channel, newest first, and no more than asked for.
pub async fn the_history_of_a_channel_is_whole<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let mut expect = Expect::Absent;
    for version in ["1", "2", "1"] {
        expect = Expect::At(put(&registry, to(version), expect).await);
    }
    put(&registry, moved(key("db", ArtifactKind::Package, "stable"), "9"), Expect::Absent).await;
    let history = registry.channel_history(&stable(), 10).await.unwrap();
    let found: Vec<_> = history.into_iter().map(|it| (it.revision.get(), it.value)).collect();
    assert_eq!(found, [(3, to("1")), (2, to("2")), (1, to("1"))]);
    let newest = registry.channel_history(&stable(), 2).await.unwrap();
    assert_eq!(newest.iter().map(|it| it.revision.get()).collect::<Vec<_>>(), [3, 2]);
}

/// > `channels` gives the newest move of each channel in the order of repository, kind and name
pub async fn channels_are_paged_in_order<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    use ArtifactKind::{Descriptor, Package};
    let (registry, _guard) = harness.fresh().await;
    let keys = [
        key("a", Descriptor, "z"),
        key("a", Package, "b"),
        key("a", Package, "c"),
        key("a-b", Package, "a"),
        key("b", Descriptor, "a"),
    ];
    for at in [3, 0, 4, 2, 1] {
        let one = put(&registry, moved(keys[at].clone(), "1"), Expect::Absent).await;
        put(&registry, moved(keys[at].clone(), "2"), Expect::At(one)).await;
    }
    let page = async |after: Option<&ChannelKey>, limit| {
        let page = registry.channels(after, limit).await.unwrap();
        assert!(page.iter().all(|it| it.revision == Revision::new(2)), "{page:?}");
        page.into_iter().map(|it| it.value.channel).collect::<Vec<_>>()
    };
    assert_eq!(page(None, 10).await, keys);
    assert_eq!(page(None, 2).await, keys[..2]);
    assert_eq!(page(Some(&keys[1]), 2).await, keys[2..4]);
    assert_eq!(page(Some(&key("a", Package, "d")), 9).await, keys[3..]);
    assert_eq!(page(Some(&keys[4]), 9).await, []);
    assert_eq!(registry.all_channels().await.unwrap().len(), 5);
}

/// > A missing channel is `NotFound`.
pub async fn a_missing_channel_is_not_found<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    put(&registry, to("1"), Expect::Absent).await;
    for other in [
        key("web", ArtifactKind::Descriptor, "stable"),
        key("web", ArtifactKind::Package, "edge"),
        key("db", ArtifactKind::Package, "stable"),
    ] {
        refused(registry.channel(&other).await, ErrorKind::NotFound);
        refused(registry.channel_history(&other, 1).await, ErrorKind::NotFound);
    }
}

/// > A permit for another action than `ArtifactWrite` on the channel's repository is `PermissionDenied`.
pub async fn moving_takes_a_permit<H: Harness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, _guard) = harness.fresh().await;
    let web = Resource::Repository(name("web"));
    let wrong = [
        permit(Action::ServiceWrite, Resource::System).await,
        permit(Action::ArtifactWrite, Resource::Repository(name("db"))).await,
    ];
    for permit in &wrong {
        let refusal = registry.move_channel(permit, to("1"), Expect::Absent).await;
        refused(refusal, ErrorKind::PermissionDenied);
    }
    refused(registry.channel(&stable()).await, ErrorKind::NotFound);
    let right = permit(Action::ArtifactWrite, web).await;
    registry.move_channel(&right, to("1"), Expect::Absent).await.unwrap();
}

/// > `channel_history` gives every move of a channel
pub async fn moves_survive_a_crash<H: DurableHarness<dyn ServiceRegistry>>(harness: &H) {
    let (registry, guard) = harness.fresh().await;
    let one = put(&registry, to("1"), Expect::Absent).await;
    let two = put(&registry, to("2"), Expect::At(one)).await;
    let registry = harness.reopen(registry, &guard).await;
    assert_eq!(registry.channel_history(&stable(), 10).await.unwrap().len(), 2);
    assert_eq!(put(&registry, to("3"), Expect::At(two)).await, Revision::new(3));
}

/// > Of any number of moves of a channel at one revision, one wins.
pub async fn one_of_two_processes_moves_a_channel<H: ConcurrentHarness<dyn ServiceRegistry>>(
    harness: &H,
) {
    let (one, guard) = harness.fresh().await;
    let two = harness.another(&guard).await;
    one_wins(&[&one, &two, &one, &two, &one, &two].map(Arc::clone)).await;
}
