//! What steps see, what is kept of them, and how they end.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod support;

use deploy_agent::{Followed, HostSide as _};
use deploy_agent_protocol::v1::{
    Artifact, Attempt, Holding, Observe, Outcome, Refusal, Refused, answer::Kind,
};
use deploy_core::{backend::ArtifactKind, digest::Digest};
use deploy_test_support::releases::{pack, put};
use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt as _, path::Path};
use support::{Fixture, scripts::*};

#[tokio::test]
async fn a_step_sees_what_the_contract_says_and_nothing_else() {
    let fixture = Fixture::new("auto").await;
    let script = "env | cut -d= -f1 | sort | tr '\\n' ' '; echo
        echo \"user $(id -un) $(id -Gn)\"; echo \"umask $(umask) core $(ulimit -c) $(ulimit -Hc)\"
        echo \"dir $(pwd)\"; echo \"input $(readlink /proc/self/fd/0)\"
        ls /proc/self/fd | tr '\\n' ' '; echo
        echo \"key $DEPLOY_STEP_KEY $DEPLOY_HOST $DEPLOY_GENERATION $DEPLOY_KEEPS_RELEASE\"
        echo opened >/dev/stderr; touch \"$TMPDIR/x\" && . \"$DEPLOY_LIB\" && du_log library
        touch \"$DEPLOY_DESCRIPTOR_DIR/x\" 2>/dev/null && [ \"$(id -u)\" -ne 0 ] && echo changed
        touch \"$DEPLOY_PATH/x\" && echo ours";
    let order = fixture.order(3, &[("install", script)]).await;
    let told = fixture.run(&order).await;
    assert_eq!(told.outcome(), (Outcome::Succeeded, 0, ""), "{}", told.text());
    let text = told.text();
    let lines: Vec<&str> = text.lines().collect();
    let names: BTreeSet<&str> = lines[0].split(' ').filter(|it| !it.is_empty()).collect();
    let expected = "DEPLOY_ATTEMPT DEPLOY_DESCRIPTOR_DIR DEPLOY_DIRECTION DEPLOY_GENERATION DEPLOY_HOST \
        DEPLOY_KEEPS_RELEASE DEPLOY_LIB DEPLOY_OUTPUT DEPLOY_PACKAGE DEPLOY_PACKAGE_DIGEST DEPLOY_PATH \
        DEPLOY_PREVIOUS_RELEASE DEPLOY_PREVIOUS_VERSION DEPLOY_RELEASE DEPLOY_RELEASE_DIR DEPLOY_SERVICE \
        DEPLOY_SHARED DEPLOY_STEP DEPLOY_STEP_KEY DEPLOY_VERSION HOME LANG LOGNAME P_DIR PATH SHELL TMPDIR USER";
    let of_the_shell = ["OLDPWD", "PWD", "SHLVL", "_"];
    let own: BTreeSet<&str> = names.into_iter().filter(|it| !of_the_shell.contains(it)).collect();
    assert_eq!(own, expected.split_whitespace().collect());
    let account = fixture.account();
    assert!(lines[1].starts_with(&format!("user {account} ")), "{}", lines[1]);
    assert!(account == "root" || !lines[1].contains("root"), "{}", lines[1]);
    assert_eq!(lines[2], "umask 0022 core 0 0");
    assert_eq!(lines[3], format!("dir {}/root/srv/web", fixture.dir.path().display()));
    assert_eq!(lines[4], "input /dev/null");
    assert_eq!(lines[5].trim(), "0 1 2 3", "3 is the folder that `ls` reads");
    assert_eq!(lines[6], "key key.install h1 3 yes");
    assert_eq!(lines[7..], ["opened", "library", "ours"]);
    assert_eq!(told.ended().log_digest, Digest::of(&told.log).as_bytes());
}

