//! Everything that may go wrong while blocks go.
use crate::scene::{Garbage, Host, Scene};
use deploy_distribution::transfer::{Endpoint, Shelf};
use std::sync::Arc;
use tokio::net::TcpListener;

const LENGTH: usize = 16 << 20;

async fn hosts(scene: &Scene, count: u32, all: &[Endpoint]) -> Vec<Host> {
    let mut hosts = Vec::new();
    for number in 0..count {
        let mut host = scene.host(&format!("h{number}")).await;
        host.order = host.order.with_schedulers(all.to_vec()).with_seeds(all.to_vec());
        hosts.push(host);
    }
    hosts
}

/// Somebody who has all of it, as it says.
async fn liar(scene: &Scene, all: &[Endpoint]) -> Host {
    let who = scene.identity("liar");
    let running = scene.run(&who, scene.block_server(Arc::new(Garbage::new(scene)))).await;
    let mut liar = scene.host_of(&who, running, Arc::new(Shelf::new()));
    liar.order = liar.order.with_schedulers(all.to_vec()).with_seeds(all.to_vec());
    let path = liar.folder.join(scene.blob().to_string());
    std::fs::write(&path, &scene.bytes).unwrap();
    liar
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_serves_garbage_costs_each_other_one_block_at_most() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let all = [origin.endpoint.clone()];
    let liar = liar(&scene, &all).await;
    let file = liar.prepare().await;
    assert!(file.is_full());
    let (fetcher, order) = (Arc::clone(&liar.fetcher), liar.order.clone());
    let lies = tokio::spawn(async move { fetcher.linger(&order, &file).await });
    let hosts = hosts(&scene, 4, &all).await;
    let fetches: Vec<_> = hosts.iter().map(Host::spawn_fetch).collect();
    let mut wasted = 0;
    for (host, fetch) in hosts.iter().zip(fetches) {
        let fetched = fetch.await.unwrap();
        assert!(host.has_all(&scene));
        let wrong: u64 = fetched.wrong.values().sum();
        assert!(wrong <= scene.blob().block_size(), "{fetched:?}");
        assert!(fetched.wrong.keys().all(|it| it.as_str() == "liar"), "{fetched:?}");
        assert!(!fetched.bytes.keys().any(|it| it.as_str() == "liar"), "{fetched:?}");
        wasted += wrong;
    }
    assert!(wasted > 0 || liar.running.blocks_given(&scene) == 0);
    // Whoever was sent there has said so before it went on, and who it was is told by name.
    let told: Vec<_> = origin.server.corrupt().into_keys().collect();
    let liars: Vec<_> =
        (wasted > 0).then(|| liar.running.endpoint.name.clone()).into_iter().collect();
    assert_eq!(told, liars);
    lies.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_die_hold_nobody_up() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let mut hosts = hosts(&scene, 5, std::slice::from_ref(&origin.endpoint)).await;
    hosts.iter().for_each(|it| it.limits.set_total(std::num::NonZeroU64::new(12 << 20)));
    let mut fetches: Vec<_> = hosts.iter().map(Host::spawn_fetch).collect();
    while origin.blocks_given(&scene) < 24 {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        fetches.remove(0).abort();
        hosts.remove(0).running.stop().await;
    }
    for (host, fetch) in hosts.iter().zip(fetches) {
        fetch.await.unwrap();
        assert!(host.has_all(&scene));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_may_be_started_anew() {
    let scene = Scene::new(LENGTH);
    let who = scene.identity("origin");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let origin = scene.origin_on(&who, listener);
    let hosts = hosts(&scene, 4, std::slice::from_ref(&origin.endpoint)).await;
    hosts.iter().for_each(|it| it.limits.set_total(std::num::NonZeroU64::new(8 << 20)));
    let fetches: Vec<_> = hosts.iter().map(Host::spawn_fetch).collect();
    while origin.blocks_given(&scene) < 16 {
        tokio::task::yield_now().await;
    }
    origin.stop().await;
    let origin = scene.origin_on(&who, TcpListener::bind(address).await.unwrap());
    for (host, fetch) in hosts.iter().zip(fetches) {
        let fetched = fetch.await.unwrap();
        assert!(host.has_all(&scene));
        assert_eq!(fetched.total(), LENGTH as u64, "no block came twice");
    }
    drop(origin);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_may_be_gone_once_a_copy_has_left_it() {
    let scene = Scene::new(LENGTH);
    let (store, who) = (scene.origin().await, scene.identity("scheduler"));
    // The scheduler is another than the store, as a relay is.
    let director = scene.director(vec![store.endpoint.clone()]);
    let nothing = Arc::new(Shelf::new());
    let scheduler = scene.run(&who, scene.block_server(nothing).with_director(director)).await;
    let mut hosts = hosts(&scene, 4, &[]).await;
    for host in &mut hosts {
        host.order = host.order.clone().with_schedulers(vec![scheduler.endpoint.clone()]);
        host.order = host.order.clone().with_seeds(vec![store.endpoint.clone()]);
    }
    let first = hosts[0].spawn_fetch();
    first.await.unwrap();
    // The others know what they want, and the store is gone before they have any of it.
    for host in &hosts[1..] {
        host.prepare().await;
    }
    store.stop().await;
    for host in &hosts[1..] {
        let fetched = host.spawn_fetch().await.unwrap();
        assert!(host.has_all(&scene));
        assert_eq!(fetched.total(), LENGTH as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_scheduler_it_comes_from_the_store() {
    let scene = Scene::new(LENGTH);
    let origin = scene.origin().await;
    let gone = scene.identity("gone");
    let gone = scene.run(&gone, scene.block_server(Arc::new(Shelf::new()))).await;
    let nobody = gone.endpoint.clone();
    gone.stop().await;
    let mut host = scene.host("h1").await;
    host.order = host.order.with_schedulers(vec![nobody]).with_seeds(vec![origin.endpoint.clone()]);
    let fetched = host.fetch().await.unwrap();
    assert!(host.has_all(&scene));
    assert_eq!(fetched.unscheduled, scene.blob().blocks());
}
