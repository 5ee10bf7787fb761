//! How much is taken.
use crate::lab::{Lab, limits};
use deploy_core::{backend::Clock as _, memory::SystemClock};
use hyper::StatusCode;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[tokio::test]
async fn a_token_is_used_no_faster_than_it_may_be() {
    let mut limits = limits();
    (limits.rate_per_second, limits.rate_burst) = (1, 5);
    let lab = Lab::with(limits).await;
    let clock = SystemClock::new();
    let (mut refused, began) = (0, clock.now());
    for _ in 0..10 {
        let answer = lab.get("/api/v1/hosts").await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(answer.problem(), "rate_limited");
            assert_eq!(answer.header("retry-after"), "1");
            refused += 1;
        }
    }
    // Of ten at once all but the burst, and one less for each second that they took.
    let least = 5_u64.saturating_sub(clock.now().since(began).as_secs() + 1);
    assert!((least..=5).contains(&refused), "{refused} of 10 were refused");
}

#[tokio::test]
async fn event_streams_are_counted() {
    let mut limits = limits();
    limits.streams = 0;
    let lab = Lab::with(limits).await;
    lab.fleet().await;
    lab.release("1").await;
    let start = serde_json::json!({"service": "web", "release": "web-1"});
    lab.post("/api/v1/rollouts", &start).await;
    let refused = lab.get("/api/v1/rollouts/web/events").await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
    );
}

#[tokio::test]
async fn whoever_does_not_say_what_they_want_is_let_go() {
    let mut limits = limits();
    limits.head_timeout = Duration::from_millis(200);
    let lab = Lab::with(limits).await;
    let mut stream = TcpStream::connect(lab.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await.unwrap();
    let mut said = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await;
    assert!(read.is_ok(), "the connection is still open");
}
