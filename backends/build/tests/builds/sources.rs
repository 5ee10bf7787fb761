//! Where sources come from, and which are refused.
use crate::lab::{Lab, over, printing, recipe};
use deploy_build::{LocalBuilder, RemotePolicy};
use deploy_core::{
    backend::{Build, BuildFault, BuildRequest, BuildState, Builder as _},
    memory::SystemClock,
    spec::Source,
};
use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

#[tokio::test(flavor = "multi_thread")]
async fn tags_branches_and_commits_are_found() {
    let lab = Lab::new().await;
    lab.write("version", "1");
    let one = lab.commit("one");
    lab.git(&["tag", "--annotate", "--message", "x", "v1"]);
    lab.git(&["branch", "feature/x"]);
    lab.write("version", "2");
    let two = lab.commit("two");
    // A branch named like a tag must not change what the tag means.
    lab.git(&["branch", "v1"]);
    for (revision, commit) in [
        ("v1", &one),
        ("refs/heads/v1", &two),
        ("feature/x", &one),
        (one.as_str(), &one),
        (&two[..9], &two),
    ] {
        let made = lab.submit(revision, printing("cat version")).await;
        let made = over(&lab.builder, &made).await;
        assert_eq!(made.state, BuildState::Succeeded, "{}", lab.log(&made).await);
        assert_eq!(made.commit.unwrap().as_str(), commit, "{revision}");
        let tag = made.tag.as_ref().map(|it| it.as_str());
        assert_eq!(tag, (revision == "v1").then_some("v1"), "{revision}");
    }
    // What `git describe` says of a commit is not its name.
    let described = format!("v1-1-g{}", &two[..9]);
    for revision in
        [described.clone(), format!("refs/tags/{described}"), format!("x-g{}", &two[..9])]
    {
        let made = lab.submit(&revision, printing("cat version")).await;
        let made = over(&lab.builder, &made).await;
        assert_eq!(Lab::fault(&made).0, BuildFault::RevisionUnknown, "{revision}");
    }
    lab.git(&["tag", "--force", "v1", &two]);
    let made = lab.submit("v1", printing("cat version")).await;
    assert_eq!(
        over(&lab.builder, &made).await.commit.unwrap().as_str(),
        two,
        "a tag that was moved is followed"
    );
    for revision in ["nothing", "v1.0", "HEAD", "0123456789", "refs/pull/1"] {
        let made = lab.submit(revision, printing(":")).await;
        assert_eq!(
            Lab::fault(&over(&lab.builder, &made).await).0,
            BuildFault::RevisionUnknown,
            "{revision}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_repository_is_run_or_followed() {
    let lab = Lab::new().await;
    let ran = lab.dir.path().join("ran");
    lab.write("out", "x");
    lab.write(".gitattributes", "out filter=evil\n");
    for hook in ["post-checkout", "reference-transaction", "post-index-change"] {
        let path = lab.repository().join(".git/hooks").join(hook);
        fs::write(&path, format!("#!/bin/sh\necho {hook} >>{}\n", ran.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let module = lab.dir.path().join("module");
    lab.write(
        ".gitmodules",
        &format!("[submodule \"m\"]\n\tpath = m\n\turl = file://{}\n", module.display()),
    );
    lab.git(&["add", ".gitmodules", ".gitattributes", "out"]);
    lab.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        "160000,0123456789012345678901234567890123456789,m",
    ]);
    lab.git(&["commit", "--quiet", "--message", "one"]);
    drop(fs::remove_file(&ran));
    let made = lab.build(recipe(&["ls -A m"], &[("out", "out")])).await;
    assert_eq!(made.state, BuildState::Succeeded, "{}", lab.log(&made).await);
    assert!(!ran.exists(), "{}", fs::read_to_string(&ran).unwrap());
    assert!(made.warnings.iter().any(|it| it.contains("submodules")), "{:?}", made.warnings);
}

/// The copy of the lab's repository.
fn mirror(lab: &Lab) -> std::path::PathBuf {
    let folders = fs::read_dir(lab.dir.path().join("builds/mirrors")).unwrap();
    let mut folders = folders.map(|it| it.unwrap().path());
    folders.find(|it| it.extension().is_some_and(|it| it == "git")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_git_has_left_is_in_nobodys_way() {
    let lab = Lab::new().await;
    lab.commit("one");
    assert_eq!(lab.build(printing("echo 1")).await.state, BuildState::Succeeded);
    let copy = mirror(&lab);
    for lock in ["config.lock", "packed-refs.lock", "refs/heads/main.lock", "objects/tmp_pack_x"] {
        fs::write(copy.join(lock), "").unwrap();
    }
    lab.write("version", "2");
    let two = lab.commit("two");
    let made = lab.build(printing("echo 2")).await;
    assert_eq!(made.commit.as_ref().map(|it| it.as_str()), Some(two.as_str()), "{made:?}");
    assert!(!copy.join("objects/tmp_pack_x").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_is_fetched_anew() {
    let lab = Lab::new().await;
    lab.write("version", "1");
    let one = lab.commit("one");
    assert_eq!(lab.build(printing("echo 1")).await.state, BuildState::Succeeded);
    let blob = lab.git(&["rev-parse", "HEAD:version"]);
    let (folder, file) = blob.split_at(2);
    type Damage<'a> = &'a dyn Fn(&std::path::Path);
    let damages: [Damage<'_>; 3] = [
        &|copy| fs::remove_file(copy.join("HEAD")).unwrap(),
        &|copy| fs::remove_dir_all(copy.join("objects")).unwrap(),
        &|copy| fs::remove_file(copy.join("objects").join(folder).join(file)).unwrap(),
    ];
    for (at, damage) in damages.iter().enumerate() {
        damage(&mirror(&lab));
        let made = lab.submit(&one, printing(&format!("cat version; echo {at}"))).await;
        let made = over(&lab.builder, &made).await;
        assert_eq!(made.state, BuildState::Succeeded, "{at}: {}", lab.log(&made).await);
        assert!(lab.log(&made).await.contains("is damaged, and is fetched anew"));
    }
    let made = lab.build(printing("cat version")).await;
    assert!(!lab.log(&made).await.contains("damaged"), "it is whole again");
}

async fn build_of(lab: &Lab, builder: &LocalBuilder, remote: &str) -> Build {
    let source = Source::new(remote.parse().unwrap());
    let request =
        BuildRequest::new("web".parse().unwrap(), source, "main".parse().unwrap(), printing(":"));
    let build = builder.submit(&lab.permit, &request).await.unwrap();
    over(builder, &build).await
}

#[tokio::test(flavor = "multi_thread")]
async fn outsiders_reach_no_private_address() {
    let lab = Lab::new().await;
    lab.commit("one");
    let folder = lab.dir.path().join("outsiders");
    let builder = LocalBuilder::open(folder, Arc::new(SystemClock::new()))
        .unwrap()
        .with_policy(RemotePolicy::outsiders());
    for remote in [
        lab.source().remote.as_str(),
        "https://127.0.0.1/web.git",
        "https://localhost/web.git",
        "https://[::1]:8443/web.git",
        "https://169.254.169.254/latest/meta-data",
        "ssh://git@10.0.0.1/web.git",
        "git@192.168.0.1:web.git",
    ] {
        assert_eq!(
            Lab::fault(&build_of(&lab, &builder, remote).await).0,
            BuildFault::SourceRefused,
            "{remote}"
        );
    }
    let unreachable = build_of(&lab, &lab.builder, "https://127.0.0.1:1/web.git").await;
    assert_eq!(Lab::fault(&unreachable).0, BuildFault::SourceUnavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_named_and_shown_to_nobody() {
    let lab = Lab::new().await;
    lab.commit("one");
    let recipe =
        printing("cat $DEPLOY_SECRETS/TOKEN; echo the token is $(cat $DEPLOY_SECRETS/TOKEN) >&2")
            .with_secrets([("TOKEN".parse().unwrap(), "npm".parse().unwrap())].into());
    let made = lab.build(recipe.clone()).await;
    let (fault, message) = Lab::fault(&made);
    assert_eq!(
        (fault, message.as_str()),
        (BuildFault::SecretMissing, "there is no secret `npm` for service `web`")
    );
    let folder = lab.dir.path().join("builds/secrets/web");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("npm"), "swordfish-4711\n").unwrap();
    fs::set_permissions(folder.join("npm"), fs::Permissions::from_mode(0o600)).unwrap();
    let made = lab.build(recipe).await;
    let unpacked = lab.unpacked(&made).await;
    assert_eq!(fs::read_to_string(unpacked.join("out")).unwrap(), "swordfish-4711");
    let log = lab.log(&made).await;
    assert!(log.contains("the token is ***\n") && !log.contains("swordfish"), "{log}");
    let record =
        fs::read_to_string(lab.dir.path().join(format!("builds/records/{}/build.json", made.id)))
            .unwrap();
    assert!(!record.contains("swordfish"), "{record}");
    assert!(
        !lab.dir.path().join("builds/work/web").exists(),
        "the place to work, with its secrets, is still there"
    );
}
