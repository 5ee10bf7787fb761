//! Whole attempts on a host that is a folder, and what may go wrong on the way.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod support;

use deploy_core::{
    access::{Action, Resource},
    backend::{AttemptReport, CheckRequest, Executor as _, Health, ProbeReport, ProbeRequest},
    conformance::{permit, sample},
    error::{BackendError, ErrorKind},
    id::Seq,
    spec::{Direction, StepName},
};
use std::{sync::atomic::Ordering, time::Duration};
use support::{Fixture, Log, eventually, run, token};
use tokio::task::JoinSet;

const COUNTING: &str = "format = 1
[steps.fetch]
enabled = false
[steps.rollback]
enabled = false
[steps.install]
script = 'install.sh'
";

/// A script that counts its runs and prints `lines` numbered lines.
fn counting(lines: usize) -> String {
    format!(
        "echo x >>\"$DEPLOY_PATH/count\"\ni=0\nwhile [ $i -lt {lines} ]; do echo \"line $i\"; i=$((i + 1)); done\n"
    )
}

fn numbered(lines: usize) -> String {
    (0..lines).map(|it| format!("line {it}\n")).collect()
}

/// Bytes that do not get smaller.
fn random(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: Result<T, BackendError>) -> ErrorKind {
    let err = result.unwrap_err();
    eprintln!("{}", err.chain());
    err.kind()
}

#[test]
fn a_package_is_fetched_installed_and_made_current() {
    run(async {
        let fixture = Fixture::new();
        let toml = "format = 1\n[verify]\ncommand = 'grep -q two \"$DEPLOY_PATH/current/app.txt\"'\n[parameters.WHO]\n";
        let package: &[(&str, &[u8])] = &[("app.txt", b"one two"), ("bin/run.sh", b"echo hi")];
        let release =
            fixture.release("web-1", toml, &[], Some(package), &[("WHO", "it's $HOME")]).await;
        let log = Log::default();
        let permit = fixture.permit(Action::HostExecute).await;
        let report =
            fixture.executor.run(&permit, &fixture.attempt(5, &release), &log).await.unwrap();
        assert_eq!(report, AttemptReport::Succeeded, "{}", log.text());
        assert_eq!(fixture.read("current/app.txt"), "one two");
        assert_eq!(log.steps(), [StepName::Fetch, StepName::Install, StepName::Verify]);
        let look = fixture.permit(Action::HostObserve).await;
        let observed = fixture.executor.observe(&look, &fixture.on()).await.unwrap();
        assert_eq!((observed.release, observed.fence), (Some(sample::name("web-1")), Seq::new(5)));
        let check = CheckRequest::new(fixture.on(), Seq::new(5), Duration::from_secs(5));
        assert_eq!(fixture.executor.check(&permit, &check).await.unwrap(), Health::Healthy);
        std::fs::write(fixture.path("current/app.txt"), "broken").unwrap();
        let health = fixture.executor.check(&permit, &check).await.unwrap();
        assert!(matches!(health, Health::Unhealthy { .. }), "{health:?}");
    });
}

#[test]
fn going_back_and_taking_off() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let one = fixture.release("web-1", "format = 1\n", &[], Some(&[("v", b"1")]), &[]).await;
        let two = fixture.release("web-2", "format = 1\n", &[], Some(&[("v", b"2")]), &[]).await;
        for (generation, release, want) in [(1, &one, "1"), (2, &two, "2")] {
            let log = Log::default();
            let report = fixture
                .executor
                .run(&permit, &fixture.attempt(generation, release), &log)
                .await
                .unwrap();
            assert_eq!(
                (report, fixture.read("current/v").as_str()),
                (AttemptReport::Succeeded, want),
                "{}",
                log.text()
            );
        }
        let mut back = fixture.attempt(3, &one);
        back.direction = Direction::Back;
        back.previous = Some(two.clone());
        let log = Log::default();
        let report = fixture.executor.run(&permit, &back, &log).await.unwrap();
        assert_eq!(
            (report, fixture.read("current/v").as_str()),
            (AttemptReport::Succeeded, "1"),
            "{}",
            log.text()
        );
        let mut off = fixture.attempt(4, &one);
        off.direction = Direction::Back;
        off.keeps_release = false;
        let log = Log::default();
        assert_eq!(
            fixture.executor.run(&permit, &off, &log).await.unwrap(),
            AttemptReport::Succeeded,
            "{}",
            log.text()
        );
        assert!(!fixture.path("current").exists());
        let look = fixture.permit(Action::HostObserve).await;
        assert_eq!(fixture.executor.observe(&look, &fixture.on()).await.unwrap().release, None);
    });
}

