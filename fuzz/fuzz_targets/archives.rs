//! A package, as somebody uploads it: whatever it is, it is judged.
#![no_main]
use deploy_host::archive::{Limits, read_files, validate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let judged = validate(bytes, Limits::PACKAGE);
    let read = read_files(bytes, Limits::PACKAGE);
    assert!(judged.is_ok() || read.is_err(), "what is refused was read");
});
