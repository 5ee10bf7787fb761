//! How builds are ended, and what they may take.
use crate::lab::{Lab, builder, over, printing, recipe, until};
use deploy_build::SandboxUse;
use deploy_core::{
    backend::{BuildFault, BuildState, Builder as _, Isolation},
    spec::BuildLimits,
};
use std::{fs, num::NonZeroU64, time::Duration};

/// Starts what is hard to find, under a name that this test alone has.
fn hard(name: &str) -> String {
    format!(
        "cp /bin/sleep {name}; ./{name} 1000 & setsid ./{name} 1000 & (env -i setsid sh -c 'trap \"\" TERM HUP; ./{name} 1000; :' &); echo up >$DEPLOY_CACHE/up"
    )
}

/// Whether any process has this name, and does something yet.
fn runs(name: &str) -> bool {
    let named = |stat: String| stat.contains(&format!("({name}) ")) && !stat.contains(") Z ");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.into_iter().any(|it| fs::read_to_string(it.path().join("stat")).is_ok_and(named))
}

fn name() -> String {
    let mut random = [0; 4];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut random).unwrap();
    format!("hard-{:08x}", u32::from_le_bytes(random))
}

fn limits(change: impl FnOnce(&mut BuildLimits)) -> BuildLimits {
    let mut limits = BuildLimits::default();
    change(&mut limits);
    limits
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_its_time() {
    let lab = Lab::new().await;
    lab.commit("one");
    let name = name();
    let slow = recipe(&[&format!("{}; sleep 1000", hard(&name))], &[("out", "out")])
        .with_limits(limits(|it| it.time = Duration::from_secs(10)));
    let made = lab.build(slow).await;
    assert_eq!(made.state, BuildState::TimedOut, "{}", lab.log(&made).await);
    assert!(!runs(&name));
    assert!(lab.dir.path().join("builds/cache/web/up").exists(), "it never came that far");
    assert!(lab.log(&made).await.ends_with("== timed out: its commands may run for 10s\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_running_is_ended() {
    let lab = Lab::new().await;
    lab.commit("one");
    let name = name();
    let made = lab.build(recipe(&[&hard(&name), "echo x >out"], &[("out", "out")])).await;
    assert_eq!(made.state, BuildState::Succeeded, "{}", lab.log(&made).await);
    assert!(!runs(&name));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_can_be_cancelled_while_it_runs_and_while_it_waits() {
    let lab = Lab::new().await;
    lab.commit("one");
    let name = name();
    let first = lab
        .submit("main", recipe(&[&format!("{}; sleep 1000", hard(&name))], &[("out", "out")]))
        .await;
    until(&lab.builder, &first, "it runs", |_| runs(&name)).await;
    let second = lab.submit("main", printing("echo x")).await;
    let third = lab.submit("main", printing("echo y")).await;
    lab.builder.cancel(&lab.permit, &second.id).await.unwrap();
    let second = over(&lab.builder, &second).await;
    assert_eq!((second.state, second.started_at), (BuildState::Cancelled, None));
    // Another process can do it as well.
    builder(&lab.dir.path().join("builds")).cancel(&lab.permit, &first.id).await.unwrap();
    assert_eq!(over(&lab.builder, &first).await.state, BuildState::Cancelled);
    assert!(!runs(&name));
    let third = over(&lab.builder, &third).await;
    assert_eq!(third.state, BuildState::Succeeded, "{}", lab.log(&third).await);
    assert_eq!(
        lab.builder.cancel(&lab.permit, &third.id).await.unwrap().state,
        BuildState::Succeeded
    );
    assert_eq!(lab.builder.build(&third.id).await.unwrap().state, BuildState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sandbox_builds_are_ended_as_well_and_say_so() {
    let lab = Lab::new().await;
    lab.commit("one");
    let plain = builder(&lab.dir.path().join("plain")).with_sandbox(SandboxUse::Never);
    let name = name();
    let request = lab.request("main", recipe(&[&hard(&name), "echo x >out"], &[("out", "out")]));
    let build = plain.submit(&lab.permit, &request).await.unwrap();
    let build = over(&plain, &build).await;
    assert_eq!(build.state, BuildState::Succeeded, "{build:?}");
    assert_eq!(build.report.unwrap().isolation, Isolation::Process);
    assert!(
        build.warnings[0].starts_with("the commands run without a sandbox"),
        "{:?}",
        build.warnings
    );
    let log = plain.log(&build.id, 0, 100_000).await.unwrap();
    assert!(
        String::from_utf8(log.bytes)
            .unwrap()
            .contains("== warning: the commands run without a sandbox")
    );
    assert!(!runs(&name));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_built_without_a_sandbox_is_not_taken_for_what_is_built_in_one() {
    let lab = Lab::new().await;
    lab.commit("one");
    let open = |sandbox| builder(&lab.dir.path().join("builds")).with_sandbox(sandbox);
    let built = async |sandbox| {
        let builder = open(sandbox);
        let request = lab.request("main", printing("echo x"));
        over(&builder, &builder.submit(&lab.permit, &request).await.unwrap()).await
    };
    let plain = built(SandboxUse::Never).await;
    assert_eq!(plain.report.as_ref().unwrap().isolation, Isolation::Process);
    let required = built(SandboxUse::Required).await;
    if required.state == BuildState::Failed {
        assert_eq!(Lab::fault(&required).0, BuildFault::SandboxMissing);
        return;
    }
    assert_eq!(required.same_as, None);
    assert_eq!(required.report.as_ref().unwrap().isolation, Isolation::Sandbox);
    // The other way round there is nothing against it.
    assert_eq!(built(SandboxUse::Never).await.same_as, Some(required.id.clone()));
    assert_eq!(built(SandboxUse::Required).await.same_as, Some(required.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_hides_no_other() {
    let lab = Lab::new().await;
    lab.commit("one");
    let first = lab.build(printing("echo x")).await;
    let record = lab.dir.path().join("builds/records").join(first.id.as_str()).join("build.json");
    fs::write(&record, "{").unwrap();
    let second = lab.build(printing("echo y")).await;
    assert_eq!(second.state, BuildState::Succeeded);
    let listed = lab.builder.builds(&Default::default()).await.unwrap();
    assert_eq!(listed.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["b2"]);
    let err = lab.builder.build(&first.id).await.unwrap_err();
    assert_eq!(err.kind(), deploy_core::backend::ErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_bounded() {
    let lab = Lab::new().await;
    lab.write("file", &"x".repeat(300_000));
    lab.commit("one");
    let bound = |mib: u64| limits(|it| it.disk = NonZeroU64::new(mib << 20).unwrap());
    // Many files, so that no bound on a single one helps.
    let many = "i=0; while [ $i -lt 40 ]; do head -c 1000000 /dev/zero >f$i; i=$((i+1)); done";
    for endless in [format!("{many}; sleep 1000"), format!("{many}; exit 1"), many.to_owned()] {
        let greedy = recipe(&[&endless], &[("out", "f1")]).with_limits(bound(8));
        let made = lab.build(greedy).await;
        let (fault, message) = Lab::fault(&made);
        assert_eq!(fault, BuildFault::DiskLimit, "{message}");
        assert!(message.contains("more than the 8 MiB"), "{message}");
    }
    let one = "head -c 40000000 /dev/zero >out";
    let made = lab.build(recipe(&[one], &[("out", "out")]).with_limits(bound(8))).await;
    assert_eq!(Lab::fault(&made).0, BuildFault::DiskLimit);
    let made = lab.build(recipe(&[one], &[("out", "out")]).with_limits(bound(64))).await;
    assert_eq!(made.state, BuildState::Succeeded, "{}", lab.log(&made).await);
}

/// The other end of what the process of this name prints into.
fn printed_by(name: &str) -> Option<fs::File> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut named = entries.into_iter().filter(|it| {
        let stat = fs::read_to_string(it.path().join("stat"));
        stat.is_ok_and(|it| it.contains(&format!("({name}) ")))
    });
    fs::OpenOptions::new().write(true).open(named.next()?.path().join("fd/1")).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_somebody_keeps_open_holds_no_build() {
    let lab = Lab::new().await;
    lab.commit("one");
    let name = name();
    let command = format!("cp /bin/sleep {name}; ./{name} 1000");
    let build = lab.submit("main", recipe(&[&command], &[("out", "out")])).await;
    let kept = std::cell::RefCell::new(None);
    until(&lab.builder, &build, "it runs", |_| {
        *kept.borrow_mut() = printed_by(&name);
        kept.borrow().is_some()
    })
    .await;
    lab.builder.cancel(&lab.permit, &build.id).await.unwrap();
    let build = over(&lab.builder, &build).await;
    assert_eq!(Lab::fault(&build).0, BuildFault::Survivors, "{}", lab.log(&build).await);
    assert!(!runs(&name) && kept.into_inner().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_that_are_not_there_are_refused() {
    let lab = Lab::new().await;
    lab.commit("one");
    let tools = lab.dir.path().join("tools");
    for missing in [tools.clone(), "not/there".into(), "/etc/hostname".into()] {
        let refused = lab.builder.clone().with_tools(&[missing]).unwrap_err();
        assert_eq!(refused.kind(), deploy_core::backend::ErrorKind::InvalidInput);
    }
    fs::create_dir_all(tools.join("below")).unwrap();
    fs::write(tools.join("tool"), "found").unwrap();
    let builder = lab.builder.clone().with_tools(&[tools.join("below/..")]).unwrap();
    let command = format!("cat {}/tool", tools.canonicalize().unwrap().display());
    let request = lab.request("main", printing(&command));
    let build = builder.submit(&lab.permit, &request).await.unwrap();
    let build = over(&builder, &build).await;
    assert_eq!(build.state, BuildState::Succeeded, "{build:?}");
}

#[test]
fn a_build_whose_process_dies_is_lost_and_leaves_nothing() {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (here, there) = (runtime(), runtime());
    let lab = here.block_on(Lab::new());
    lab.commit("one");
    let plain = lab.builder.clone().with_sandbox(SandboxUse::Never);
    let name = name();
    let request =
        lab.request("main", recipe(&[&format!("{}; sleep 1000", hard(&name))], &[("out", "out")]));
    let lost = there.block_on(plain.submit(&lab.permit, &request)).unwrap();
    here.block_on(until(&plain, &lost, "it runs", |_| runs(&name)));
    there.shutdown_background();
    here.block_on(async {
        let lost = until(&plain, &lost, "it is lost", |it| it.state == BuildState::Lost).await;
        assert!(lost.failure.unwrap().message.starts_with("the process that ran it is gone"));
        let next = lab.build(printing("echo x")).await;
        assert_eq!(next.state, BuildState::Succeeded, "{}", lab.log(&next).await);
        assert!(!runs(&name), "what the lost build has left runs on");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_bounded() {
    let lab = Lab::new().await;
    lab.commit("one");
    let limits = limits(|it| it.log = NonZeroU64::new(10_000).unwrap());
    let made = lab
        .build(
            recipe(&["yes | head -c 1000000; echo x >out"], &[("out", "out")]).with_limits(limits),
        )
        .await;
    assert_eq!(made.state, BuildState::Succeeded);
    let log = lab.log(&made).await;
    assert!(log.len() < 10_400, "{}", log.len());
    assert!(
        log.contains("bytes more were printed: the log keeps 10000 at the most\n== succeeded"),
        "{}",
        &log[9_900..]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_processes_are_bounded() {
    let lab = Lab::new().await;
    lab.commit("one");
    let bounds = limits(|it| {
        it.memory = NonZeroU64::new(64 << 20);
        it.processes = NonZeroU64::new(40).unwrap();
    });
    let greedy =
        recipe(&["head -c 400000000 /dev/zero | tail -c 300000000 >out"], &[("out", "out")])
            .with_limits(bounds);
    assert_eq!(Lab::fault(&lab.build(greedy).await).0, BuildFault::CommandFailed);
    let fork = "i=0; while [ $i -lt 100 ]; do sleep 5 & i=$((i+1)); done; wait; echo x >out";
    let many = lab.build(recipe(&[fork], &[("out", "out")]).with_limits(bounds)).await;
    assert_eq!(Lab::fault(&many).0, BuildFault::CommandFailed, "{}", lab.log(&many).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_builds_are_forgotten() {
    let lab = Lab::new().await;
    lab.commit("one");
    let few =
        builder(&lab.dir.path().join("builds")).with_kept(std::num::NonZeroUsize::new(2).unwrap());
    for at in 0..4 {
        let build = few
            .submit(&lab.permit, &lab.request("main", printing(&format!("echo {at}"))))
            .await
            .unwrap();
        over(&few, &build).await;
    }
    let left =
        until(&few, &few.builds(&Default::default()).await.unwrap()[0], "it is there", |_| true)
            .await;
    assert_eq!(left.id.as_str(), "b4");
    let mut ids: Vec<_> = few
        .builds(&Default::default())
        .await
        .unwrap()
        .into_iter()
        .map(|it| it.id.to_string())
        .collect();
    ids.truncate(9);
    assert!(ids.starts_with(&["b4".to_owned(), "b3".to_owned()]) && ids.len() <= 3, "{ids:?}");
}
