//! Hosts that reach their control plane through others only.
use crate::{
    enrolled::{Plane, Program},
    support::{Fixture, scripts::eventually},
};
use deploy_agent::{
    Connect as _, Credentials, EnrolError, GatewayConnector, HostPort, Names, Via, enrol_via, renew,
};
use deploy_core::id::HostName;
use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// The name of a gateway that no host can look up.
const UNKNOWN: &str = "gateway.invalid:7444";

/// Passes on what comes to one place, and counts how often somebody came.
struct Forwarder {
    address: HostPort,
    came: Arc<AtomicUsize>,
    passing: JoinHandle<()>,
}

impl Forwarder {
    async fn to(door: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (door, came) = (door.to_owned(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&came);
        let passing = tokio::spawn(async move {
            // They end with the forwarder.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let door = door.clone();
                connections.spawn(async move {
                    let mut server = TcpStream::connect(door).await?;
                    copy_bidirectional(&mut stream, &mut server).await
                });
            }
        });
        Self { address, came, passing }
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::Relaxed)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.passing.abort();
    }
}

/// Where nothing listens.
async fn nowhere() -> HostPort {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string().parse().unwrap()
}

async fn enrolled(
    plane: &Plane,
    fixture: &Fixture,
    token: &str,
    via: Vec<HostPort>,
) -> Result<Credentials, EnrolError> {
    let (via, clock) = (Arc::new(Via::new(via)), Arc::clone(&plane.clock));
    enrol_via(&via, &fixture.state(), UNKNOWN, token, Names::default(), clock).await
}

#[tokio::test]
async fn a_host_enrols_and_renews_through_others_whatever_the_gateway_is_called() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let relay = Forwarder::to(&plane.door).await;
    let token = plane.token(1).await;
    let old = enrolled(&plane, &fixture, &token, vec![relay.address.clone()]).await.unwrap();
    assert_eq!(old.gateway(), UNKNOWN);
    let connect = GatewayConnector::new(fixture.state(), Arc::clone(&plane.clock));
    renew(&fixture.state(), &connect).await.unwrap_err();
    let connect = connect.with_via(Via::new(vec![relay.address.clone()]));
    let new = renew(&fixture.state(), &connect).await.unwrap();
    assert_ne!(new.key().unwrap().fingerprint(), old.key().unwrap().fingerprint());
    assert_eq!(relay.came(), 2);
}

#[tokio::test]
async fn whoever_is_of_no_use_is_passed_over_and_not_tried_first_again() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let relay = Forwarder::to(&plane.door).await;
    // One is gone, one has lost its own way to the gateway, and one takes connections and says nothing.
    let (gone, lost) = (nowhere().await, Forwarder::to(&nowhere().await.to_string()).await);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mute: HostPort = silent.local_addr().unwrap().to_string().parse().unwrap();
    let token = plane.token(1).await;
    let in_vain = vec![gone.clone(), lost.address.clone()];
    let refused = enrolled(&plane, &fixture, &token, in_vain).await.unwrap_err();
    let EnrolError::Connect { source, .. } = refused else { panic!("{refused}") };
    let said = source.to_string();
    for address in [&gone, &lost.address] {
        assert!(said.contains(&format!("through {address}: ")), "{said}");
    }
    enrolled(&plane, &fixture, &token, vec![relay.address.clone()]).await.unwrap();

    let via = Via::new(vec![gone, mute, lost.address.clone(), relay.address.clone()]);
    let connect = GatewayConnector::new(fixture.state(), Arc::clone(&plane.clock)).with_via(via);
    let lost_before = lost.came();
    let connected = timeout(Duration::from_secs(60), connect.connect()).await;
    connected.expect("they cost more than they may").unwrap();
    let before = lost.came();
    assert!(before > lost_before);
    connect.connect().await.unwrap();
    assert_eq!(lost.came(), before, "what was of no use was tried before what was");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_goes_through_whom_its_host_names_and_through_others_once_it_is_told() {
    let fixture = Fixture::new("none").await;
    let plane = Plane::new(&fixture).await;
    let (first, second) = (Forwarder::to(&plane.door).await, Forwarder::to(&plane.door).await);
    let state = tempfile::tempdir().unwrap();
    let via = format!("--via={}", first.address);
    Program::enrol_at(UNKNOWN, &[&via], state.path(), &plane.token(1).await);
    let credentials = Credentials::read(state.path()).unwrap();
    let host: HostName = credentials.host().parse().unwrap();
    let policy =
        |relay: &Forwarder| format!("folders = ['/srv']\n[gateway]\nvia = ['{}']\n", relay.address);
    let _program = Program::run(state.path(), &policy(&first));
    eventually("the host is there", || plane.gateway.is_connected(&host)).await;
    assert_eq!((first.came(), second.came()), (2, 0));

    drop(first);
    eventually("the host is cut off", || !plane.gateway.is_connected(&host)).await;
    fs::write(state.path().join("host.toml"), policy(&second)).unwrap();
    let mut reload = Command::new(env!("CARGO_BIN_EXE_deploy-agent"));
    let told = reload.arg("reload").arg("--state-dir").arg(state.path()).status();
    assert!(told.is_ok_and(|it| it.success()));
    eventually("the host is there again", || plane.gateway.is_connected(&host)).await;
    assert!(second.came() > 0);
}
