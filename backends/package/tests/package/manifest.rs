//! Manifests say what is in archives, and nothing else is taken for one.
use crate::{
    attacks::{self, Maker},
    lab::{LIMITS, Random, is_one_message, manifest, packed},
};
use deploy_package::{
    Manifest,
    archive::{Encoding, Limits},
    manifest::{ContentHash, Entry},
};
use proptest::prelude::*;
use std::io::Read as _;

fn sample() -> Vec<u8> {
    let mut maker = Maker::new();
    maker.folder("./");
    maker.entry(b'0', b"bin/run", b"", 0o755, b"#!/bin/sh\n");
    maker.link("bin/again", "run");
    maker.entry(b'1', b"bin/same", b"./bin//run", 0o755, b"");
    maker.folder("var/empty/");
    maker.tar()
}

/// Every byte of it is part of the format: publishers sign it, and hosts of all versions have to read it.
#[test]
fn a_manifest_is_written_so() {
    let tar = sample();
    let manifest = manifest(&tar);
    let hash = ContentHash::of(b"#!/bin/sh\n");
    let digest = deploy_core::digest::Digest::of(&tar);
    let size = tar.len();
    let expected = format!(
        r#"{{"format":1,"archive":{{"digest":"{digest}","size":{size},"encoding":"tar"}},"totals":{{"unpacked":10,"inodes":5}},"entries":[{{"kind":"folder","path":".","mode":"755"}},{{"kind":"file","path":"bin/run","mode":"755","size":10,"blake3":"{hash}"}},{{"kind":"symbolic_link","path":"bin/again","target":"run"}},{{"kind":"hard_link","path":"bin/same","target":"bin/run"}},{{"kind":"folder","path":"var/empty","mode":"755"}}]}}"#
    );
    assert_eq!(String::from_utf8(manifest.to_bytes().unwrap()).unwrap(), expected);
    assert_eq!(Manifest::parse(expected.as_bytes(), LIMITS).unwrap(), manifest);
}

#[test]
fn the_encoding_changes_nothing_in_the_tree() {
    let manifests: Vec<_> =
        Encoding::ALL.iter().map(|it| manifest(&packed(&sample(), *it))).collect();
    for (manifest, encoding) in manifests.iter().zip(Encoding::ALL) {
        assert_eq!(manifest.archive().encoding, *encoding);
        assert_eq!(manifest.entries(), manifests[0].entries());
    }
}

