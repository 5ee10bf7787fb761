//! Limits on how fast bytes travel to hosts.
use crate::lab::{Answer, Lab};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

async fn set(lab: &Lab, scope: &str, asked: Value) -> Answer {
    lab.write(Method::PUT, &format!("/api/v1/limits/{scope}"), &[], &asked).await
}

async fn clear(lab: &Lab, scope: &str) -> Answer {
    lab.write(Method::DELETE, &format!("/api/v1/limits/{scope}"), &[], &json!(null)).await
}

async fn scopes(lab: &Lab) -> Vec<String> {
    let listed = lab.get("/api/v1/limits").await.json();
    let items = listed["items"].as_array().unwrap().iter();
    items.map(|it| it["scope"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn limits_are_set_changed_taken_back_and_outlive_the_server() {
    let lab = Lab::new().await;
    lab.fleet().await;
    assert!(scopes(&lab).await.is_empty());
    for (scope, asked) in [
        ("origin", json!({"mbit": 500})),
        ("zone=fra", json!({"mbit": 200})),
        ("zone=eu%2Ffra", json!({"mbit": 100})),
        ("host=h1", json!({"mbit": 50, "upload_mbit": 10})),
        ("host%3Dh1", json!({"mbit": 40, "upload_mbit": 10})),
    ] {
        let answer = set(&lab, scope, asked.clone()).await;
        assert_eq!(answer.status, StatusCode::OK, "{scope}: {answer:?}");
        let said = answer.json();
        assert_eq!((&said["mbit"], &said["set_by"]), (&asked["mbit"], &json!("admin")));
        assert!(said["set_at"].as_str().unwrap().ends_with('Z'), "{said}");
    }
    let lab = lab.restarted().await;
    assert_eq!(scopes(&lab).await, ["host=h1", "origin", "zone=eu/fra", "zone=fra"]);
    let first = lab.get("/api/v1/limits?limit=1").await.json();
    assert_eq!(
        (&first["items"][0]["mbit"], &first["items"][0]["upload_mbit"]),
        (&json!(40), &json!(10))
    );
    let next = lab.get(first["next"].as_str().unwrap()).await.json();
    assert_eq!(next["items"][0]["scope"], "origin");
    assert_eq!(clear(&lab, "host=h1").await.status, StatusCode::NO_CONTENT);
    assert_eq!(clear(&lab, "host=h1").await.problem(), "not_found");
    assert_eq!(scopes(&lab).await, ["origin", "zone=eu/fra", "zone=fra"]);
}

#[tokio::test]
async fn what_limits_nothing_is_refused() {
    let lab = Lab::new().await;
    lab.fleet().await;
    for (scope, asked, code) in [
        ("h1", json!({"mbit": 1}), "invalid_input"),
        ("rack=a", json!({"mbit": 1}), "invalid_input"),
        ("host=", json!({"mbit": 1}), "invalid_input"),
        ("origin", json!({"mbit": 0}), "invalid_input"),
        ("origin", json!({"mbit": -1}), "invalid_input"),
        ("origin", json!({"mbit": 1, "upload_mbit": 1}), "invalid_input"),
        ("host=h1", json!({"mbit": 1, "upload_mbit": 0}), "invalid_input"),
        ("origin", json!({"mbit": 1, "mbps": 1}), "invalid_input"),
        ("origin", json!({}), "invalid_input"),
        ("host=h9", json!({"mbit": 1}), "not_found"),
        ("rollout=web-9", json!({"mbit": 1}), "not_found"),
    ] {
        assert_eq!(set(&lab, scope, asked.clone()).await.problem(), code, "{scope} {asked}");
    }
    assert!(scopes(&lab).await.is_empty());
}

#[tokio::test]
async fn a_rollout_that_is_over_has_no_limit() {
    let lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    let asked = json!({"service": "web", "release": "web-1"});
    let started = lab.post("/api/v1/rollouts", &asked).await.json();
    let id = started["id"].as_str().unwrap();
    // It ends with the last of them.
    lab.get(&format!("/api/v1/rollouts/{id}/events")).await;
    assert_eq!(set(&lab, &format!("rollout={id}"), json!({"mbit": 1})).await.problem(), "conflict");
}

#[tokio::test]
async fn whoever_may_change_no_hosts_limits_nothing() {
    let mut lab = Lab::new().await;
    lab.fleet().await;
    assert_eq!(set(&lab, "zone=a", json!({"mbit": 1})).await.status, StatusCode::OK);
    lab.admin = lab.token(&json!({"principal": "reader", "actions": []})).await;
    for scope in ["origin", "zone=a", "host=h1", "rollout=r1"] {
        let denied = set(&lab, scope, json!({"mbit": 5})).await;
        assert_eq!(denied.problem(), "access_denied", "{scope}");
        assert_eq!(clear(&lab, scope).await.problem(), "access_denied", "{scope}");
    }
    assert_eq!(scopes(&lab).await, ["zone=a"]);
}
