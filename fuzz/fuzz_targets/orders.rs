//! Orders: without a signature none is let through, and with one each is judged before anything is done.
#![no_main]
use deploy_agent_protocol::{
    OrderGate, OrderSigner,
    v1::{Attempt, SignedOrder},
};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedOrder::decode(bytes) {
        let signer = OrderSigner::from_secret(&[7; 32]).public_key();
        let mut gate = OrderGate::new("web-1", vec![1; 16], [signer]).expect("it is a key");
        assert!(gate.admit(&signed).is_err(), "nobody has signed this");
    }
    if let Ok(attempt) = Attempt::decode(bytes) {
        deploy_agent::fuzzing::attempt(attempt);
    }
});
