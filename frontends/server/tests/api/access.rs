//! Who is let in, and what they may do.
use crate::{
    lab::{Lab, parse},
    routes::{described, filled},
};
use deploy_core::{
    access::{Action, Resource},
    backend::CreateToken,
    id::TokenId,
    time::Timestamp,
    token::{ApiToken, TokenScope, TokenSecret},
};
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::json;

/// What everybody may see.
const OPEN: [&str; 4] = ["/healthz", "/readyz", "/api/v1/openapi.json", "/api/v1/docs"];

async fn status(
    lab: &Lab,
    method: &Method,
    path: &str,
    authorization: Option<&str>,
) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path).header("host", "server");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let answer = lab.send(request.body(Full::default()).unwrap()).await;
    if answer.status == StatusCode::UNAUTHORIZED {
        assert_eq!(answer.problem(), "unauthenticated");
    }
    (answer.status.as_u16(), answer.header("www-authenticate").to_owned())
}

/// A token that has expired.
async fn expired(lab: &Lab) -> String {
    let control = &lab.world.control;
    let platform = deploy_core::engine::Platform::new(control.parts.clone());
    let permit =
        platform.permit(&parse("ann"), Action::TokenWrite, Resource::System).await.unwrap();
    let token = ApiToken::new(TokenId::from_bits(9), TokenSecret::from_bytes([9; 32]));
    let (from, until) = (Timestamp::from_millis(1), Timestamp::from_millis(2));
    let scope = TokenScope::new(Action::ALL);
    let (id, hash) = (token.id.clone(), token.secret.hash());
    let request = CreateToken::new(id, hash, parse("ann"), scope, from, until);
    control.credentials.create(&permit, &request).await.unwrap();
    token.reveal()
}

