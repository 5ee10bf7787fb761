//! The agent's program, killed at its N-th system call, with its shims.
use super::{
    Site, everywhere,
    subject::{Asking, End, Subject},
};
use crate::{
    enrolled::{Plane, Program},
    link::Link,
    support::{Fixture, scripts::eventually},
};
use deploy_agent::Credentials;
use deploy_agent_gateway::AgentExecutor;
use deploy_core::{
    backend::HostRequest,
    conformance::sample,
    host::{Connection, Host},
};
use deploy_test_support::strace::{self, Point};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};
use tokio::process::{Child, Command};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_killed_at_its_nth_system_call_is_followed_by_another() {
    if strace::is_there("the crash points of agents") {
        let wanted = strace::asked_for("CRASH_POINTS", 240).unwrap();
        everywhere::<AgentSite>("agents", wanted).await;
    }
}

/// A host with the program on it, and a control plane of its own.
pub(crate) struct AgentSite {
    pub(crate) subject: Subject,
    pub(crate) plane: Plane,
    /// The way from the one to the other.
    pub(crate) link: Link,
}

impl AgentSite {
    fn state_of(fixture: &Fixture) -> PathBuf {
        fixture.dir.path().join("agent")
    }

    pub(super) fn state(&self) -> PathBuf {
        Self::state_of(&self.subject.fixture)
    }

    /// The program, behind the words of `before`. It is gone with this.
    pub(crate) fn agent(&self, before: &[String]) -> Child {
        let state = self.state();
        let program = Path::new(env!("CARGO_BIN_EXE_deploy-agent"));
        let mut command = Command::from(strace::behind(before, program));
        command.arg("run").arg("--config").arg(state.join("host.toml"));
        command.arg("--state-dir").arg(state).stdout(Stdio::null()).stderr(Stdio::null());
        command.kill_on_drop(true).spawn().unwrap()
    }

    /// Brings an attempt to its end, with the agent behind `before` at first, and another as soon as one has gone. Says how many have gone.
    pub(super) async fn settle(&mut self, before: &[String]) -> (Asking, End, usize) {
        let asking = self.subject.next();
        let (end, gone) = self.served(before, asking.clone().settle()).await;
        (asking, end, gone)
    }

    /// Waits for what is `asked` of the host, with its agent behind `before` at first, and another as soon as one has gone. Says how many have gone.
    pub(super) async fn served<T: Send + 'static>(
        &self,
        before: &[String],
        asked: impl Future<Output = T> + Send + 'static,
    ) -> (T, usize) {
        let mut agent = self.agent(before);
        let mut answer = tokio::spawn(asked);
        let mut gone = 0;
        let answer = loop {
            tokio::select! {
                answer = &mut answer => break answer.unwrap(),
                _ = agent.wait() => gone += 1,
            }
            agent = self.agent(&[]);
        };
        // An agent that was started for this alone is gone at once; the next one has to find all as it was told.
        agent.kill().await.unwrap();
        (answer, gone)
    }
}

impl Site for AgentSite {
    async fn open() -> Self {
        let fixture = Fixture::new("auto").await;
        let mut plane = Plane::new(&fixture).await;
        let link = Link::to(plane.door.parse().unwrap()).await;
        plane.door = link.address().to_string();
        let state = Self::state_of(&fixture);
        Program::enrol(&plane, &state, &plane.token(1).await);
        fs::write(state.join("host.toml"), &fixture.policy).unwrap();
        let host = Credentials::read(&state).unwrap().host().to_owned();
        let host = Host::new(sample::name(&host), Connection::Agent);
        let path = fixture.dir.path().join("root/srv/web").display().to_string();
        let on = HostRequest::new(host, sample::name("web"), path.parse().unwrap())
            .with_account(fixture.account.clone());
        let executor = Arc::new(AgentExecutor::new(plane.gateway.clone()));
        Self { subject: Subject::new(fixture, executor, on).await, plane, link }
    }

    async fn count(&mut self) -> BTreeMap<String, usize> {
        let file = self.subject.fixture.dir.path().join("calls");
        let (asked, end, gone) = self.settle(&strace::counting(&file)).await;
        assert!(self.subject.check(&asked, &end, "uninterrupted") && gone == 0, "{end:?}");
        strace::counted(&file).unwrap()
    }

    async fn crash(&mut self, point: &Point) -> bool {
        let (asked, end, gone) = self.settle(&strace::killing(point)).await;
        let undisturbed = self.subject.check(&asked, &end, &format!("{point:?}"));
        eventually("nothing is left", || self.subject.fixture.processes().is_empty()).await;
        gone > 0 || !undisturbed
    }
}
