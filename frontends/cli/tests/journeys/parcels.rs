//! Exports and imports: from one store into another, and nothing that is wrong.
use crate::lab::{Lab, journeys};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

/// A store that has nothing yet, and a file out of another one.
fn carry(file: &Path) -> Lab {
    let lab = Lab::new();
    fs::copy(file, lab.path("in.tar")).unwrap();
    lab
}

fn versions(list: &Value) -> Vec<String> {
    let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
    let items = list.as_array().unwrap().iter();
    items.map(|it| format!("{} {}", text(it, "kind"), text(it, "version"))).collect()
}

fn a_release_is_carried_into_a_closed_network(lab: &Lab) {
    lab.service("");
    lab.release("1", "true");
    let exported = lab.json(&["artifact", "export", "--release", "web-1", "--to", "web.tar"]);
    assert_eq!(exported["versions"], json!(["web/descriptor/1", "web/package/1"]));
    // The same again is the same file, and replaces it whole.
    let first = fs::read(lab.path("web.tar")).unwrap();
    lab.ok(&["artifact", "export", "--release", "web-1", "--to", "web.tar"]);
    assert!(fs::read(lab.path("web.tar")).unwrap() == first);

    let there = carry(&lab.path("web.tar"));
    let import = ["artifact", "import", "in.tar"];
    let unknown = there.refused(&import, 1);
    assert!(unknown["message"].as_str().unwrap().contains("`web`"), "{unknown}");
    assert_eq!(there.json(&["artifact", "list"]), json!([]));

    there.hosts(1);
    there.service("");
    let would = there.json(&["artifact", "import", "in.tar", "--dry-run"]);
    assert_eq!(would["added"], json!(["web/descriptor/1", "web/package/1"]), "{would}");
    assert_eq!(there.json(&["artifact", "list"]), json!([]));
    assert_eq!(there.json(&import)["added"], would["added"]);
    let again = there.json(&import);
    assert_eq!((&again["added"], &again["unchanged"]), (&json!([]), &would["added"]));
    let (mine, theirs) =
        (lab.json(&["release", "show", "web-1"]), there.json(&["release", "show", "web-1"]));
    for field in ["id", "version", "package", "descriptor", "steps", "parameters", "provenance"] {
        assert_eq!(mine[field], theirs[field], "{field}");
    }
    there.ok(&["artifact", "verify"]);
    there.ok(&["rollout", "start", "web", "web-1"]);
    assert_eq!(there.version(1).as_deref(), Some("1"));
}

fn versions_are_brought_over_what_is_there(lab: &Lab) {
    let push = |lab: &Lab, content: &str, version: &str| {
        lab.write("package/version", content);
        lab.ok(&["artifact", "push", "package", "--repository", "web", "--version", version]);
    };
    push(lab, "one", "1");
    push(lab, "two", "2");
    lab.ok(&["artifact", "channel", "set", "web", "stable", "2"]);
    lab.ok(&["artifact", "export", "web@1", "web@stable", "--to", "both.tar"]);
    let import = ["artifact", "import", "in.tar"];

    let there = carry(&lab.path("both.tar"));
    push(&there, "one", "1");
    assert_eq!(there.json(&import)["added"], json!(["web/package/2"]));
    assert_eq!(versions(&there.json(&["artifact", "list"])), ["package 1", "package 2"]);

    // A version that is something else there: nothing is brought.
    let other = carry(&lab.path("both.tar"));
    push(&other, "another", "2");
    assert_eq!(other.refused(&import, 13)["code"], "already_exists");
    assert_eq!(versions(&other.json(&["artifact", "list"])), ["package 2"]);

    // Over whatever this lab speaks to as well: all of it is there.
    fs::copy(lab.path("both.tar"), lab.path("in.tar")).unwrap();
    assert_eq!(lab.json(&import)["added"], json!([]));
    for wrong in [&["web"][..], &["@1"], &["web@3"], &["web@1", "--with", "descriptor"]] {
        let export = [&["artifact", "export"], wrong, &["--to", "no.tar"]].concat();
        assert_ne!(lab.run(&export).code, 0, "{wrong:?}");
        assert!(!lab.path("no.tar").exists(), "{wrong:?}");
    }
}

