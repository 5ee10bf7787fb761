//! Archives are made again from their parts, bit for bit, or not at all.
use crate::{
    attacks::Maker,
    lab::{LIMITS, gzip},
};
use deploy_package::{
    Manifest, PackageError,
    archive::Encoding,
    framing::{Framing, Recipe, rebuild},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

type Contents = BTreeMap<String, Vec<u8>>;

/// Takes `archive` apart and makes it again; `None` where it says that it cannot.
fn again(archive: &[u8], tar: &[u8], contents: &Contents) -> Option<Vec<u8>> {
    let scan = Manifest::read(archive, LIMITS).unwrap();
    let encoding = scan.manifest.archive().encoding;
    let recipe = Recipe::find(encoding, tar.len() as u64, || Ok(archive), || Ok(tar)).unwrap()?;
    let bytes = scan.framing.unwrap().to_bytes(&recipe).unwrap();
    let (framing, recipe) = Framing::parse(&bytes).unwrap();
    let mut made = Vec::new();
    let open = |it: deploy_package::manifest::File<'_>| Ok(&*contents[it.path]);
    rebuild(&scan.manifest, &framing, &recipe, open, &mut made).unwrap();
    Some(made)
}

/// One odd thing after another.
fn odd() -> (Vec<u8>, Contents) {
    let mut maker = Maker::new();
    let mut contents = Contents::new();
    maker.folder("./");
    for size in [0, 1, 511, 512, 513, 70_000] {
        let (path, bytes) = (format!("sizes/{size}"), vec![b'x'; size]);
        maker.file(&path, &bytes);
        contents.insert(path, bytes);
    }
    maker.pax(b'g', &[("comment", b"for all")]);
    maker.pax(b'x', &[("mtime", b"1.5"), ("path", b"with/pax")]);
    maker.file("with/pax", b"pax");
    contents.insert("with/pax".into(), b"pax".into());
    let long = format!("long/{}", "n".repeat(150));
    maker.long(b'L', long.as_bytes());
    maker.file("cut", b"long");
    contents.insert(long, b"long".into());
    maker.link("l", "with/pax");
    maker.entry(b'1', b"h", b"with/pax", 0o644, b"");
    (maker.tar(), contents)
}

#[test]
fn odd_archives_are_made_again() {
    let (tar, contents) = odd();
    for trailing in [0, 512, 10_240] {
        let tar = [&*tar, &vec![0; trailing]].concat();
        assert_eq!(again(&tar, &tar, &contents).unwrap(), tar);
        for level in 0..=9 {
            let archive = gzip(&tar, level);
            assert_eq!(again(&archive, &tar, &contents).unwrap(), archive, "gzip {level}");
        }
        for level in 1..=12 {
            let archive = zstd::encode_all(&*tar, level).unwrap();
            assert_eq!(again(&archive, &tar, &contents).unwrap(), archive, "zstd {level}");
        }
    }
}

/// What other programs compress is made again where ours do the same, and never wrongly.
#[test]
fn archives_of_other_programs_are_made_again_or_not_at_all() {
    let (tar, contents) = odd();
    for program in [&["gzip", "-9"][..], &["gzip", "-1"], &["zstd", "-3"], &["zstd", "-19"]] {
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .arg("-c")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&tar).unwrap();
        let archive = child.wait_with_output().unwrap().stdout;
        if let Some(made) = again(&archive, &tar, &contents) {
            assert_eq!(made, archive, "{program:?}");
        }
    }
}

#[test]
fn a_changed_file_makes_no_archive() {
    let (tar, mut contents) = odd();
    let scan = Manifest::read(&*tar, LIMITS).unwrap();
    contents.insert("sizes/1".into(), b"y".into());
    let open = |it: deploy_package::manifest::File<'_>| Ok(&*contents[it.path]);
    let framing = scan.framing.unwrap();
    let made = rebuild(&scan.manifest, &framing, &Recipe::Tar, open, std::io::sink());
    assert!(matches!(made, Err(PackageError::ArchiveMismatch { .. })), "{made:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_archive_is_made_again(
        files in proptest::collection::btree_map("[a-z]{1,8}", proptest::collection::vec(any::<u8>(), 0..3_000), 0..12),
        long in proptest::collection::vec(any::<bool>(), 12),
        blocks in 0_usize..30,
        encoding in proptest::sample::select(Encoding::ALL),
        level in 0_u8..=9,
    ) {
        let mut maker = Maker::new();
        for ((path, bytes), long) in files.iter().zip(long) {
            if long {
                maker.long(b'L', path.as_bytes());
            }
            maker.file(path, bytes);
        }
        let tar = [maker.tar(), vec![0; blocks * 512]].concat();
        let archive = match encoding {
            Encoding::TarGz => gzip(&tar, level.into()),
            Encoding::TarZst => zstd::encode_all(&*tar, level.max(1).into()).unwrap(),
            _ => tar.clone(),
        };
        prop_assert_eq!(again(&archive, &tar, &files), Some(archive));
    }
}
