//! Hostile archives against the judge, and accepted ones against the programs that unpack them on hosts.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod attacks;

use attacks::{Maker, gzip};
use deploy_package::archive::{
    ArchiveError, ArchiveSummary, Limits, Rule, pack_dir, read_files, validate,
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

fn judge(bytes: &[u8]) -> Result<ArchiveSummary, ArchiveError> {
    validate(bytes, Limits::PACKAGE)
}

#[track_caller]
fn refused(bytes: &[u8], limits: Limits) -> Rule {
    let err = validate(bytes, limits).unwrap_err();
    err.refusal().unwrap_or_else(|| panic!("{err:?}")).rule()
}

#[test]
fn every_attack_is_refused_by_its_rule() {
    let attacks = attacks::all();
    assert!(attacks.len() >= 40, "{}", attacks.len());
    for attack in &attacks {
        match judge(&attack.bytes) {
            Err(ArchiveError::Refused(refusal)) => {
                assert_eq!(refusal.rule(), attack.rule, "{}: {refusal}", attack.name);
                let text = refusal.to_string();
                assert!(
                    text.contains(attack.rule.code()) && !text.chars().any(char::is_control),
                    "{text}"
                );
            }
            other => panic!("{}: {other:?}", attack.name),
        }
    }
}

/// An attack hidden among harmless entries is found wherever it is.
#[test]
fn attacks_are_found_among_harmless_entries() {
    for attack in attacks::all().into_iter().filter(|it| !it.entries.is_empty()) {
        for before in [0, 1, 7] {
            let mut maker = Maker::new();
            for at in 0..before {
                maker.file(&format!("fine/{at}.txt"), b"fine");
            }
            maker.raw(&attack.entries);
            maker.file("fine/last.txt", b"fine");
            assert_eq!(refused(&maker.end(), Limits::PACKAGE), attack.rule, "{}", attack.name);
        }
    }
}

#[test]
fn limits_hold() {
    let mut maker = Maker::new();
    (0..50).for_each(|at| maker.file(&format!("f{at}"), &[b'x'; 1_000]));
    let archive = maker.end();
    let limits = Limits::PACKAGE;
    assert_eq!(refused(&archive, limits.with_entries(49)), Rule::TooManyEntries);
    assert_eq!(refused(&archive, limits.with_unpacked_bytes(49_999)), Rule::TooLarge);
    assert_eq!(refused(&archive, limits.with_ratio(2, 10_000)), Rule::Ratio);
    let summary = validate(&*archive, limits.with_entries(50).with_unpacked_bytes(50_000)).unwrap();
    assert_eq!((summary.entries, summary.unpacked_bytes), (50, 50_000));
    assert_eq!(summary.packed_bytes, archive.len() as u64);
    assert_eq!(summary.digest, deploy_core::digest::Digest::of(&archive));
}

/// A bomb is given up on long before it is unpacked: reading ends after a part of its bytes.
#[test]
fn a_bomb_is_not_unpacked() {
    let mut maker = Maker::new();
    maker.file("zeros", &vec![0; 64 << 20]);
    let bomb = maker.end();
    let mut read = 0;
    let counted = Counting { inner: &*bomb, read: &mut read };
    let err = validate(counted, Limits::PACKAGE).unwrap_err();
    assert_eq!(err.refusal().unwrap().rule(), Rule::Ratio);
    assert!(read < bomb.len() * 4 / 5, "{read} of {}", bomb.len());
}

struct Counting<'a, R> {
    inner: R,
    read: &'a mut usize,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(1_024);
        let read = self.inner.read(&mut buffer[..room])?;
        *self.read += read;
        Ok(read)
    }
}

#[test]
fn a_reader_that_fails_says_nothing_about_the_archive() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let archive = Maker::new().end();
    for cut in [0, 5, archive.len() - 3] {
        let err = validate(archive[..cut].chain(Broken), Limits::PACKAGE).unwrap_err();
        assert!(matches!(err, ArchiveError::Io(_)), "{err:?}");
    }
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let mut maker = Maker::new();
    maker.file("a/b.txt", b"hello");
    maker.link("a/l", "b.txt");
    let archive = maker.end();
    for cut in 0..archive.len() {
        assert!(matches!(judge(&archive[..cut]), Err(ArchiveError::Refused(_))), "{cut}");
    }
    let unpacked = maker_bytes();
    for cut in (0..unpacked.len()).step_by(100) {
        assert!(matches!(judge(&gzip(&unpacked[..cut])), Err(ArchiveError::Refused(_))), "{cut}");
    }
}

