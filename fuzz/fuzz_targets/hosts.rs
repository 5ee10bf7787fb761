//! A file of hosts, in each of its formats.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| deploy_cli::fuzzing::hosts(text));
