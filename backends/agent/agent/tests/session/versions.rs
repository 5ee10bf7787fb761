//! Agents and servers of other versions of the protocol: next to each other they work together, further apart both say what to do.
use crate::{
    enrolled::{Plane, Program},
    link::{Link, Served, h1},
    sessions::Unread,
    support::{Fixture, scripts::eventually},
};
use async_trait::async_trait;
use deploy_agent::Credentials;
use deploy_agent_gateway::{AgentExecutor, GatewayOptions};
use deploy_agent_protocol::{
    Versions,
    v1::{
        AgentFrame, AnnounceReply, AnnounceRequest, Answer, AwaitsConfirm, FetchChunk,
        FetchRequest, GatewayFrame, Hello, Order, PassReply, PassRequest, SwarmReply, SwarmRequest,
        Welcome,
        agent_frame::Kind as FromAgent,
        answer,
        gateway_client::GatewayClient,
        gateway_frame::Kind as FromGateway,
        gateway_server::{Gateway, GatewayServer},
    },
};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        AttemptReport, AttemptRequest, CollectRequest, Executor, HostRequest, KillRequest,
        ProbeReport, ProbeRequest, Revert, StageRequest,
    },
    conformance::{
        executor::{Act, ScriptedStep},
        permit, sample,
    },
    error::ErrorKind,
    host::{Connection, Host},
    id::{HostName, Seq},
    spec::StepName,
};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use prost::Message as _;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing_subscriber::fmt::MakeWriter;

/// What a server of the version before speaks.
const BEFORE: Versions = Versions::new(1, 1);
/// What speaks nothing that this program does.
const TWO_LATER: Versions = Versions::new(3, 4);

/// The service on the host of a fixture, whose agent is called `host`.
fn on(fixture: &Fixture, host: HostName) -> HostRequest {
    let path = fixture.dir.path().join("root/srv/web");
    let on = fixture.on();
    let host = Host::new(host, Connection::Agent);
    HostRequest::new(host, on.service, path.to_str().unwrap().parse().unwrap())
        .with_account(on.account)
}

/// An attempt that activates a release.
async fn attempt(fixture: &Fixture, on: HostRequest, generation: u64) -> AttemptRequest {
    let steps = [
        ScriptedStep::new(StepName::Install, [Act::Activate]),
        ScriptedStep::new(StepName::Rollback, []),
    ];
    let release = fixture.traces().release(&*fixture.store, "one", &steps).await.unwrap();
    let token = format!("{:016x}{generation:016x}", fixture.number);
    let mut attempt =
        AttemptRequest::new(on, sample::name("r1"), Seq::new(generation), token, release);
    attempt.health.min_healthy_time = Duration::ZERO;
    attempt
}

/// The same, which the host goes back from unless it is told in time.
fn with_revert(attempt: &AttemptRequest) -> AttemptRequest {
    let back = attempt.release.clone();
    attempt.clone().with_revert(Revert::new(Duration::from_secs(300), back))
}

async fn permit_to(action: Action) -> Permit {
    permit(action, Resource::System).await
}

async fn run(executor: &dyn Executor, attempt: &AttemptRequest) -> (ErrorKind, String) {
    let permit = permit_to(Action::HostExecute).await;
    let err = executor.run(&permit, attempt, &Unread).await.unwrap_err();
    (err.kind(), err.chain())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_serves_a_server_of_the_version_before() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::with(&fixture, GatewayOptions::default().speaking(BEFORE)).await;
    let state = tempfile::tempdir().unwrap();
    Program::enrol(&plane, state.path(), &plane.token(1).await);
    let host: HostName = Credentials::read(state.path()).unwrap().host().parse().unwrap();
    let _program = Program::run(state.path(), &fixture.policy);
    plane.reaches(&host).await;

    let executor = AgentExecutor::new(plane.gateway.clone());
    let on = on(&fixture, host);
    let permit = permit_to(Action::HostExecute).await;
    let first = attempt(&fixture, on.clone(), 1).await;
    let report = executor.run(&permit, &first, &Unread).await.unwrap();
    assert_eq!(report, AttemptReport::Succeeded);
    assert_eq!(fixture.traces().runs(StepName::Install), 1);
    let probe = ProbeRequest::new(on.clone(), first.generation, first.token.clone());
    let probed = executor.probe(&permit, &probe).await.unwrap();
    assert_eq!(probed, ProbeReport::Ended(AttemptReport::Succeeded));
    let may_look = permit_to(Action::HostObserve).await;
    let seen = executor.observe(&may_look, &on).await.unwrap();
    assert_eq!(seen.release.map(|it| it.to_string()).as_deref(), Some("one"));

    let can = executor.capabilities_on(&on.host);
    let newer = can.confirm || can.stage || can.collect || can.room;
    assert!(!newer, "that version has none of these");
    let err = executor.stage(&permit, &StageRequest::new(on.clone(), Vec::new())).await;
    assert_eq!(err.unwrap_err().kind(), ErrorKind::Unsupported);
    let output =
        CollectRequest::new(on.clone(), first.generation, first.token, "a".parse().unwrap());
    let err = executor.collect(&permit, &output).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported);
    let second = with_revert(&attempt(&fixture, on, 2).await);
    let err = executor.room(&may_look, &second).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unsupported);
    assert_eq!(run(&executor, &second).await.0, ErrorKind::Unsupported);
    assert_eq!(fixture.traces().runs(StepName::Install), 1, "nothing of it was run");
}

