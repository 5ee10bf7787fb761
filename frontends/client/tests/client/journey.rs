//! What a program does with a server, from nothing to a rollout and back.
use crate::lab::{Lab, fleet, host};
use deploy_client::PageOf;
use deploy_wire::{
    AgentDecision, LabelChanges, LimitSpec, NewJoinToken, NewPlan, NewRollout, NewToken,
    ProblemCode, RolloutCommand, SeenPlan,
};

#[tokio::test]
async fn a_release_is_rolled_out() {
    let lab = Lab::new().await;
    let client = lab.client();
    fleet(&client).await;
    let asked = NewPlan { service: "web".to_owned(), release: "web-1".to_owned(), seed: Some(7) };
    let plan = client.plan(&asked).await.unwrap();
    let seen =
        SeenPlan { digest: plan.digest.clone(), created_at: plan.created_at, seed: plan.seed };
    let start =
        NewRollout { service: asked.service, release: asked.release, seed: None, plan: Some(seen) };
    let rollout = client.start(&start).await.unwrap();
    assert_eq!(rollout.plan, plan.digest);
    let mut feed = client.events(&rollout.id, 0);
    let mut events = Vec::new();
    while let Some(event) = feed.next().await.unwrap() {
        events.push(event);
    }
    assert_eq!(events.last().unwrap().state, "succeeded");
    assert!(events.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "{events:?}");
    assert_eq!(feed.position(), events.last().unwrap().seq);
    let shown = client.rollout("web", true).await.unwrap();
    assert_eq!((shown.state.as_str(), shown.tasks.unwrap().len()), ("succeeded", 3));
    assert_eq!(client.why(&rollout.id, "h2").await.unwrap().state, "succeeded");
    let mut logs = client.logs(&rollout.id, Some("h1"), 0);
    while logs.next().await.unwrap().is_some() {}
    assert_eq!(client.status("web").await.unwrap().hosts[0].release.as_deref(), Some("web-1"));
    let listed = client.rollouts(Some("web"), &PageOf::first()).await.unwrap();
    assert_eq!(listed.items.len(), 1);
    let over = client.command(&rollout.id, &RolloutCommand::Resume).await.unwrap_err();
    assert_eq!(over.code(), ProblemCode::Conflict);
}

#[tokio::test]
async fn lists_are_read_by_pages() {
    let lab = Lab::new().await;
    let client = lab.client();
    for number in 1..=5 {
        client.add_host(&host(&format!("h{number}"))).await.unwrap();
    }
    let mut page = client.hosts(None, &PageOf::first().with_limit(2)).await.unwrap();
    let mut names: Vec<_> = page.items.iter().map(|it| it.name.clone()).collect();
    while let Some(next) = client.next_page(&page).await.unwrap() {
        names.extend(next.items.iter().map(|it| it.name.clone()));
        page = next;
    }
    assert_eq!(names, ["h1", "h2", "h3", "h4", "h5"]);
    let there = client.host("h1").await.unwrap();
    let labels = LabelChanges { labels: [("zone".to_owned(), Some("a".to_owned()))].into() };
    let changed = client.label_host("h1", &labels, there.revision).await.unwrap();
    assert_eq!(changed.labels["zone"], "a");
    let late = client.label_host("h1", &labels, there.revision).await.unwrap_err();
    assert_eq!(late.code(), ProblemCode::PreconditionFailed);
    client.remove_host("h1").await.unwrap();
    assert_eq!(client.host("h1").await.unwrap_err().code(), ProblemCode::NotFound);
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked() {
    let mut lab = Lab::new().await;
    let admin = lab.client();
    let asked = NewToken { principal: "ci".to_owned(), ..NewToken::default() };
    let issued = admin.create_token(&asked).await.unwrap();
    assert!(!format!("{issued:?}").contains(&issued.secret));
    lab.token = issued.secret;
    let client = lab.client();
    assert_eq!(client.current_token().await.unwrap().principal, "ci");
    assert_eq!(client.add_host(&host("h1")).await.unwrap_err().code(), ProblemCode::AccessDenied);
    admin.revoke_token(&issued.token.id).await.unwrap();
    let refused = client.current_token().await.unwrap_err();
    assert_eq!(refused.code(), ProblemCode::Unauthenticated);
}

#[tokio::test]
async fn a_limit_is_set_listed_and_taken_back() {
    let lab = Lab::new().await;
    let client = lab.client();
    let asked = LimitSpec { mbit: 200, upload_mbit: None };
    let mut set = client.set_limit("zone=eu/fra", &asked).await.unwrap();
    assert_eq!((set.scope.as_str(), set.mbit), ("zone=eu/fra", 200));
    // Whoever sets it is warned, and not everybody who looks at it.
    let warnings = std::mem::take(&mut set.warnings);
    assert!(warnings.iter().any(|it| it.contains("has no relay")), "{warnings:?}");
    assert_eq!(client.limits(&PageOf::default()).await.unwrap().items, [set]);
    let asked = LimitSpec { mbit: 200, upload_mbit: Some(1) };
    let refused = client.set_limit("origin", &asked).await.unwrap_err();
    assert_eq!(refused.code(), ProblemCode::InvalidInput);
    client.clear_limit("zone=eu/fra").await.unwrap();
    assert!(client.limits(&PageOf::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_join_token_is_made_listed_and_revoked() {
    let lab = Lab::new().await;
    let client = lab.client();
    let mut asked = NewJoinToken::default();
    asked.labels.insert("zone".to_owned(), "a".to_owned());
    let issued = client.create_join_token(&asked).await.unwrap();
    assert_eq!(issued.server.as_deref(), Some("here:7444"));
    assert!(!format!("{issued:?}").contains(&issued.secret));
    client.revoke_join_token(&issued.token.id).await.unwrap();
    let tokens = client.join_tokens(&PageOf::default()).await.unwrap().items;
    assert_eq!(tokens[0].refusal.as_deref(), Some("it was revoked"));
    assert!(client.agents(&PageOf::default()).await.unwrap().items.is_empty());
    client.agent("h1").await.unwrap_err();
    client.decide_agent("h1", &AgentDecision::Accept).await.unwrap_err();
    client.remove_agent("h1").await.unwrap_err();
}
