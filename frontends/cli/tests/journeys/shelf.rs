//! The store as people use it: channels, searches, and what of it stays.
use crate::lab::{Lab, journeys};
use serde_json::{Value, json};

/// Pushes these versions of a package into a repository, and gives their digests.
fn push(lab: &Lab, repository: &str, versions: &[&str]) -> Vec<String> {
    let digest = |version: &&str| {
        lab.write("package/version", &format!("{repository} {version}"));
        let push =
            ["artifact", "push", "package", "--repository", repository, "--version", version];
        lab.json(&push)["digest"].as_str().unwrap().to_owned()
    };
    versions.iter().map(digest).collect()
}

fn set(lab: &Lab, channel: &str, version: &str) -> Value {
    let reason = format!("{version} is good");
    lab.json(&["artifact", "channel", "set", "web", channel, version, "--reason", &reason])
}

/// What a list says in one of its columns.
fn column(list: &Value, name: &str) -> Vec<String> {
    let items = list.as_array().unwrap().iter();
    items.map(|it| it[name].as_str().unwrap_or("-").to_owned()).collect()
}

fn a_channel_leads_to_one_version_after_another(lab: &Lab) {
    let digests = push(lab, "web", &["1.4.1", "1.4.2"]);
    let first = set(lab, "stable", "1.4.1");
    assert_eq!((&first["revision"], &first["digest"]), (&json!(1), &json!(digests[0])));
    set(lab, "stable", "1.4.2");
    // Back again: a move like any other. To where it is: none.
    set(lab, "stable", "1.4.1");
    assert_eq!(set(lab, "stable", "1.4.1")["revision"], 3);

    let history = lab.json(&["artifact", "channel", "history", "web", "stable"]);
    assert_eq!(column(&history, "to"), ["1.4.1", "1.4.2", "1.4.1"]);
    assert_eq!(column(&history, "from"), ["1.4.2", "1.4.1", "-"]);
    assert_eq!(history[0]["reason"], "1.4.1 is good");
    let newest = lab.json(&["artifact", "channel", "history", "web", "stable", "--limit", "1"]);
    assert_eq!(newest.as_array().unwrap().len(), 1);
    assert_eq!(newest[0]["from"], "1.4.2");

    let missing = lab.refused(&["artifact", "channel", "set", "web", "stable", "1.4.3"], 1);
    assert!(missing["message"].as_str().unwrap().contains("`1.4.3`"), "{missing}");
    lab.refused(&["artifact", "channel", "history", "web", "edge"], 1);
    lab.refused(&["artifact", "channel", "close", "web", "edge"], 1);
    lab.ok(&["artifact", "channel", "close", "web", "stable"]);
    assert_eq!(lab.json(&["artifact", "channel", "list"]), json!([]));
    assert_eq!(set(lab, "stable", "1.4.2")["revision"], 5);
    let list = lab.json(&["artifact", "channel", "list", "--repository", "web"]);
    assert_eq!(
        (column(&list, "name"), column(&list, "version")),
        (vec!["stable".to_owned()], vec!["1.4.2".to_owned()])
    );
    assert_eq!(lab.json(&["artifact", "channel", "list", "--repository", "db"]), json!([]));
}

fn a_release_is_made_of_what_a_channel_leads_to_then(lab: &Lab) {
    lab.service("");
    lab.release("1", "true");
    let digests = push(lab, "web", &["2", "3"]);
    set(lab, "stable", "2");
    let create = |version: &str, package: &str| {
        lab.ok(&["release", "create", "web", version, "--package", package, "--descriptor", "@1"])
    };
    let said = create("2", "web@stable").stdout;
    assert!(said.contains("web@stable is 2\n"), "{said}");
    set(lab, "stable", "3");
    assert_eq!(lab.json(&["release", "show", "web-2"])["package"], json!(digests[0]));
    create("3", "@stable");
    create("4", "web@2");
    create("5", &digests[1][..15]);
    for (release, digest) in
        [("web-3", &digests[1]), ("web-4", &digests[0]), ("web-5", &digests[1])]
    {
        assert_eq!(lab.json(&["release", "show", release])["package"], json!(digest));
    }
    let wrong = |package: &str| {
        lab.refused(
            &["release", "create", "web", "9", "--package", package, "--descriptor", "1"],
            1,
        )
    };
    for package in ["web@edge", "web@9", "db@stable", "@", "web@", "sha256:000000", "no such@x"] {
        wrong(package);
    }
    // A name that is both is nobody's guess.
    push(lab, "web", &["stable"]);
    let both = lab.refused(
        &["release", "create", "web", "9", "--package", "web@stable", "--descriptor", "1"],
        13,
    );
    assert_eq!(both["code"], "conflict", "{both}");
}

