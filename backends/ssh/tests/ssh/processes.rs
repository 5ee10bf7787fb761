//! Starting processes: their streams, their accounts, and what becomes of them when the connection goes.
use crate::support::{
    PATIENCE, eventually, finish, host, open, run, says_hello, sshd, sshd_with, transport,
};
use deploy_core::error::{BackendError, ErrorKind};
use deploy_host::transport::{HostCommand, HostOutput, Transport as _};
use deploy_test_support::sshd::{Sshd, SshdOptions};
use std::{fs, os::unix::fs::PermissionsExt as _};
use tokio::{io::AsyncWriteExt as _, time::timeout};

/// Bytes that do not repeat soon, and hold every value.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn both_streams_arrive_apart() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let (stdout, stderr) =
        run(&transport, &host(&sshd, 0), "printf out; printf err >&2; exit 7").await.unwrap();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("out", "err"), "no exit status in sight");
}

#[tokio::test]
async fn sixty_four_mebibytes_go_there_and_come_back() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let mut process = open(&transport, &host(&sshd, 0), "cat").await.unwrap();
    let mut stdin = process.stdin().unwrap();
    assert!(process.stdin().is_none(), "there is one standard input");
    let sent = noise(64 * 1024 * 1024);
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        for part in sent.chunks(100_000) {
            stdin.write_all(part).await.unwrap();
        }
        stdin.shutdown().await.unwrap();
    });
    let mut received = Vec::with_capacity(expected.len());
    while let Some(output) = process.next().await.unwrap() {
        let HostOutput::Stdout(bytes) = output else { panic!("{output:?}") };
        received.extend_from_slice(&bytes);
    }
    writer.await.unwrap();
    assert!(received == expected, "{} of {} bytes came back", received.len(), expected.len());
}

#[tokio::test]
async fn input_that_nobody_reads_ends_with_the_process() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let mut process = open(&transport, &host(&sshd, 0), "head -c 1 >/dev/null").await.unwrap();
    let mut stdin = process.stdin().unwrap();
    let writing = async {
        // Far more than the window: the write has to wait, and must not wait for ever.
        while stdin.write_all(&[0; 65_536]).await.is_ok() {}
    };
    timeout(PATIENCE, writing).await.unwrap();
    assert_eq!(finish(process.as_mut()).await.unwrap(), (String::new(), String::new()));
}

#[tokio::test]
async fn input_ends_when_it_is_shut_down() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let mut process = open(&transport, &host(&sshd, 0), "cat; echo end").await.unwrap();
    let mut stdin = process.stdin().unwrap();
    stdin.write_all(b"a").await.unwrap();
    stdin.shutdown().await.unwrap();
    assert_eq!(finish(process.as_mut()).await.unwrap().0, "aend\n");
}

#[tokio::test]
async fn a_lost_connection_leaves_the_outcome_unknown() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let host = host(&sshd, 0);
    let mut process = open(&transport, &host, "echo begun; sleep 60").await.unwrap();
    assert_eq!(process.next().await.unwrap(), Some(HostOutput::Stdout("begun\n".into())));
    sshd.cut_connections().unwrap();
    let err = timeout(PATIENCE, process.next()).await.unwrap().unwrap_err();
    assert_eq!(err.kind(), ErrorKind::OutcomeUnknown, "{}", err.chain());
    assert!(err.chain().contains("web-1"), "{}", err.chain());
    let again = process.next().await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::OutcomeUnknown, "and it stays so");
    says_hello(&transport, &host).await;
}

#[tokio::test]
async fn a_connection_cut_in_midstream_loses_no_byte_that_came() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let line = "i=0; while :; do i=$((i+1)); echo $i; done";
    let mut process = open(&transport, &host(&sshd, 0), line).await.unwrap();
    let mut text = String::new();
    let err = loop {
        match timeout(PATIENCE, process.next()).await.unwrap() {
            Ok(Some(HostOutput::Stdout(bytes))) => {
                text.push_str(std::str::from_utf8(&bytes).unwrap());
            }
            Ok(other) => panic!("{other:?}"),
            Err(err) => break err,
        }
        if text.len() > 200_000 {
            sshd.cut_connections().unwrap();
        }
    };
    assert_eq!(err.kind(), ErrorKind::OutcomeUnknown);
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop();
    assert!(lines.iter().enumerate().all(|(at, line)| line.parse() == Ok(at + 1)));
}

