//! A descriptor, as text and as the archive that it comes in.
#![no_main]
use deploy_host::{
    archive::{Limits, PackedFile, pack_files},
    descriptor::{Descriptor, read},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let alone = Descriptor::parse(text);
    let file = PackedFile { path: "descriptor.toml", executable: false, bytes: text.as_bytes() };
    let Ok(packed) = pack_files([file], Limits::PACKAGE, Vec::new()) else { return };
    let packed = read(&packed);
    assert!(alone.is_ok() || packed.is_err(), "what is refused alone is taken in an archive");
});
