//! Builds at the server, and the webhooks that start them.
use crate::lab::{Answer, Lab, World, limits, parse};
use async_trait::async_trait;
use deploy_core::memory::{MemoryBuilder, SystemClock};
use deploy_server::{BuildControl, Delivery, Hooks, PushedTag};
use deploy_wire::{Problem, ProblemCode};
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

const REMOTE: &str = "https://git.example.com/team/web.git";

/// Takes for genuine what says so, and for the tag that was pushed what it says beside: the checks of forges are the builder's.
#[derive(Debug)]
struct Trusting;

#[async_trait]
impl Hooks for Trusting {
    async fn read(&self, name: &str, delivery: &Delivery) -> Result<Option<PushedTag>, Problem> {
        if name != "web" {
            return Err(Problem::new(ProblemCode::NotFound, "there is no such webhook"));
        }
        if delivery.header("x-genuine") != Some("yes") {
            return Err(Problem::new(ProblemCode::AccessDenied, "it is not signed"));
        }
        let body: Value = serde_json::from_slice(delivery.body()).unwrap();
        Ok(body["tag"].as_str().map(|tag| PushedTag {
            service: parse("web"),
            remotes: vec![parse(body["remote"].as_str().unwrap_or(REMOTE))],
            tag: parse(tag),
            release: body["release"] == true,
            parameters: BTreeMap::new(),
        }))
    }
}

/// A server that builds the service `web`, whose commands are these.
async fn lab(commands: &[&str]) -> Lab {
    let mut world = World::new().await;
    let builder = MemoryBuilder::new(Arc::new(SystemClock::new()));
    builder.commit(&parse(REMOTE), BTreeMap::from([("in".to_owned(), "hello".to_owned())]));
    world.control.builds =
        Some(BuildControl { builder: Arc::new(builder), hooks: Arc::new(Trusting) });
    let lab = Lab::over(world, limits(), "server-1").await;
    let build = json!({"remote": REMOTE, "commands": commands, "outputs": {"out": "in"}});
    for name in ["web", "api"] {
        let service =
            json!({"owner": "ann", "deploy_path": "/srv/web", "selector": "*", "build": build});
        let path = format!("/api/v1/services/{name}");
        let put = lab.write(Method::PUT, &path, &[("if-none-match", "*")], &service).await;
        assert_eq!(put.status, StatusCode::CREATED, "{put:?}");
    }
    lab
}

async fn until(lab: &Lab, id: &str, state: &str) -> Value {
    loop {
        let build = lab.get(&format!("/api/v1/builds/{id}")).await.json();
        if build["state"] == state {
            return build;
        }
        assert!(build["ended_at"].is_null(), "{build}");
    }
}

