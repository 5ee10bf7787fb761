//! `kill -9` in the middle of a command: what it was to do is done whole, or not at all.
use crate::lab::{Lab, eventually, service};
use flate2::{Compression, write::GzEncoder};
use std::{fs, os::unix::process::ExitStatusExt as _, path::PathBuf, process::Child};

/// An archive of `size` bytes that takes a while to be put.
fn large(lab: &Lab, name: &str, size: u64) {
    let gzip = GzEncoder::new(fs::File::create(lab.path(name)).unwrap(), Compression::none());
    let mut archive = tar::Builder::new(gzip);
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let content = std::io::Read::take(std::io::repeat(7), size);
    archive.append_data(&mut header, "bytes", content).unwrap();
    archive.into_inner().unwrap().finish().unwrap();
}

/// The file that a put under way writes to.
fn partial(lab: &Lab) -> Option<PathBuf> {
    let entries = fs::read_dir(lab.data_dir().join("artifacts/partial")).ok()?;
    let mut paths = entries.filter_map(|it| Some(it.ok()?.path()));
    paths.find(|it| it.extension().is_some_and(|it| it == "0"))
}

/// Kills a command as soon as it has put `bytes`; says whether it was in time.
fn kill_at(lab: &Lab, mut child: Child, bytes: u64) -> bool {
    loop {
        let length = partial(lab).and_then(|it| fs::metadata(it).ok()).map_or(0, |it| it.len());
        if length >= bytes {
            child.kill().unwrap();
        } else if child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
            continue;
        }
        return child.wait().unwrap().signal().is_some();
    }
}

#[test]
fn an_upload_that_is_killed_is_listed_nowhere_and_goes_on() {
    const SIZE: u64 = 24 << 20;
    let lab = Lab::new();
    lab.ok(&["artifact", "list"]);
    large(&lab, "large.tar.gz", SIZE);
    let push = ["artifact", "push", "large.tar.gz", "--repository", "web", "--version", "1"];
    let mut killed = 0;
    for bytes in [1, 4 << 20, 12 << 20, 20 << 20] {
        if !kill_at(&lab, lab.start(&push), bytes) {
            break;
        }
        killed += 1;
        assert_eq!(lab.json(&["artifact", "list"]).as_array().unwrap().len(), 0);
        let left = fs::metadata(partial(&lab).unwrap()).unwrap().len();
        assert!(left >= bytes && left < SIZE + (1 << 20), "{left} after {bytes}");
    }
    assert!(killed > 0, "it was never killed in time");
    lab.ok(&push);
    lab.ok(&["artifact", "verify"]);
    assert_eq!(lab.json(&["artifact", "list"]).as_array().unwrap().len(), 1);
    assert_eq!(partial(&lab), None);
}

#[test]
fn a_release_that_is_killed_in_the_making_is_not_there_and_can_be_made() {
    let lab = Lab::new();
    lab.service("");
    large(&lab, "large.tar.gz", 48 << 20);
    lab.write("descriptor/descriptor.toml", "format = 1\n");
    let how = ["--package", "large.tar.gz", "--descriptor", "descriptor"];
    let create = [&["release", "create", "web", "1"][..], &how].concat();
    assert!(kill_at(&lab, lab.start(&create), 1), "it was never killed in time");
    assert_eq!(lab.json(&["release", "list", "web"]).as_array().unwrap().len(), 0);
    // The package may have been whole by then; the release was not.
    assert!(lab.json(&["artifact", "list"]).as_array().unwrap().len() <= 2);
    lab.ok(&["artifact", "verify"]);
    lab.ok(&create);
    lab.ok(&["artifact", "verify"]);
    assert_eq!(lab.json(&["release", "list", "web"])[0]["id"], "web-1");
}

/// Runs a command again and again, killed later each time, until it ends by itself.
fn killed_ever_later(lab: &Lab, arguments: &[&str], mut holds: impl FnMut(bool)) {
    let wal = lab.data_dir().join("deploy.db-wal");
    for writes in 0.. {
        let mut child = lab.start(arguments);
        // Each growth of the log is a piece of a transaction on its way to the disk.
        let (mut seen, mut length) = (0, 0);
        while seen < writes && child.try_wait().unwrap().is_none() {
            let now = fs::metadata(&wal).map_or(0, |it| it.len());
            seen += u32::from(now != length);
            length = now;
            std::thread::yield_now();
        }
        // It may just have ended by itself.
        drop(child.kill());
        let ended = child.wait().unwrap().success();
        holds(ended);
        if ended {
            return;
        }
    }
}

#[test]
fn an_import_that_is_killed_has_imported_all_hosts_or_none() {
    const HOSTS: usize = 8_000;
    let lab = Lab::new();
    lab.ok(&["host", "add", "old"]);
    let mut hosts = "name,label.zone\n".to_owned();
    (0..HOSTS).for_each(|host| hosts.push_str(&format!("web-{host},a\n")));
    lab.write("hosts.csv", &hosts);
    killed_ever_later(&lab, &["host", "import", "hosts.csv"], |ended| {
        let count = lab.json(&["host", "list"]).as_array().unwrap().len();
        assert!(count == 1 && !ended || count == HOSTS + 1, "{count} hosts");
    });
}

#[test]
fn a_service_that_is_killed_on_its_way_is_the_old_one_or_the_new_one() {
    let lab = Lab::new();
    lab.service("retries = 1");
    lab.write("service.toml", &service("retries = 2"));
    killed_ever_later(&lab, &["service", "apply", "service.toml"], |ended| {
        let service = lab.json(&["service", "show", "web"]);
        let is = (service["revision"].as_u64(), service["strategy"]["retries"]["retries"].as_u64());
        let new = is == (Some(2), Some(2));
        assert!(new || !ended && is == (Some(1), Some(1)), "{service}");
    });
    eventually("it is the new one", || lab.json(&["service", "show", "web"])["revision"] == 2);
}
