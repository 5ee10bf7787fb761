//! Requests that come twice.
use crate::lab::{Lab, parse};
use deploy_core::{
    backend::{BeginAnswer, Begun},
    digest::Digest,
};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

async fn keyed(lab: &Lab, key: &str, path: &str, body: &Value) -> crate::lab::Answer {
    lab.write(Method::POST, path, &[("idempotency-key", key)], body).await
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_also_after_a_restart() {
    let lab = Lab::new().await;
    let host = |name: &str| json!({"name": name, "connection": {"via": "ssh"}});
    let first = keyed(&lab, "k1", "/api/v1/hosts", &host("h1")).await;
    assert_eq!(first.status, StatusCode::CREATED);
    let again = keyed(&lab, "k1", "/api/v1/hosts", &host("h1")).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    assert_ne!(again.header("x-request-id"), first.header("x-request-id"));
    assert_eq!(keyed(&lab, "k1", "/api/v1/hosts", &host("h2")).await.problem(), "key_reused");
    assert_eq!(keyed(&lab, "k1", "/api/v1/hosts?x=1", &host("h1")).await.problem(), "key_reused");
    // A refusal is an answer as well.
    assert_eq!(keyed(&lab, "k2", "/api/v1/hosts", &host("h1")).await.problem(), "already_exists");
    let lab = lab.restarted().await;
    let later = keyed(&lab, "k1", "/api/v1/hosts", &host("h1")).await;
    assert_eq!((later.status, &later.body), (first.status, &first.body));
    assert_eq!(keyed(&lab, "k2", "/api/v1/hosts", &host("h1")).await.problem(), "already_exists");
}

#[tokio::test]
async fn keys_are_the_callers_own() {
    let mut lab = Lab::new().await;
    let host = json!({"name": "h1", "connection": {"via": "ssh"}});
    keyed(&lab, "k1", "/api/v1/hosts", &host).await;
    lab.admin = lab.token(&json!({"principal": "bob", "actions": ["host_write"]})).await;
    assert_eq!(keyed(&lab, "k1", "/api/v1/hosts", &host).await.problem(), "already_exists");
}

#[tokio::test]
async fn of_many_at_once_one_is_worked_on() {
    let lab = Lab::new().await;
    let host = json!({"name": "h1", "connection": {"via": "ssh"}});
    let all = (0..16).map(|_| keyed(&lab, "k1", "/api/v1/hosts", &host));
    let answers = futures_util::future::join_all(all).await;
    assert!(answers.iter().any(|it| it.status == StatusCode::CREATED));
    for answer in answers.iter().filter(|it| it.status != StatusCode::CREATED) {
        assert_eq!(answer.problem(), "in_progress");
    }
}

#[tokio::test]
async fn what_a_process_has_begun_that_is_gone_is_begun_anew() {
    let lab = Lab::new().await;
    let host = json!({"name": "h1", "connection": {"via": "ssh"}});
    let request = Digest::of(format!("POST /api/v1/hosts\n{host}").as_bytes());
    for (key, holder) in [("k1", "dead-1"), ("k2", "alive-1")] {
        let begin = BeginAnswer::new(parse("admin"), parse(key), request, holder);
        let begun = lab.world.control.answers.begin(&begin).await.unwrap();
        assert!(matches!(begun, Begun::New(_)));
    }
    assert_eq!(keyed(&lab, "k2", "/api/v1/hosts", &host).await.problem(), "in_progress");
    let done = keyed(&lab, "k1", "/api/v1/hosts", &host).await;
    assert_eq!(done.status, StatusCode::CREATED, "{done:?}");
    let again = keyed(&lab, "k1", "/api/v1/hosts", &host).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_secret_is_not_kept_to_be_shown_again() {
    let lab = Lab::new().await;
    let token = json!({"principal": "ci", "actions": []});
    let made = keyed(&lab, "k1", "/api/v1/tokens", &token).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let id = made.json()["token"]["id"].clone();
    let again = keyed(&lab, "k1", "/api/v1/tokens", &token).await;
    assert_eq!((again.problem().as_str(), &again.json()["context"]["token"]), ("conflict", &id));
    assert_eq!(lab.get("/api/v1/tokens").await.json()["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_key_is_one_word() {
    let lab = Lab::new().await;
    for key in ["", "a b", &"x".repeat(256)] {
        let answer = keyed(&lab, key, "/api/v1/plans", &json!({})).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{key}");
    }
}