#[tokio::test]
async fn a_server_of_the_version_before_takes_over_what_a_newer_one_has_started() {
    let fixture = Fixture::new("none").await;
    let newer = Served::new(Arc::clone(&fixture.store)).await;
    let link = Link::new(&newer).await;
    let _agent = link.agent(fixture.host(), "boot 1");
    let permit = permit_to(Action::HostExecute).await;
    let started = attempt(&fixture, on(&fixture, h1()), 1).await;
    let waits = newer.executor().run(&permit, &with_revert(&started), &Unread).await.unwrap();
    assert_eq!(waits, AttemptReport::AwaitsConfirm);

    let before = Served::speaking(Arc::clone(&fixture.store) as _, BEFORE).await;
    link.lead_to(&before);
    let (executor, on) = (before.executor(), started.on.clone());
    let probe = ProbeRequest::new(on.clone(), started.generation, started.token.clone());
    assert_eq!(executor.probe(&permit, &probe).await.unwrap(), ProbeReport::Running);
    assert_eq!(run(&executor, &started).await.0, ErrorKind::OutcomeUnknown);
    let kill = KillRequest::new(on, started.generation, started.token.clone());
    let err = executor.kill(&permit, &kill).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::OutcomeUnknown, "it goes on, and is asked again");
    eventually("the host goes back", || fixture.attempt(1).join("ended").exists()).await;
    let report = executor.run(&permit, &started, &Unread).await.unwrap();
    let AttemptReport::Failed { reason, .. } = report else { panic!("{report:?}") };
    assert_eq!(reason, "the host went back by itself: kill_request");
    assert_eq!(*before.door.arrived.lock().unwrap(), 1, "a session was broken");

    link.lead_to(&newer);
    let report = newer.executor().run(&permit, &with_revert(&started), &Unread).await.unwrap();
    assert!(matches!(report, AttemptReport::SelfReverted { .. }), "{report:?}");
    assert_eq!(fixture.traces().runs(StepName::Install), 1);
    assert_eq!(fixture.traces().runs(StepName::Rollback), 1);
}

#[tokio::test]
async fn a_server_takes_no_answer_that_the_version_of_the_session_does_not_have() {
    let fixture = Fixture::new("none").await;
    let served = Served::new(Arc::clone(&fixture.store)).await;
    // It says that it is of the first version, and speaks as one of the second.
    let (frames, outbox) = mpsc::channel(8);
    frames.send(hello(1)).await.unwrap();
    let mut client = client(served.address).await;
    let outbox = stream::unfold(outbox, |mut outbox| async {
        outbox.recv().await.map(|frame| (frame, outbox))
    });
    let mut said = client.session(outbox).await.unwrap().into_inner();
    let on = on(&fixture, h1());
    let probe = ProbeRequest::new(on, Seq::new(1), "0".repeat(32));
    let permit = permit_to(Action::HostExecute).await;
    let executor = served.executor();
    let asked = tokio::spawn(async move { executor.probe(&permit, &probe).await });
    let sequence = loop {
        if let FromGateway::Order(order) = said.message().await.unwrap().unwrap().kind.unwrap() {
            break Order::decode(order.order).unwrap().sequence;
        }
    };
    let kind = Some(answer::Kind::AwaitsConfirm(AwaitsConfirm {}));
    let answer = FromAgent::Answer(Answer { sequence, kind });
    frames.send(AgentFrame { kind: Some(answer) }).await.unwrap();
    assert_eq!(said.message().await.unwrap(), None, "the session goes on");
    asked.abort();
}

#[tokio::test]
async fn agents_of_other_versions_are_spoken_to_or_told_what_to_do() {
    let fixture = Fixture::new("none").await;
    let served = Served::new(Arc::clone(&fixture.store)).await;
    let (oldest, newest) = (Versions::OURS.oldest(), Versions::OURS.newest());
    // A newer agent says more than this server knows, and is answered in the words that both know.
    assert_eq!(greet(&served, newest + 1).await.unwrap(), newest);
    assert_eq!(greet(&served, oldest).await.unwrap(), oldest);
    let refused = greet(&served, oldest - 1).await.unwrap_err();
    assert!(refused.contains("install a newer agent"), "{refused}");
}

