//! Services, hosts and releases: pages, revisions, and what is refused.
use crate::lab::{Lab, limits};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

#[tokio::test]
async fn a_change_is_made_to_what_was_seen() {
    let lab = Lab::new().await;
    let path = "/api/v1/services/web";
    let mut web = json!({"owner": "ann", "deploy_path": "/srv/web", "selector": "role=web"});
    let put = |headers: &'static [(&'static str, &'static str)], body: Value| {
        let lab = &lab;
        async move { lab.write(Method::PUT, path, headers, &body).await }
    };
    assert_eq!(put(&[], web.clone()).await.problem(), "precondition_required");
    let made = put(&[("if-none-match", "*")], web.clone()).await;
    assert_eq!((made.status, made.header("etag")), (StatusCode::CREATED, "\"1\""));
    assert_eq!(put(&[("if-none-match", "*")], web.clone()).await.problem(), "precondition_failed");
    web["owner"] = json!("bob");
    web["strategy"] = json!({"waves": ["1", "100%"], "retries": {"retries": 2}});
    let changed = put(&[("if-match", "\"1\"")], web.clone()).await;
    assert_eq!((changed.status, changed.header("etag")), (StatusCode::OK, "\"2\""));
    let late = put(&[("if-match", "\"1\"")], web.clone()).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(late.problem(), "precondition_failed");
    let there = lab.get(path).await;
    assert_eq!(there.header("etag"), "\"2\"");
    assert_eq!(there.json()["strategy"]["waves"], json!(["1", "100%"]));
    assert_eq!(there.json()["strategy"]["retries"]["max_backoff_ms"], 300_000);
    web["strategy"] = json!({"waves": ["x"]});
    let wrong = put(&[("if-match", "\"2\"")], web).await;
    assert_eq!(wrong.json()["context"]["field"], "strategy.waves[0]");
    let history = lab.get(&format!("{path}/history?limit=1")).await.json();
    assert_eq!(history["items"][0]["revision"], 2);
    let rest = lab.get(history["next"].as_str().unwrap()).await.json();
    assert_eq!((&rest["items"][0]["owner"], &rest["next"]), (&json!("ann"), &Value::Null));
}

/// All that a list has, a page at a time.
async fn all(lab: &Lab, first: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next {
        let page = lab.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2);
        names.extend(items.iter().map(|it| it["name"].as_str().unwrap().to_owned()));
        next = page["next"].as_str().map(ToOwned::to_owned);
    }
    names
}

#[tokio::test]
async fn pages_hold_every_host_once() {
    let lab = Lab::new().await;
    let host = |number: u32| {
        let zone = if number.is_multiple_of(2) { "a" } else { "b" };
        json!({"name": format!("h{number}"), "connection": {"via": "ssh", "port": 22}, "labels": {"zone": zone}})
    };
    let hosts = json!({"hosts": (1..=5).map(host).collect::<Vec<_>>(), "dry_run": true});
    let dry = lab.post("/api/v1/hosts/import", &hosts).await.json();
    assert_eq!(dry["added"].as_array().unwrap().len(), 5);
    assert_eq!(all(&lab, "/api/v1/hosts?limit=2").await, [""; 0]);
    let hosts = json!({"hosts": (1..=5).map(host).collect::<Vec<_>>()});
    lab.post("/api/v1/hosts/import", &hosts).await;
    assert_eq!(lab.post("/api/v1/hosts/import", &hosts).await.json()["unchanged"], 5);
    assert_eq!(all(&lab, "/api/v1/hosts?limit=2").await, ["h1", "h2", "h3", "h4", "h5"]);
    let selected = all(&lab, "/api/v1/hosts?limit=2&selector=zone%3Db").await;
    assert_eq!(selected, ["h1", "h3", "h5"]);
}

#[tokio::test]
async fn a_host_is_changed_and_removed() {
    let lab = Lab::new().await;
    let host =
        json!({"name": "h1", "connection": {"via": "ssh"}, "labels": {"zone": "a", "old": "1"}});
    let added = lab.post("/api/v1/hosts", &host).await;
    assert_eq!(added.header("location"), "/api/v1/hosts/h1");
    assert_eq!(lab.post("/api/v1/hosts", &host).await.problem(), "already_exists");
    let labels = json!({"labels": {"zone": "b", "old": null}});
    let seen = [("if-match", added.header("etag"))];
    let changed = lab.write(Method::PATCH, "/api/v1/hosts/h1", &seen, &labels).await;
    assert_eq!(changed.json()["labels"], json!({"zone": "b"}));
    let late = lab.write(Method::PATCH, "/api/v1/hosts/h1", &seen, &labels).await;
    assert_eq!(late.problem(), "precondition_failed");
    let gone = lab.write(Method::DELETE, "/api/v1/hosts/h1", &[], &json!({})).await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(lab.get("/api/v1/hosts/h1").await.problem(), "not_found");
}

#[tokio::test]
async fn the_servers_own_machine_is_no_host_unless_that_is_allowed() {
    let mut limits = limits();
    limits.local_hosts = false;
    let lab = Lab::with(limits).await;
    let connection = json!({"via": "local", "root": "/srv/h1"});
    let host = json!({"name": "h1", "connection": connection});
    let new = [("if-none-match", "*")];
    let spec = json!({"connection": connection});
    for answer in [
        lab.post("/api/v1/hosts", &host).await,
        lab.post("/api/v1/hosts/import", &json!({"hosts": [host]})).await,
        lab.write(Method::PUT, "/api/v1/hosts/h1", &new, &spec).await,
    ] {
        assert_eq!(answer.problem(), "access_denied");
    }
}

#[tokio::test]
async fn a_release_is_made_once_and_compared() {
    let lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    lab.release("1").await;
    lab.release("2").await;
    let listed = lab.get("/api/v1/services/web/releases?limit=1").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    let rest = lab.get(listed["next"].as_str().unwrap()).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 1);
    let diff = lab.get("/api/v1/releases/web-1/diff/web-2").await.json();
    let fields: Vec<_> =
        diff["changes"].as_array().unwrap().iter().map(|it| it["field"].clone()).collect();
    assert_eq!(fields, ["package", "version"]);
    let other =
        json!({"id": "web-1", "service": "web", "version": "1", "package": "2", "descriptor": "1"});
    assert_eq!(lab.post("/api/v1/releases", &other).await.problem(), "already_exists");
    let missing = json!({"service": "web", "version": "3", "package": "3", "descriptor": "1"});
    assert_eq!(lab.post("/api/v1/releases", &missing).await.problem(), "not_found");
}
