//! Requests that were carried out, and whose answers were lost before anybody could keep them.
use crate::lab::{Answer, Lab, World, limits};
use async_trait::async_trait;
use deploy_core::{
    backend::{self, AnswerClaim, AnswerStore, BeginAnswer, Begun},
    error::{BackendError, BackendResult, ErrorKind},
    time::Timestamp,
};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;

/// Keeps no answer at all.
#[derive(Debug)]
struct Forgetful(Arc<dyn AnswerStore>);

#[async_trait]
impl AnswerStore for Forgetful {
    async fn begin(&self, request: &BeginAnswer) -> BackendResult<Begun> {
        self.0.begin(request).await
    }

    async fn finish(
        &self,
        _: &AnswerClaim,
        _: &backend::Answer,
        _: Timestamp,
    ) -> BackendResult<()> {
        Err(BackendError::new(ErrorKind::Unavailable, "answer.finish"))
    }

    async fn release(&self, claim: &AnswerClaim) -> BackendResult<()> {
        self.0.release(claim).await
    }

    async fn forget(&self, before: Timestamp) -> BackendResult<u64> {
        self.0.forget(before).await
    }
}

/// A server that keeps no answers, and whose process is known to be gone once there is another.
async fn forgetful() -> Lab {
    let mut world = World::new().await;
    world.control.answers = Arc::new(Forgetful(world.control.answers));
    let lab = Lab::over(world, limits(), "dead-1").await;
    lab.fleet().await;
    lab.release("1").await;
    lab
}

async fn ask(lab: &Lab, key: &str, path: &str, body: &Value) -> Answer {
    let answer = lab.write(Method::POST, path, &[("idempotency-key", key)], body).await;
    assert_eq!(answer.header("idempotency-replayed"), "", "no answer is kept");
    answer
}

/// Until all rollouts are over.
async fn over(lab: &Lab, count: usize) {
    loop {
        let listed = lab.get("/api/v1/rollouts").await.json();
        let items = listed["items"].as_array().unwrap();
        assert_eq!(items.len(), count, "{listed}");
        if items.iter().all(|it| it["state"] == "succeeded") {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_rollout_is_started_once() {
    let lab = forgetful().await;
    let asked = json!({"service": "web", "release": "web-1"});
    let first = ask(&lab, "k1", "/api/v1/rollouts", &asked).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    let again = ask(&lab, "k1", "/api/v1/rollouts", &asked).await;
    assert_eq!((again.status, &again.json()["id"]), (first.status, &first.json()["id"]));
    over(&lab, 1).await;
    // The release is in place now: the same request under another key has nothing to do.
    assert_eq!(ask(&lab, "k2", "/api/v1/rollouts", &asked).await.problem(), "invalid_input");
    let lab = lab.restarted().await;
    let later = ask(&lab, "k1", "/api/v1/rollouts", &asked).await;
    assert_eq!((later.status, &later.json()["id"]), (first.status, &first.json()["id"]));
}

#[tokio::test]
async fn a_script_runs_once() {
    let lab = forgetful().await;
    let asked = json!({"selector": "*", "script": "true"});
    let first = ask(&lab, "k1", "/api/v1/runs", &asked).await;
    assert_eq!(first.status, StatusCode::ACCEPTED, "{first:?}");
    over(&lab, 1).await;
    let again = ask(&lab, "k1", "/api/v1/runs", &asked).await;
    assert_eq!((again.status, &again.json()["id"]), (first.status, &first.json()["id"]));
    let lab = lab.restarted().await;
    let later = ask(&lab, "k1", "/api/v1/runs", &asked).await;
    assert_eq!((later.status, &later.json()["id"]), (first.status, &first.json()["id"]));
    let other = ask(&lab, "k2", "/api/v1/runs", &asked).await;
    assert_ne!(other.json()["id"], first.json()["id"]);
    over(&lab, 2).await;
}

#[tokio::test]
async fn a_host_is_added_once() {
    let lab = forgetful().await;
    let host = json!({"name": "new", "connection": {"via": "ssh"}});
    let first = ask(&lab, "k1", "/api/v1/hosts", &host).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let again = ask(&lab, "k1", "/api/v1/hosts", &host).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(ask(&lab, "k2", "/api/v1/hosts", &host).await.problem(), "already_exists");
}

#[tokio::test]
async fn of_many_that_ask_again_at_once_one_takes_over() {
    let lab = forgetful().await;
    let asked = json!({"selector": "*", "script": "true"});
    let first = ask(&lab, "k1", "/api/v1/runs", &asked).await;
    let all = (0..16).map(|_| ask(&lab, "k1", "/api/v1/runs", &asked));
    for answer in futures_util::future::join_all(all).await {
        match answer.status {
            StatusCode::ACCEPTED => assert_eq!(answer.json()["id"], first.json()["id"]),
            _ => assert_eq!(answer.problem(), "in_progress"),
        }
    }
    over(&lab, 1).await;
}
