//! Frames of agents and of gateways: what can be read is written as it was meant.
#![no_main]
use deploy_agent_protocol::v1::{AgentFrame, EnrolRequest, GatewayFrame, RenewRequest};
use libfuzzer_sys::fuzz_target;
use prost::Message;
use std::fmt::Debug;

fuzz_target!(|bytes: &[u8]| {
    comes_back::<AgentFrame>(bytes);
    comes_back::<EnrolRequest>(bytes);
    comes_back::<GatewayFrame>(bytes);
    comes_back::<RenewRequest>(bytes);
});

fn comes_back<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = M::decode(bytes) else { return };
    let again = M::decode(&*message.encode_to_vec()).expect("what was written can be read");
    assert_eq!(again, message);
}
