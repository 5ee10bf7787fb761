//! How machines are known, and how one is told from its copy.
#![expect(clippy::unwrap_used, reason = "a failed test panics, also in what tests share")]
use deploy_core::{
    agent::{Agent, AgentState, Certificate, KeyFingerprint, NaturalKey},
    host::Labels,
    time::Timestamp,
};
use proptest::prelude::*;

fn key(number: usize) -> KeyFingerprint {
    KeyFingerprint::of(format!("key {number}").as_bytes())
}

fn agent() -> Agent {
    let (host, machine) = ("h1".parse().unwrap(), "machine/4f".parse().unwrap());
    let token = "t1".parse().unwrap();
    Agent::new(host, machine, key(0), Labels::new(), token, Timestamp::from_millis(0))
}

fn certificate() -> Certificate {
    Certificate::new("01", Timestamp::from_millis(1))
}

#[test]
fn a_machine_has_one_natural_key() {
    for good in [
        "address/hetzner/10.0.0.5",
        "address/hetzner/fd00::5",
        "instance/aws/eu-central-1/i-0abc",
        "machine/0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(good.parse::<NaturalKey>().unwrap().to_string(), good);
    }
    for wrong in [
        "",
        "machine",
        "machine/",
        "machine/a/b",
        "machine/a/",
        "machine/a b",
        "machine/../a",
        "instance/aws/i-0abc",
        "instance/aws//i-0abc",
        "address/hetzner/10.0.0.05",
        "address/hetzner/FD00::5",
        "address/hetzner/fd00:0::5",
        "address/hetzner/host.example.com",
        "Machine/a",
    ] {
        assert!(wrong.parse::<NaturalKey>().is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_natural_key_is_too_odd(text: String) {
        if let Ok(key) = text.parse::<NaturalKey>() {
            prop_assert_eq!(key.to_string(), text);
        }
    }

    /// Whatever becomes of it, a machine that is alone is never taken for two.
    #[test]
    fn a_machine_that_is_alone_stays_active(steps in prop::collection::vec(0..4, 0..60)) {
        let (mut agent, mut newest, mut boot) = (agent(), 0, 0);
        for step in steps {
            match step {
                // It restarts.
                0 => boot += 1,
                // It asks for another key; the answer may be lost, and then it asks again with the same.
                1 => {
                    newest += 1;
                    agent.certify(key(newest), certificate());
                    agent.certify(key(newest), certificate());
                }
                // It is seen with the newest key it has.
                2 => agent.present(&key(newest)),
                _ => agent.certify(key(newest), certificate()),
            }
            // Until a new key was seen it may come with the one before, which is what it has the certificate of.
            if agent.next_key.is_some() {
                let before = agent.key.fingerprint;
                agent.present(&before);
            }
            agent.arrive(&format!("boot-{boot}").parse().unwrap());
            prop_assert_eq!(agent.state, AgentState::Active, "{:?}", agent);
            prop_assert!(agent.former_keys.len() <= Agent::FORMER);
            prop_assert!(agent.former_boots.len() <= Agent::FORMER);
        }
    }

    /// A copy that was made at any time is noticed when it comes back, within as many restarts and keys as are remembered.
    #[test]
    fn a_copy_is_noticed(keys in 1..=Agent::FORMER, boots in 1..=Agent::FORMER, by_key: bool) {
        let mut agent = agent();
        for number in 1..=keys {
            agent.certify(key(number), certificate());
            agent.present(&key(number));
        }
        for number in 0..=boots {
            agent.arrive(&format!("boot-{number}").parse().unwrap());
        }
        prop_assert_eq!(agent.state, AgentState::Active);
        if by_key {
            agent.present(&key(0));
        } else {
            agent.arrive(&"boot-0".parse().unwrap());
        }
        prop_assert_eq!(agent.state, AgentState::Quarantined);
        let there = agent.clone();
        agent.present(&key(keys));
        agent.arrive(&"boot-99".parse().unwrap());
        prop_assert_eq!(agent, there, "one that is kept out changes nothing");
    }
}
