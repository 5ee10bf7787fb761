//! Rollouts: planned, started, driven by the server, followed, and told what to do.
use crate::lab::{Answer, Lab, parse};
use deploy_core::memory::HostFaults;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

/// The events of a stream that ends: their ids, kinds and data.
fn events(answer: &Answer) -> Vec<(u64, String, Value)> {
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let field = |block: &str, name: &str| {
        let line = block.lines().find_map(|it| it.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    let blocks = text.split("\n\n").filter(|it| it.contains("id:"));
    blocks
        .map(|it| {
            let data = serde_json::from_str(&field(it, "data:")).unwrap();
            (field(it, "id:").parse().unwrap(), field(it, "event:"), data)
        })
        .collect()
}

async fn start(lab: &Lab, release: &str) -> String {
    let asked = json!({"service": "web", "release": release});
    let started = lab.post("/api/v1/rollouts", &asked).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{started:?}");
    let id = started.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(started.header("location"), format!("/api/v1/rollouts/{id}"));
    id
}

#[tokio::test]
async fn a_rollout_is_driven_to_its_end_and_followed() {
    let lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    let id = start(&lab, "web-1").await;
    let followed = events(&lab.get(&format!("/api/v1/rollouts/{id}/events")).await);
    let (last, kind, data) = followed.last().unwrap();
    assert_eq!(
        (kind.as_str(), &data["kind"], &data["state"]),
        ("rollout", &json!("finished"), &json!("succeeded"))
    );
    assert_eq!(u64::try_from(followed.len()).unwrap(), *last, "{followed:?}");
    // From any point on, the rest and no more.
    for at in [0, 1, last / 2, *last] {
        let path = format!("/api/v1/rollouts/{id}/events");
        let request = lab.request(Method::GET, &path).header("last-event-id", at.to_string());
        let rest = events(&lab.send(request.body(Full::default()).unwrap()).await);
        assert_eq!(rest, followed[usize::try_from(at).unwrap()..]);
    }
    let shown = lab.get("/api/v1/rollouts/web?hosts=true").await.json();
    assert_eq!((&shown["id"], &shown["state"]), (&json!(id), &json!("succeeded")));
    assert_eq!(shown["tasks"].as_array().unwrap().len(), 3);
    let why = lab.get(&format!("/api/v1/rollouts/{id}/hosts/h1")).await.json();
    assert_eq!(why["state"], "succeeded");
    assert_eq!(lab.get(&format!("/api/v1/rollouts/{id}/hosts/h9")).await.problem(), "not_found");
    let status = lab.get("/api/v1/services/web/status").await.json();
    assert_eq!(status["hosts"][0]["release"], "web-1");
    let logs = lab.get(&format!("/api/v1/rollouts/{id}/logs")).await;
    assert_eq!(logs.header("content-type"), "text/event-stream");
    let metrics = lab.get("/metrics").await;
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains("deploy_http_requests_total{method=\"POST\",route=\"/api/v1/rollouts\",status=\"202\"} 1"), "{text}");
}

#[tokio::test]
async fn the_plan_that_was_seen_is_the_one_that_is_started() {
    let lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    let asked = json!({"service": "web", "release": "web-1", "seed": 7});
    let plan = lab.post("/api/v1/plans", &asked).await.json();
    assert_eq!(plan["waves"][0]["targets"].as_array().unwrap().len(), 3);
    let seen =
        json!({"digest": plan["digest"], "created_at": plan["created_at"], "seed": plan["seed"]});
    let start = json!({"service": "web", "release": "web-1", "plan": seen});
    let mut forged = start.clone();
    forged["plan"]["seed"] = json!(8);
    assert_eq!(lab.post("/api/v1/rollouts", &forged).await.problem(), "inventory_changed");
    let host = json!({"name": "h4", "connection": {"via": "local", "root": "/srv/hosts/h4"}});
    lab.post("/api/v1/hosts", &host).await;
    assert_eq!(lab.post("/api/v1/rollouts", &start).await.problem(), "inventory_changed");
    lab.write(Method::DELETE, "/api/v1/hosts/h4", &[], &json!({})).await;
    let started = lab.post("/api/v1/rollouts", &start).await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{started:?}");
    assert_eq!(started.json()["plan"], plan["digest"]);
}

#[tokio::test]
async fn a_plan_says_which_hosts_have_no_room_and_is_started_all_the_same() {
    let lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    lab.world.executor.set_faults(&parse("h2"), HostFaults::new().with_free(1));
    lab.world.executor.set_faults(&parse("h3"), HostFaults::new().with_unreachable());
    let asked = json!({"service": "web", "release": "web-1", "seed": 7});
    let plan = lab.post("/api/v1/plans", &asked).await.json();
    let room = &plan["room"];
    assert_eq!((&room["hosts"], &room["checked"]), (&json!(3), &json!(2)));
    assert_eq!(room["unchecked"], json!([{"reason": "not_connected", "hosts": ["h3"]}]));
    let short = &room["short"][0];
    assert_eq!((&short["host"], &short["folder"]), (&json!("h2"), &json!("/srv/web")));
    let of = |name: &str| short[name].as_u64().unwrap();
    assert_eq!((of("missing_bytes"), of("free_bytes")), (of("needed_bytes") - 1, 1));
    assert!(short["free_inodes"].is_null());
    let warnings = plan["warnings"].as_array().unwrap();
    let warned = |it: &Value| it.as_str().unwrap().contains("there is no room on host `h2`");
    assert!(warnings.iter().any(warned), "{warnings:?}");

    // Room is made before the rollout comes to it.
    for name in ["h2", "h3"] {
        lab.world.executor.set_faults(&parse(name), HostFaults::new());
    }
    let id = start(&lab, "web-1").await;
    until(&lab, &id, |it| it["state"] == "succeeded").await;
}

#[tokio::test]
async fn a_rollout_waits_for_a_person_over_a_restart() {
    let lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    let service = json!({"owner": "ann", "deploy_path": "/srv/web", "selector": "*",
        "strategy": {"waves": ["1", "100%"], "confirm": "after_first", "min_healthy_time_ms": 0,
            "check_interval_ms": 10}});
    let seen = [("if-match", "\"1\"")];
    lab.write(Method::PUT, "/api/v1/services/web", &seen, &service).await;
    let id = start(&lab, "web-1").await;
    until(&lab, &id, |it| it["waves"][0]["state"] == "awaiting_confirm").await;
    let second = json!({"service": "web", "release": "web-1"});
    assert_eq!(lab.post("/api/v1/rollouts", &second).await.problem(), "rollout_active");
    let lab = lab.restarted().await;
    let path = format!("/api/v1/rollouts/{id}/commands");
    assert_eq!(lab.post(&path, &json!({"command": "dance"})).await.problem(), "invalid_input");
    let told = lab.post(&path, &json!({"command": "confirm"})).await;
    assert_eq!(told.status, StatusCode::ACCEPTED, "{told:?}");
    until(&lab, &id, |it| it["state"] == "succeeded").await;
    assert_eq!(lab.post(&path, &json!({"command": "pause"})).await.problem(), "conflict");
}

#[tokio::test]
async fn a_rollout_that_is_over_is_taken_back_by_another() {
    let lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    lab.release("2").await;
    for release in ["web-1", "web-2"] {
        let id = start(&lab, release).await;
        until(&lab, &id, |it| it["state"] == "succeeded").await;
    }
    let path = "/api/v1/rollouts?service=web&limit=1";
    let newest = lab.get(path).await.json();
    let id = newest["items"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/rollouts/{id}/commands");
    let back = lab.post(&path, &json!({"command": "rollback"})).await.json();
    assert_eq!(back["work"], "rollback", "{back}");
    until(&lab, back["id"].as_str().unwrap(), |it| it["state"] == "succeeded").await;
    let status = lab.get("/api/v1/services/web/status").await.json();
    assert_eq!(status["hosts"][0]["release"], "web-1");
    let rest = lab.get(newest["next"].as_str().unwrap()).await.json();
    assert_eq!(rest["items"][0]["release"], "web-1");
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    let mut lab = Lab::new().await;
    lab.fleet().await;
    lab.release("1").await;
    let service = json!({"owner": "ann", "deploy_path": "/srv/web", "selector": "*",
        "strategy": {"waves": ["1", "100%"], "confirm": "after_first"}});
    lab.write(Method::PUT, "/api/v1/services/web", &[("if-match", "\"1\"")], &service).await;
    let id = start(&lab, "web-1").await;
    let reader = lab.token(&json!({"principal": "reader", "actions": []})).await;
    let admin = std::mem::replace(&mut lab.admin, reader.clone());
    let path = format!("/api/v1/rollouts/{id}/events");
    let stream = lab.open(lab.request(Method::GET, &path).body(Full::default()).unwrap()).await;
    lab.admin = admin;
    let token = format!("/api/v1/tokens/{}", reader.split('_').nth(1).unwrap());
    lab.write(Method::DELETE, &token, &[], &json!({})).await;
    let whole = stream.into_body().collect();
    let body = tokio::time::timeout(std::time::Duration::from_secs(30), whole).await;
    let text = String::from_utf8(body.unwrap().unwrap().to_bytes().to_vec()).unwrap();
    assert!(text.contains("event: problem") && text.contains("unauthenticated"), "{text}");
}

async fn until(lab: &Lab, id: &str, done: impl Fn(&Value) -> bool) {
    let path = format!("/api/v1/rollouts/{id}/events");
    let request = lab.request(Method::GET, &path).body(Full::default()).unwrap();
    let mut stream = lab.open(request).await.into_body();
    loop {
        let now = lab.get(&format!("/api/v1/rollouts/{id}")).await.json();
        if done(&now) {
            return;
        }
        // Whatever happens next is a reason to look again.
        let next = tokio::time::timeout(std::time::Duration::from_secs(20), stream.frame()).await;
        assert!(matches!(next, Ok(Some(_))), "nothing happens any more: {now}");
    }
}
