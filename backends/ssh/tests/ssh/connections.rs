//! One connection a host: shared, made once, replaced when it is gone, closed when it is idle.
use crate::support::{
    PATIENCE, at_port, config, eventually, host, named, open, options, refusal, run, says_hello,
    sshd, sshd_with, transport,
};
use deploy_core::{error::ErrorKind, host::Host};
use deploy_host::transport::HostOutput;
use deploy_ssh::SshTransport;
use deploy_test_support::sshd::{Sshd, SshdOptions};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{interval, timeout},
};

async fn run_many(sshd: &Sshd, transport: &SshTransport, processes: usize, hosts: usize) {
    let mut running = JoinSet::new();
    for at in 0..processes {
        let (transport, host) = (transport.clone(), host(sshd, at % hosts));
        // All of them are under way before one of them ends.
        running.spawn(async move {
            let line = format!("read line; echo \"$line {at}\"");
            let mut process = open(&transport, &host, &line).await.unwrap();
            let stdin = process.stdin().unwrap();
            (at, process, stdin)
        });
    }
    for (at, mut process, mut stdin) in running.join_all().await {
        stdin.write_all(b"go\n").await.unwrap();
        let expected = HostOutput::Stdout(format!("go {at}\n").into());
        assert_eq!(process.next().await.unwrap(), Some(expected));
        assert_eq!(process.next().await.unwrap(), None);
    }
}

#[tokio::test]
async fn fifty_processes_share_one_connection() {
    let sshd = sshd();
    let transport = transport(&sshd);
    timeout(PATIENCE, run_many(&sshd, &transport, 50, 1)).await.unwrap();
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "{}", sshd.log());
}

#[tokio::test]
async fn a_server_that_takes_few_sessions_gets_more_connections() {
    let sshd = sshd_with("MaxSessions 10");
    let transport = transport(&sshd);
    timeout(PATIENCE, run_many(&sshd, &transport, 25, 1)).await.unwrap();
    let connections = sshd.log().matches("Accepted publickey").count();
    assert!((3..=5).contains(&connections), "{connections}");
}

#[tokio::test]
async fn a_refused_connection_says_where_and_the_next_try_starts_anew() {
    let mut sshd = sshd();
    let transport = transport(&sshd);
    let host = host(&sshd, 0);
    sshd.stop();
    let err = refusal(&transport, &host).await;
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    let address = format!("{}:{}", sshd.addresses()[0], sshd.port().unwrap());
    assert!(err.chain().contains(&address) && err.chain().contains("refused"), "{}", err.chain());
    sshd.restart().unwrap();
    says_hello(&transport, &host).await;
}

/// Stands before `sshd`, and holds back for `pause` all that comes after its first word.
async fn slowed_down(sshd: &Sshd, pause: Duration) -> Host {
    let to = (sshd.addresses()[0], sshd.port().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let known = format!("[127.0.0.1]:{port} {}\n", sshd.host_key().unwrap());
    std::fs::write(sshd.known_hosts(), known).unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (mut from_client, mut to_client) = client.into_split();
            let server = TcpStream::connect(to).await.unwrap();
            let (mut from_server, mut to_server) = server.into_split();
            tokio::spawn(async move { copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut word = [0; 4];
                from_server.read_exact(&mut word).await?;
                to_client.write_all(&word).await?;
                let mut ticks = interval(pause);
                ticks.tick().await;
                ticks.tick().await;
                copy(&mut from_server, &mut to_client).await
            });
        }
    });
    at_port("127.0.0.1", port)
}

#[tokio::test]
async fn a_slow_server_is_waited_for() {
    let sshd = sshd();
    let host = slowed_down(&sshd, Duration::from_secs(3)).await;
    let options = options(&sshd).with_connect_timeout(Duration::from_secs(1));
    says_hello(&SshTransport::new(options), &host).await;
}

