//! Join tokens and agents, as far as they need no connection.
use crate::lab::{Lab, parse};
use deploy_core::{
    agent::KeyFingerprint,
    backend::{AgentRegistry as _, EnrollAgent},
    id::{BootId, HostName},
    token::JoinToken,
};
use hyper::{Method, StatusCode};
use serde_json::json;

/// Lets the machine `machine` in as `host`, as the port of agents does it.
async fn enroll(lab: &Lab, secret: &str, host: &str, machine: &str) -> Result<(), String> {
    let token: JoinToken = secret.parse().unwrap();
    let control = &lab.world.control;
    let wish = EnrollAgent::new(
        token.id,
        token.secret.hash(),
        KeyFingerprint::of(machine.as_bytes()),
        parse(host),
        parse(&format!("machine/{machine}")),
        control.parts.clock.now(),
    );
    control.agents.registry.enroll(&wish).await.map(drop).map_err(|err| err.chain())
}

#[tokio::test]
async fn a_join_token_is_shown_once_and_lets_in_as_many_as_it_says() {
    let lab = Lab::new().await;
    let asked = json!({"labels": {"zone": "a"}, "uses": 2, "expires_in_secs": 60});
    let made = lab.post("/api/v1/join-tokens", &asked).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let issued = made.json();
    let secret = issued["secret"].as_str().unwrap();
    let id = issued["token"]["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/api/v1/join-tokens/{id}"));
    enroll(&lab, secret, "h1", "1").await.unwrap();
    enroll(&lab, secret, "h2", "2").await.unwrap();
    let refused = enroll(&lab, secret, "h3", "3").await.unwrap_err();
    assert!(refused.contains("used up"), "{refused}");
    let listed = lab.get("/api/v1/join-tokens").await;
    let token = &listed.json()["items"][0];
    assert_eq!((&token["used"], &token["refusal"]), (&json!(2), &json!("it is used up")));
    assert_eq!(token["labels"], json!({"zone": "a"}));
    let text = String::from_utf8(listed.body.to_vec()).unwrap();
    assert!(!text.contains(secret.split('_').nth(2).unwrap()), "{text}");
}

#[tokio::test]
async fn a_revoked_join_token_lets_nobody_in() {
    let lab = Lab::new().await;
    let issued = lab.post("/api/v1/join-tokens", &json!({})).await.json();
    let path = format!("/api/v1/join-tokens/{}", issued["token"]["id"].as_str().unwrap());
    for _ in 0..2 {
        let revoked = lab.write(Method::DELETE, &path, &[], &json!(null)).await;
        assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    }
    let refused = enroll(&lab, issued["secret"].as_str().unwrap(), "h1", "1").await.unwrap_err();
    assert!(refused.contains("revoked"), "{refused}");
    let none = "/api/v1/join-tokens/00000000000000ff";
    assert_eq!(lab.write(Method::DELETE, none, &[], &json!(null)).await.problem(), "not_found");
}

#[tokio::test]
async fn what_a_join_token_cannot_be_is_refused() {
    let lab = Lab::new().await;
    for asked in [
        json!({"uses": 0}),
        json!({"expires_in_secs": 0}),
        json!({"expires_in_secs": 99_999_999_999_u64}),
        json!({"labels": {"not a key": "x"}}),
        json!({"label": {}}),
    ] {
        let answer = lab.post("/api/v1/join-tokens", &asked).await;
        assert_eq!(answer.problem(), "invalid_input", "{asked}");
    }
}

#[tokio::test]
async fn a_person_decides_on_an_agent() {
    let lab = Lab::new().await;
    let issued = lab.post("/api/v1/join-tokens", &json!({})).await.json();
    enroll(&lab, issued["secret"].as_str().unwrap(), "h1", "1").await.unwrap();
    let shown = lab.get("/api/v1/agents/h1").await.json();
    assert_eq!((&shown["state"], &shown["connected"]), (&json!("active"), &json!(null)));
    // A copy of the machine: two boots by turns.
    let registry = &lab.world.control.agents.registry;
    let host: HostName = parse("h1");
    let now = lab.world.control.parts.clock.now();
    for boot in ["boot-1", "boot-2"] {
        registry.arrive(&host, &parse::<BootId>(boot), now).await.unwrap();
    }
    registry.arrive(&host, &parse("boot-1"), now).await.unwrap_err();
    let listed = lab.get("/api/v1/agents").await.json();
    assert_eq!(listed["items"][0]["state"], "quarantined");
    assert!(!listed["items"][0]["reason"].as_str().unwrap().is_empty());
    let decide = "/api/v1/agents/h1/decisions";
    for (decision, state) in [
        (json!({"decision": "accept"}), "active"),
        (json!({"decision": "revoke", "reason": "sold"}), "revoked"),
    ] {
        assert_eq!(lab.post(decide, &decision).await.json()["state"], state);
    }
    assert_eq!(lab.get("/api/v1/agents/h1").await.json()["reason"], "sold");
    assert_eq!(lab.post(decide, &json!({"decision": "wait"})).await.problem(), "invalid_input");
    let removed = lab.write(Method::DELETE, "/api/v1/agents/h1", &[], &json!(null)).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    for path in ["/api/v1/agents/h1", "/api/v1/agents/none"] {
        assert_eq!(lab.get(path).await.problem(), "not_found");
    }
    let metrics = lab.get("/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("deploy_agents_connected 0"), "{metrics}");
    assert!(metrics.contains("deploy_block_bytes_given_total 0"), "{metrics}");
}
