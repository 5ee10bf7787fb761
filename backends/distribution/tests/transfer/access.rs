//! Who may have what.
use crate::scene::{Scene, now, other_blob};
use deploy_distribution::{
    token::{Grant, TokenSigner},
    transfer::{Endpoint, LinkError, NextRequest},
};
use futures_util::FutureExt as _;
use std::time::Duration;
use tokio::net::TcpListener;

fn status(refused: Result<impl Sized, LinkError>) -> u16 {
    match refused {
        Err(LinkError::Refused { status, .. }) => status,
        Err(other) => panic!("{other}"),
        Ok(_) => 200,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_token_nobody_gets_anything() {
    let scene = Scene::new(1 << 20);
    let origin = scene.origin().await;
    let who = scene.identity("h1");
    let blob = scene.blob();
    let until = now().after(Duration::from_secs(60));
    let token = |host: &str, blobs, until| {
        scene.signer.sign(&Grant::new(host.parse().unwrap(), blobs, until))
    };
    let forged = TokenSigner::from_secret(&[8; 32]);
    let forged = forged.sign(&Grant::new(who.name.clone(), vec![blob], until));
    let get = async |token: String| {
        let outboard = status(who.client.outboard(&origin.endpoint, blob, &token).await);
        let next = NextRequest::new(blob);
        let next = status(who.client.next(&origin.endpoint, &next, &token).await);
        assert_eq!(outboard, next, "{token}");
        outboard
    };
    assert_eq!(get(token("h1", vec![blob], until)).await, 200);
    assert_eq!(get(String::new()).await, 401);
    assert_eq!(get(forged).await, 403);
    assert_eq!(get(token("h2", vec![blob], until)).await, 403);
    assert_eq!(get(token("h1", vec![other_blob()], until)).await, 403);
    assert_eq!(get(token("h1", vec![blob], now())).await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_somebody_else_is_asked_for_nothing() {
    let scene = Scene::new(1 << 20);
    let origin = scene.origin().await;
    let who = scene.identity("h1");
    let token = scene.token(&who.name).borrow().clone();
    let wrong = Endpoint::new("other".parse().unwrap(), origin.endpoint.address.clone());
    let refused = who.client.outboard(&wrong, scene.blob(), &token).await;
    assert!(matches!(refused, Err(LinkError::SomebodyElse { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_other_authorities_have_no_connection() {
    let (scene, elsewhere) = (Scene::new(1 << 20), Scene::new(1));
    let origin = scene.origin().await;
    let stranger = elsewhere.identity("h1");
    let token = scene.token(&stranger.name).borrow().clone();
    let refused = stranger.client.outboard(&origin.endpoint, scene.blob(), &token).await;
    assert!(matches!(refused, Err(LinkError::Unreachable { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_an_address_that_is_not_the_hosts_own() {
    let scene = Scene::new(4 << 20);
    let origin = scene.origin().await;
    let all = vec![origin.endpoint.clone()];
    // Somebody else's door, on this machine as well.
    let door = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let mut liar = scene.host("liar").await;
    liar.order = liar.order.with_schedulers(all.clone()).with_seeds(all.clone());
    liar.order.address = door.local_addr().unwrap().to_string();
    let fetched = liar.spawn_fetch().await.unwrap();
    assert_eq!(fetched.total(), 4 << 20, "it gets its blocks all the same");
    let mut host = scene.host("h1").await;
    host.order = host.order.with_schedulers(all.clone()).with_seeds(all);
    let fetched = host.fetch().await.unwrap();
    assert!(fetched.bytes.keys().all(|it| it.as_str() == "origin"), "{fetched:?}");
    assert!(door.accept().now_or_never().is_none(), "somebody was sent there");
}
