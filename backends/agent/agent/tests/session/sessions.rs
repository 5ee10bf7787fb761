//! Who is let in, and who is not any more.
use crate::{
    link::{Link, Served, h1},
    support::{Fixture, scripts::eventually},
};
use async_trait::async_trait;
use deploy_agent_gateway::Denied;
use deploy_core::{
    access::{Action, Resource},
    backend::{AttemptLog, AttemptRequest, BackendResult, Executor as _, HostRequest, Revert},
    conformance::{executor::ScriptedStep, permit, sample},
    error::ErrorKind,
    host::{Connection, Host},
    id::Seq,
    spec::StepName,
};
use std::{sync::Arc, time::Duration};

fn on() -> HostRequest {
    let host = Host::new(h1(), Connection::Agent);
    HostRequest::new(host, sample::name("web"), sample::name("/srv/web"))
}

async fn lab() -> (Fixture, Served, Link) {
    let fixture = Fixture::new("none").await;
    let served = Served::new(Arc::clone(&fixture.store)).await;
    let link = Link::new(&served).await;
    (fixture, served, link)
}

#[tokio::test]
async fn an_agent_comes_back_by_itself_and_says_that_it_is_there() {
    let (fixture, served, link) = lab().await;
    let _agent = link.agent(fixture.host(), "boot 1");
    for _ in 0..2 {
        eventually("the gateway has noticed", || served.gateway.connected() == [h1()]).await;
        let seen = *served.door.seen.lock().unwrap();
        eventually("the gateway has noticed", || *served.door.seen.lock().unwrap() > seen + 1)
            .await;
        link.cut();
        eventually("the gateway has noticed", || served.gateway.connected().is_empty()).await;
    }
}

#[tokio::test]
async fn a_host_without_an_agent_is_unavailable() {
    let (_fixture, served, _link) = lab().await;
    let permit = permit(Action::HostObserve, Resource::System).await;
    let err = served.executor().observe(&permit, &on()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    assert!(err.chain().contains("its agent is not connected"), "{}", err.chain());
}

#[tokio::test]
async fn who_loses_the_right_to_a_session_loses_the_session() {
    let (fixture, served, link) = lab().await;
    let _agent = link.agent(fixture.host(), "boot 1");
    eventually("the gateway has noticed", || served.gateway.connected() == [h1()]).await;
    *served.door.denied.lock().unwrap() = Some(Denied::Forever("it was revoked".to_owned()));
    served.gateway.disconnect(&h1());
    eventually("the gateway has noticed", || served.gateway.connected().is_empty()).await;
}

#[tokio::test]
async fn who_has_lost_the_right_loses_the_session_also_if_nobody_says_so() {
    let (fixture, served, link) = lab().await;
    let _agent = link.agent(fixture.host(), "boot 1");
    eventually("the gateway has noticed", || served.gateway.connected() == [h1()]).await;
    // What may pass ends nothing.
    *served.door.denied.lock().unwrap() = Some(Denied::ForNow("the database is away".to_owned()));
    let seen = *served.door.seen.lock().unwrap();
    eventually("it was asked", || *served.door.seen.lock().unwrap() > seen + 1).await;
    assert_eq!(served.gateway.connected(), [h1()]);
    *served.door.denied.lock().unwrap() = Some(Denied::Forever("it was removed".to_owned()));
    eventually("the gateway has noticed", || served.gateway.connected().is_empty()).await;
}

#[tokio::test]
async fn a_cloned_machine_locks_both_out() {
    let (fixture, served, link) = lab().await;
    let _agent = link.agent(fixture.host(), "boot 1");
    eventually("the gateway has noticed", || served.gateway.connected() == [h1()]).await;
    let _clone = link.agent(fixture.host(), "boot 2");
    eventually("the gateway has noticed", || *served.door.doubled.lock().unwrap() == 1).await;
    eventually("the gateway has noticed", || served.gateway.connected().is_empty()).await;
}

#[tokio::test]
async fn an_agent_of_the_version_before_is_given_nothing_that_it_would_not_take_back() {
    let (fixture, served, link) = lab().await;
    let _agent = link.older_agent().await;
    eventually("the gateway has noticed", || served.gateway.connected() == [h1()]).await;
    let executor = served.executor();
    assert!(executor.capabilities().confirm);
    assert!(!executor.capabilities_on(&on().host).confirm);
    let steps = [StepName::Install, StepName::Rollback].map(|it| ScriptedStep::new(it, []));
    let release = fixture.traces().release(&*fixture.store, "one", &steps).await.unwrap();
    let (rollout, token) = (sample::name("r1"), "0".repeat(32));
    let attempt = AttemptRequest::new(on(), rollout, Seq::new(1), token, release.clone());
    let attempt = attempt.with_revert(Revert::new(Duration::from_secs(60), release));
    let permit = permit(Action::HostExecute, Resource::System).await;
    let err = executor.run(&permit, &attempt, &Unread).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported);
    assert!(err.chain().contains("its agent is too old to go back by itself"), "{}", err.chain());
}

/// A log that nobody reads.
#[derive(Debug)]
pub(crate) struct Unread;

#[async_trait]
impl AttemptLog for Unread {
    async fn write(&self, _offset: u64, _bytes: &[u8]) -> BackendResult<()> {
        Ok(())
    }

    fn step(&self, _step: StepName) {}
}

#[tokio::test]
async fn a_host_that_was_restarted_is_no_clone() {
    let (fixture, served, link) = lab().await;
    let agent = link.agent(fixture.host(), "boot 1");
    eventually("the gateway has noticed", || served.gateway.connected() == [h1()]).await;
    // Its end is gone without a word, and its last session stays open for a while.
    drop(agent);
    let _restarted = link.agent(fixture.host(), "boot 2");
    let permit = permit(Action::HostObserve, Resource::System).await;
    served.executor().observe(&permit, &on()).await.unwrap();
    assert_eq!(*served.door.doubled.lock().unwrap(), 0);
}