#[tokio::test]
async fn default_steps_put_a_package_there() {
    let fixture = Fixture::new("auto").await;
    let mut order =
        fixture.order(1, &[("fetch", ""), ("install", ""), ("post", "cat current/hello")]).await;
    let package = pack(&[("hello", b"it works\n")]).unwrap();
    let stored = put(&*fixture.store, ArtifactKind::Package, &package).await.unwrap();
    let digest = stored.digest.as_bytes().to_vec();
    order.package = Some(Artifact { digest, size: stored.size });
    let told = fixture.run(&order).await;
    assert_eq!(told.outcome(), (Outcome::Succeeded, 0, ""), "{}", told.text());
    assert!(told.text().ends_with("it works\n"), "{}", told.text());
    assert_eq!(told.steps, ["fetch", "install", "post"]);
    let observed = fixture.host().observe(Observe { place: order.place }).await;
    let Kind::Observed(observed) = observed else { panic!() };
    assert_eq!((observed.release.as_str(), observed.fence, observed.running), ("web-1", 1, 0));
    // It says so as well when nobody asks.
    let held = Holding { service: "web".into(), release: "web-1".into(), generation: 1 };
    assert_eq!(fixture.host().holdings().await, std::slice::from_ref(&held));
    let current = fixture.dir.path().join("root/srv/web/current");
    fs::remove_file(current).unwrap();
    assert_eq!(fixture.host().holdings().await, [Holding { release: String::new(), ..held }]);
}

#[tokio::test]
async fn a_host_tells_nothing_of_services_that_are_under_way_or_were_never_there() {
    let fixture = Fixture::new("auto").await;
    let order = fixture.order(1, &[("install", "true")]).await;
    fixture.run(&order).await;
    assert_eq!(fixture.host().holdings().await, [], "no release was put there");
}

#[tokio::test]
async fn others_cannot_look_into_an_attempt() {
    let fixture = Fixture::new("auto").await;
    let order = fixture.order(1, &[("install", "true")]).await;
    fixture.run(&order).await;
    let private = |path: &Path| {
        let mode = fs::symlink_metadata(path).unwrap().mode();
        assert_eq!(mode & 0o077, 0, "{} has the mode {mode:o}", path.display());
    };
    for entry in fs::read_dir(fixture.attempt(1)).unwrap().flatten() {
        if entry.file_name() != "work" {
            private(&entry.path());
        }
    }
    for folder in ["journal", "artifacts"] {
        private(&fixture.state().join(folder));
    }
    assert_eq!(fs::metadata(fixture.attempt(1).join("work")).unwrap().mode() & 0o007, 0);
}

#[tokio::test]
async fn what_fails_or_takes_too_long_leaves_nothing() {
    for cgroups in ["unified", "freezer", "none"] {
        let fixture = Fixture::new(cgroups).await;
        let leave = "setsid sleep 1000 & sleep 1000 & (trap '' TERM; while :; do sleep 1; done) &";
        let cases = [
            ("exit 7", 60, 0, (Outcome::Failed, 7, "exit_code")),
            ("kill -9 $$", 60, 0, (Outcome::Failed, 137, "exit_code")),
            ("sleep 1000", 1, 0, (Outcome::TimedOut, 143, "step_timeout")),
            ("yes", 60, 100_000, (Outcome::Failed, 143, "log_limit")),
        ];
        for (generation, (script, timeout_s, log_limit, expected)) in (1..).zip(cases) {
            let script = format!("{leave}\n{script}");
            let mut order =
                fixture.order(generation, &[("install", &script), ("start", "echo no")]).await;
            order.steps[0].timeout_s = timeout_s;
            order.log_limit = log_limit;
            let told = fixture.run(&order).await;
            assert_eq!(told.outcome(), expected, "{cgroups}: {script}");
            assert_eq!(told.steps, ["install"]);
            assert_eq!(fixture.processes(), [0; 0], "{cgroups}: {script}");
        }
    }
}

