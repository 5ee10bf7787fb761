//! A delta against a version that is there: it leads to a tree that keeps the rules, or is refused.
#![no_main]
use deploy_package::{
    Manifest,
    archive::{Limits, PackedFile, pack_files},
    delta::Delta,
    install::{Durability, NewTree, Previous},
};
use libfuzzer_sys::fuzz_target;
use std::fs;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::PACKAGE;
    let file = PackedFile { path: "file", executable: false, bytes: b"some text, some text" };
    let archive = pack_files([file], limits, Vec::new()).expect("it keeps the rules");
    let old = Manifest::read(&*archive, limits).expect("it keeps the rules").manifest;
    let folder = tempfile::tempdir().expect("there is a disk");
    let path = folder.path().join("delta");
    fs::write(&path, bytes).expect("there is room");
    let Ok(delta) = Delta::open(&path, &old, limits) else { return };
    fs::create_dir(folder.path().join("old")).expect("there is room");
    fs::write(folder.path().join("old/file"), file.bytes).expect("there is room");
    let previous = Previous::open(folder.path().join("old"), old).expect("it is there");
    let tree = NewTree::begin(folder.path(), "new").expect("there is room");
    let installed = delta.install(&previous, tree.with_durability(Durability::Unsynced));
    assert_eq!(installed.is_ok(), folder.path().join("new").exists());
});
