//! Relays between hosts and the store.
use crate::scene::{Host, Scene, other_blob};
use deploy_distribution::{
    Blob,
    transfer::{LinkError, ranked},
};

const LENGTH: usize = 16 << 20;
const BLOCK: usize = 256 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_gets_each_block_once() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let relay = scene.relay("relay", vec![origin.endpoint.clone()], 1 << 30).await;
    let mut hosts = Vec::new();
    for number in 0..4 {
        let mut host = scene.host(&format!("h{number}")).await;
        let near = vec![relay.endpoint.clone()];
        let seeds = vec![relay.endpoint.clone(), origin.endpoint.clone()];
        host.order = host.order.with_schedulers(near).with_seeds(seeds);
        hosts.push(host);
    }
    let fetches: Vec<_> = hosts.iter().map(Host::spawn_fetch).collect();
    for (host, fetch) in hosts.iter().zip(fetches) {
        let fetched = fetch.await.unwrap();
        assert!(host.has_all(&scene));
        assert_eq!(fetched.bytes_from(std::slice::from_ref(&origin.endpoint)), 0);
    }
    assert_eq!(origin.blocks_given(&scene), u64::from(scene.blob().blocks()));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_relays_die_the_next_one_is_asked_and_then_the_store() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let store = vec![origin.endpoint.clone()];
    let one = scene.relay("one", store.clone(), 1 << 30).await;
    let two = scene.relay("two", store.clone(), 1 << 30).await;
    let relays = ranked(scene.blob().root(), vec![one.endpoint.clone(), two.endpoint.clone()]);
    let mut running = [one, two];
    running.sort_by_key(|it| relays.iter().position(|other| *other == it.endpoint));
    let mut host = scene.host("h1").await;
    let seeds = [relays.clone(), store].concat();
    host.order = host.order.with_schedulers(relays).with_seeds(seeds);
    host.limits.set_total(std::num::NonZeroU64::new(8 << 20));
    let fetch = host.spawn_fetch();
    for relay in running {
        let before = relay.blocks_given(&scene);
        while relay.blocks_given(&scene) < before + 12 {
            tokio::task::yield_now().await;
        }
        relay.stop().await;
    }
    host.limits.set_total(None);
    let fetched = fetch.await.unwrap();
    assert!(host.has_all(&scene));
    assert_eq!(fetched.bytes.len(), 3, "{fetched:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_is_too_small_says_so() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let relay = scene.relay("relay", vec![origin.endpoint.clone()], 1 << 20).await;
    let who = scene.identity("h1");
    let token = scene.token(&who.name).borrow().clone();
    let refused = who.client.outboard(&relay.endpoint, scene.blob(), &token).await;
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("502") && said.contains("do not fit"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_size_that_is_no_blobs_changes_nothing_on_a_relay() {
    let scene = Scene::new(BLOCK);
    let origin = scene.origin().await;
    let relay = scene.relay("relay", vec![origin.endpoint.clone()], 1 << 20).await;
    let mut host = scene.host("h1").await;
    host.order = host.order.with_seeds(vec![relay.endpoint.clone()]);
    host.fetch().await.unwrap();
    let liar = scene.identity("liar");
    let token = scene.token(&liar.name).borrow().clone();
    let lie = Blob::new(scene.blob().root(), 1).unwrap();
    let refused = liar.client.outboard(&relay.endpoint, lie, &token).await;
    assert!(matches!(refused, Err(LinkError::Refused { status: 403, .. })), "{refused:?}");
    // Nor with a token that says so: it is another blob.
    let token = scene.token_for(&liar.name, vec![lie, scene.blob()]);
    let _opened = liar.client.outboard(&relay.endpoint, lie, &token).await;
    origin.stop().await;
    let mut host = scene.host("h2").await;
    host.order = host.order.with_seeds(vec![relay.endpoint.clone()]);
    host.fetch().await.unwrap();
    assert!(host.has_all(&scene));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_takes_no_room_from_what_is_had() {
    let scene = Scene::new(BLOCK);
    let origin = scene.origin().await;
    let relay = scene.relay("relay", vec![origin.endpoint.clone()], BLOCK as u64).await;
    let who = scene.identity("h1");
    let token = scene.token_for(&who.name, vec![scene.blob(), other_blob()]);
    who.client.outboard(&relay.endpoint, scene.blob(), &token).await.unwrap();
    who.client.outboard(&relay.endpoint, other_blob(), &token).await.unwrap_err();
    origin.stop().await;
    who.client.outboard(&relay.endpoint, scene.blob(), &token).await.unwrap();
}
