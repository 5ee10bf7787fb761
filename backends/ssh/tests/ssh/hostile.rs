//! Servers that are none, or not what they should be: nothing they do makes us wait for ever, panic, or believe them.
use crate::support::{at_port, open, refusal, run};
use deploy_core::{error::ErrorKind, host::Host};
use deploy_ssh::{SshOptions, SshTransport};
use deploy_test_support::sshd::generate_key;
use russh::{
    Channel, ChannelId, Preferred, kex,
    keys::{Algorithm, PrivateKey, PublicKey},
    server::{
        Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey, run_stream,
    },
};
use std::{borrow::Cow, fs, future::Future, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// A listener that does with each connection what `serve` says.
async fn listen<F, S>(serve: S) -> Host
where
    F: Future<Output = ()> + Send + 'static,
    S: Fn(TcpStream) -> F + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    at_port("127.0.0.1", port)
}

/// A transport that knows `key` as that of every host.
fn transport(key: &PublicKey) -> (SshTransport, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (id, known) = (folder.path().join("id"), folder.path().join("known_hosts"));
    generate_key(&id, "ed25519", "").unwrap();
    fs::write(&known, format!("* {}\n", key.to_openssh().unwrap())).unwrap();
    let options = SshOptions::new()
        .with_config_files(vec![])
        .with_user(Some("me".parse().unwrap()))
        .with_identity_files(vec![id])
        .with_known_hosts(vec![known])
        .with_connect_timeout(Duration::from_secs(2))
        .with_login_timeout(Duration::from_secs(3));
    (SshTransport::new(options), folder)
}

fn key() -> PrivateKey {
    PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap()
}

async fn unavailable(host: &Host) -> String {
    let (transport, _folder) = transport(key().public_key());
    let err = timeout(Duration::from_secs(10), refusal(&transport, host)).await.unwrap();
    assert_eq!(err.kind(), ErrorKind::Unavailable, "{}", err.chain());
    err.chain()
}

#[tokio::test]
async fn one_that_says_nothing_is_given_up() {
    let silent = listen(|mut stream| async move {
        let mut sink = Vec::new();
        let _ = stream.read_to_end(&mut sink).await;
    });
    let text = unavailable(&silent.await).await;
    assert!(text.contains("no answer within 2 s") && text.contains("says nothing"), "{text}");
}

#[tokio::test]
async fn one_that_stops_in_the_middle_is_given_up_and_its_connection_closed() {
    let (closed, mut was_closed) = tokio::sync::mpsc::channel(1);
    let host = listen(move |mut stream| {
        let closed = closed.clone();
        async move {
            stream.write_all(b"SSH-2.0-tarpit\r\n").await.unwrap();
            let mut sink = Vec::new();
            let _ = stream.read_to_end(&mut sink).await;
            closed.send(()).await.unwrap();
        }
    });
    let text = unavailable(&host.await).await;
    assert!(text.contains("no login within 3 s") && text.contains("exchanging keys"), "{text}");
    timeout(Duration::from_secs(10), was_closed.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn one_that_hangs_up_is_told_apart() {
    let host = listen(|stream| async move { drop(stream) }).await;
    let text = unavailable(&host).await;
    assert!(text.contains("closed the connection") || text.contains("reset"), "{text}");
}

#[tokio::test]
async fn garbage_is_no_ssh() {
    for garbage in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"SSH-2.0-x\r\n\x00\x00\x00\x0c\x0a\x14aaaaaaaaaaaaaaaaaaaaaaaa",
        &[b'\n'; 5_000],
        &[0; 100_000],
    ] {
        let host = listen(move |mut stream| async move {
            let _ = stream.write_all(garbage).await;
        });
        unavailable(&host.await).await;
    }
}

/// What a server does that speaks SSH, but not as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evil {
    /// Sends everything there is around a process that it says to have started, and then nothing more.
    Babbles,
    /// Ends the connection as soon as a process is asked for.
    HangsUp,
    /// Ends the connection as soon as somebody logs in.
    HangsUpAtLogin,
    /// Opens channels of its own.
    Opens,
}

#[derive(Clone, Debug)]
struct EvilServer(Evil);