async fn by(lab: &Lab, token: &str, path: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "server")
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json");
    lab.send(request.body(Full::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_server_that_is_not_told_to_builds_nothing() {
    let lab = Lab::new().await;
    let asked = json!({"service": "web", "revision": "main"});
    assert_eq!(lab.post("/api/v1/builds", &asked).await.problem(), "unsupported");
    assert_eq!(lab.get("/api/v1/builds").await.problem(), "unsupported");
    assert_eq!(lab.post("/hooks/web", &json!({})).await.problem(), "not_found");
}

#[tokio::test]
async fn builds_are_started_followed_and_published() {
    let lab = lab(&["echo one", "echo two"]).await;
    let asked = json!({"service": "web", "revision": "main"});
    let started = lab.post("/api/v1/builds", &asked).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{started:?}");
    let id = started.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(started.header("location"), format!("/api/v1/builds/{id}"));
    let log = lab.get(&format!("/api/v1/builds/{id}/log")).await;
    assert_eq!(log.header("content-type"), "text/event-stream");
    let log = String::from_utf8(log.body.to_vec()).unwrap();
    let line = format!("event: log\nid: 4\ndata: {{\"build\":\"{id}\",\"text\":\"one\"}}\n");
    assert!(log.starts_with(&line) && log.ends_with("event: end\ndata: {}\n\n"), "{log}");
    let rest = lab.get(&format!("/api/v1/builds/{id}/log?after=4&follow=false")).await;
    let rest = String::from_utf8(rest.body.to_vec()).unwrap();
    assert!(!rest.contains("one") && rest.contains("two"), "{rest}");
    until(&lab, &id, "succeeded").await;
    let path = format!("/api/v1/builds/{id}/publish");
    let published = lab.post(&path, &json!({"version": "7"})).await;
    assert_eq!(published.status, StatusCode::OK, "{published:?}");
    assert_eq!(published.json()["artifacts"][0]["version"], "7");
    // It has no descriptor.
    assert_eq!(lab.post(&path, &json!({"release": true})).await.problem(), "invalid_input");
    let cancelled = lab.post(&format!("/api/v1/builds/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled.json()["state"], "succeeded");
    assert_eq!(lab.get("/api/v1/builds/b99").await.problem(), "not_found");
    assert_eq!(lab.get("/api/v1/builds/b99/log").await.problem(), "not_found");
    let page = lab.get("/api/v1/builds?service=web&limit=1").await.json();
    assert_eq!((&page["items"][0]["id"], &page["next"]), (&json!(id), &Value::Null));
    assert_eq!(lab.get("/api/v1/builds?service=api").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_build_is_cancelled_while_it_runs() {
    let lab = lab(&["sleep 1000"]).await;
    let started = lab.post("/api/v1/builds", &json!({"service": "web", "revision": "main"})).await;
    let id = started.json()["id"].as_str().unwrap().to_owned();
    let cancelled = lab.post(&format!("/api/v1/builds/{id}/cancel"), &json!({})).await;
    assert_eq!(cancelled.status, StatusCode::ACCEPTED);
    until(&lab, &id, "cancelled").await;
}

#[tokio::test]
async fn a_build_is_published_without_anybody_waiting() {
    let lab = lab(&["echo x"]).await;
    let then = json!({"version": "9"});
    let asked = json!({"service": "web", "revision": "main", "then": then});
    assert_eq!(lab.post("/api/v1/builds", &asked).await.status, StatusCode::ACCEPTED);
    loop {
        let listed = lab.get("/api/v1/artifacts?repository=web&kind=package").await.json();
        if let Some(artifact) = listed["items"].get(0) {
            assert_eq!(artifact["version"], "9");
            return;
        }
    }
}

#[tokio::test]
async fn who_may_not_build_is_refused_before_anything_is_built() {
    let lab = lab(&["echo x"]).await;
    let token = async |actions: &[&str]| {
        let asked = json!({"principal": "ci", "actions": actions, "services": ["api"]});
        lab.token(&asked).await
    };
    let asked = |service: &str| json!({"service": service, "revision": "main"});
    let reader = token(&[]).await;
    let builder = token(&["build_run"]).await;
    for (who, body) in [
        (&reader, asked("api")),
        (&builder, asked("web")),
        (&builder, json!({"service": "api", "revision": "main", "then": {"release": true}})),
        (&builder, json!({"service": "api", "revision": "main", "then": {}})),
    ] {
        let refused = by(&lab, who, "/api/v1/builds", &body).await;
        assert_eq!(refused.problem(), "access_denied", "{body}");
    }
    assert_eq!(lab.get("/api/v1/builds").await.json()["items"], json!([]));
    let made = by(&lab, &builder, "/api/v1/builds", &asked("api")).await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{made:?}");
    let id = made.json()["id"].as_str().unwrap().to_owned();
    until(&lab, &id, "succeeded").await;
    for (who, what) in [(&reader, "cancel"), (&reader, "publish"), (&builder, "publish")] {
        let refused = by(&lab, who, &format!("/api/v1/builds/{id}/{what}"), &json!({})).await;
        assert_eq!(refused.problem(), "access_denied", "{what}");
    }
}

/// Sends a webhook, without any token.
async fn hook(lab: &Lab, name: &str, genuine: bool, body: &Value) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/hooks/{name}"))
        .header("host", "server")
        .header("x-genuine", if genuine { "yes" } else { "no" });
    lab.send(request.body(Full::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_webhook_starts_one_build_of_its_service() {
    let lab = lab(&["echo x"]).await;
    let pushed = json!({"tag": "main"});
    assert_eq!(hook(&lab, "other", true, &pushed).await.problem(), "not_found");
    assert_eq!(hook(&lab, "web", false, &pushed).await.problem(), "access_denied");
    let elsewhere = json!({"tag": "main", "remote": "https://git.example.com/team/api.git"});
    assert_eq!(hook(&lab, "web", true, &elsewhere).await.problem(), "invalid_input");
    let nothing = hook(&lab, "web", true, &json!({})).await;
    assert_eq!((nothing.status, nothing.json()), (StatusCode::OK, json!({"build": null})));
    assert_eq!(lab.get("/api/v1/builds").await.json()["items"], json!([]));

    let taken = hook(&lab, "web", true, &pushed).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{taken:?}");
    let build = taken.json()["build"].clone();
    assert_eq!((&build["service"], &build["by"]), (&json!("web"), &json!("hook-web")));
    let again = hook(&lab, "web", true, &pushed).await;
    assert_eq!((again.status, again.problem().as_str()), (StatusCode::CONFLICT, "already_exists"));
    assert_eq!(lab.get("/api/v1/builds").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_webhook_is_taken_once_over_restarts_and_again_if_nothing_came_of_it() {
    let lab = lab(&["echo x"]).await;
    let pushed = json!({"tag": "main"});
    let path = "/api/v1/services/web";
    let without = json!({"owner": "ann", "deploy_path": "/srv/web", "selector": "*"});
    let with = lab.get(path).await.json();
    let put = lab.write(Method::PUT, path, &[("if-match", "\"1\"")], &without).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    assert_eq!(hook(&lab, "web", true, &pushed).await.problem(), "invalid_input");
    let with =
        json!({"owner": "ann", "deploy_path": "/srv/web", "selector": "*", "build": with["build"]});
    let put = lab.write(Method::PUT, path, &[("if-match", "\"2\"")], &with).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    assert_eq!(hook(&lab, "web", true, &pushed).await.status, StatusCode::ACCEPTED);
    let world = lab.stop().await;
    let lab = Lab::over(world, limits(), "server-2").await;
    assert_eq!(hook(&lab, "web", true, &pushed).await.problem(), "already_exists");
}
