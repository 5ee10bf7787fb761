//! An index of chunks: what it says is missing lies in the packs that it names.
#![no_main]
use deploy_package::{archive::Limits, chunks::Index};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(index) = Index::parse(bytes, Limits::PACKAGE) else { return };
    for missing in index.missing(None) {
        assert!(index.packs().contains(&missing.part));
        assert!(missing.bytes() <= missing.part.size);
    }
    let written = index.to_bytes().expect("it is short enough");
    assert_eq!(Index::parse(&written, Limits::PACKAGE).expect("it is one"), index);
});
