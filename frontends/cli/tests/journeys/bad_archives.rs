//! Archives that are not what they should be: none reaches the store, whichever way it comes.
use crate::lab::Lab;
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};
use tar::{Builder, EntryType, Header};

/// An archive with one entry that no careful program would write.
fn archive(kind: EntryType, path: &str, target: &str) -> Vec<u8> {
    let mut header = Header::new_gnu();
    // Set byte by byte: the library keeps people from writing such names.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    header.set_cksum();
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    builder.append(&header, std::io::empty()).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

/// `push` and `release create`, as package and as descriptor.
fn is_refused(lab: &Lab, file: &str, rules: &[&str]) {
    let push = ["artifact", "push", file, "--repository", "web", "--version", "1"];
    let create = ["release", "create", "web", "1"];
    let ways = [
        push.to_vec(),
        [&push[..], &["--kind", "descriptor"]].concat(),
        [&create[..], &["--package", file, "--descriptor", "good-descriptor"]].concat(),
        [&create[..], &["--package", "good-package", "--descriptor", file]].concat(),
    ];
    let before = lab.everything();
    for way in ways {
        let problem = lab.refused(&way, 1);
        assert_eq!(problem["code"], "invalid_archive", "{way:?}: {problem}");
        assert_eq!(problem["context"]["file"], file, "{way:?}: {problem}");
        let rule = problem["context"]["rule"].as_str().unwrap();
        assert!(rules.contains(&rule), "{way:?}: {problem}");
        let message = problem["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{file}: ")), "{way:?}: {problem}");
    }
    assert_eq!(lab.everything(), before);
    assert_eq!(lab.json(&["release", "list", "web"]), Value::Array(Vec::new()));
    assert_eq!(left_in_store(lab), Vec::<PathBuf>::new());
}

/// What of artifacts is in the store, listed or not.
fn left_in_store(lab: &Lab) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = ["blobs", "entries", "partial"]
        .map(|it| lab.data_dir().join("artifacts").join(it))
        .to_vec();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for entry in entries.map(|it| it.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false if entry.ends_with("partial/lock") => {}
                false => found.push(entry),
            }
        }
    }
    found
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.service("");
    lab.write("good-package/file", "x");
    lab.write("good-descriptor/descriptor.toml", "format = 1\n");
    lab
}

#[test]
fn entries_that_lead_out_of_the_tree_are_refused() {
    let lab = lab();
    for (kind, path, target, rules) in [
        (EntryType::Regular, "../evil", "", &["escape"][..]),
        (EntryType::Regular, "a/../../evil", "", &["escape"]),
        (EntryType::Regular, "/etc/evil", "", &["absolute_path"]),
        (EntryType::Symlink, "link", "/etc/passwd", &["symbolic_link", "type"]),
        (EntryType::Symlink, "link", "../../etc/passwd", &["symbolic_link", "escape", "type"]),
        (EntryType::Link, "hard", "/etc/passwd", &["absolute_path", "type"]),
        (EntryType::Link, "hard", "../evil", &["escape", "type"]),
        (EntryType::Char, "null", "", &["type"]),
        (EntryType::Block, "disk", "", &["type"]),
        (EntryType::Fifo, "pipe", "", &["type"]),
    ] {
        fs::write(lab.path("bad.tar.gz"), archive(kind, path, target)).unwrap();
        is_refused(&lab, "bad.tar.gz", rules);
    }
}

#[test]
fn archives_that_are_cut_or_none_are_refused() {
    let lab = lab();
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    builder.append_dir_all(".", lab.path("good-descriptor")).unwrap();
    let whole = builder.into_inner().unwrap().finish().unwrap();
    for length in [whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        fs::write(lab.path("bad.tar.gz"), &whole[..length]).unwrap();
        is_refused(&lab, "bad.tar.gz", &["truncated"]);
    }
    let mut rotten = whole.clone();
    let middle = rotten.len() / 2;
    rotten[middle] ^= 0x40;
    fs::write(lab.path("bad.tar.gz"), &rotten).unwrap();
    is_refused(&lab, "bad.tar.gz", &["not_gzip", "not_tar", "truncated"]);

    // Two things in one file: the second is what a tool that reads on would unpack.
    let twice = [whole.clone(), archive(EntryType::Regular, "../evil", "")].concat();
    fs::write(lab.path("bad.tar.gz"), &twice).unwrap();
    is_refused(&lab, "bad.tar.gz", &["escape", "trailing_data"]);
}

