//! A segment of a host's journal, of which some was surely written.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|read: (u16, &[u8])| deploy_agent::fuzzing::segment(read.1, read.0.into()));