fn artifacts_are_found_by_what_is_known_of_them(lab: &Lab) {
    let web = push(lab, "web", &["1.4.1", "1.4.2", "1.5.0"]);
    push(lab, "web-2", &["1.4.9"]);
    push(lab, "db", &["1.4.1"]);
    set(lab, "stable", "1.4.2");
    let found = |filter: &[&str]| {
        let list = lab.json(&[&["artifact", "list"], filter].concat());
        let (repositories, versions) = (column(&list, "repository"), column(&list, "version"));
        let pairs = repositories.into_iter().zip(versions);
        pairs.map(|(repository, version)| format!("{repository} {version}")).collect::<Vec<_>>()
    };
    assert_eq!(
        found(&["--repository", "web*", "--version", "1.4."]),
        ["web 1.4.1", "web 1.4.2", "web-2 1.4.9"]
    );
    assert_eq!(found(&["--channel", "stable"]), ["web 1.4.2"]);
    assert_eq!(found(&["--digest", &web[2][..15]]), ["web 1.5.0"]);
    assert_eq!(found(&["--kind", "descriptor"]), [""; 0]);
    assert_eq!(found(&["--kind", "package", "--repository", "db", "--since", "1h"]), ["db 1.4.1"]);
    assert_eq!(found(&["--channel", "edge"]), [""; 0]);
    lab.run(&["artifact", "list", "--digest", "sha256:12"]).ended_with(2);
    lab.run(&["artifact", "list", "--repository", "*web"]).ended_with(2);

    let pinned = lab.json(&["artifact", "pin", &web[0][..15], "--name", "audit"]);
    assert_eq!(pinned["digest"], json!(web[0]));
    lab.ok(&["artifact", "verify", &web[1][..20]]);
    let holders = lab.json(&["artifact", "holders", &web[1][..20]]);
    assert_eq!(holders["channels"], json!(["web/package/stable"]));
    lab.refused(&["artifact", "holders", "sha256:000000"], 1);
}

fn what_a_channel_leads_to_is_no_garbage(lab: &Lab) {
    let digests = push(lab, "web", &["1", "2", "3"]);
    set(lab, "stable", "1");
    let collected = lab.json(&["artifact", "gc", "--keep", "1"]);
    assert_eq!(collected["removed"], json!([digests[1]]), "{collected}");
    assert_eq!(column(&collected["held"], "version"), ["1"]);
    // What it led to before is held no more.
    set(lab, "stable", "3");
    let would = lab.json(&["artifact", "gc", "--keep", "1", "--dry-run"]);
    assert_eq!(would["removed"], json!([digests[0]]), "{would}");
    assert_eq!(lab.json(&["artifact", "holders", &digests[0]])["channels"], json!([]));
    assert_eq!(lab.json(&["artifact", "gc", "--keep", "1"])["removed"], json!([digests[0]]));
    lab.refused(&["artifact", "channel", "set", "web", "stable", "1"], 1);
}

fn a_release_that_nothing_uses_is_retired(lab: &Lab) {
    lab.hosts(1);
    lab.service("");
    for version in ["1", "2", "3", "4", "5"] {
        lab.release(version, "true");
    }
    for release in ["web-2", "web-3"] {
        lab.ok(&["rollout", "start", "web", release]);
    }
    // 5 is the newest, 3 is run, 2 was run before, 4 is young, if that is asked for.
    let kept = lab.json(&["artifact", "gc", "--keep", "1"]);
    assert_eq!((&kept["retired"], &kept["removed"]), (&json!([]), &json!([])), "{kept}");
    let young = ["artifact", "gc", "--keep", "1", "--keep-releases", "1", "--older-than", "1h"];
    assert_eq!(lab.json(&young)["retired"], json!([]));
    let package = lab.json(&["release", "show", "web-4"])["package"].as_str().unwrap().to_owned();
    lab.ok(&["artifact", "pin", &package, "--name", "audit"]);
    let gc = ["artifact", "gc", "--keep", "1", "--keep-releases", "1"];
    let would = lab.json(&[&gc[..], &["--dry-run"]].concat());
    assert_eq!(would["retired"], json!(["web-1"]), "{would}");
    let collected = lab.json(&gc);
    assert_eq!(collected["retired"], json!(["web-1"]), "{collected}");
    assert_eq!((&collected["removed"], &collected["bytes"]), (&would["removed"], &would["bytes"]));
    assert_eq!(collected["removed"].as_array().unwrap().len(), 1, "{collected}");

    // What it was is told for ever, but it cannot be rolled out, until it is made again.
    assert_eq!(lab.json(&["release", "show", "web-1"])["version"], "1");
    let refused = lab.refused(&["rollout", "start", "web", "web-1"], 1);
    assert!(refused["message"].as_str().unwrap().contains("`web-1` is retired"), "{refused}");
    lab.release("1", "true");
    lab.ok(&["rollout", "start", "web", "web-1"]);
    assert_eq!(lab.version(1).as_deref(), Some("1"));
    // Back to what was run before, which was kept.
    lab.ok(&["artifact", "unpin", &package, "--name", "audit"]);
    let gc = ["artifact", "gc", "--keep", "9", "--keep-releases", "1"];
    let collected = lab.json(&gc);
    assert_eq!(collected["retired"], json!(["web-2", "web-4"]), "{collected}");
    assert_eq!(collected["removed"], json!([]), "{collected}");
    // What nobody holds must not come onto hosts, even while it is there.
    lab.refused(&["rollout", "start", "web", "web-4"], 1);
    lab.ok(&["release", "create", "web", "4", "--package", "4", "--descriptor", "1"]);
    lab.ok(&["rollout", "rollback", "web"]);
    assert_eq!(lab.version(1).as_deref(), Some("3"));
}

journeys!(
    a_channel_leads_to_one_version_after_another,
    a_release_is_made_of_what_a_channel_leads_to_then,
    artifacts_are_found_by_what_is_known_of_them,
    what_a_channel_leads_to_is_no_garbage,
    a_release_that_nothing_uses_is_retired,
);