/// The connection is lost after every so many bytes from the host, again and again: no byte of the log is lost or comes twice, and the step
/// runs once.
#[test]
fn a_log_survives_a_cut_at_every_byte() {
    run(async {
        let mut rounds = JoinSet::new();
        for output in 1..=160 {
            rounds.spawn(cut_log(output));
            if rounds.len() == 12 {
                rounds.join_next().await.unwrap().unwrap();
            }
        }
        rounds.join_all().await;
    });
}

async fn cut_log(output: u64) {
    let fixture = Fixture::new();
    let permit = fixture.permit(Action::HostExecute).await;
    let lines = 12;
    let scripts = [("install.sh", counting(lines))];
    let scripts = scripts.each_ref().map(|(path, text)| (*path, text.as_str()));
    let release = fixture.release("web-1", COUNTING, &scripts, None, &[]).await;
    let limits = [output, output + 1, 90].map(|it| (u64::MAX, it));
    fixture.scissors.limit(&limits);
    let log = Log::default();
    let report = fixture.executor.run(&permit, &fixture.attempt(1, &release), &log).await;
    assert_eq!(report.unwrap(), AttemptReport::Succeeded, "cut after {output}");
    assert_eq!(log.text(), numbered(lines), "cut after {output}");
    assert_eq!(fixture.read("count"), "x\n", "cut after {output}");
}

/// The upload is lost after so many bytes to the host: the attempt starts once in the end, and what came of the package is not sent again.
#[test]
fn an_upload_goes_on_where_it_was_cut() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let noise = random(400_000);
        let toml = COUNTING.replace("[steps.fetch]\nenabled = false\n", "");
        let scripts = [("install.sh", counting(1))];
        let scripts = scripts.each_ref().map(|(path, text)| (*path, text.as_str()));
        let release =
            fixture.release("web-1", &toml, &scripts, Some(&[("noise", &noise)]), &[]).await;
        let size = release.package.unwrap().size;
        assert!(size > 350_000, "{size}");
        fixture.scissors.limit(&[
            (100, u64::MAX),
            (30_000, u64::MAX),
            (200_000, u64::MAX),
            (250_000, u64::MAX),
        ]);
        let log = Log::default();
        let report =
            fixture.executor.run(&permit, &fixture.attempt(1, &release), &log).await.unwrap();
        assert_eq!(report, AttemptReport::Succeeded, "{}", log.text());
        assert_eq!(fixture.read("count"), "x\n");
        let sent = fixture.scissors.sent.load(Ordering::SeqCst);
        assert!(sent < size + 5 * 90_000, "{sent} bytes were sent for a package of {size}");
        // Once there, it is not sent again.
        let before = fixture.scissors.sent.load(Ordering::SeqCst);
        fixture
            .executor
            .run(&permit, &fixture.attempt(2, &release), &Log::default())
            .await
            .unwrap();
        let again = fixture.scissors.sent.load(Ordering::SeqCst) - before;
        assert!(again < 90_000, "{again}");
    });
}

/// Cuts the way to the host at every so many bytes of the stream: never is anything started twice.
#[test]
fn a_stream_cut_anywhere_starts_at_most_once() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let release = fixture
            .release("web-1", COUNTING, &[("install.sh", &counting(2))], Some(&[("a", b"b")]), &[])
            .await;
        fixture
            .executor
            .run(&permit, &fixture.attempt(1, &release), &Log::default())
            .await
            .unwrap();
        let whole = fixture.scissors.sent.load(Ordering::SeqCst);
        for round in 0..24_u64 {
            // The last of them cut inside the launcher and the end marks.
            let input = if round < 12 { whole * round / 12 } else { whole - (round - 12) * 130 };
            fixture.scissors.limit(&[(input, u64::MAX)]);
            let log = Log::default();
            let report =
                fixture.executor.run(&permit, &fixture.attempt(round + 2, &release), &log).await;
            assert_eq!(report.unwrap(), AttemptReport::Succeeded, "cut after {input} of {whole}");
            assert_eq!(log.text(), numbered(2));
            assert_eq!(
                fixture.read("count").lines().count() as u64,
                round + 2,
                "cut after {input} of {whole}"
            );
        }
    });
}