fn maker_bytes() -> Vec<u8> {
    let mut maker = Maker::new();
    maker.file("a", b"hello");
    maker.tar()
}

#[test]
fn a_descriptor_holds_no_links() {
    let mut maker = Maker::new();
    maker.file("descriptor.toml", b"");
    maker.link("l", "descriptor.toml");
    let err = read_files(&*maker.end(), Limits::DESCRIPTOR).unwrap_err();
    assert_eq!(err.refusal().unwrap().rule(), Rule::Type);
}

/// What `tar` itself makes, in every format it knows that stays within the rules, is accepted.
#[test]
fn what_tar_makes_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    let long = format!("deep/{}/{}", "x".repeat(120), "y".repeat(90));
    for path in ["a.txt", "bin/run", "ümläut/ß.txt", "has space/f", &long] {
        fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
        fs::write(tree.join(path), path).unwrap();
    }
    fs::create_dir(tree.join("empty")).unwrap();
    std::os::unix::fs::symlink("../a.txt", tree.join("bin/link")).unwrap();
    fs::hard_link(tree.join("a.txt"), tree.join("b-hard.txt")).unwrap();
    let tar = |arguments: &[&str]| {
        let made = Command::new("tar")
            .args(["-C", tree.to_str().unwrap()])
            .args(arguments)
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        made.stdout
    };
    let all = ["a.txt", "b-hard.txt", "bin", "deep", "empty", "has space", "ümläut"];
    let formats: [&[&str]; 3] = [
        &["--format=gnu", "-czf", "-", "."],
        &["--format=gnu", "-czf", "-"],
        &["--format=oldgnu", "-czf", "-"],
    ];
    for arguments in formats {
        let mut arguments = arguments.to_vec();
        if !arguments.contains(&".") {
            arguments.extend(all);
        }
        agree(&tar(&arguments));
    }
    let short = ["a.txt", "b-hard.txt", "bin", "empty", "has space", "ümläut"];
    for format in ["--format=ustar", "--format=posix", "--format=gnu"] {
        let mut arguments = vec![format, "-czf", "-"];
        arguments.extend(short);
        agree(&tar(&arguments));
    }
    let old = tar(&["--format=v7", "-czf", "-", "a.txt"]);
    assert_eq!(refused(&old, Limits::PACKAGE), Rule::Header, "busybox would not read it");
    let pax = tar(&["--format=posix", "-czf", "-", "deep"]);
    assert_eq!(refused(&pax, Limits::PACKAGE), Rule::Header, "busybox would not see the long name");
}

#[test]
fn packing_gives_the_same_bytes_for_the_same_content() {
    let pack = |order: &[&str], mode: u32| {
        let dir = tempfile::tempdir().unwrap();
        for path in order {
            fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
            fs::write(dir.path().join(path), path).unwrap();
        }
        fs::set_permissions(dir.path().join("b/run"), fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::symlink("run", dir.path().join("b/link")).unwrap();
        pack_dir(dir.path(), Limits::PACKAGE, Vec::new()).unwrap()
    };
    let one = pack(&["a", "b/run", "b/c/d"], 0o700);
    let two = pack(&["b/c/d", "b/run", "a"], 0o4777);
    assert_eq!(one, two);
    let tree = agree(&one);
    assert_eq!(tree["b/run"].1, 0o755);
    assert_eq!(tree["a"].1, 0o644);
}

#[test]
fn what_cannot_be_deployed_is_not_packed() {
    let dir = tempfile::tempdir().unwrap();
    let pack =
        || pack_dir(dir.path(), Limits::PACKAGE, Vec::new()).unwrap_err().refusal().unwrap().rule();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("l")).unwrap();
    assert_eq!(pack(), Rule::SymbolicLink);
    fs::remove_file(dir.path().join("l")).unwrap();
    Command::new("mkfifo").arg(dir.path().join("p")).status().unwrap();
    assert_eq!(pack(), Rule::Type);
    fs::remove_file(dir.path().join("p")).unwrap();
    fs::write(dir.path().join("new\nline"), "").unwrap();
    assert_eq!(pack(), Rule::Name);
}

/// What is in a folder: kind, permissions, content or target.
type Found = BTreeMap<String, (char, u32, Vec<u8>)>;

fn found(root: &Path) -> Found {
    fn walk(root: &Path, dir: &Path, into: &mut Found) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let mode = meta.mode() & 0o7777;
            if meta.is_dir() {
                into.insert(name, ('d', mode, Vec::new()));
                walk(root, &path, into);
            } else if meta.is_symlink() {
                into.insert(name, ('l', 0, fs::read_link(&path).unwrap().to_str().unwrap().into()));
            } else {
                into.insert(name, ('f', mode, fs::read(&path).unwrap()));
            }
        }
    }
    let mut into = Found::new();
    walk(root, root, &mut into);
    into
}