#[tokio::test]
async fn no_route_lets_anybody_in_without_a_token_that_is_good() {
    let lab = Lab::new().await;
    let admin = lab.admin.clone();
    let revoked = lab.token(&json!({"principal": "ci", "actions": []})).await;
    let id = revoked.split('_').nth(1).unwrap();
    let request = lab.request(Method::DELETE, &format!("/api/v1/tokens/{id}"));
    let gone = lab.send(request.body(Full::default()).unwrap()).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    let wrong =
        format!("{}{}", &admin[..admin.len() - 1], if admin.ends_with('0') { 1 } else { 0 });
    let bad = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some("Bearer x".to_owned()),
        Some(format!("Basic {admin}")),
        Some(admin.clone()),
        Some(format!("Bearer {wrong}")),
        Some(format!("Bearer {revoked}")),
        Some(format!("Bearer {}", expired(&lab).await)),
    ];
    let mut routes = described();
    routes.push((Method::GET, "/metrics".to_owned()));
    routes.push((Method::GET, "/nothing".to_owned()));
    for (method, path) in routes {
        for authorization in &bad {
            let (status, challenge) =
                status(&lab, &method, &filled(&path), authorization.as_deref()).await;
            assert_eq!(status, 401, "{method} {path} with {authorization:?}");
            assert!(challenge.starts_with("Bearer"), "{challenge}");
        }
    }
    for path in OPEN {
        assert_eq!(status(&lab, &Method::GET, path, None).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn a_token_without_actions_changes_nothing() {
    let mut lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    let reader = lab.token(&json!({"principal": "reader", "actions": []})).await;
    let start = json!({"service": "web", "release": "web-1"});
    let id = lab.post("/api/v1/rollouts", &start).await.json()["id"].as_str().unwrap().to_owned();
    lab.admin = reader;
    let spec = json!({"owner": "x", "deploy_path": "/x", "selector": "*"});
    let host = json!({"name": "h9", "connection": {"via": "ssh"}});
    let new = [("if-none-match", "*")];
    let seen = [("if-match", "\"1\"")];
    let command = format!("/api/v1/rollouts/{id}/commands");
    let release = json!({"service": "web", "version": "2", "package": "1", "descriptor": "1"});
    for answer in [
        lab.write(Method::PUT, "/api/v1/services/new", &new, &spec).await,
        lab.write(Method::PUT, "/api/v1/services/web", &seen, &spec).await,
        lab.post("/api/v1/hosts", &host).await,
        lab.post("/api/v1/hosts/import", &json!({"hosts": [host]})).await,
        lab.write(Method::PUT, "/api/v1/hosts/h1", &seen, &json!({"connection": {"via": "ssh"}}))
            .await,
        lab.write(Method::PATCH, "/api/v1/hosts/h1", &seen, &json!({"labels": {"a": "b"}})).await,
        lab.write(Method::DELETE, "/api/v1/hosts/h1", &[], &json!({})).await,
        lab.post("/api/v1/releases", &release).await,
        lab.post("/api/v1/rollouts", &start).await,
        lab.post(&command, &json!({"command": "pause"})).await,
        lab.upload("package", "9", b"bytes", 0).await,
        lab.get("/api/v1/join-tokens").await,
        lab.post("/api/v1/join-tokens", &json!({})).await,
        lab.write(Method::DELETE, "/api/v1/join-tokens/0000000000000001", &[], &json!({})).await,
        lab.post("/api/v1/agents/h1/decisions", &json!({"decision": "accept"})).await,
        lab.write(Method::DELETE, "/api/v1/agents/h1", &[], &json!({})).await,
        lab.get("/api/v1/tokens").await,
        lab.post("/api/v1/tokens", &json!({"principal": "x", "actions": []})).await,
        lab.write(Method::DELETE, "/api/v1/tokens/0000000000000001", &[], &json!({})).await,
    ] {
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
        assert_eq!(answer.problem(), "access_denied");
    }
    assert_eq!(lab.get("/api/v1/services/web").await.json()["revision"], 1);
    assert_eq!(lab.get("/api/v1/hosts").await.json()["items"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_scope_is_kept() {
    let mut lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    let actions = json!(["rollout_control", "token_write"]);
    let db = lab.token(&json!({"principal": "db", "actions": actions, "services": ["db"]})).await;
    let web =
        lab.token(&json!({"principal": "web", "actions": actions, "services": ["web"]})).await;
    let start = json!({"service": "web", "release": "web-1"});
    lab.admin = db;
    assert_eq!(lab.post("/api/v1/rollouts", &start).await.problem(), "access_denied");
    lab.admin = web;
    assert_eq!(lab.post("/api/v1/rollouts", &start).await.status, StatusCode::ACCEPTED);
    let current = lab.get("/api/v1/tokens/current").await.json();
    assert_eq!((&current["principal"], &current["services"]), (&json!("web"), &json!(["web"])));
}

#[tokio::test]
async fn nobody_gives_away_what_they_do_not_have() {
    let mut lab = Lab::new().await;
    let some = json!({"principal": "lead", "actions": ["token_write", "host_write"]});
    lab.admin = lab.token(&some).await;
    let less = json!({"principal": "ci", "actions": ["host_write"], "hosts": "zone=a"});
    assert_eq!(lab.post("/api/v1/tokens", &less).await.status, StatusCode::CREATED);
    let more = json!({"principal": "ci", "actions": ["service_write"]});
    assert_eq!(lab.post("/api/v1/tokens", &more).await.problem(), "access_denied");
    let wrong = json!({"principal": "ci", "actions": ["everything"]});
    assert_eq!(lab.post("/api/v1/tokens", &wrong).await.problem(), "invalid_input");
    for secs in [json!(0), json!(400 * 86_400)] {
        let asked = json!({"principal": "ci", "actions": [], "expires_in_secs": secs});
        assert_eq!(lab.post("/api/v1/tokens", &asked).await.problem(), "invalid_input");
    }
    let listed = lab.get("/api/v1/tokens").await;
    assert!(!String::from_utf8(listed.body.to_vec()).unwrap().contains("dpl_"), "{listed:?}");
}
