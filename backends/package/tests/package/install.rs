//! Trees come out as `tar` makes them, and nothing else is touched.
use crate::{
    attacks::{self, Maker},
    lab::{LIMITS, Lab, begin, found, is_one_message, manifest, packed, roomy, tar_of},
};
use deploy_package::{
    PackageError,
    archive::{Encoding, Limits, PackedFile, pack_files},
    install::{NewTree, Previous, Reuse, unpack},
};
use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    process::Command,
};

fn sample() -> Vec<u8> {
    let mut maker = Maker::new();
    maker.entry(b'5', b"./", b"", 0o750, b"");
    maker.link("first/link", "../deep/er/file");
    maker.entry(b'0', b"deep/er/file", b"", 0o640, b"content");
    maker.entry(b'1', b"deep/other", b"deep/er/file", 0o640, b"");
    maker.entry(b'5', b"closed/", b"", 0o700, b"");
    maker.entry(b'0', b"closed/run", b"", 0o755, &[7; 300_000]);
    maker.file("empty", b"");
    maker.tar()
}

#[test]
fn a_tree_is_what_tar_makes_of_it() {
    for encoding in Encoding::ALL {
        let lab = Lab::new();
        let archive = packed(&sample(), *encoding);
        let said = manifest(&archive);
        unpack(&*archive, LIMITS, &said, lab.tree("new")).unwrap();
        fs::write(lab.path("tar"), sample()).unwrap();
        let by_tar = lab.folder("by-tar");
        let mut tar = Command::new("tar");
        tar.arg("-xpf").arg(lab.path("tar")).arg("--no-same-owner").arg("-C").arg(&by_tar);
        assert!(tar.status().unwrap().success());
        assert_eq!(found(&lab.path("new")), found(&by_tar), "{encoding}");
        let mode = fs::metadata(lab.path("new")).unwrap().mode() & 0o7777;
        assert_eq!(mode, 0o750);
        let inode = |name: &str| fs::metadata(lab.path("new").join(name)).unwrap().ino();
        assert_eq!(inode("deep/er/file"), inode("deep/other"));
    }
}

/// Durably too, which only a real disk can be asked to.
#[test]
fn a_tree_is_synced() {
    let lab = Lab::new();
    let tree = NewTree::begin(lab.path(""), "new").unwrap();
    let archive = sample();
    unpack(&*archive, LIMITS, &manifest(&archive), tree).unwrap();
    assert!(lab.path("new/empty").exists());
}

#[test]
fn attacks_touch_nothing() {
    let lab = Lab::new();
    fs::write(lab.path("victim"), "untouched").unwrap();
    let releases = lab.folder("releases");
    for attack in attacks::all() {
        let tree = begin(&releases, "new").unwrap();
        let refused = unpack(&*attack.bytes, Limits::PACKAGE, &roomy(), tree).unwrap_err();
        is_one_message(&refused);
        assert_eq!(refused.code(), attack.rule.code(), "{}", attack.name);
        assert_eq!(fs::read_dir(&releases).unwrap().count(), 0, "{}", attack.name);
    }
    assert_eq!(fs::read(lab.path("victim")).unwrap(), b"untouched");
    assert_eq!(fs::read_dir(lab.path("")).unwrap().count(), 2);
}

#[test]
fn what_lies_there_is_not_followed() {
    let lab = Lab::new();
    let outside = lab.folder("outside");
    fs::write(outside.join("kept"), "kept").unwrap();
    let releases = lab.folder("releases");
    let archive = sample();
    let install = || {
        let tree = begin(&releases, "new").unwrap();
        unpack(&*archive, LIMITS, &manifest(&archive), tree).unwrap();
    };
    symlink(&outside, releases.join("new")).unwrap();
    install();
    assert!(fs::symlink_metadata(releases.join("new")).unwrap().is_dir());
    fs::remove_dir_all(releases.join("new/deep")).unwrap();
    symlink(&outside, releases.join("new/deep")).unwrap();
    install();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(fs::read(releases.join("new/deep/er/file")).unwrap(), b"content");
    for name in ["", ".", "..", "a/b", "../outside", "/etc"] {
        assert!(NewTree::begin(&releases, name).is_err(), "{name}");
    }
}

#[test]
fn another_package_than_was_asked_for_is_not_installed() {
    let lab = Lab::new();
    let err = unpack(&*sample(), LIMITS, &roomy(), lab.tree("new")).unwrap_err();
    assert!(matches!(err, PackageError::ManifestMismatch { .. }), "{err}");
    // And is given up as soon as it is more than that.
    let small = manifest(&tar_of(&[("a".into(), b"b".into())].into()));
    let err = unpack(&*sample(), LIMITS, &small, lab.tree("new")).unwrap_err();
    assert!(["too_large", "too_many_entries"].contains(&err.code()), "{err}");
    let large = tar_of(&[("a".into(), vec![7; 10_000])].into());
    let err = unpack(&*large, LIMITS, &small, lab.tree("new")).unwrap_err();
    assert_eq!(err.code(), "too_large");
    assert!(!lab.path("new").exists());
}

