//! Builds of real repositories, by real programs.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test panics, also in what tests share"
)]
mod lab;
mod packages;
mod processes;
mod sources;

use deploy_core::backend::{BuildFault, BuildState, Builder as _, Isolation};
use deploy_test_support::skip::skipped;
use lab::{Lab, over, printing, recipe};

/// Whether builds are kept from this machine here.
fn is_sandboxed(isolation: Isolation) -> bool {
    if isolation == Isolation::Sandbox {
        return true;
    }
    skipped(
        "builds in a sandbox",
        "bubblewrap is missing (`cargo xtask packages`), or may not make sandboxes here",
    );
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_becomes_a_package() {
    let lab = Lab::new().await;
    lab.write("src/main.txt", "hello\n");
    let commit = lab.commit("one");
    let made = lab
        .build(recipe(
            &["mkdir bin", "tr a-z A-Z <src/main.txt >bin/web", "chmod 700 bin/web"],
            &[("bin", "bin")],
        ))
        .await;
    assert_eq!(made.commit.as_ref().unwrap().as_str(), commit);
    let unpacked = lab.unpacked(&made).await;
    assert_eq!(std::fs::read_to_string(unpacked.join("bin/web")).unwrap(), "HELLO\n");
    assert_eq!(lab::mode(&unpacked.join("bin/web")), 0o755);
    let log = lab.log(&made).await;
    assert!(
        log.contains("== $ mkdir bin\n")
            && log.ends_with(&format!("== succeeded: {}\n", made.report.unwrap().package.digest)),
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_not_built_twice() {
    let lab = Lab::new().await;
    let commit = lab.commit("one");
    let counter = "echo x >>$DEPLOY_CACHE/runs; wc -l <$DEPLOY_CACHE/runs";
    let one = lab.build(printing(counter)).await;
    assert_eq!(
        (one.state, &one.same_as),
        (BuildState::Succeeded, &None),
        "{}",
        lab.log(&one).await
    );
    for revision in ["main", commit.as_str()] {
        let two = lab.submit(revision, printing(counter)).await;
        let two = over(&lab.builder, &two).await;
        assert_eq!(
            (two.state, two.same_as.as_ref(), &two.report),
            (BuildState::Succeeded, Some(&one.id), &one.report)
        );
        let unpacked = lab.unpacked(&two).await;
        assert_eq!(std::fs::read_to_string(unpacked.join("out")).unwrap().trim(), "1");
    }
    let other = lab.build(printing(&format!("{counter}; true"))).await;
    assert_eq!(
        (other.state, other.same_as),
        (BuildState::Succeeded, None),
        "another recipe is another build"
    );
    lab.commit("two");
    let other = lab.build(printing(counter)).await;
    assert_eq!(
        (other.state, other.same_as),
        (BuildState::Succeeded, None),
        "another commit is another build"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_fails_ends_the_build() {
    let lab = Lab::new().await;
    lab.commit("one");
    let made =
        lab.build(recipe(&["echo one", "echo two; exit 3", "echo three"], &[("out", "out")])).await;
    assert_eq!(
        Lab::fault(&made),
        (
            BuildFault::CommandFailed,
            "command 2 (`echo two; exit 3`) ended with exit status: 3".to_owned()
        )
    );
    let log = lab.log(&made).await;
    assert!(log.contains("\ntwo\n") && !log.contains("three"), "{log}");
    let again =
        lab.build(recipe(&["echo one", "echo two; exit 3", "echo three"], &[("out", "out")])).await;
    assert_eq!(
        (again.state, again.same_as),
        (BuildState::Failed, None),
        "what failed is tried again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_see_nothing_of_the_machine() {
    let lab = Lab::new().await;
    lab.commit("one");
    let outside = lab.dir.path().join("outside");
    std::fs::write(&outside, "not for builds").unwrap();
    let look = format!(
        "set +e; id -u; echo $HOME; ls -A $HOME; cat {} 2>&1; cat /etc/shadow 2>&1; ls /proc | grep -c '^[0-9]'; touch /usr/x 2>&1; touch /x 2>&1; cat /proc/net/dev | tail -n +3 | cut -d: -f1; env | sort",
        outside.display()
    );
    let made = lab.build(printing(&look)).await;
    let unpacked = lab.unpacked(&made).await;
    if !is_sandboxed(made.report.unwrap().isolation) {
        return;
    }
    let seen = std::fs::read_to_string(unpacked.join("out")).unwrap();
    assert!(seen.starts_with("1000\n/build/home\ncat: "), "{seen}");
    assert!(!seen.contains("not for builds") && !seen.contains("root:"), "{seen}");
    assert!(seen.contains("touch: cannot touch '/usr/x': Read-only file system\ntouch: cannot touch '/x': Read-only file system\n    lo\n"), "{seen}");
    let names: Vec<_> =
        seen.lines().filter_map(|it| it.split_once('=')).map(|(name, _)| name).collect();
    let wanted = [
        "DEPLOY_CACHE",
        "DEPLOY_COMMIT",
        "DEPLOY_SECRETS",
        "DEPLOY_SERVICE",
        "HOME",
        "LANG",
        "PATH",
        "PWD",
        "SOURCE_DATE_EPOCH",
        "TMPDIR",
        "TZ",
    ];
    assert_eq!(names, wanted, "{seen}");
    assert!(made.warnings.is_empty(), "{:?}", made.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_of_one_service_go_one_after_another() {
    let lab = Lab::new().await;
    lab.commit("one");
    let mut builds = Vec::new();
    for at in 0..3 {
        let slowly = format!(
            "mkdir $DEPLOY_CACHE/taken && sleep 0.2 && rmdir $DEPLOY_CACHE/taken && echo {at}"
        );
        builds.push(lab.submit("main", printing(&slowly)).await);
    }
    let mut began = Vec::new();
    for build in &builds {
        let build = over(&lab.builder, build).await;
        assert_eq!(build.state, BuildState::Succeeded, "{}", lab.log(&build).await);
        began.push(build.started_at.unwrap());
    }
    assert!(began.is_sorted());
    let listed = lab
        .builder
        .builds(&deploy_core::backend::ListBuilds::default().with_limit(2))
        .await
        .unwrap();
    assert_eq!(listed.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["b3", "b2"]);
}