fn what_is_no_whole_export_brings_nothing(lab: &Lab) {
    lab.write("package/version", "one");
    lab.ok(&["artifact", "push", "package", "--repository", "web", "--version", "1"]);
    lab.ok(&["artifact", "export", "web@1", "--to", "good.tar"]);
    let good = fs::read(lab.path("good.tar")).unwrap();
    let (mut bent, mut longer) = (good.clone(), good.clone());
    let middle = good.len() - 1_500;
    bent[middle] ^= 1;
    longer.push(0);
    let there = carry(&lab.path("good.tar"));
    for (file, rule) in [
        (bent, "damaged"),
        (longer, "damaged"),
        (good[..middle].to_vec(), "short"),
        (b"hello".to_vec(), "foreign"),
        (Vec::new(), "foreign"),
    ] {
        fs::write(there.path("in.tar"), file).unwrap();
        let refused = there.refused(&["artifact", "import", "in.tar"], 1);
        assert_eq!(refused["context"]["rule"], rule, "{refused}");
        assert_eq!(refused["message"].as_str().unwrap().lines().count(), 1, "{refused}");
        assert_eq!(there.json(&["artifact", "list"]), json!([]));
    }
    there.refused(&["artifact", "import", "nowhere.tar"], 1);
}

/// Packed by the programs that people pack with.
fn pack(lab: &Lab, version: &str, by: &[&str]) {
    lab.write("tree/version", version);
    let file = lab.path(&format!("{version}.pack"));
    let mut tar = Command::new("tar");
    let tar = tar.args(["--format=gnu", "-C"]).arg(lab.path("tree")).args(by).arg("-cf").arg(file);
    assert!(tar.arg(".").status().unwrap().success(), "{version}");
}

fn a_package_is_taken_whatever_it_is_compressed_by(lab: &Lab) {
    lab.hosts(1);
    lab.service("");
    for (version, by) in [("gz", &["-z"][..]), ("zst", &["-I", "zstd"]), ("tar", &[])] {
        pack(lab, version, by);
        let descriptor = format!("# {version}\nformat = 1\n[steps.verify]\nenabled = false\n");
        lab.write("descriptor/descriptor.toml", &descriptor);
        let file = format!("{version}.pack");
        let made_of = ["--package", &file, "--descriptor", "descriptor"];
        lab.ok(&[&["release", "create", "web", version][..], &made_of].concat());
        let release = format!("web-{version}");
        lab.ok(&["rollout", "start", "web", &release]);
        assert_eq!(lab.version(1).as_deref(), Some(version));

        lab.ok(&["artifact", "export", "--release", &release, "--to", "out.tar"]);
        let there = carry(&lab.path("out.tar"));
        there.service("");
        let import = there.json(&["artifact", "import", "in.tar"]);
        let added = [format!("web/descriptor/{version}"), format!("web/package/{version}")];
        assert_eq!(import["added"], json!(added));
        fs::copy(lab.path(&file), there.path(&file)).unwrap();
        there.ok(&["artifact", "push", &file, "--repository", "copies", "--version", version]);
    }
}

fn what_is_no_archive_is_told_what_one_may_be(lab: &Lab) {
    pack(lab, "xz", &["-I", "bzip2"]);
    let push = ["artifact", "push", "xz.pack", "--repository", "web", "--version", "1"];
    let refused = lab.refused(&push, 1);
    assert_eq!(refused["context"]["rule"], "encoding", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("no tar, tar.gz or tar.zst"), "{message}");
}

journeys!(
    a_package_is_taken_whatever_it_is_compressed_by,
    what_is_no_archive_is_told_what_one_may_be,
    a_release_is_carried_into_a_closed_network,
    versions_are_brought_over_what_is_there,
    what_is_no_whole_export_brings_nothing,
);
