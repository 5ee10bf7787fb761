//! What is in the store, as files.
use crate::lab::{Lab, journeys};
use deploy_core::digest::Digest;
use serde_json::Value;
use std::fs;

/// Puts a package and a descriptor into the store, as version 1.5.0 of `web`.
pub(crate) fn push(lab: &Lab) {
    lab.write("package/bin/web", "one");
    lab.write("descriptor/descriptor.toml", "format = 1\n[steps.verify]\nenabled = false\n");
    for kind in ["package", "descriptor"] {
        let place = ["--repository", "web", "--version", "1.5.0", "--kind", kind];
        lab.ok(&[&["artifact", "push", kind], &place[..]].concat());
    }
}

/// The files that lie where commands are run.
fn files(lab: &Lab) -> Vec<String> {
    let entries = fs::read_dir(lab.path("")).unwrap();
    let mut names: Vec<_> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn is_the_file(lab: &Lab, pulled: &Value, file: &str) {
    assert_eq!(pulled["file"], file);
    let bytes = fs::read(lab.path(file)).unwrap();
    assert_eq!(pulled["digest"], Digest::of(&bytes).to_string());
    assert_eq!(pulled["size"], bytes.len());
}

fn what_is_in_the_store_becomes_a_file(lab: &Lab) {
    push(lab);
    lab.ok(&["artifact", "channel", "set", "web", "stable", "1.5.0"]);
    let pull = ["artifact", "pull", "web", "1.5.0"];
    let pulled = lab.json(&pull);
    is_the_file(lab, &pulled, "web-1.5.0.tar.gz");
    assert_eq!((&pulled["kind"], &pulled["version"]), (&"package".into(), &"1.5.0".into()));
    let listed = lab.json(&["artifact", "list", "--kind", "package"]);
    assert_eq!(listed[0]["digest"], pulled["digest"]);

    let channel = ["artifact", "pull", "web", "@stable", "--into", "stable.tar.gz"];
    is_the_file(lab, &lab.json(&channel), "stable.tar.gz");
    let descriptor =
        lab.json(&[&pull[..], &["--kind", "descriptor", "--into", "package"]].concat());
    is_the_file(lab, &descriptor, "package/web-1.5.0.descriptor.tar.gz");
    let said = lab.ok(&[&pull[..], &["--into", "said.tar.gz"]].concat()).stdout;
    assert!(said.starts_with("said.tar.gz is package web 1.5.0, sha256:"), "{said}");
    lab.ok(&["artifact", "push", "said.tar.gz", "--repository", "web", "--version", "1.5.0"]);
}

fn no_file_is_replaced_and_none_is_left_half(lab: &Lab) {
    push(lab);
    lab.write("web-1.5.0.tar.gz", "mine");
    lab.write("mine.tar.gz", "mine");
    let before = files(lab);
    let pull = ["artifact", "pull", "web", "1.5.0"];
    for into in [&[][..], &["--into", "mine.tar.gz"]] {
        let problem = lab.refused(&[&pull[..], into].concat(), 13);
        assert_eq!(problem["code"], "already_exists");
    }
    assert_eq!(fs::read_to_string(lab.path("web-1.5.0.tar.gz")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(lab.path("mine.tar.gz")).unwrap(), "mine");
    assert_eq!(lab.refused(&["artifact", "pull", "web", "9"], 1)["code"], "not_found");

    // The store gives other bytes than it has taken.
    let digest = lab.json(&["artifact", "list", "--kind", "package"])[0]["digest"].clone();
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    let blob = lab.data_dir().join(format!("artifacts/blobs/sha256/{}/{hex}", &hex[..2]));
    let mut bytes = fs::read(&blob).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, bytes).unwrap();
    let ran = lab.run(&[&pull[..], &["--into", "damaged.tar.gz"]].concat());
    assert_ne!(ran.code, 0, "{}", ran.stdout);
    assert_eq!(files(lab), before);
}

journeys!(what_is_in_the_store_becomes_a_file, no_file_is_replaced_and_none_is_left_half,);
