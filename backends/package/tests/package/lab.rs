//! Trees, archives of them, and what was made of these.
use crate::attacks::Maker;
use deploy_package::{
    Manifest, PackageError,
    archive::{Encoding, Limits},
    install::{Durability, NewTree},
};
use flate2::{Compression, write::GzEncoder};
use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

pub(crate) const LIMITS: Limits = Limits::PACKAGE;

/// Numbers that look random, and are the same in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let words = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(count).collect()
    }
}

/// Files by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) fn tar_of(files: &Files) -> Vec<u8> {
    let mut maker = Maker::new();
    for (path, bytes) in files {
        maker.file(path, bytes);
    }
    maker.tar()
}

pub(crate) fn packed(tar: &[u8], encoding: Encoding) -> Vec<u8> {
    match encoding {
        Encoding::TarGz => gzip(tar, 6),
        Encoding::TarZst => zstd::encode_all(tar, 3).unwrap(),
        _ => tar.to_vec(),
    }
}

pub(crate) fn gzip(tar: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(tar).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn manifest(archive: &[u8]) -> Manifest {
    Manifest::read(archive, LIMITS).unwrap().manifest
}

/// One with room for whatever the limits allow, of an archive that there is not.
pub(crate) fn roomy() -> Manifest {
    let sizes = [LIMITS.unpacked_bytes].into_iter().chain(std::iter::repeat_n(0, 49_999));
    let hash = "0".repeat(64);
    let entries: Vec<_> = sizes
        .enumerate()
        .map(|(at, size)| {
            format!(
                r#"{{"kind":"file","path":"{at}","mode":"644","size":{size},"blake3":"{hash}"}}"#
            )
        })
        .collect();
    let archive = format!(r#"{{"digest":"sha256:{hash}","size":1,"encoding":"tar"}}"#);
    let totals = format!(r#"{{"unpacked":{},"inodes":50000}}"#, LIMITS.unpacked_bytes);
    let entries = entries.join(",");
    let json =
        format!(r#"{{"format":1,"archive":{archive},"totals":{totals},"entries":[{entries}]}}"#);
    Manifest::parse(json.as_bytes(), LIMITS).unwrap()
}

/// A folder to work in.
pub(crate) struct Lab(TempDir);

impl Lab {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn tree(&self, name: &str) -> NewTree {
        begin(self.0.path(), name).unwrap()
    }
}

pub(crate) fn begin(parent: &Path, name: &str) -> Result<NewTree, PackageError> {
    Ok(NewTree::begin(parent, name)?.with_durability(Durability::Unsynced))
}

/// What is in a folder: kind, permissions, content or target.
pub(crate) type Found = BTreeMap<String, (char, u32, Vec<u8>)>;

pub(crate) fn found(root: &Path) -> Found {
    let mut into = Found::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let mode = meta.mode() & 0o7777;
            if meta.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                into.insert(name, ('l', 0, target.to_str().unwrap().into()));
            } else if meta.is_dir() {
                into.insert(name, ('d', mode, Vec::new()));
                folders.push(path);
            } else {
                into.insert(name, ('f', mode, fs::read(&path).unwrap()));
            }
        }
    }
    into
}

/// What was said is one line, has a code, and nothing in it that a terminal would obey.
#[track_caller]
pub(crate) fn is_one_message(err: &PackageError) {
    let text = err.to_string();
    assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}");
    assert!(text.len() < 1_000, "{text}");
    assert!(err.code().bytes().all(|it| it.is_ascii_lowercase() || it == b'_'), "{}", err.code());
}