impl Handler for EvilServer {
    type Error = russh::Error;

    async fn auth_publickey(
        &mut self,
        _: &str,
        _: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        if self.0 == Evil::HangsUpAtLogin {
            return Err(russh::Error::Disconnect);
        }
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match self.0 {
            Evil::HangsUp | Evil::HangsUpAtLogin => return Err(russh::Error::Disconnect),
            Evil::Opens => {
                for _ in 0..100 {
                    session.channel_open_forwarded_tcpip("127.0.0.1", 1, "127.0.0.1", 1)?;
                    session.channel_open_agent()?;
                    session.channel_open_session()?;
                    session.channel_open_x11("127.0.0.1", 1)?;
                    session.channel_open_direct_tcpip("127.0.0.1", 1, "127.0.0.1", 1)?;
                }
                session.channel_success(channel)?;
            }
            Evil::Babbles => {
                session.exit_status_request(channel, 0)?;
                session.channel_failure(channel)?;
                session.channel_success(channel)?;
                session.channel_success(channel)?;
                session.extended_data(channel, 77, "of no kind")?;
                session.exit_status_request(channel, 0)?;
            }
        }
        session.data(channel, "hello\n")?;
        session.eof(channel)?;
        session.close(channel)
    }
}

async fn evil(evil: Evil, preferred: Preferred) -> (Host, SshTransport, TempDir) {
    let key = key();
    let (transport, folder) = transport(key.public_key());
    let config = Arc::new(Config { keys: vec![key], preferred, ..Config::default() });
    let host = listen(move |stream| {
        let config = Arc::clone(&config);
        async move {
            if let Ok(session) = run_stream(config, stream, EvilServer(evil)).await {
                let _ = session.await;
            }
        }
    });
    (host.await, transport, folder)
}

#[tokio::test]
async fn without_strict_key_exchange_there_is_no_login() {
    let preferred = Preferred { kex: Cow::Borrowed(&[kex::CURVE25519]), ..Preferred::default() };
    let (host, transport, _folder) = evil(Evil::Babbles, preferred).await;
    let err = refusal(&transport, &host).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("CVE-2023-48795"), "{}", err.chain());
}

#[tokio::test]
async fn old_algorithms_are_refused() {
    let preferred = Preferred {
        kex: Cow::Borrowed(&[kex::DH_G14_SHA256, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER]),
        ..Preferred::default()
    };
    let (host, transport, _folder) = evil(Evil::Babbles, preferred).await;
    let err = refusal(&transport, &host).await;
    assert_eq!(err.kind(), ErrorKind::Unauthenticated);
    assert!(err.chain().contains("diffie-hellman-group14-sha256"), "{}", err.chain());
}

#[tokio::test]
async fn a_post_quantum_key_exchange_is_spoken_first() {
    let preferred = Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
        ]),
        ..Preferred::default()
    };
    let (host, transport, _folder) = evil(Evil::Opens, preferred).await;
    assert_eq!(run(&transport, &host, "x").await.unwrap().0, "hello\n");
}

#[tokio::test]
async fn a_server_that_answers_twice_is_believed_once() {
    let (host, transport, _folder) = evil(Evil::Babbles, Preferred::default()).await;
    let err = open(&transport, &host, "x").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{}", err.chain());
}

#[tokio::test]
async fn a_server_opens_no_channels_to_us() {
    let (host, transport, _folder) = evil(Evil::Opens, Preferred::default()).await;
    assert_eq!(run(&transport, &host, "x").await.unwrap().0, "hello\n");
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_leaves_the_outcome_unknown() {
    let (host, transport, _folder) = evil(Evil::HangsUp, Preferred::default()).await;
    let err = open(&transport, &host, "x").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::OutcomeUnknown, "{}", err.chain());
}

/// A key that was not judged was not refused, and may be taken at the next try.
#[tokio::test]
async fn a_connection_that_is_cut_in_the_middle_of_a_login_is_no_refusal() {
    let (host, transport, _folder) = evil(Evil::HangsUpAtLogin, Preferred::default()).await;
    let err = open(&transport, &host, "x").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable, "{}", err.chain());
    assert!(err.chain().contains("while logging in"), "{}", err.chain());
}
