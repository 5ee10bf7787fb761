//! Relays between hosts and the store.
use crate::scene::{Garbage, Host, Running, Scene, now, other_blob};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_distribution::{
    Blob, BlobFile, Outboard,
    token::TOKEN_LIFETIME,
    transfer::{BlockSource, Endpoint, LinkError, Pass, Passes, SourceError, Space, ranked},
};
use std::{
    fs::File,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket},
    time::timeout,
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
    host.limits.set_total(std::num::NonZeroU64::new(2 << 20));
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
async fn hosts_go_past_a_relay_that_can_give_them_nothing() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let small = scene.relay("small", vec![origin.endpoint.clone()], 1 << 20).await;
    let mut host = scene.host("h1").await;
    let both = vec![small.endpoint.clone(), origin.endpoint.clone()];
    host.order = host.order.with_schedulers(both.clone()).with_seeds(both);
    let fetched = timeout(Duration::from_secs(30), host.spawn_fetch()).await.unwrap().unwrap();
    assert!(host.has_all(&scene));
    assert_eq!(fetched.unscheduled, 0, "the store schedules it");
}

/// A relay that has lost whoever it gets blocks from, and knows what they have to be.
#[derive(Debug)]
struct CutOff(Outboard);

#[async_trait]
impl BlockSource for CutOff {
    async fn outboard(&self, _: Blob) -> Result<Bytes, SourceError> {
        Ok(self.0.bytes().clone())
    }

