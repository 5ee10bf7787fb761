//! The end of a server: orderly, and nothing is lost by it.
use crate::lab::Lab;
use http_body_util::{BodyExt as _, Full};
use hyper::Method;
use tokio::net::TcpStream;

#[tokio::test]
async fn streams_end_and_leases_are_given_up() {
    let lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    let service = serde_json::json!({"owner": "ann", "deploy_path": "/srv/web", "selector": "*",
        "strategy": {"waves": ["1", "100%"], "confirm": "after_first"}});
    lab.write(Method::PUT, "/api/v1/services/web", &[("if-match", "\"1\"")], &service).await;
    let start = serde_json::json!({"service": "web", "release": "web-1"});
    let id = lab.post("/api/v1/rollouts", &start).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/rollouts/{id}/events");
    let request = lab.request(Method::GET, &path).body(Full::default()).unwrap();
    let mut stream = lab.open(request).await.into_body();
    assert!(stream.frame().await.is_some());
    let leases = std::sync::Arc::clone(&lab.world.control.parts.leases);
    while leases.current("service/web").await.unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    let address = lab.address;
    lab.stop().await;
    while let Some(Ok(_)) = stream.frame().await {}
    assert_eq!(leases.current("service/web").await.unwrap(), None);
    assert!(TcpStream::connect(address).await.is_err(), "somebody still listens");
}