#[test]
fn what_is_not_a_manifest_is_refused() {
    let good = String::from_utf8(manifest(&sample()).to_bytes().unwrap()).unwrap();
    let changes = [
        ("another format", r#""format":1"#, r#""format":2"#),
        ("an unknown field", r#""format":1"#, r#""format":1,"more":1"#),
        ("space", r#""format":1"#, r#""format": 1"#),
        ("a way up", r#""bin/run","mode"#, r#""../run","mode"#),
        ("an absolute path", r#""bin/run","mode"#, r#""/bin/run","mode"#),
        ("a path in other words", r#""bin/run","mode"#, r#""bin/./run","mode"#),
        ("no path", r#""bin/run","mode"#, r#""","mode"#),
        ("a folder as a file", r#""bin/run","mode"#, r#"".","mode"#),
        ("the same path twice", r#""bin/again""#, r#""bin/run""#),
        ("a control character", r#""bin/again""#, r#""bin/\u001b[2J""#),
        ("a link out", r#""target":"run""#, r#""target":"../../x""#),
        ("an absolute link", r#""target":"run""#, r#""target":"/etc/shadow""#),
        ("a hard link to nothing", r#""target":"bin/run""#, r#""target":"bin/none""#),
        ("a hard link out", r#""target":"bin/run""#, r#""target":"../run""#),
        ("setuid", r#""mode":"755","size""#, r#""mode":"4755","size""#),
        ("no mode", r#""mode":"755","size""#, r#""mode":"","size""#),
        ("a mode that locks out", r#""mode":"755","size""#, r#""mode":"055","size""#),
        ("another size", r#""size":10,"blake3""#, r#""size":11,"blake3""#),
        ("a size near 2^64", r#""size":10,"blake3""#, r#""size":18446744073709551615,"blake3""#),
        ("other totals", r#""inodes":5"#, r#""inodes":6"#),
        ("a hash in capitals", r#""blake3":""#, r#""blake3":"A"#),
        ("a device", r#""kind":"file""#, r#""kind":"device""#),
    ];
    for (name, from, to) in changes {
        assert!(good.contains(from), "{name}");
        let err = Manifest::parse(good.replacen(from, to, 1).as_bytes(), LIMITS).unwrap_err();
        is_one_message(&err);
        assert_eq!(err.code(), "malformed", "{name}: {err}");
    }
    let few = Limits::PACKAGE.with_entries(4);
    assert!(Manifest::parse(good.as_bytes(), few).is_err());
    assert!(Manifest::parse(good.as_bytes(), LIMITS.with_unpacked_bytes(9)).is_err());
}

#[test]
fn archives_that_are_refused_have_no_manifest() {
    for attack in attacks::all() {
        let err = Manifest::read(&*attack.bytes, Limits::PACKAGE).unwrap_err();
        is_one_message(&err);
        assert_eq!(err.code(), attack.rule.code(), "{}", attack.name);
    }
}

#[test]
fn the_rules_are_those_of_every_encoding() {
    for attack in attacks::all().into_iter().filter(|it| !it.entries.is_empty()) {
        let tar = [attack.entries, vec![0; 1_024]].concat();
        for encoding in Encoding::ALL {
            let err = Manifest::read(&*packed(&tar, *encoding), LIMITS).unwrap_err();
            // A tar that does not begin as one is not known as such.
            let unknown = *encoding == Encoding::Tar && err.code() == "encoding";
            assert!(unknown || err.code() == attack.rule.code(), "{}: {err}", attack.name);
        }
    }
}

#[test]
fn zstd_is_one_frame_that_holds_together() {
    let good = packed(&sample(), Encoding::TarZst);
    let code = |bytes: &[u8]| {
        let err = Manifest::read(bytes, LIMITS).unwrap_err();
        is_one_message(&err);
        err.code()
    };
    assert_eq!(code(&[&*good, b"x"].concat()), "trailing_data");
    assert_eq!(code(&[&*good, &*good].concat()), "trailing_data");
    assert_eq!(code(&good[..good.len() - 1]), "truncated");
    // A window of 2^41 bytes: whoever reads it would have to remember as many.
    assert_eq!(code(&[&b"\x28\xb5\x2f\xfd\x00\xf8"[..], &[0; 600]].concat()), "not_zstd");
    let bomb = zstd::encode_all(std::io::repeat(0).take(64 << 20), 3).unwrap();
    let mut maker = Maker::new();
    maker.file("zeros", &vec![0; 64 << 20]);
    assert_eq!(code(&packed(&maker.tar(), Encoding::TarZst)), "ratio");
    assert_eq!(code(&bomb), "ratio");
    let limits = Limits::DESCRIPTOR;
    assert_eq!(Manifest::read(&*good, limits).unwrap_err().code(), "not_gzip");
}

fn any_tree() -> impl Strategy<Value = Vec<(String, u8, Vec<u8>)>> {
    let path = "[a-c]{1,2}(/[a-cé ]{1,3}){0,3}";
    let kind = prop_oneof![Just(b'0'), Just(b'5'), Just(b'2')];
    let content = proptest::collection::vec(any::<u8>(), 0..2_000);
    proptest::collection::vec((path, kind, content), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(tree in any_tree()) {
        let mut maker = Maker::new();
        for (path, kind, content) in &tree {
            let content = if *kind == b'0' { &**content } else { b"" };
            maker.entry(*kind, path.as_bytes(), b"x/y", 0o755, content);
        }
        let archive = maker.tar();
        let Ok(scan) = Manifest::read(&*archive, LIMITS) else { return Ok(()) };
        let bytes = scan.manifest.to_bytes().unwrap();
        prop_assert_eq!(&Manifest::parse(&bytes, LIMITS).unwrap(), &scan.manifest);
        let files = scan.manifest.files().map(|it| it.size).sum::<u64>();
        prop_assert_eq!(files, scan.manifest.totals().unpacked);
        let entries = scan.manifest.entries().len();
        prop_assert_eq!(entries, tree.len());
        let mut expected = tree.iter().filter(|it| it.1 == b'0');
        for entry in scan.manifest.entries() {
            if let Entry::File { blake3, .. } = entry {
                prop_assert_eq!(*blake3, ContentHash::of(&expected.next().unwrap().2));
            }
        }
    }

    #[test]
    fn anything_is_read_or_refused_in_one_message(seed: u64, count in 1_usize..8) {
        let good = manifest(&sample()).to_bytes().unwrap();
        let (mut bytes, mut random) = (good.clone(), Random(seed));
        for _ in 0..count {
            // What is left of it can be a single byte; that one stays.
            let at = random.below(bytes.len());
            match random.below(4) {
                0 => bytes[at] = random.next().to_le_bytes()[0],
                1 => bytes.insert(at, b"\"{}[],:0"[random.below(8)]),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at.max(1)),
            }
        }
        match Manifest::parse(&bytes, LIMITS) {
            Ok(read) => prop_assert_eq!(read.to_bytes().unwrap(), bytes),
            Err(err) => is_one_message(&err),
        }
    }
}
