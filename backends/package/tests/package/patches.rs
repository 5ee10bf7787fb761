//! Patches between tars, as hosts apply them that have a shell and zstd.
use crate::lab::{Files, LIMITS, Lab, Random, packed, tar_of};
use deploy_core::digest::Digest;
use deploy_package::{archive::Encoding, patch::Tar};
use std::{fs, path::Path, process::Command};

/// Programs that changed in places, a file that is new and one that is gone.
fn versions() -> [Files; 2] {
    let mut random = Random(7);
    let mut old: Files =
        (0..6).map(|at| (format!("bin/{at}"), random.bytes(400_000 + at * 977))).collect();
    old.insert("etc/gone".to_owned(), random.bytes(9_000));
    let mut new = old.clone();
    new.remove("etc/gone");
    new.insert("etc/new".to_owned(), random.bytes(5_000));
    for bytes in new.values_mut() {
        for _ in 0..5 {
            let at = random.below(bytes.len() - 20);
            bytes.splice(at..at + 7, random.bytes(13));
        }
    }
    [old, new]
}

fn read(archive: &[u8]) -> Tar {
    Tar::read(archive, LIMITS, 64 << 20).unwrap().unwrap()
}

fn apply(old: &Path, patch: &Path) -> Vec<u8> {
    let mut zstd = Command::new("zstd");
    zstd.args(["-dcq", "--long=29"]).arg(format!("--patch-from={}", old.display())).arg(patch);
    let applied = zstd.output().unwrap();
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    applied.stdout
}

#[test]
fn zstd_makes_the_new_tar_of_the_old_one_and_a_short_patch_whatever_archives_they_were_in() {
    let lab = Lab::new();
    let [old, new] = versions().map(|it| tar_of(&it));
    for (from, to) in [
        (Encoding::TarGz, Encoding::TarGz),
        (Encoding::TarZst, Encoding::TarGz),
        (Encoding::Tar, Encoding::TarZst),
    ] {
        let archive = packed(&new, to);
        let (was, is) = (read(&packed(&old, from)), read(&archive));
        assert_eq!((is.bytes(), is.digest()), (&*new, Digest::of(&new)));
        assert_eq!(is.archive().digest, Digest::of(&archive));
        let patch = is.patch_from(&was).unwrap();
        assert!(patch.len() < 20_000, "{} bytes", patch.len());
        fs::write(lab.path("old.tar"), was.bytes()).unwrap();
        fs::write(lab.path("patch"), &patch).unwrap();
        assert_eq!(Digest::of(&apply(&lab.path("old.tar"), &lab.path("patch"))), is.digest());
    }
}

#[test]
fn a_tar_that_is_too_large_is_none_and_one_that_is_damaged_an_error() {
    let [tar, _] = versions().map(|it| tar_of(&it));
    let archive = packed(&tar, Encoding::TarGz);
    let size = tar.len() as u64;
    assert!(Tar::read(&*archive, LIMITS, size - 1).unwrap().is_none());
    assert!(Tar::read(&*archive, LIMITS, size).unwrap().is_some());
    let cut = Tar::read(&archive[..archive.len() / 2], LIMITS, size).unwrap_err();
    assert_eq!(cut.code(), "truncated");
}