/// A folder is packed on the way, and judged in the same manner.
#[test]
fn folders_with_more_than_files_are_refused() {
    let lab = lab();
    fs::create_dir(lab.path("tree")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", lab.path("tree/link")).unwrap();
    is_refused(&lab, "tree", &["symbolic_link", "type"]);
    fs::remove_file(lab.path("tree/link")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(lab.path("tree/pipe")).status().unwrap();
    assert!(made.success());
    is_refused(&lab, "tree", &["type"]);
}

/// What a refused release left behind would keep the next one from its version.
#[test]
fn after_a_refusal_the_same_version_can_be_made_of_something_else() {
    let lab = lab();
    lab.write("bad.tar.gz", "no archive");
    let create = |package, descriptor| {
        let how = ["--package", package, "--descriptor", descriptor];
        lab.run(&[&["release", "create", "web", "1"][..], &how].concat())
    };
    create("bad.tar.gz", "good-descriptor").ended_with(1);
    lab.write("good-descriptor/descriptor.toml", "format = 1\n# another one\n");
    create("good-package", "good-descriptor").ended_with(0);

    // A version that is taken is found before anything is put as well.
    lab.write("other-package/file", "y");
    let push = ["artifact", "push", "other-package", "--repository", "web", "--version", "2"];
    lab.ok(&push);
    lab.write("good-descriptor/descriptor.toml", "format = 1\n# a third one\n");
    lab.write("third-package/file", "z");
    let before = lab.everything();
    let how = ["--package", "third-package", "--descriptor", "good-descriptor"];
    let problem = lab.refused(&[&["release", "create", "web", "2"][..], &how].concat(), 13);
    assert_eq!(problem["code"], "already_exists");
    assert_eq!(lab.everything(), before);
}

#[test]
fn a_digest_that_nothing_has_is_told_as_that() {
    let lab = lab();
    let digest = format!("sha256:{}", "1".repeat(64));
    let how = ["--package", &digest, "--descriptor", "good-descriptor"];
    let problem = lab.refused(&[&["release", "create", "web", "1"][..], &how].concat(), 1);
    assert_eq!(problem["code"], "not_found");
    assert!(problem["message"].as_str().unwrap().contains(&digest), "{problem}");
    assert_eq!(lab.refused(&["artifact", "verify", &digest], 1)["code"], "not_found");
    lab.run(&["artifact", "verify", "sha256:12"]).ended_with(2);
    assert_eq!(left_in_store(&lab), Vec::<PathBuf>::new());
}

#[test]
fn a_package_that_has_rotted_or_was_cut_reaches_no_host() {
    for damage in [|bytes: &mut Vec<u8>| bytes[20] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(40)] {
        let lab = Lab::new();
        lab.hosts(1);
        lab.service("");
        lab.release("1", ":");
        let artifacts = lab.json(&["artifact", "list"]);
        let package = artifacts.as_array().unwrap().iter().find(|it| it["kind"] == "package");
        let digest = package.unwrap()["digest"].as_str().unwrap().to_owned();
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blob = lab.data_dir().join("artifacts/blobs/sha256").join(&hex[..2]).join(hex);
        let mut bytes = fs::read(&blob).unwrap();
        damage(&mut bytes);
        fs::set_permissions(&blob, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&blob, bytes).unwrap();

        let ran = lab.run(&["rollout", "start", "web", "web-1"]).ended_with(11);
        assert!(ran.stdout.contains(hex), "{}", ran.stdout);
        assert_eq!(lab.version(1), None);
        let verify = lab.run(&["artifact", "verify", "--output", "json"]).ended_with(1);
        assert_eq!(verify.problem()["code"], "corrupt");

        // Pushed again it is as it was, and the rollout goes on.
        lab.ok(&["artifact", "push", "package-1", "--repository", "web", "--version", "1"]);
        lab.ok(&["artifact", "verify"]);
        lab.ok(&["rollout", "retry", "web", "--failed", "--no-drive"]);
        lab.ok(&["rollout", "resume", "web"]);
        assert_eq!(lab.version(1).as_deref(), Some("1"));
    }
}
