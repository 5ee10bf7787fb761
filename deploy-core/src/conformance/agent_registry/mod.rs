//! Cases for [`AgentRegistry`]. They need no more than a [`Harness`](super::Harness).
mod agents;
mod enroll;
mod join;
mod keys;
mod sights;

use super::{permit, sample};
use crate::{
    access::{Action, Permit, Resource},
    agent::{Agent, AgentState, KeyFingerprint},
    backend::{AgentRegistry, CreateJoinToken, EnrollAgent, JoinGrant},
    host::Labels,
    id::HostName,
    token::{SecretHash, TokenSecret},
};
use sample::{at, name};
use std::{num::NonZeroU32, sync::Arc};

pub use agents::*;
pub use enroll::*;
pub use join::*;
pub use keys::*;
pub use sights::*;

type Registry = Arc<dyn AgentRegistry>;

async fn may() -> Permit {
    permit(Action::HostEnroll, Resource::System).await
}

fn secret(id: &str) -> SecretHash {
    let mut bits = [9; 32];
    bits.iter_mut().zip(id.bytes()).for_each(|(bit, byte)| *bit = byte);
    TokenSecret::from_bytes(bits).hash()
}

fn key(text: &str) -> KeyFingerprint {
    KeyFingerprint::of(text.as_bytes())
}

/// The labels of hosts that the join token `id` lets in.
fn labels(id: &str) -> Labels {
    Labels::from([(name("zone"), name("a")), (name("by"), name(id))])
}

/// A join token made at 100 s that expires at 1,000 s.
fn token(id: &str, uses: u32) -> CreateJoinToken {
    CreateJoinToken::new(name(id), secret(id), at(100), at(1_000))
        .with_labels(labels(id))
        .with_uses(NonZeroU32::new(uses).unwrap())
}

async fn create(registry: &Registry, id: &str, uses: u32) -> JoinGrant {
    registry.create_join_token(&may().await, &token(id, uses)).await.unwrap()
}

/// At 200 s the machine `machine/HOST` wants to be `host`, with the join token `id`. Its key is called like the host.
fn wish(id: &str, host: &str) -> EnrollAgent {
    let machine = name(&format!("machine/{host}"));
    EnrollAgent::new(name(id), secret(id), key(host), name(host), machine, at(200))
}

/// A registry's agent of `host`, let in by a join token of its own.
async fn enrolled(registry: &Registry, host: &str) -> Agent {
    let id = format!("for{host}");
    create(registry, &id, 1).await;
    registry.enroll(&wish(&id, host)).await.unwrap()
}

async fn agent(registry: &Registry, host: &str) -> Agent {
    registry.agent(&name(host)).await.unwrap()
}

async fn decide(registry: &Registry, host: &str, state: AgentState) -> Agent {
    let host: HostName = name(host);
    registry.decide(&may().await, &host, state, "a person said so").await.unwrap()
}

async fn used(registry: &Registry, id: &str) -> u32 {
    let grants = registry.join_tokens(None, 100).await.unwrap();
    grants.into_iter().find(|it| it.id.as_str() == id).unwrap().used
}

/// One test for each case of [`AgentRegistry`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! agent_registry_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::agent_registry_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            agent_registry, $harness;
            a_join_token_is_kept_as_it_was_made
            the_id_of_a_join_token_is_used_once
            a_join_token_lives_at_all
            join_tokens_are_paged_in_order
            the_first_revocation_of_a_join_token_counts
            enrolling_uses_a_token_once
            a_wrong_join_secret_is_told_like_an_unknown_id
            a_join_token_that_is_worth_nothing_lets_nobody_in
            relays_need_a_join_token_for_relays
            as_many_are_enrolled_as_a_token_has_uses
            enrolling_again_is_the_same_enrolment
            a_machine_installed_anew_finds_its_agent
            who_is_kept_out_cannot_enroll_anew
            names_and_keys_are_of_one_agent
            a_refused_enrolment_changes_nothing
            a_key_says_who_it_is
            a_certificate_is_noted
            the_next_key_supersedes_the_one_before
            a_key_is_certified_for_one_agent
            a_superseded_key_that_comes_back_is_a_second_machine
            a_boot_that_comes_back_is_a_second_machine
            sights_are_noted
            what_a_host_says_of_itself_is_kept
            who_is_kept_out_gets_nothing
            a_person_decides
            who_is_kept_out_is_known
            agents_are_paged_in_order
            a_host_without_agent_is_not_found
            a_removed_agent_is_unknown
            deciding_takes_a_permit
        }
    };
    (@durable [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            agent_registry, $harness;
            agents_and_uses_survive_a_crash
        }
    };
    (@concurrent [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            agent_registry, $harness;
            a_revoked_join_token_lets_nobody_in_anywhere
            two_processes_enroll_as_many_as_a_token_has_uses
            who_is_revoked_is_kept_out_everywhere
        }
    };
}
