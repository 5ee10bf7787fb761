//! Tokens of people and of machines that join: what is read is what was made.
#![no_main]
use deploy_core::token::{ApiToken, JoinToken};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(token) = text.parse::<JoinToken>() {
        assert_eq!(token.reveal(), text);
    }
    if let Ok(token) = text.parse::<ApiToken>() {
        assert_eq!(token.reveal(), text);
    }
});
