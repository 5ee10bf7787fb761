//! Those who take their time, to keep others out.
use crate::scene::{Identity, Running, Scene, now};
use deploy_core::{backend::Clock, memory::ManualClock};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls::pki_types::ServerName};

const BLOCK: usize = 256 << 10;
/// What the kernel keeps of what is not read: less than a block.
const KERNEL: u32 = 8 << 10;

/// A store with one slot whose clock stands still, and what it keeps of what nobody reads.
async fn store(scene: &Scene) -> (Running, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at(now()));
    let by = Arc::<ManualClock>::clone(&clock) as Arc<dyn Clock>;
    let server = scene.block_server_by(scene.store(), by).with_slots(1);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(KERNEL).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (scene.run_on(&scene.identity("store"), server, socket.listen(16).unwrap()), clock)
}

async fn connect(who: &Identity, to: &Running) -> TlsStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(KERNEL).unwrap();
    let stream = socket.connect(to.endpoint.address.parse().unwrap()).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::clone(&who.tls)).connect(name, stream).await.unwrap()
}

/// Asks for the first block, and reads a little of the answer: the slot is taken.
async fn ask(scene: &Scene, who: &Identity, connection: &mut TlsStream<TcpStream>) {
    let (blob, token) = (scene.blob(), scene.token_for(&who.name, vec![scene.blob()]));
    let last = BLOCK - 1;
    let head = format!(
        "GET /v1/blobs/{blob} HTTP/1.1\r\nhost: store\r\nauthorization: Bearer {token}\r\n\
         range: bytes=0-{last}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    connection.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 206");
}

/// Lets time pass until whoever is at the other end of `connection` has closed it; how much that took.
async fn until_closed(connection: &mut TlsStream<TcpStream>, clock: &ManualClock) -> Duration {
    let began = clock.now();
    let mut rest = Vec::new();
    let mut closed = Box::pin(connection.read_to_end(&mut rest));
    loop {
        tokio::select! {
            biased;
            _ended = &mut closed => return clock.now().since(began),
            () = tokio::task::yield_now() => {}
        }
        if clock.sleepers() > 0 {
            clock.advance(Duration::from_millis(20));
        }
        assert!(clock.now().since(began) < Duration::from_secs(600), "it is kept for ever");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_gives_its_slot_back() {
    let scene = Scene::new(2 * BLOCK);
    let (store, clock) = store(&scene).await;
    let (slow, other) = (scene.identity("slow"), scene.identity("other"));
    let mut held = connect(&slow, &store).await;
    ask(&scene, &slow, &mut held).await;
    let mut waits = connect(&other, &store).await;
    let token = scene.token_for(&other.name, vec![scene.blob()]);
    let (turn, began) = (ask(&scene, &other, &mut waits), clock.now());
    let pass_time = async {
        while !store.server.served().contains_key(&other.name) {
            clock.advance(Duration::from_millis(200));
            // So that the time of the two that wait passes no faster than they are served.
            other.client.outboard(&store.endpoint, scene.blob(), &token).await.unwrap();
            assert!(clock.now().since(began) < Duration::from_secs(600), "the slot is never free");
        }
        clock.now().since(began)
    };
    let ((), took) = tokio::join!(turn, pass_time);
    assert!(took >= Duration::from_secs(26), "a block may take as long as that: {took:?}");
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_half_of_it_is_let_go() {
    let scene = Scene::new(2 * BLOCK);
    let (store, clock) = store(&scene).await;
    let who = scene.identity("h1");
    let half_a_body = "POST /v1/next HTTP/1.1\r\nhost: store\r\ncontent-length: 9\r\n\r\n{";
    for said in ["", "GET /v1/blo", half_a_body] {
        let mut connection = connect(&who, &store).await;
        connection.write_all(said.as_bytes()).await.unwrap();
        let took = until_closed(&mut connection, &clock).await;
        assert!(took < Duration::from_secs(400), "{said}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_host_has_so_many_connections_and_leaves_others_theirs() {
    const MOST: usize = 128;
    let scene = Scene::new(2 * BLOCK);
    let (store, _clock) = store(&scene).await;
    let (greedy, other) = (scene.identity("greedy"), scene.identity("other"));
    let mut kept = Vec::new();
    for _ in 0..MOST {
        kept.push(connect(&greedy, &store).await);
    }
    // The handshake is done before it is known who that is.
    let mut more = connect(&greedy, &store).await;
    assert_eq!(more.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
    let mut connection = connect(&other, &store).await;
    ask(&scene, &other, &mut connection).await;
    drop(kept.pop());
}
