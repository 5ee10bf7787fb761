//! Sources and schedulers that are none of ours.
use crate::scene::{Identity, Scene, now};
use async_trait::async_trait;
use bytes::Bytes;
use deploy_core::{backend::Clock as _, memory::ManualClock};
use deploy_distribution::{
    Blob, BlobFile, Outboard,
    transfer::{
        BlockSource, Client, Endpoint, FetchOrder, Fetcher, Limits, NextRequest, SourceError,
    },
};
use std::{
    fs::File,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

const BLOCK: usize = 256 << 10;

type Stream = TlsStream<TcpStream>;

/// Somebody who does with each connection what `serve` does.
async fn somebody<F: Future<Output = Option<()>> + Send + 'static>(
    who: Identity,
    serve: impl Fn(Stream) -> F + Send + 'static,
) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let acceptor = TlsAcceptor::from(Arc::clone(&who.server));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(serve(stream));
            }
        }
    });
    Endpoint::new(who.name, address)
}

/// The head of a request; its body is read as well. `None` once there is none any more.
async fn request(stream: &mut Stream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.split("content-length: ").nth(1).map_or("0", |it| it.split('\r').next().unwrap());
    stream.read_exact(&mut vec![0; length.parse().unwrap()]).await.ok()?;
    Some(head)
}

async fn answer(stream: &mut Stream, body: &str) -> Option<()> {
    let length = body.len();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.ok()
}

/// A client whose clock stands still.
fn client_by(scene: &Scene, who: &Identity, clock: &Arc<ManualClock>) -> Arc<Client> {
    let tls = watch::Sender::new(Arc::clone(&who.tls)).subscribe();
    Arc::new(Client::new(tls, scene.identify(), Arc::<ManualClock>::clone(clock)))
}

