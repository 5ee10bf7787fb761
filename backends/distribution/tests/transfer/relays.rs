//! Relays between hosts and the store.
use crate::scene::{Host, Running, Scene, other_blob};
use deploy_distribution::{
    Blob, BlobFile, Outboard,
    transfer::{BlockSource as _, LinkError, ranked},
};
use std::sync::Arc;

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

/// Two blobs, and a store that has both.
async fn two_blobs(scene: &Scene) -> (Running, [Blob; 2]) {
    let path = scene.folder.path().join("second");
    let bytes = vec![7; BLOCK];
    std::fs::write(&path, &bytes).unwrap();
    let second = Outboard::compute(BLOCK as u64, bytes.as_slice()).unwrap();
    let (shelf, blobs) = (scene.store(), [scene.blob(), second.blob()]);
    shelf.add(Arc::new(BlobFile::whole(&path, second).unwrap()));
    (scene.run(&scene.identity("store"), scene.block_server(shelf)).await, blobs)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_counts_what_it_kept_before_it_was_started_anew() {
    let scene = Scene::new(BLOCK);
    let (store, blobs) = two_blobs(&scene).await;
    let [first, second] = blobs;
    let (who, upstream) = (scene.identity("relay"), vec![store.endpoint.clone()]);
    let begin = || scene.cache(&who, blobs.to_vec(), upstream.clone(), BLOCK as u64);
    let relay = begin();
    relay.readable(first, 0..BLOCK as u64).await.unwrap();
    drop(relay);
    let relay = begin();
    assert_eq!(relay.kept(), BLOCK as u64);
    relay.readable(second, 0..BLOCK as u64).await.unwrap();
    assert_eq!(relay.kept(), BLOCK as u64);
    let names = std::fs::read_dir(scene.make_folder("relay")).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|it| it.starts_with(&second.to_string())), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_are_asked_for_at_once_do_not_have_the_same_room() {
    for _ in 0..20 {
        let scene = Scene::new(BLOCK);
        let (store, blobs) = two_blobs(&scene).await;
        let (who, upstream) = (scene.identity("relay"), vec![store.endpoint.clone()]);
        let relay = scene.cache(&who, blobs.to_vec(), upstream, BLOCK as u64);
        let both = blobs.map(|it| {
            let relay = Arc::clone(&relay);
            tokio::spawn(async move { relay.readable(it, 0..BLOCK as u64).await })
        });
        let mut had = 0;
        for it in both {
            had += u32::from(it.await.unwrap().is_ok());
        }
        assert!(had >= 1 && relay.kept() <= BLOCK as u64, "{had}: {}", relay.kept());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_on_a_relay_comes_from_the_store_again() {
    let scene = Scene::new(BLOCK);
    let (store, blobs) = two_blobs(&scene).await;
    let (who, upstream) = (scene.identity("relay"), vec![store.endpoint.clone()]);
    let begin = || scene.cache(&who, blobs.to_vec(), upstream.clone(), 1 << 30);
    begin().readable(scene.blob(), 0..BLOCK as u64).await.unwrap();
    let path = scene.make_folder("relay").join(scene.blob().to_string());
    std::fs::write(&path, vec![0; BLOCK]).unwrap();
    begin().readable(scene.blob(), 0..BLOCK as u64).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), scene.bytes);
}
