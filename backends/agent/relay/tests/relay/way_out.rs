//! Agents that may not reach the server get there by a relay.
use crate::lab::Lab;
use deploy_agent_identity::Credentials;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_enrols_and_has_its_session_and_blocks_by_the_relay() {
    let mut lab = Lab::new().await;
    let relay = lab.relay("fra-1", "fra").await;
    let door = relay.way_out.to_string();
    let host = lab.host_by(&door, "h1", "fra").await;
    let credentials = Credentials::read(&lab.folder("h1")).unwrap();
    assert_eq!(credentials.gateway(), door, "it knows nothing but the relay");
    let release = lab.release().await;
    lab.stage(&host, &release).await;
    assert!(!lab.server.served().contains_key(&host));
    assert!(lab.given() >= lab.part().size());

    relay.stop().await;
    let gateway = lab.gateway.clone();
    crate::lab::eventually("its session has gone with the relay", || !gateway.is_connected(&host))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_through_is_what_came_and_each_end_hears_of_the_other() {
    let lab = Lab::new().await;
    lab.enrol_relay("fra-1", &[("role", "relay"), ("zone", "fra")]).await.unwrap();
    // Somebody who repeats what is said until nothing more is, and says so.
    let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let file = lab.folder("fra-1").join("credentials.toml");
    let known = std::fs::read_to_string(&file).unwrap();
    let elsewhere = known.replace(&lab.door, &echo.local_addr().unwrap().to_string());
    std::fs::write(&file, elsewhere).unwrap();
    let repeating = tokio::spawn(async move {
        loop {
            let (mut stream, _) = echo.accept().await.unwrap();
            tokio::spawn(async move {
                let mut said = Vec::new();
                stream.read_to_end(&mut said).await.unwrap();
                stream.write_all(&said).await.unwrap();
            });
        }
    });
    let node = lab.open_relay("fra-1", crate::lab::settings()).await.unwrap();
    let relay = crate::lab::Running::new(node);
    let said: Vec<u8> = (0..3_000_000_u32).map(|it| it.to_le_bytes()[1]).collect();
    let heard = async |door| {
        let stream = TcpStream::connect(door).await.unwrap();
        let (mut from, mut to) = stream.into_split();
        let said = said.clone();
        let saying = tokio::spawn(async move {
            to.write_all(&said).await.unwrap();
            to.shutdown().await.unwrap();
        });
        let mut heard = Vec::new();
        while from.read_buf(&mut heard).await.is_ok_and(|it| it > 0) {}
        saying.await.unwrap();
        heard
    };
    assert!(heard(relay.way_out).await == said);

    // Nobody is there any more: whoever comes is sent away at once.
    repeating.abort();
    drop(repeating.await);
    let mut stream = TcpStream::connect(relay.way_out).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
}