/// Empty files, as many as one likes, and none of them in memory.
struct Endless {
    left: usize,
    number: usize,
    block: Vec<u8>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() && self.left > 0 {
            let mut maker = Maker::new();
            maker.file(&format!("f{}", self.number), b"");
            (self.left, self.number) = (self.left - 1, self.number + 1);
            self.block = maker.tar()[..512].to_vec();
        }
        let count = buffer.len().min(self.block.len());
        buffer[..count].copy_from_slice(&self.block[..count]);
        self.block.drain(..count);
        Ok(count)
    }
}

#[test]
fn a_million_entries_are_too_many() {
    let million = || Endless { left: 1_000_000, number: 0, block: Vec::new() };
    let lab = Lab::new();
    let tree = lab.tree("new");
    let err = unpack(million(), LIMITS.with_entries(2_000), &roomy(), tree).unwrap_err();
    assert_eq!(err.code(), "too_many_entries");
    assert!(!lab.path("new").exists());
    let err = deploy_package::Manifest::read(million(), LIMITS.with_entries(20_000)).unwrap_err();
    assert_eq!(err.code(), "too_many_entries");
    const { assert!(Limits::PACKAGE.entries < 1_000_000) }
}

/// Each entry names thirty folders that nobody else does: these count as well.
#[test]
fn folders_that_are_only_named_count() {
    let name = |entry: usize| {
        let folders: Vec<_> = (0..30).map(|depth| format!("{entry}-{depth}")).collect();
        folders.join("/")
    };
    let mut maker = Maker::new();
    for entry in 0..100 {
        maker.long(b'L', name(entry).as_bytes());
        maker.file("cut", b"");
    }
    let limits = LIMITS.with_entries(1_000);
    let err = deploy_package::Manifest::read(&*maker.tar(), limits).unwrap_err();
    assert_eq!(err.code(), "too_many_entries");
}

#[test]
fn what_did_not_change_is_taken_over() {
    for reuse in [Reuse::Clone, Reuse::HardLink] {
        let lab = Lab::new();
        let old =
            tar_of(&[("same".into(), b"same".into()), ("moved".into(), b"here".into())].into());
        let said = manifest(&old);
        unpack(&*old, LIMITS, &said, lab.tree("old")).unwrap();
        let previous = Previous::open(lab.path("old"), said.clone()).unwrap().with_reuse(reuse);
        let publication = crate::parts::published(&lab, &old, &[]);
        let index = crate::parts::index(&lab, &publication);
        let (none, said) = (deploy_package::chunks::Packs::new(), said.digest().unwrap());
        index.install(said, &none, Some(&previous), lab.tree("new")).unwrap();
        assert_eq!(found(&lab.path("new")), found(&lab.path("old")));
        let inode = |tree: &str| fs::metadata(lab.path(tree).join("same")).unwrap().ino();
        assert_eq!(inode("new") == inode("old"), reuse == Reuse::HardLink);

        fs::write(lab.path("old/same"), "tame").unwrap();
        let err = index.install(said, &none, Some(&previous), lab.tree("again")).unwrap_err();
        assert!(matches!(&err, PackageError::OldFileChanged { path } if path == "same"), "{err}");
        fs::remove_file(lab.path("old/same")).unwrap();
        symlink("moved", lab.path("old/same")).unwrap();
        let err = index.install(said, &none, Some(&previous), lab.tree("again")).unwrap_err();
        assert_eq!(err.code(), "old_file_changed");
        assert!(!lab.path("again").exists());
    }
}

#[test]
fn permissions_do_not_come_from_whoever_installs() {
    let lab = Lab::new();
    let files = [
        PackedFile { path: "run", executable: true, bytes: b"x" },
        PackedFile { path: "a/data", executable: false, bytes: b"x" },
    ];
    let archive = pack_files(files, Limits::PACKAGE, Vec::new()).unwrap();
    unpack(&*archive, LIMITS, &manifest(&archive), lab.tree("new")).unwrap();
    let mode = |path: &str| fs::metadata(lab.path(path)).unwrap().permissions().mode() & 0o7777;
    let modes = ["new", "new/run", "new/a", "new/a/data"].map(mode);
    assert_eq!(modes, [0o755, 0o755, 0o755, 0o644]);
}

/// Headers, names and padding take room on disk as well, where an archive is published.
#[test]
fn what_is_no_content_counts_too() {
    let endless = |count: usize| io::repeat(0).take(count as u64);
    let tar = || tar_of(&[("a".into(), b"b".into())].into());
    let limits = LIMITS.with_entries(10);
    let read = |zeros: usize| {
        deploy_package::Manifest::read(io::Cursor::new(tar()).chain(endless(zeros)), limits)
    };
    read(1 << 20).unwrap();
    assert_eq!(read(64 << 20).unwrap_err().code(), "too_large");
}