#[test]
fn a_damaged_package_on_the_host_is_sent_anew() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let release =
            fixture.release("web-1", "format = 1\n", &[], Some(&[("v", b"1")]), &[]).await;
        let packages = fixture.path(".deploy/packages");
        std::fs::create_dir_all(&packages).unwrap();
        std::fs::create_dir_all(fixture.path(".deploy/attempts")).unwrap();
        let part = packages.join(format!("{}.tar.gz.part", release.package.unwrap().digest.hex()));
        for (generation, bytes) in [(1, vec![7; 20]), (2, vec![7; 100_000])] {
            std::fs::write(&part, bytes).unwrap();
            drop(std::fs::remove_file(part.with_extension("")));
            let log = Log::default();
            let report = fixture
                .executor
                .run(&permit, &fixture.attempt(generation, &release), &log)
                .await
                .unwrap();
            assert_eq!(report, AttemptReport::Succeeded, "{}", log.text());
        }
        assert_eq!(fixture.read("current/v"), "1");
    });
}

#[test]
fn what_may_not_be_unpacked_reaches_no_host() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let release = fixture.release("web-1", "format = 1\n", &[], None, &[]).await;
        let release = fixture.with_package_bytes(release, b"not an archive").await;
        for generation in 1..=3 {
            let ran = fixture
                .executor
                .run(&permit, &fixture.attempt(generation, &release), &Log::default())
                .await;
            assert_eq!(kind(ran), ErrorKind::InvalidInput);
        }
        assert_eq!(fixture.scissors.opened.load(Ordering::SeqCst), 0);
        assert!(!fixture.path("").exists());
    });
}

#[test]
fn a_full_disk_is_told_and_starts_nothing() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let release = fixture
            .release("web-1", COUNTING, &[("install.sh", &counting(1))], Some(&[("v", b"1")]), &[])
            .await;
        // What a full disk does to every write, a limit on file sizes does without one; `df` says that it is full.
        let bin = fixture.dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let df = bin.join("df");
        std::fs::write(&df, "#!/bin/sh\necho header\necho /dev/x 100 100 0 100% /\n").unwrap();
        std::process::Command::new("chmod").arg("755").arg(&df).status().unwrap();
        *fixture.scissors.prefix.lock().unwrap() =
            format!("PATH='{}':$PATH; export PATH; trap '' XFSZ; ulimit -f 1; ", bin.display());
        let ran =
            fixture.executor.run(&permit, &fixture.attempt(1, &release), &Log::default()).await;
        assert_eq!(kind(ran), ErrorKind::NoSpace);
        assert_eq!(fixture.read("count"), "");
        fixture.scissors.prefix.lock().unwrap().clear();
        let report =
            fixture.executor.run(&permit, &fixture.attempt(1, &release), &Log::default()).await;
        assert_eq!(report.unwrap(), AttemptReport::Succeeded);
    });
}

/// A step that removes all there is, what the host knows of the attempt too: it has run, so it counts as lost and not as never begun.
#[test]
fn a_step_that_removes_the_control_folder_has_run() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let clean = "rm -rf \"$DEPLOY_PATH\"/* \"$DEPLOY_PATH\"/.[!.]*\n";
        let release = fixture.release("web-1", COUNTING, &[("install.sh", clean)], None, &[]).await;
        let attempt = fixture.attempt(1, &release);
        let report = fixture.executor.run(&permit, &attempt, &Log::default()).await.unwrap();
        assert!(matches!(report, AttemptReport::Lost { step: None, .. }), "{report:?}");
    });
}

#[test]
fn another_token_is_not_believed() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let release =
            fixture.release("web-1", COUNTING, &[("install.sh", &counting(1))], None, &[]).await;
        fixture
            .executor
            .run(&permit, &fixture.attempt(1, &release), &Log::default())
            .await
            .unwrap();
        let mut other = fixture.attempt(1, &release);
        other.token = token(99);
        assert_eq!(
            kind(fixture.executor.run(&permit, &other, &Log::default()).await),
            ErrorKind::OutcomeUnknown
        );
        let probe = ProbeRequest::new(fixture.on(), Seq::new(1), token(99));
        assert!(fixture.executor.probe(&permit, &probe).await.is_err());
        let probe = ProbeRequest::new(fixture.on(), Seq::new(1), token(1));
        assert_eq!(
            fixture.executor.probe(&permit, &probe).await.unwrap(),
            ProbeReport::Ended(AttemptReport::Succeeded)
        );
        let mut odd = fixture.attempt(1, &release);
        odd.token = "$(id)".to_owned();
        assert_eq!(
            kind(fixture.executor.run(&permit, &odd, &Log::default()).await),
            ErrorKind::InvalidInput
        );
    });
}