#[tokio::test]
async fn dropping_a_process_closes_its_channel_and_no_other() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let host = host(&sshd, 0);
    let flag = sshd.folder().join("closed");
    let mut other = open(&transport, &host, "cat").await.unwrap();
    let process = open(&transport, &host, &format!("cat; : >{}", flag.display())).await.unwrap();
    drop(process);
    eventually("the end of the input", || flag.exists()).await;
    let mut stdin = other.stdin().unwrap();
    stdin.write_all(b"still here").await.unwrap();
    stdin.shutdown().await.unwrap();
    assert_eq!(finish(other.as_mut()).await.unwrap().0, "still here");
    assert_eq!(sshd.connections().unwrap(), 1);
}

#[tokio::test]
async fn output_that_nobody_takes_does_not_hold_up_others_for_long() {
    let sshd = sshd();
    let transport = transport(&sshd);
    let host = host(&sshd, 0);
    let flag = sshd.folder().join("ended");
    let line = format!("cat /dev/zero; : >{}", flag.display());
    let mut flood = open(&transport, &host, &line).await.unwrap();
    timeout(PATIENCE, says_hello(&transport, &host)).await.unwrap();
    eventually("the flood is cut off", || flag.exists()).await;
    timeout(PATIENCE, says_hello(&transport, &host)).await.unwrap();
    let end = async {
        loop {
            match flood.next().await {
                Ok(output) => assert!(output.is_some()),
                Err(err) => return err,
            }
        }
    };
    let err = timeout(PATIENCE, end).await.unwrap();
    assert_eq!(err.kind(), ErrorKind::OutcomeUnknown, "{}", err.chain());
    assert_eq!(sshd.connections().unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_runs_nothing_is_told_apart() {
    let sshd = sshd_with("MaxSessions 0");
    let err = open(&transport(&sshd), &host(&sshd, 0), "true").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    assert!(err.chain().contains("opens no session"), "{}", err.chain());
}

/// A server whose `sudo` is the script `sudo`.
fn sshd_with_sudo(sudo: &str) -> (Sshd, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("sudo");
    fs::write(&program, format!("#!/bin/sh\n{sudo}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    (Sshd::start_with(SshdOptions::new().with_env("PATH", path)).unwrap(), folder)
}

async fn run_as(sshd: &Sshd, account: &str, line: &str) -> Result<(String, String), BackendError> {
    let command = HostCommand::new(line.into()).with_account(Some(account.parse().unwrap()));
    let mut process = transport(sshd).open(&host(sshd, 0), &command).await?;
    if let Some(mut stdin) = process.stdin() {
        stdin.write_all(b"input").await.unwrap();
        stdin.shutdown().await.unwrap();
    }
    finish(process.as_mut()).await
}

#[tokio::test]
async fn another_account_is_reached_through_sudo() {
    let record = r#"echo "$# $1 $2 $3 $4 $5 $6 $7" >&2; shift 5; exec "$@""#;
    let (sshd, _folder) = sshd_with_sudo(record);
    let (stdout, stderr) = run_as(&sshd, "web", "cat; printf \"it's\" >&2").await.unwrap();
    assert_eq!(stdout, "input");
    assert_eq!(
        stderr, "9 -n -H -u web -- sh -c\nit's",
        "what sudo says is kept, the sign of the start is not"
    );
}

#[tokio::test]
async fn the_login_account_needs_no_sudo() {
    let (sshd, _folder) = sshd_with_sudo("exit 1");
    let user = sshd.user().to_owned();
    assert_eq!(run_as(&sshd, &user, "cat").await.unwrap().0, "input");
}

#[tokio::test]
async fn what_sudo_refuses_says_what_to_do() {
    let (sshd, _folder) = sshd_with_sudo("echo 'sudo: a password is required' >&2; exit 1");
    let err = run_as(&sshd, "web", "echo never").await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
    let expected = format!("{} ALL=(web) NOPASSWD: ALL", sshd.user());
    assert!(err.chain().contains(&expected), "{}", err.chain());
}

#[tokio::test]
async fn real_sudo_is_understood() {
    let sshd = sshd();
    let err = run_as(&sshd, "no-such-account", "true").await.unwrap_err();
    let text = err.chain();
    assert!(!text.contains("sudo is not installed"), "install the Debian package sudo: {text}");
    if sshd.user() != "root" {
        assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{text}");
        return;
    }
    assert_eq!(err.kind(), ErrorKind::NotFound, "{text}");
    let (stdout, stderr) = run_as(&sshd, "nobody", "id -un; cat; echo $HOME >&2").await.unwrap();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("nobody\ninput", "/nonexistent\n"));
}