fn hello(protocol: u32) -> AgentFrame {
    let hello = Hello {
        protocol,
        agent_version: "9.9.9".to_owned(),
        boot_id: format!("boot {protocol}"),
        ..Hello::default()
    };
    AgentFrame { kind: Some(FromAgent::Hello(hello)) }
}

async fn client(address: SocketAddr) -> GatewayClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    GatewayClient::new(endpoint.user_agent("h1").unwrap().connect().await.unwrap())
}

/// The version that a gateway chooses for an agent of the version `protocol`.
async fn greet(served: &Served, protocol: u32) -> Result<u32, String> {
    let frames = stream::iter([hello(protocol), AgentFrame { kind: None }]);
    let answer = client(served.address).await.session(frames).await;
    let mut answer = answer.map_err(|it| it.message().to_owned())?.into_inner();
    let first = answer.message().await.map_err(|it| it.message().to_owned())?.unwrap();
    match first.kind.unwrap() {
        FromGateway::Welcome(welcome) => Ok(welcome.protocol),
        other => panic!("{other:?}"),
    }
}

/// What both sides tell their operators.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Told {
    /// From now on, in this thread.
    fn listen(&self) -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone());
        set_default(subscriber.finish())
    }

    /// Whether what `side` says of it has `why` in it.
    fn says(&self, side: &str, why: &str) -> bool {
        let told = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        told.lines().any(|it| it.contains(side) && it.contains(why))
    }
}

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Told {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

const AGENT: &str = "the server has turned this host away";
const SERVER: &str = "a session is refused";

#[tokio::test]
async fn two_versions_apart_both_sides_say_which_is_to_be_upgraded() {
    let fixture = Fixture::new("none").await;
    let ours = Versions::OURS;
    let apart = [
        (
            ours,
            TWO_LATER,
            "speaks versions 1 to 2 of the protocol and the server versions 3 to 4: install a newer agent",
        ),
        (
            TWO_LATER,
            ours,
            "speaks versions 3 to 4 of the protocol and the server versions 1 to 2: install a newer server",
        ),
    ];
    for (agent, server, why) in apart {
        let told = Told::default();
        let _listening = told.listen();
        let served = Served::speaking(Arc::clone(&fixture.store) as _, server).await;
        let link = Link::new(&served).await;
        let _agent = link.agent_speaking(agent, fixture.host());
        eventually("the agent says why", || told.says(AGENT, why)).await;
        assert!(told.says(SERVER, why), "{told:?}");
        assert!(served.gateway.connected().is_empty());
    }
}

/// A server of the first version, which knows nothing of the oldest version that an agent speaks.
struct First;

#[async_trait]
impl Gateway for First {
    type SessionStream = BoxStream<'static, Result<GatewayFrame, Status>>;
    type FetchStream = BoxStream<'static, Result<FetchChunk, Status>>;

    async fn session(
        &self,
        _request: Request<Streaming<AgentFrame>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let welcome = Welcome { protocol: 1, session: vec![1; 16], heartbeat_ms: 200 };
        let welcome = GatewayFrame { kind: Some(FromGateway::Welcome(welcome)) };
        Ok(Response::new(stream::iter([Ok(welcome)]).chain(stream::pending()).boxed()))
    }

    async fn fetch(
        &self,
        _request: Request<FetchRequest>,
    ) -> Result<Response<Self::FetchStream>, Status> {
        Err(Status::unimplemented("there is nothing here"))
    }

    async fn swarm(&self, _request: Request<SwarmRequest>) -> Result<Response<SwarmReply>, Status> {
        Err(Status::unimplemented("there is nothing here"))
    }

    async fn announce(
        &self,
        _request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceReply>, Status> {
        Err(Status::unimplemented("there is nothing here"))
    }

    async fn pass(&self, _request: Request<PassRequest>) -> Result<Response<PassReply>, Status> {
        Err(Status::unimplemented("there is nothing here"))
    }
}

#[tokio::test]
async fn an_agent_leaves_a_server_that_is_too_old_to_refuse_it() {
    let fixture = Fixture::new("none").await;
    let told = Told::default();
    let _listening = told.listen();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = Link::to(listener.local_addr().unwrap()).await;
    let server = Server::builder().add_service(GatewayServer::new(First));
    let serving = tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let _agent = link.agent_speaking(Versions::new(2, 3), fixture.host());
    let why =
        "speaks versions 2 to 3 of the protocol and the server version 1: install a newer server";
    eventually("the agent says why", || told.says(AGENT, why)).await;
    serving.abort();
}
