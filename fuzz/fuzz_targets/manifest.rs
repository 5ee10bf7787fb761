//! A manifest, as it comes with a package: what is taken for one is written in the one way there is.
#![no_main]
use deploy_package::{
    Manifest,
    archive::Limits,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::PACKAGE;
    if let Ok(manifest) = Manifest::parse(bytes, limits) {
        assert_eq!(manifest.to_bytes().expect("it is short enough"), bytes);
    }
    if let Ok(scan) = Manifest::read(bytes, limits) {
        let written = scan.manifest.to_bytes().expect("it is short enough");
        assert_eq!(Manifest::parse(&written, limits).expect("it is one"), scan.manifest);
    }
});
