//! What becomes of outputs.
use crate::lab::{Lab, builder, over, recipe};
use deploy_core::{
    backend::{BuildFault, BuildOutput, BuildState},
    digest::Digest,
    spec::ArchiveFormat,
};
use deploy_host::archive::{Limits, validate};
use std::fs;

const DESCRIPTOR: &str = "format = 1\n[steps.verify]\nenabled = false\n";

#[tokio::test(flavor = "multi_thread")]
async fn two_builders_make_the_same_bytes() {
    for archive in [ArchiveFormat::TarGz, ArchiveFormat::TarZst] {
        let lab = Lab::new().await;
        lab.write("data", "some data\n");
        lab.write("deploy/descriptor.toml", DESCRIPTOR);
        lab.commit("one");
        let commands = [
            "mkdir -p out/b out/a; cp data out/b/data; ln -s ../b/data out/a/link; umask 077; date +%s.%N >/dev/null; echo x >out/a/script; chmod +x out/a/script; touch -d @1$(date +%N) out/b/data",
        ];
        let recipe = recipe(&commands, &[(".", "out")])
            .with_archive(archive)
            .with_descriptor("deploy".parse().unwrap());
        let one = lab.build(recipe.clone()).await;
        let other = builder(&lab.dir.path().join("elsewhere"));
        let two = deploy_core::backend::Builder::submit(
            &other,
            &lab.permit,
            &lab.request("main", recipe),
        )
        .await
        .unwrap();
        let two = over(&other, &two).await;
        assert_eq!(
            (one.state, two.state),
            (BuildState::Succeeded, BuildState::Succeeded),
            "{}",
            lab.log(&one).await
        );
        let (one_made, two_made) = (one.report.clone().unwrap(), two.report.unwrap());
        assert_eq!(
            (one_made.package, one_made.descriptor),
            (two_made.package, two_made.descriptor)
        );
        let bytes = lab.output(&one, BuildOutput::Package).await;
        assert_eq!(Digest::of(&bytes), one_made.package.digest);
        if archive == ArchiveFormat::TarGz {
            validate(bytes.as_slice(), Limits::PACKAGE).unwrap();
        }
        let unpacked = lab.unpacked(&one).await;
        assert_eq!(fs::read_link(unpacked.join("a/link")).unwrap().to_str(), Some("../b/data"));
        assert_eq!(
            [
                crate::lab::mode(&unpacked.join("a/script")),
                crate::lab::mode(&unpacked.join("b/data"))
            ],
            [0o755, 0o644]
        );
        let descriptor = lab.output(&one, BuildOutput::Descriptor).await;
        deploy_host::descriptor::read(&descriptor).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_have_the_time_of_their_commit() {
    let lab = Lab::new().await;
    lab.write("folder/file", "x");
    std::os::unix::fs::symlink("nowhere", lab.repository().join("folder/link")).unwrap();
    lab.commit("one");
    let long_ago = std::process::Command::new("git")
        .args(["-c", "user.name=ann", "-c", "user.email=ann@example.com"])
        .args(["commit", "--quiet", "--amend", "--no-edit"])
        .env("GIT_COMMITTER_DATE", "1000000000 +0000")
        .current_dir(lab.repository())
        .status();
    assert!(long_ago.unwrap().success());
    let made =
        lab.build(recipe(&["stat -c %Y:%a . folder folder/* >out"], &[("out", "out")])).await;
    let seen = fs::read_to_string(lab.unpacked(&made).await.join("out")).unwrap();
    // The top is written to before it is looked at.
    let seen: Vec<_> = seen.lines().skip(1).collect();
    assert_eq!(seen, ["755", "644", "777"].map(|it| format!("1000000000:{it}")));
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_that_cannot_be_packed_are_refused() {
    let lab = Lab::new().await;
    lab.commit("one");
    let secret = lab.dir.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("key"), "not for packages").unwrap();
    let link = format!("ln -s {} out", secret.display());
    for (command, output, fault) in [
        (":", "out", BuildFault::OutputMissing),
        (link.as_str(), "out", BuildFault::OutputMissing),
        (link.as_str(), "out/key", BuildFault::OutputMissing),
        ("echo x >out", "out/below", BuildFault::OutputMissing),
        ("mkdir out; ln -s /etc/passwd out/link", "out", BuildFault::OutputRefused),
        ("mkdir out; ln -s ../../x out/link", "out", BuildFault::OutputRefused),
        ("mkdir out; mkfifo out/pipe", "out", BuildFault::OutputRefused),
    ] {
        let made = lab.build(recipe(&[command], &[("out", output)])).await;
        assert_eq!(Lab::fault(&made).0, fault, "{command}: {made:?}");
    }
    let made = lab.build(recipe(&["echo x >out"], &[(".", "out")])).await;
    assert_eq!(Lab::fault(&made).0, BuildFault::OutputMissing);
    let made = lab
        .build(
            recipe(&["mkdir d; echo format=9 >d/descriptor.toml; echo x >out"], &[("out", "out")])
                .with_descriptor("d".parse().unwrap()),
        )
        .await;
    assert_eq!(Lab::fault(&made).0, BuildFault::DescriptorRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn provenance_says_how_it_came_about() {
    let lab = Lab::new().await;
    lab.write("deploy/descriptor.toml", DESCRIPTOR);
    let commit = lab.commit("one");
    lab.git(&["tag", "v1.4.2"]);
    let recipe =
        recipe(&["echo x >out"], &[("bin/web", "out")]).with_descriptor("deploy".parse().unwrap());
    let made = lab.submit("v1.4.2", recipe.clone()).await;
    let made = over(&lab.builder, &made).await;
    let report = made.report.clone().unwrap();
    let bytes = lab.output(&made, BuildOutput::Provenance).await;
    assert_eq!(Digest::of(&bytes), report.provenance.digest);
    let it: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(
        (&it["_type"], &it["predicateType"]),
        (&"https://in-toto.io/Statement/v1".into(), &"https://slsa.dev/provenance/v1".into())
    );
    let subjects = [("package", report.package), ("descriptor", report.descriptor.unwrap())];
    for (at, (name, artifact)) in subjects.into_iter().enumerate() {
        assert_eq!(it["subject"][at]["name"], name);
        assert_eq!(it["subject"][at]["digest"]["sha256"], artifact.digest.hex());
    }
    let definition = &it["predicate"]["buildDefinition"];
    let external = &definition["externalParameters"];
    assert_eq!((&external["service"], &external["revision"]), (&"web".into(), &"v1.4.2".into()));
    assert_eq!(external["recipe"], serde_json::to_value(&recipe).unwrap());
    assert_eq!(definition["internalParameters"]["recipeDigest"], recipe.digest().to_string());
    assert_eq!(definition["resolvedDependencies"][0]["digest"]["gitCommit"], commit);
    let uri = format!("git+{}@v1.4.2", lab.source().remote);
    assert_eq!(definition["resolvedDependencies"][0]["uri"], uri);
    let details = &it["predicate"]["runDetails"];
    assert_eq!(details["metadata"]["invocationId"], made.id.as_str());
    assert!(details["builder"]["id"].as_str().unwrap().starts_with("tag:"));
    let log = Digest::of(lab.log(&made).await.as_bytes());
    assert_eq!(details["byproducts"][0]["digest"]["sha256"], log.hex());
    let started = made.started_at.unwrap().to_string();
    assert_eq!(details["metadata"]["startedOn"], started);
}