/// Lets time pass until something is done, and no faster than others are served meanwhile; how much that took.
async fn until_done<T>(
    scene: &Scene,
    clock: &ManualClock,
    done: impl Future<Output = T>,
) -> (T, Duration) {
    let (began, mut done) = (clock.now(), std::pin::pin!(done));
    let (origin, other) = (scene.origin().await, scene.identity("other"));
    let token = scene.token_for(&other.name, vec![scene.blob()]);
    loop {
        let served = other.client.outboard(&origin.endpoint, scene.blob(), &token);
        tokio::select! {
            biased;
            done = &mut done => return (done, clock.now().since(began)),
            served = served => drop(served.unwrap()),
        }
        clock.advance(Duration::from_millis(20));
        assert!(clock.now().since(began) < Duration::from_secs(1_800), "it is never done");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_comes_byte_by_byte_comes_from_elsewhere() {
    let scene = Scene::new(BLOCK);
    let clock = Arc::new(ManualClock::at(now()));
    let dripped = Arc::new(AtomicUsize::new(0));
    let counted = (Arc::clone(&dripped), Arc::clone(&clock));
    let slow = somebody(scene.identity("slow"), move |mut stream| {
        let (dripped, clock) = counted.clone();
        async move {
            request(&mut stream).await?;
            let head = format!("HTTP/1.1 206 P\r\ncontent-length: {BLOCK}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            loop {
                stream.write_all(b"x").await.ok()?;
                dripped.fetch_add(1, Ordering::Relaxed);
                clock.sleep_until(clock.now().after(Duration::from_secs(1))).await;
            }
        }
    });
    let slow = slow.await;
    let origin = scene.origin().await;
    let who = scene.identity("h1");
    let client = client_by(&scene, &who, &clock);
    let by = Arc::<ManualClock>::clone(&clock);
    let fetcher = Fetcher::new(client, Arc::new(Limits::new(None)), by);
    let order = FetchOrder::new(scene.blob(), String::new(), scene.token(&who.name));
    let order = order.with_seeds(vec![slow, origin.endpoint.clone()]);
    let folder = scene.make_folder("h1");
    let file = Arc::new(BlobFile::open(&folder, scene.outboard.clone()).unwrap());
    let (fetched, took) = until_done(&scene, &clock, fetcher.fetch(&order, &file)).await;
    assert_eq!(fetched.unwrap().bytes_from(std::slice::from_ref(&origin.endpoint)), BLOCK as u64);
    assert!(took < Duration::from_secs(200), "{took:?}");
    assert!(dripped.load(Ordering::Relaxed) > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outboard_that_comes_byte_by_byte_is_not_waited_for() {
    let scene = Scene::new(BLOCK);
    let clock = Arc::new(ManualClock::at(now()));
    let by = Arc::clone(&clock);
    let slow = somebody(scene.identity("slow"), move |mut stream| {
        let clock = Arc::clone(&by);
        async move {
            request(&mut stream).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 32\r\n\r\n").await.ok()?;
            loop {
                stream.write_all(b"x").await.ok()?;
                clock.sleep_until(clock.now().after(Duration::from_secs(5))).await;
            }
        }
    });
    let (slow, who) = (slow.await, scene.identity("h1"));
    let (client, token) = (client_by(&scene, &who, &clock), String::new());
    let asked = client.outboard(&slow, scene.blob(), &token);
    let (asked, took) = until_done(&scene, &clock, asked).await;
    assert!(asked.is_err() && took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_waited_for_once_however_many_connections_there_were() {
    let scene = Scene::new(BLOCK);
    let open = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&open);
    let silent = somebody(scene.identity("silent"), move |mut stream| {
        let open = Arc::clone(&counted);
        async move {
            request(&mut stream).await?;
            open.fetch_add(1, Ordering::Relaxed);
            while open.load(Ordering::Relaxed) < 4 {
                tokio::task::yield_now().await;
            }
            answer(&mut stream, r#"{"known":false}"#).await?;
            request(&mut stream).await?;
            std::future::pending().await
        }
    });
    let silent = silent.await;
    let who = scene.identity("h1");
    let clock = Arc::new(ManualClock::at(now()));
    let client = client_by(&scene, &who, &clock);
    let (next, token) = (NextRequest::new(scene.blob()), scene.token_for(&who.name, vec![]));
    let ask = || client.next(&silent, &next, &token);
    let all = tokio::join!(ask(), ask(), ask(), ask());
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());
    let (asked, took) = until_done(&scene, &clock, ask()).await;
    asked.unwrap_err();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// Never gives what it is asked for, and counts how often it is.
#[derive(Debug)]
struct Silent {
    outboard: Outboard,
    asked: AtomicUsize,
}

#[async_trait]
impl BlockSource for Silent {
    async fn outboard(&self, _: Blob) -> Result<Bytes, SourceError> {
        Ok(self.outboard.bytes().clone())
    }

    async fn readable(&self, _: Blob, _: Range<u64>) -> Result<Arc<File>, SourceError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_has_nobody_take_up_more_than_it_can() {
    const MOST: usize = 16;
    let scene = Scene::new(64 * BLOCK);
    let who = scene.identity("source");
    let source = Arc::new(Silent { outboard: scene.outboard.clone(), asked: AtomicUsize::new(0) });
    let given = Arc::<Silent>::clone(&source);
    let running = scene.run(&who, scene.block_server(given).with_slots(400)).await;
    let block = |it: u32| {
        let source = serde_json::to_string(&running.endpoint).unwrap();
        format!(r#"{{"block":{it},"source":{source}}}"#)
    };
    let all: Vec<_> = (0..1_000).map(|it| block(it % 64)).collect();
    let all = Arc::new(format!(r#"{{"known":true,"get":[{}]}}"#, all.join(",")));
    let scheduler = somebody(scene.identity("scheduler"), move |mut stream| {
        let all = Arc::clone(&all);
        async move {
            loop {
                request(&mut stream).await?;
                answer(&mut stream, &all).await?;
            }
        }
    });
    let mut host = scene.host("h1").await;
    host.order = host.order.with_schedulers(vec![scheduler.await]);
    host.order = host.order.with_seeds(vec![running.endpoint.clone()]);
    let token = scene.token_for(&who.name, vec![scene.blob()]);
    let fetch = host.spawn_fetch();
    while source.asked.load(Ordering::Relaxed) < MOST {
        tokio::task::yield_now().await;
    }
    // Others that were sent for at the same time would be there by now, or soon.
    for _ in 0..20 {
        who.client.outboard(&running.endpoint, scene.blob(), &token).await.unwrap();
    }
    assert_eq!(source.asked.load(Ordering::Relaxed), MOST);
    fetch.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_help_themselves_begin_in_different_places() {
    let scene = Scene::new(64 * BLOCK);
    let origin = scene.origin().await;
    let mut first = std::collections::BTreeSet::new();
    for number in 0..6 {
        let mut host = scene.host(&format!("h{number}")).await;
        host.order = host.order.with_seeds(vec![origin.endpoint.clone()]);
        let file = host.prepare().await;
        let mut fetch = std::pin::pin!(host.fetcher.fetch(&host.order, &file));
        while file.had().count() == 0 {
            tokio::select! {
                biased;
                _ended = &mut fetch => {}
                () = tokio::task::yield_now() => {}
            }
        }
        first.extend(file.had().iter().next());
    }
    // Four at a time are asked for, and any of these may come first.
    assert!(first.iter().any(|it| *it > 4), "all began with {first:?}");
}