#[test]
fn a_host_that_babbles_is_not_believed() {
    run(async {
        let fixture = Fixture::new().with_reconnect_for(Duration::from_millis(300));
        let permit = fixture.permit(Action::HostExecute).await;
        let release =
            fixture.release("web-1", COUNTING, &[("install.sh", &counting(1))], None, &[]).await;
        let hosts = [
            ("echo deploy:exit >&2; exit; ", ErrorKind::Corrupt),
            ("echo deploy:succeeded >&2; exit; ", ErrorKind::Corrupt),
            ("head -c 3000000 /dev/urandom >&2; exit; ", ErrorKind::Unavailable),
            ("echo deploy:healthy >&2; exit; ", ErrorKind::OutcomeUnknown),
            (
                "echo deploy:have bytes=0 >&2; cat >/dev/null; echo deploy:haha >&2; exit; ",
                ErrorKind::OutcomeUnknown,
            ),
            ("echo deploy:have bytes=0 >&2; cat >/dev/null; exit; ", ErrorKind::OutcomeUnknown),
            ("echo 'sudo: a password is required' >&2; exit; ", ErrorKind::PermissionDenied),
            ("echo deploy:error code=missing_tool message=flock >&2; exit; ", ErrorKind::NotFound),
            ("echo deploy:fenced seen=9 >&2; exit; ", ErrorKind::Fenced),
            ("echo deploy:busy generation=9 >&2; exit; ", ErrorKind::Conflict),
        ];
        for (prefix, want) in hosts {
            *fixture.scissors.prefix.lock().unwrap() = prefix.to_owned();
            let ran =
                fixture.executor.run(&permit, &fixture.attempt(1, &release), &Log::default()).await;
            assert_eq!(kind(ran), want, "{prefix}");
        }
    });
}

#[test]
fn a_host_that_stays_away_leaves_the_outcome_unknown() {
    run(async {
        let fixture = Fixture::new().with_reconnect_for(Duration::from_millis(500));
        let permit = fixture.permit(Action::HostExecute).await;
        let script = "echo x >>\"$DEPLOY_PATH/count\"; while [ ! -e \"$DEPLOY_PATH/go\" ]; do sleep 0.05; done; echo done";
        let release =
            fixture.release("web-1", COUNTING, &[("install.sh", script)], None, &[]).await;
        let request = fixture.attempt(1, &release);
        let (executor, again) = (std::sync::Arc::clone(&fixture.executor), request.clone());
        let log = std::sync::Arc::new(Log::default());
        let (sink, key) = (std::sync::Arc::clone(&log), permit.clone());
        let ran = tokio::spawn(async move { executor.run(&key, &again, &*sink).await });
        eventually("the step runs", || fixture.read("count") == "x\n").await;
        *fixture.scissors.prefix.lock().unwrap() = "exit; ".to_owned();
        fixture.scissors.cut();
        assert_eq!(kind(ran.await.unwrap()), ErrorKind::OutcomeUnknown);
        fixture.scissors.prefix.lock().unwrap().clear();
        std::fs::write(fixture.path("go"), "").unwrap();
        let log = Log::default();
        assert_eq!(
            fixture.executor.run(&permit, &request, &log).await.unwrap(),
            AttemptReport::Succeeded
        );
        assert_eq!((log.text().as_str(), fixture.read("count").as_str()), ("done\n", "x\n"));
    });
}

#[test]
fn parameters_reach_scripts_byte_for_byte() {
    run(async {
        let fixture = Fixture::new();
        let permit = fixture.permit(Action::HostExecute).await;
        let toml = format!("{COUNTING}[parameters.A]\nmultiline = true\n");
        let value = "'; touch /tmp/pwned; $(id) `id` \\\n\t\"é\u{1b}[0m ${IFS}";
        let scripts = [("install.sh", "printf %s \"$P_A\"")];
        let release = fixture.release("web-1", &toml, &scripts, None, &[("A", value)]).await;
        let log = Log::default();
        fixture.executor.run(&permit, &fixture.attempt(1, &release), &log).await.unwrap();
        assert_eq!(log.text(), value);
    });
}

#[test]
fn another_account_is_taken_on() {
    run(async {
        let fixture = Fixture::new();
        std::fs::create_dir(fixture.dir.path().join("host's root")).unwrap();
        for path in [fixture.dir.path().to_owned(), fixture.dir.path().join("host's root")] {
            std::process::Command::new("chmod").arg("777").arg(path).status().unwrap();
        }
        let permit = permit(Action::HostExecute, Resource::System).await;
        let scripts = [("install.sh", "id -un; echo \"$HOME\"")];
        let release = fixture.release("web-1", COUNTING, &scripts, None, &[]).await;
        let mut request = fixture.attempt(1, &release);
        request.on.account = Some(sample::name("nobody"));
        let log = Log::default();
        let report = fixture.executor.run(&permit, &request, &log).await.unwrap();
        assert_eq!(report, AttemptReport::Succeeded);
        assert!(log.text().starts_with("nobody\n/nonexistent"), "{}", log.text());
    });
}
