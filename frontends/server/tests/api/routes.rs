//! What holds for every route there is.
use crate::lab::{Lab, limits};
use deploy_server::document;
use http_body_util::Full;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

/// Every method and path of the description.
pub(crate) fn described() -> Vec<(Method, String)> {
    let document = serde_json::to_value(document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { continue };
            if ["GET", "PUT", "POST", "DELETE", "PATCH"].contains(&method.as_str()) {
                all.push((method, path.clone()));
            }
        }
    }
    assert!(all.len() > 25, "{all:?}");
    all
}

/// A path with something for each of its parts.
pub(crate) fn filled(path: &str) -> String {
    let digest = format!("sha256:{}", "0".repeat(64));
    path.replace("{digest}", &digest)
        .replace("{token}", "00000000000000aa")
        .replace("{build}", "b1")
        .replace("{service}", "web")
        .replace("{release}", "web-1")
        .replace("{other}", "web-2")
        .replace("{rollout}", "web-0")
        .replace("{host}", "h1")
        .replace("{scope}", "origin")
        .replace("{repository}/{kind}/{channel}", "web/package/stable")
}

#[tokio::test]
async fn what_is_described_is_routed() {
    let lab = Lab::new().await;
    for (method, path) in described() {
        let request = lab.request(method.clone(), &filled(&path)).body(Full::default()).unwrap();
        let answer = lab.send(request).await;
        assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        if answer.status == StatusCode::NOT_FOUND {
            let said = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(!said.starts_with("there is nothing at"), "{method} {path}: {said}");
        }
        assert!(!answer.status.is_server_error(), "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
async fn what_is_not_described_is_not_routed() {
    let lab = Lab::new().await;
    let described = described();
    let paths: std::collections::BTreeSet<_> = described.iter().map(|(_, it)| it).collect();
    for path in paths {
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            if described.contains(&(method.clone(), path.clone())) {
                continue;
            }
            let request = lab.request(method.clone(), &filled(path)).body(Full::default()).unwrap();
            let answer = lab.send(request).await;
            assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            assert_eq!(answer.problem(), "method_not_allowed");
            assert!(!answer.header("allow").is_empty());
        }
    }
    for path in ["/", "/api", "/api/v1", "/api/v1/nothing", "/api/v2/hosts"] {
        let answer = lab.get(path).await;
        assert_eq!(
            (answer.status, answer.problem().as_str()),
            (StatusCode::NOT_FOUND, "not_found")
        );
    }
}

#[tokio::test]
async fn the_description_stands_on_its_own() {
    let lab = Lab::new().await;
    let served = lab.get("/api/v1/openapi.json").await.json();
    assert_eq!(served, serde_json::to_value(document()).unwrap());
    assert!(served["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut wanted = Vec::new();
    references(&served, &mut wanted);
    assert!(wanted.len() > 20);
    for reference in wanted {
        let there = served.pointer(reference.trim_start_matches('#'));
        assert!(there.is_some(), "{reference} leads nowhere");
    }
    for (_, item) in served["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{operation}");
            assert!(
                operation["security"].is_array() && operation["responses"]["default"].is_object()
            );
            let parameters = operation["parameters"].to_string();
            assert_eq!(parameters.contains("idempotency-key"), method == "post", "{operation}");
        }
    }
    let page = lab.get("/api/v1/docs").await;
    let text = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(text.contains("id=problem-rollout_active") && !text.contains("http://"));
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.push(reference.clone());
            }
            fields.values().for_each(|it| references(it, found));
        }
        Value::Array(items) => items.iter().for_each(|it| references(it, found)),
        _ => {}
    }
}

#[tokio::test]
async fn every_refusal_is_a_problem() {
    let mut limits = limits();
    limits.body_bytes = 1_000;
    let lab = Lab::with(limits).await;
    let plan = json!({"service": "web", "release": "web-1"});
    let text = lab
        .request(Method::POST, "/api/v1/plans")
        .header("content-type", "text/plain")
        .body(Full::from("x"))
        .unwrap();
    let broken = lab
        .request(Method::POST, "/api/v1/plans")
        .header("content-type", "application/json")
        .body(Full::from("{"))
        .unwrap();
    let large = json!({"service": "w".repeat(2_000), "release": ""});
    for (answer, status, code) in [
        (lab.send(text).await, 415, "unsupported_media_type"),
        (lab.send(broken).await, 400, "invalid_input"),
        (lab.post("/api/v1/plans", &large).await, 413, "too_large"),
        (lab.post("/api/v1/plans", &json!({"service": "web"})).await, 422, "invalid_input"),
        (lab.post("/api/v1/plans", &json!({"x": 1})).await, 422, "invalid_input"),
        (lab.post("/api/v1/plans", &plan).await, 404, "not_found"),
        (lab.get("/api/v1/services?limit=0").await, 400, "invalid_input"),
        (lab.get("/api/v1/services?limit=x").await, 400, "invalid_input"),
        (lab.get("/api/v1/services?order=x").await, 400, "invalid_input"),
        (lab.get("/api/v1/services/Not%20a%20name").await, 422, "invalid_input"),
        (lab.get("/api/v1/services/%ff").await, 400, "invalid_input"),
        (lab.get("/api/v1/rollouts/none").await, 404, "not_found"),
        (lab.get("/api/v1/artifacts/none/upload").await, 422, "invalid_input"),
    ] {
        assert_eq!(answer.status.as_u16(), status, "{answer:?}");
        assert_eq!(answer.problem(), code);
    }
}

#[tokio::test]
async fn a_request_keeps_the_name_that_it_came_with() {
    let lab = Lab::new().await;
    let named = |name: &str| {
        let request = lab.request(Method::GET, "/api/v1/hosts").header("x-request-id", name);
        lab.send(request.body(Full::default()).unwrap())
    };
    assert_eq!(named("trace-7.a_b").await.header("x-request-id"), "trace-7.a_b");
    for unfit in ["a b", "a\u{e9}", &"x".repeat(65)] {
        assert_eq!(named(unfit).await.header("x-request-id").len(), 16, "{unfit}");
    }
}