/// The archive is accepted, and GNU tar and busybox make the same tree of it, and nothing beside it.
#[track_caller]
fn agree(archive: &[u8]) -> Found {
    let summary = judge(archive).unwrap_or_else(|err| panic!("{err}"));
    let dir = tempfile::tempdir().unwrap();
    let packed = dir.path().join("p.tar.gz");
    fs::write(&packed, archive).unwrap();
    let trees = [&["tar"][..], &["busybox", "tar"][..]].map(|tar| {
        let outside = dir.path().join(tar[0]);
        let inside = outside.join("in/side");
        fs::create_dir_all(&inside).unwrap();
        let unpacked = Command::new(tar[0])
            .args(&tar[1..])
            .arg("-xzf")
            .arg(&packed)
            .args(["--no-same-owner", "-C"])
            .arg(&inside)
            .output()
            .unwrap();
        assert!(unpacked.status.success(), "{tar:?}: {unpacked:?}");
        assert_eq!(
            found(&outside).keys().filter(|it| !it.starts_with("in/side/")).count(),
            2,
            "{tar:?}"
        );
        found(&inside)
    });
    let [gnu, busybox] = trees;
    assert_eq!(gnu.keys().collect::<Vec<_>>(), busybox.keys().collect::<Vec<_>>());
    let content =
        |it: &Found| it.values().map(|(kind, _, bytes)| (*kind, bytes.clone())).collect::<Vec<_>>();
    assert_eq!(content(&gnu), content(&busybox));
    let files: usize = gnu.values().filter(|it| it.0 != 'd').count();
    assert!(files as u64 <= summary.entries);
    gnu
}

/// An entry of an archive made at random: many of them break a rule, and what is accepted has to be harmless.
#[derive(Clone, Debug)]
struct Any {
    kind: u8,
    path: String,
    target: String,
    mode: u32,
    long: bool,
}

fn any_path() -> impl Strategy<Value = String> {
    let part = prop_oneof![4 => "[ab]", 1 => Just("..".to_owned()), 1 => Just(".".to_owned()), 1 => Just(String::new()), 1 => "[a-zé ]{1,3}"];
    proptest::collection::vec(part, 1..4).prop_map(|it| it.join("/"))
}

fn any_entry() -> impl Strategy<Value = Any> {
    let kind = prop_oneof![6 => Just(b'0'), 3 => Just(b'5'), 3 => Just(b'2'), 2 => Just(b'1'), 1 => any::<u8>()];
    let mode = prop_oneof![6 => Just(0o755), 2 => Just(0o644), 1 => 0u32..0o10000];
    (kind, any_path(), any_path(), mode, proptest::bool::weighted(0.2))
        .prop_map(|(kind, path, target, mode, long)| Any { kind, path, target, mode, long })
}

/// `PROPTEST_CASES` asks for more.
fn at_least(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig { cases: asked.cases.max(cases), failure_persistence: None, ..asked }
}

proptest! {
    #![proptest_config(at_least(500))]

    #[test]
    fn what_is_accepted_unpacks_alike_and_stays_inside(entries in proptest::collection::vec(any_entry(), 1..6)) {
        let mut maker = Maker::new();
        for entry in &entries {
            if entry.long {
                maker.long(b'L', entry.path.as_bytes());
            }
            let data: &[u8] = if entry.kind == b'0' { b"data" } else { b"" };
            maker.entry(entry.kind, entry.path.as_bytes(), entry.target.as_bytes(), entry.mode, data);
        }
        let archive = maker.end();
        if judge(&archive).is_ok() {
            agree(&archive);
        }
    }

    #[test]
    fn no_bytes_break_the_judge(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        prop_assert!(judge(&bytes).is_err());
        prop_assert!(judge(&gzip(&bytes)).is_err());
    }

    #[test]
    fn one_wrong_byte_is_refused_or_harmless(at in 0usize..4_096, to in any::<u8>()) {
        let mut maker = Maker::new();
        maker.file("a/b.txt", b"hello");
        maker.entry(b'2', b"a/l", b"b.txt", 0o777, b"");
        maker.entry(b'1', b"h", b"a/b.txt", 0o644, b"");
        let mut tar = maker.tar();
        let at = at % tar.len();
        tar[at] = to;
        attacks::fix_checksums(&mut tar);
        let archive = gzip(&tar);
        if judge(&archive).is_ok() {
            agree(&archive);
        }
    }
}