#[tokio::test]
async fn what_a_step_that_succeeds_has_left_running_stays() {
    for cgroups in ["unified", "freezer", "none"] {
        let fixture = Fixture::new(cgroups).await;
        let daemon = "setsid sh -c 'echo $$ >\"$P_DIR/pid\"; trap \"echo no >$P_DIR/gone\" PIPE
            until [ -e \"$P_DIR/go\" ]; do sleep 0.05; done; echo late; echo later
            echo yes >\"$P_DIR/alive\"; exec sleep 1000' &
            until [ -s \"$P_DIR/pid\" ]; do sleep 0.01; done";
        let order = fixture.order(1, &[("start", daemon), ("post", "exit 3")]).await;
        let told = fixture.run(&order).await;
        assert_eq!(told.outcome(), (Outcome::Failed, 3, "exit_code"));
        // It may go on printing, although nobody reads it any more.
        fs::write(fixture.dir.path().join("go"), "").unwrap();
        fixture.wait_for("alive").await;
        assert_eq!(fixture.trace("gone"), "");
        let pid = fixture.trace("pid").trim().parse().unwrap();
        signal(pid, rustix::process::Signal::KILL);
        eventually("the shim goes with it", || fixture.processes().is_empty()).await;
    }
}

#[tokio::test]
async fn what_a_daemon_starts_later_is_not_taken_for_another_step() {
    let daemon = "setsid sh -c 'until [ -e $P_DIR/fork ]; do sleep 0.01; done
        (setsid sh -c \"echo \\$\\$ >$P_DIR/child; exec sleep 1000\" &)
        echo $$ >$P_DIR/daemon; exec sleep 1000' >/dev/null 2>&1 &";
    let fail = "touch $P_DIR/fork
        until [ -s $P_DIR/child ] && [ -s $P_DIR/daemon ]; do sleep 0.01; done; exit 3";
    for cgroups in ["unified", "freezer", "none"] {
        let fixture = Fixture::new(cgroups).await;
        let order = fixture.order(1, &[("start", daemon), ("post", fail)]).await;
        assert_eq!(fixture.run(&order).await.outcome(), (Outcome::Failed, 3, "exit_code"));
        let mut left =
            ["child", "daemon"].map(|it| fixture.trace(it).trim().parse::<i32>().unwrap());
        let mut found = fixture.processes();
        left.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, left, "{cgroups}");
        left.into_iter().for_each(|it| signal(it, rustix::process::Signal::KILL));
    }
}

#[tokio::test]
async fn verify_is_repeated_until_it_holds() {
    let fixture = Fixture::new("auto").await;
    let verify = "echo x >>$P_DIR/runs; [ $(wc -l <$P_DIR/runs) -ge 3 ]";
    let mut order = fixture.order(1, &[("verify", verify)]).await;
    order.min_healthy_s = 1;
    let told = fixture.run(&order).await;
    assert_eq!(told.outcome(), (Outcome::Succeeded, 0, ""));
    assert!(fixture.trace("runs").lines().count() >= 4, "it has to hold for a second");
    let mut order = fixture.order(2, &[("verify", "exit 1")]).await;
    order.healthy_deadline_s = 1;
    assert_eq!(fixture.run(&order).await.outcome(), (Outcome::TimedOut, 1, "healthy_deadline"));
}

#[tokio::test]
async fn secrets_do_not_reach_the_disk() {
    let fixture = Fixture::new("auto").await;
    let script = "printf 'a %s b\\n' \"$P_SECRET\"; printf hunter; sleep 0.2; printf 2222; echo; printf hunt";
    let mut order = fixture.order(1, &[("install", script)]).await;
    order.environment.insert("P_SECRET".to_owned(), "hunter2222".to_owned());
    order.masked = vec!["hunter2222".to_owned()];
    let told = fixture.run(&order).await;
    assert_eq!(told.text(), "a *** b\n***\nhunt");
    assert_eq!(fs::read(fixture.attempt(1).join("log")).unwrap(), told.log);
}

#[tokio::test]
async fn of_endless_output_both_ends_are_kept() {
    let fixture = Fixture::with_policy("log_mib = 1\n").await;
    let script = "echo first; head -c 1073741824 /dev/zero; echo last";
    let order = fixture.order(1, &[("install", script)]).await;
    let told = fixture.run(&order).await;
    assert_eq!(told.outcome(), (Outcome::Succeeded, 0, ""));
    assert!(told.log.starts_with(b"first\n") && told.log.ends_with(b"last\n"));
    assert!(told.log.len() < 1 << 20, "{} bytes are kept", told.log.len());
    let text = told.text();
    let line = text.lines().find(|it| it.contains("bytes are left out here")).unwrap();
    let left_out: usize = line.trim_matches('\0')[1..].split(' ').next().unwrap().parse().unwrap();
    let printed = told.log.len() - line.trim_matches('\0').len() - 2 + left_out;
    assert_eq!(printed, 1_073_741_824 + 11);
    assert_eq!(told.ended().log_digest, Digest::of(&told.log).as_bytes());
    assert_eq!(told.ended().log_length, told.log.len() as u64);
}

#[tokio::test]
async fn hostile_scripts_are_ended_when_somebody_wants_it() {
    let zoo = [
        "trap '' TERM INT HUP; echo up >$P_DIR/up; while :; do sleep 1; done",
        "exec >/dev/null 2>&1 <&-; echo up >$P_DIR/up; sleep 1000",
        "for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'trap \"\" TERM; sleep 1000' &) ; done; echo up >$P_DIR/up; sleep 1000",
        "(setsid sh -c '(env -i P_DIR=$P_DIR setsid sh -c \"echo up >$P_DIR/up; exec sleep 1000\" &)' &); sleep 1000",
        "echo up >$P_DIR/up; kill -STOP $$; sleep 1000",
        "echo up >$P_DIR/up; yes",
    ];
    for cgroups in ["unified", "freezer", "none"] {
        let fixture = Fixture::new(cgroups).await;
        for (generation, script) in (1..).zip(zoo) {
            let order = fixture.order(generation, &[("install", script)]).await;
            fixture.start(&order).await.unwrap();
            fixture.wait_for("up").await;
            fs::remove_file(fixture.dir.path().join("up")).unwrap();
            let killed = fixture.host().kill(kill_of(&order, 1)).await;
            assert!(matches!(killed, Kind::Killed(_)), "{cgroups}: {script}: {killed:?}");
            assert_eq!(fixture.processes(), [0; 0], "{cgroups}: {script}");
            let told = told(&fixture.host(), &order).await;
            assert_eq!(told.ended().outcome(), Outcome::Killed);
        }
    }
}

#[tokio::test]
async fn what_the_host_does_not_allow_is_refused() {
    let fixture = Fixture::with_policy("accounts = ['daemon']\n").await;
    let refusal = |told: Result<_, Refused>| told.unwrap_err().code();
    let with = |change: fn(&mut Attempt)| {
        let fixture = &fixture;
        async move {
            let mut order = fixture.order(1, &[("install", "true")]).await;
            change(&mut order);
            refusal(fixture.start(&order).await)
        }
    };
    assert_eq!(with(|_| {}).await, Refusal::NotAllowed);
    assert_eq!(
        with(|it| it.place.as_mut().unwrap().account = "nosuch".to_owned()).await,
        Refusal::NoAccount
    );
    assert_eq!(
        with(|it| it.place.as_mut().unwrap().account = "-x".to_owned()).await,
        Refusal::Invalid
    );
    assert_eq!(
        with(|it| {
            let place = it.place.as_mut().unwrap();
            (place.account, place.deploy_path) = ("daemon".to_owned(), "/etc".to_owned());
        })
        .await,
        Refusal::NotAllowed
    );
    let bad: [fn(&mut Attempt); 11] = [
        |it| it.token = "x".to_owned(),
        |it| it.generation = 0,
        |it| it.steps.clear(),
        |it| it.steps[0].name = "../x".to_owned(),
        |it| it.steps[0].script = "../x.sh".to_owned(),
        |it| _ = it.environment.insert("LD_PRELOAD".to_owned(), "x".to_owned()),
        |it| _ = it.environment.insert("P_X".to_owned(), "a\0b".to_owned()),
        |it| it.place = None,
        |it| it.place.as_mut().unwrap().service = "../web".to_owned(),
        |it| it.release = "a/b".to_owned(),
        |it| it.descriptor = None,
    ];
    for bad in bad {
        assert_eq!(with(bad).await, Refusal::Invalid);
    }
    let probe = fixture.order(1, &[("install", "true")]).await;
    let Kind::NeverStarted(_) = fixture.host().probe(probe_of(&probe)).await else { panic!() };
}

#[tokio::test]
async fn a_host_runs_no_more_at_a_time_than_it_allows() {
    let fixture = Fixture::with_policy("concurrency = 1\n").await;
    let wait = "echo up >$P_DIR/up; until [ -e $P_DIR/go ]; do sleep 0.01; done";
    let first = fixture.order(1, &[("install", wait)]).await;
    let mut second = fixture.order(2, &[("install", "true")]).await;
    second.place.as_mut().unwrap().service = "other".to_owned();
    fixture.start(&first).await.unwrap();
    fixture.wait_for("up").await;
    let refused = fixture.start(&second).await.unwrap_err();
    assert_eq!(refused.code(), Refusal::Busy, "{}", refused.message);
    assert_eq!(fixture.host().running(), 1);
    fs::write(fixture.dir.path().join("go"), "").unwrap();
    told(&fixture.host(), &first).await;
    eventually("it is over", || fixture.host().running() == 0).await;
    assert_eq!(fixture.run(&second).await.outcome(), (Outcome::Succeeded, 0, ""));
}

/// However far an order has come when nobody waits for its answer any more: asked again, it is answered, and nothing runs twice.
#[tokio::test]
async fn an_order_may_be_dropped_at_any_point() {
    use std::{future::Future as _, task::Context};
    let fixture = Fixture::new("auto").await;
    for generation in 1..=30 {
        let order =
            fixture.order(generation, &[("install", "echo $DEPLOY_GENERATION >>$P_DIR/ran")]).await;
        {
            let mut start = Box::pin(fixture.start(&order));
            for _ in 0..generation {
                let polled =
                    start.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop()));
                if polled.is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(fixture.run(&order).await.outcome(), (Outcome::Succeeded, 0, ""));
    }
    let ran: Vec<_> = fixture.trace("ran").lines().map(str::to_owned).collect();
    assert_eq!(ran, (1..=30).map(|it| it.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn nobody_leads_an_agent_astray_by_a_link() {
    let fixture = Fixture::new("auto").await;
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), fixture.dir.path().join("root/link")).unwrap();
    let mut order = fixture.order(1, &[("install", "true")]).await;
    let place = order.place.as_mut().unwrap();
    place.deploy_path = format!("{}/root/link/web", fixture.dir.path().display());
    assert_eq!(fixture.start(&order).await.unwrap_err().code(), Refusal::NotAllowed);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_fetched_starts_nothing() {
    let fixture = Fixture::new("auto").await;
    let mut order = fixture.order(1, &[("install", "true")]).await;
    order.descriptor.as_mut().unwrap().digest = vec![7; 32];
    assert_eq!(fixture.start(&order).await.unwrap_err().code(), Refusal::Artifact);
    // Nothing is known of it, and so it can be started once the artifact is there.
    let order = fixture.order(1, &[("install", "true")]).await;
    assert!(matches!(fixture.run(&order).await.end, Followed::Ended(_)));
}