    async fn readable(&self, _: Blob, _: Range<u64>) -> Result<Arc<File>, SourceError> {
        Err(SourceError::Failed("the store is away".to_owned()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_leave_a_relay_that_sends_them_nowhere_in_vain() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let who = scene.identity("relay");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let seed = Endpoint::new(who.name.clone(), address);
    let server = scene.block_server(Arc::new(CutOff(scene.outboard.clone())));
    let server = server.with_director(scene.director(vec![seed]));
    let relay = scene.run_on(&who, server, listener);
    let mut host = scene.host("h1").await;
    let both = vec![relay.endpoint.clone(), origin.endpoint.clone()];
    host.order = host.order.with_schedulers(both.clone()).with_seeds(both);
    let fetched = timeout(Duration::from_secs(60), host.spawn_fetch()).await.unwrap().unwrap();
    assert!(host.has_all(&scene));
    assert_eq!(fetched.bytes_from(std::slice::from_ref(&origin.endpoint)), LENGTH as u64);
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

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_for_what_never_fits() {
    let scene = Scene::new(4 * BLOCK);
    let (store, blobs) = two_blobs(&scene).await;
    let (who, upstream) = (scene.identity("relay"), vec![store.endpoint.clone()]);
    let relay = scene.cache(&who, blobs.to_vec(), upstream, 3 * BLOCK as u64);
    let [large, small] = blobs;
    relay.readable(small, 0..BLOCK as u64).await.unwrap();
    let refused = relay.readable(large, 0..BLOCK as u64).await.unwrap_err();
    assert!(refused.to_string().contains("do not fit"), "{refused}");
    assert_eq!(relay.kept(), BLOCK as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_what_is_removed() {
    let scene = Scene::new(BLOCK);
    let (store, blobs) = two_blobs(&scene).await;
    let (who, upstream) = (scene.identity("relay"), vec![store.endpoint.clone()]);
    let folder = scene.make_folder("relay");
    // It was killed while it wrote down the hashes of the second one.
    std::fs::write(folder.join(format!("{}.outboard.part", blobs[1])), "half").unwrap();
    let relay = scene.cache(&who, blobs.to_vec(), upstream, BLOCK as u64);
    relay.readable(blobs[0], 0..BLOCK as u64).await.unwrap();
    let names = std::fs::read_dir(&folder).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|it| it.starts_with(&blobs[0].to_string())), "{names:?}");
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

#[tokio::test(flavor = "multi_thread")]
async fn hosts_come_back_to_the_first_relay_once_it_is_there_again() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let (first, second) = (scene.identity("first"), scene.identity("second"));
    // It is not there yet, and nobody else takes its port.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let first = Endpoint::new(first.name, socket.local_addr().unwrap().to_string());
    let second = scene.relay(second.name.as_str(), vec![origin.endpoint.clone()], 1 << 30).await;
    let mut host = scene.host("h1").await;
    let relays = vec![first.clone(), second.endpoint.clone()];
    host.order = host.order.with_schedulers(relays.clone()).with_seeds(relays);
    host.limits.set_total(std::num::NonZeroU64::new(1 << 20));
    let fetch = host.spawn_fetch();
    while second.blocks_given(&scene) < 2 {
        tokio::task::yield_now().await;
    }
    let listener = socket.listen(1_024).unwrap();
    let who = scene.identity("first");
    let seed = vec![Endpoint::new(who.name.clone(), first.address.clone())];
    let cache = scene.cache(&who, vec![scene.blob()], vec![origin.endpoint.clone()], 1 << 30);
    let server = scene.block_server(cache).with_director(scene.director(seed));
    let first = scene.run_on(&who, server, listener);
    while first.blocks_given(&scene) < 2 {
        tokio::task::yield_now().await;
    }
    host.limits.set_total(None);
    fetch.await.unwrap();
    assert!(host.has_all(&scene));
}

/// Counts how often it is asked, and refuses at first.
#[derive(Debug)]
struct Counting {
    pass: Pass,
    asked: AtomicU32,
    refused: u32,
}

#[async_trait]
impl Passes for Counting {
    async fn pass(&self, _: Blob) -> Result<Pass, SourceError> {
        let before = self.asked.fetch_add(1, Ordering::SeqCst);
        if before < self.refused { Err(SourceError::Missing) } else { Ok(self.pass.clone()) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_asked_for_once_however_many_want_a_blob() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let who = scene.identity("relay");
    let token = scene.token_for(&who.name, vec![scene.blob()]);
    let pass = Pass::new(token, vec![origin.endpoint.clone()], now().after(TOKEN_LIFETIME));
    let passes = Arc::new(Counting { pass, asked: AtomicU32::new(0), refused: 0 });
    let relay = scene.cache_by(&who, Arc::clone(&passes) as _, 1 << 30);
    let wanted = (0..32_u64).map(|it| {
        let (relay, blob) = (Arc::clone(&relay), scene.blob());
        let bytes = it * BLOCK as u64..(it + 1) * BLOCK as u64;
        tokio::spawn(async move { relay.readable(blob, bytes).await.map(drop) })
    });
    for it in wanted.collect::<Vec<_>>() {
        it.await.unwrap().unwrap();
    }
    assert_eq!(passes.asked.load(Ordering::SeqCst), 1);
    assert_eq!(relay.pulled(), 32 * BLOCK as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_for_one_is_there_for_the_next() {
    let scene = Scene::new(BLOCK);
    let origin = scene.origin().await;
    let relay = scene.cache(
        &scene.identity("relay"),
        vec![scene.blob()],
        vec![origin.endpoint.clone()],
        1 << 30,
    );
    relay.outboard(scene.blob()).await.unwrap();
    let asking = {
        let (relay, blob) = (Arc::clone(&relay), scene.blob());
        tokio::spawn(async move { relay.readable(blob, 0..BLOCK as u64).await.map(drop) })
    };
    while origin.blocks_given(&scene) == 0 {
        tokio::task::yield_now().await;
    }
    asking.abort();
    while relay.pulled() == 0 {
        tokio::task::yield_now().await;
    }
    origin.stop().await;
    relay.readable(scene.blob(), 0..BLOCK as u64).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_leaves_whoever_lies_to_it_or_is_away_alone() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let liar = scene.identity("liar");
    let liar = scene.run(&liar, scene.block_server(Arc::new(Garbage::new(&scene)))).await;
    let away = Endpoint::new("away".parse().unwrap(), "127.0.0.1:1".to_owned());
    let upstream = vec![away, liar.endpoint.clone(), origin.endpoint.clone()];
    let relay = scene.cache(&scene.identity("relay"), vec![scene.blob()], upstream, 1 << 30);
    for number in 0..8 {
        let bytes = number * BLOCK as u64..(number + 1) * BLOCK as u64;
        relay.readable(scene.blob(), bytes).await.unwrap();
    }
    assert_eq!(liar.blocks_given(&scene), 1, "it is asked once, and not again");
}

#[tokio::test(flavor = "multi_thread")]
async fn room_can_be_taken_from_a_relay_while_it_runs() {
    let scene = Scene::new(BLOCK);
    let (store, blobs) = two_blobs(&scene).await;
    let (who, upstream) = (scene.identity("relay"), vec![store.endpoint.clone()]);
    let relay = scene.cache(&who, blobs.to_vec(), upstream, 1 << 30);
    for blob in blobs {
        relay.readable(blob, 0..BLOCK as u64).await.unwrap();
    }
    assert_eq!(relay.kept(), 2 * BLOCK as u64);
    relay.set_space(Space::new(BLOCK as u64));
    assert_eq!(relay.kept(), BLOCK as u64);
    // Nothing new is begun where the file system is to stay freer than it is.
    relay.set_space(Space::new(1 << 30).with_floor(u64::MAX));
    assert_eq!(relay.kept(), 0);
    let said = relay.outboard(blobs[0]).await.unwrap_err().to_string();
    assert!(said.contains("do not fit"), "{said}");
    relay.set_space(Space::new(1 << 30));
    relay.outboard(blobs[0]).await.unwrap();
}
