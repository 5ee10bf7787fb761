//! Channels over HTTP: who may move them, from where they are, and what they lead to.
use crate::lab::{Answer, Lab};
use http_body_util::Full;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

const STABLE: &str = "/api/v1/channels/web/package/stable";

async fn put(lab: &Lab, precondition: (&str, &str), version: Value) -> Answer {
    let to = json!({"version": version, "reason": "tried"});
    lab.write(Method::PUT, STABLE, &[precondition], &to).await
}

#[tokio::test]
async fn a_channel_is_moved_from_where_it_was_seen() {
    let lab = Lab::new().await;
    lab.push("1").await;
    lab.push("2").await;
    assert_eq!(lab.get(STABLE).await.problem(), "not_found");
    let made = put(&lab, ("if-none-match", "*"), json!("1")).await;
    assert_eq!((made.status, made.header("etag")), (StatusCode::CREATED, "\"1\""), "{made:?}");
    let again = put(&lab, ("if-none-match", "*"), json!("2")).await;
    assert_eq!((again.status.as_u16(), again.problem().as_str()), (412, "precondition_failed"));
    let moved = put(&lab, ("if-match", "\"1\""), json!("2")).await;
    assert_eq!((moved.status, moved.header("etag")), (StatusCode::OK, "\"2\""));
    assert_eq!(put(&lab, ("if-match", "\"1\""), json!("1")).await.status.as_u16(), 412);
    assert_eq!(put(&lab, ("if-match", "\"2\""), json!("3")).await.problem(), "not_found");
    let none = lab.write(Method::PUT, STABLE, &[], &json!({"version": "1"})).await;
    assert_eq!(none.problem(), "precondition_required");
    let long = json!({"version": "1", "reason": "x".repeat(1_001)});
    let long = lab.write(Method::PUT, STABLE, &[("if-match", "\"2\"")], &long).await;
    assert_eq!(long.problem(), "invalid_input");

    let found = lab.get(STABLE).await;
    assert_eq!((found.header("etag"), &found.json()["version"]), ("\"2\"", &json!("2")));
    let resolved = lab.get("/api/v1/artifacts/resolve?name=web%40stable&kind=package").await;
    assert_eq!(resolved.json()["digest"], found.json()["digest"]);
    assert_eq!(put(&lab, ("if-match", "\"2\""), Value::Null).await.json()["version"], Value::Null);
    assert_eq!(lab.get("/api/v1/channels").await.json()["items"], json!([]));
    let history = lab.get(&format!("{STABLE}/history?limit=2")).await.json();
    let moves: Vec<_> = history["items"].as_array().unwrap().iter().collect();
    assert_eq!((&moves[0]["from"], &moves[0]["to"]), (&json!("2"), &Value::Null));
    assert_eq!((&moves[1]["from"], &moves[1]["to"]), (&json!("1"), &json!("2")));
    let rest = lab.get(history["next"].as_str().unwrap()).await.json();
    assert_eq!((&rest["items"][0]["from"], &rest["next"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn channels_are_paged_and_moved_by_whoever_may_put_artifacts_there() {
    let lab = Lab::new().await;
    lab.push("1").await;
    for name in ["beta", "edge", "stable"] {
        let path = format!("/api/v1/channels/web/package/{name}");
        let made = lab
            .write(Method::PUT, &path, &[("if-none-match", "*")], &json!({"version": "1"}))
            .await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    }
    let (mut path, mut seen) = ("/api/v1/channels?repository=web&limit=2".to_owned(), Vec::new());
    loop {
        let page = lab.get(&path).await.json();
        let items = page["items"].as_array().unwrap().iter();
        seen.extend(items.map(|it| it["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = next.to_owned();
    }
    assert_eq!(seen, ["beta", "edge", "stable"]);
    assert_eq!(lab.get("/api/v1/channels?after=web").await.problem(), "invalid_input");

    for (actions, service, status) in [
        (json!([]), "web", 403),
        (json!(["service_write"]), "web", 403),
        (json!(["artifact_write"]), "db", 403),
        (json!(["artifact_write"]), "web", 200),
    ] {
        let asked = json!({"principal": "ci", "actions": actions, "services": [service]});
        let token = lab.token(&asked).await;
        let request = hyper::Request::builder()
            .method(Method::PUT)
            .uri(STABLE)
            .header("host", "server")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("if-match", "\"1\"");
        let body = json!({"version": "1", "reason": "again"}).to_string();
        let answer = lab.send(request.body(Full::from(body)).unwrap()).await;
        assert_eq!(answer.status.as_u16(), status, "{actions} on {service}: {answer:?}");
    }
}

#[tokio::test]
async fn what_was_uploaded_comes_back() {
    let lab = Lab::new().await;
    let bytes = vec![7; 300_000];
    assert_eq!(lab.upload("package", "1", &bytes, 0).await.status, StatusCode::CREATED);
    let digest = lab.get("/api/v1/artifacts").await.json()["items"][0]["digest"].clone();
    let digest = digest.as_str().unwrap();
    let content = lab.get(&format!("/api/v1/artifacts/{digest}/content")).await;
    assert_eq!(content.header("content-type"), "application/octet-stream");
    assert!(content.body == bytes);
    let found = lab.get(&format!("/api/v1/artifacts?digest={}", &digest[..20])).await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    for wrong in ["digest=sha256:12", "repository=*w", "kind=image", "since_s=-1", "colour=red"] {
        let refused = lab.get(&format!("/api/v1/artifacts?{wrong}")).await;
        assert!(refused.status.is_client_error(), "{wrong}: {refused:?}");
        refused.problem();
    }
    let missing = lab.get(&format!("/api/v1/artifacts/sha256:{}/content", "0".repeat(64))).await;
    assert_eq!(missing.problem(), "not_found");
}