#[tokio::test]
async fn a_server_that_is_too_slow_is_given_up_and_said_to_be_slow() {
    let sshd = sshd();
    let host = slowed_down(&sshd, Duration::from_secs(20)).await;
    let short = Duration::from_secs(1);
    let options = options(&sshd).with_connect_timeout(short).with_login_timeout(2 * short);
    let err = refusal(&SshTransport::new(options), &host).await;
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    assert!(err.chain().contains("no login within 2 s"), "{}", err.chain());
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_said_so() {
    let sshd = sshd();
    // Too long for a name: nobody has to be asked.
    let host = at_port(&"x".repeat(70), 22);
    let err = refusal(&transport(&sshd), &host).await;
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    assert!(err.chain().contains("cannot be looked up"), "{}", err.chain());
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_used_one_is_not() {
    let sshd = Sshd::start_with(SshdOptions::new().with_hosts(2)).unwrap();
    let transport = SshTransport::new(options(&sshd).with_idle_timeout(Duration::from_millis(200)));
    let mut used = open(&transport, &host(&sshd, 0), "cat").await.unwrap();
    says_hello(&transport, &host(&sshd, 1)).await;
    eventually("the idle connection is closed", || sshd.connections().unwrap() == 1).await;
    drop(used.stdin());
    drop(used);
    eventually("the other, too", || sshd.connections().unwrap() == 0).await;
    says_hello(&transport, &host(&sshd, 0)).await;
}

#[tokio::test]
async fn no_more_connections_than_allowed() {
    let sshd = Sshd::start_with(SshdOptions::new().with_hosts(8)).unwrap();
    let transport =
        SshTransport::new(options(&sshd).with_max_connections(2).with_max_handshakes(1));
    let mut running = JoinSet::new();
    for at in 0..8 {
        let (transport, host) = (transport.clone(), host(&sshd, at));
        running
            .spawn(async move { run(&transport, &host, "echo $SSH_CONNECTION").await.unwrap().0 });
    }
    let watch = async {
        while let Some(done) = running.join_next().await {
            done.unwrap();
            // A connection that has just been closed may still be seen.
            assert!(sshd.connections().unwrap() <= 4);
        }
    };
    timeout(PATIENCE, watch).await.unwrap();
    eventually("only two are left", || sshd.connections().unwrap() <= 2).await;
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_allowed() {
    let sshd = Sshd::start_with(SshdOptions::new().with_hosts(6)).unwrap();
    let transport = SshTransport::new(options(&sshd).with_max_idle(2));
    for _round in 0..2 {
        for at in 0..6 {
            says_hello(&transport, &host(&sshd, at)).await;
        }
        eventually("only two are left", || sshd.connections().unwrap() == 2).await;
    }
    // The two that were kept were used again.
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 6 + 4);
}

#[tokio::test]
async fn dropping_the_transport_closes_its_connections() {
    let sshd = sshd();
    let transport = transport(&sshd);
    says_hello(&transport, &host(&sshd, 0)).await;
    assert_eq!(sshd.connections().unwrap(), 1);
    drop(transport);
    eventually("the connection is closed", || sshd.connections().unwrap() == 0).await;
}

#[tokio::test]
async fn a_server_that_hangs_is_lost_after_three_unanswered_questions() {
    let sshd = sshd();
    let file = config(&sshd, "ServerAliveInterval 1\n");
    let transport = SshTransport::new(
        options(&sshd).with_config_files(vec![file]).with_known_hosts(vec![sshd.known_hosts()]),
    );
    let mut process = open(&transport, &named("web"), "echo begun; sleep 60").await.unwrap();
    process.next().await.unwrap();
    sshd.freeze_connections().unwrap();
    let err = timeout(PATIENCE, process.next()).await.unwrap().unwrap_err();
    assert_eq!(err.kind(), ErrorKind::OutcomeUnknown);
    assert!(err.chain().to_lowercase().contains("keepalive"), "{}", err.chain());
}

#[tokio::test]
async fn a_warm_connection_that_does_not_answer_is_replaced() {
    let sshd = sshd();
    let transport = SshTransport::new(options(&sshd).with_connect_timeout(Duration::from_secs(2)));
    let host = host(&sshd, 0);
    says_hello(&transport, &host).await;
    sshd.freeze_connections().unwrap();
    timeout(PATIENCE, says_hello(&transport, &host)).await.unwrap();
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 2);
}

#[tokio::test]
async fn a_warm_connection_that_was_cut_is_replaced() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let host = host(&sshd, 0);
    for _ in 0..5 {
        says_hello(&transport, &host).await;
        sshd.cut_connections().unwrap();
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_take_the_others_along() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let host = host(&sshd, 0);
    let first = tokio::spawn({
        let (transport, host) = (transport.clone(), host.clone());
        async move { says_hello(&transport, &host).await }
    });
    let second = tokio::spawn({
        let (transport, host) = (transport.clone(), host.clone());
        async move { says_hello(&transport, &host).await }
    });
    tokio::task::yield_now().await;
    first.abort();
    second.await.unwrap();
}
