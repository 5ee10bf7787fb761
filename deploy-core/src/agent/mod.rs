//! Agents: how a machine is known, and how one is told from its copy.
mod facts;
mod natural_key;

pub use facts::AgentFacts;
pub use natural_key::{NaturalKey, ParseNaturalKeyError};

use crate::{
    digest::Digest,
    error::{BackendError, BackendResult, ErrorKind},
    host::Labels,
    id::{BootId, HostName, LabelValue, TokenId},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{fmt, mem, time::Duration};

/// The SHA-256 digest of a public key (its `SubjectPublicKeyInfo` as DER): who a machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyFingerprint(Digest);

impl KeyFingerprint {
    /// The fingerprint of the public key `spki`.
    #[must_use]
    pub fn of(spki: &[u8]) -> Self {
        Self(Digest::of(spki))
    }

    /// A fingerprint that was kept.
    #[must_use]
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }

    /// As a digest.
    #[must_use]
    pub const fn digest(&self) -> &Digest {
        &self.0
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A certificate that was issued to an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Certificate {
    /// Its serial number, as lower-case hexadecimal digits.
    pub serial: String,
    /// From when on it is worth nothing.
    pub expires_at: Timestamp,
}

impl Certificate {
    /// The certificate `serial`, which is worth something until `expires_at`.
    #[must_use]
    pub fn new(serial: impl Into<String>, expires_at: Timestamp) -> Self {
        Self { serial: serial.into(), expires_at }
    }
}

/// A key of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AgentKey {
    /// Which.
    pub fingerprint: KeyFingerprint,
    /// The newest certificate for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

impl AgentKey {
    /// A key without certificate.
    #[must_use]
    pub const fn new(fingerprint: KeyFingerprint) -> Self {
        Self { fingerprint, certificate: None }
    }
}

/// Whether an agent is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AgentState {
    /// It is.
    Active,
    /// Not until a person has looked: two machines have its key, or said so.
    Quarantined,
    /// Not any more: a person has decided.
    Revoked,
}

impl AgentState {
    /// A stable, lower-case name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quarantined => "quarantined",
            Self::Revoked => "revoked",
        }
    }
}

/// The agent of a host: which machine it is, and what it was last seen to be.
///
/// What is superseded never comes back by itself: a key that was rotated or replaced, a boot that is over. If one does,
/// somebody has a copy of the key, and neither of the two is let in any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Agent {
    /// Its host.
    pub host: HostName,
    /// What its machine is called by others, also after it was installed anew.
    pub natural_key: NaturalKey,
    /// The labels that its join token gives.
    pub labels: Labels,
    /// Whether it is let in.
    pub state: AgentState,
    /// Why not; empty while it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The key it has.
    pub key: AgentKey,
    /// The key that it is about to change to. Either is its own until this one is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_key: Option<AgentKey>,
    /// The keys it had, newest first; no more than [`Agent::FORMER`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_keys: Vec<KeyFingerprint>,
    /// The boot it was last seen in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootId>,
    /// The boots it was seen in before, newest first; no more than [`Agent::FORMER`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_boots: Vec<BootId>,
    /// When it was enrolled last.
    pub enrolled_at: Timestamp,
    /// The join token that let it in.
    pub enrolled_with: TokenId,
    /// When it was last seen, to about [`Agent::SIGHT_STEP`]; `None` if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Timestamp>,
    /// What its host said of itself last.
    #[serde(default)]
    pub facts: AgentFacts,
}

/// Why an agent is quarantined that presents a key it has given up.
const KEY_IS_BACK: &str =
    "a key that it had before came back: its machine was copied, or its key stolen";
/// Why an agent is quarantined that comes from a boot that was over.
const BOOT_IS_BACK: &str = "a boot that was over came back: two machines have its key";

/// Whether a join token that gives these labels is for relays: it says so, and in which zone they are.
pub(crate) fn makes_relays(labels: &Labels) -> bool {
    let label = |key: &str| labels.iter().find(|it| it.0.as_str() == key).map(|it| it.1.as_str());
    label("role") == Some(NaturalKey::RELAY) && label("zone").is_some()
}

impl Agent {
    /// A later sight is written down only if it is this much later: ten thousand agents are not ten thousand writes a minute.
    pub const SIGHT_STEP: Duration = Duration::from_secs(300);

    /// How many superseded keys and boots are remembered. Certificates live for three rotations.
    pub const FORMER: usize = 8;

    /// An agent that was let in by the join token `with`.
    #[must_use]
    pub fn new(
        host: HostName,
        natural_key: NaturalKey,
        key: KeyFingerprint,
        labels: Labels,
        with: TokenId,
        now: Timestamp,
    ) -> Self {
        Self {
            host,
            natural_key,
            labels,
            state: AgentState::Active,
            reason: String::new(),
            key: AgentKey::new(key),
            next_key: None,
            former_keys: Vec::new(),
            boot: None,
            former_boots: Vec::new(),
            enrolled_at: now,
            enrolled_with: with,
            last_seen_at: None,
            facts: AgentFacts::default(),
        }
    }

    /// That it is let in.
    ///
    /// # Errors
    /// `PermissionDenied` if it is not.
    pub fn demand_active(&self, operation: &'static str) -> BackendResult<()> {
        if self.state == AgentState::Active {
            return Ok(());
        }
        Err(BackendError::new(ErrorKind::PermissionDenied, operation)
            .with("host", &self.host)
            .with("state", self.state.as_str())
            .with("reason", &self.reason))
    }

    /// Whether it is a relay, and no host: its machine has come as one, and whoever made its join token has said so too.
    #[must_use]
    pub fn is_relay(&self) -> bool {
        self.natural_key.is_relays() && makes_relays(&self.labels)
    }

    /// The zone that its join token gives.
    #[must_use]
    pub fn zone(&self) -> Option<&LabelValue> {
        self.label("zone")
    }

    fn label(&self, key: &str) -> Option<&LabelValue> {
        self.labels.iter().find(|(it, _)| it.as_str() == key).map(|(_, value)| value)
    }

    /// Whether `key` is the key it has, or the next one.
    #[must_use]
    pub fn has_key(&self, key: &KeyFingerprint) -> bool {
        self.key.fingerprint == *key
            || self.next_key.as_ref().is_some_and(|next| next.fingerprint == *key)
    }

    /// All keys that are or were its own.
    pub fn keys(&self) -> impl Iterator<Item = &KeyFingerprint> {
        let next = self.next_key.as_ref().map(|it| &it.fingerprint);
        [&self.key.fingerprint].into_iter().chain(next).chain(&self.former_keys)
    }

    /// Somebody shows that they have `key`, which is or was its own. The next key supersedes the one before; one that was
    /// superseded is a second machine. Only an agent that is let in changes.
    pub fn present(&mut self, key: &KeyFingerprint) {
        if self.state != AgentState::Active || self.key.fingerprint == *key {
            return;
        }
        match self.next_key.take_if(|next| next.fingerprint == *key) {
            Some(next) => {
                let before = mem::replace(&mut self.key, next);
                self.supersede(before.fingerprint);
            }
            None => self.quarantine(KEY_IS_BACK),
        }
    }

    /// `certificate` was issued for `key`, to somebody who has a key of its own. Another key than it has becomes the next one.
    pub fn certify(&mut self, key: KeyFingerprint, certificate: Certificate) {
        let certified = AgentKey { fingerprint: key, certificate: Some(certificate) };
        if self.key.fingerprint == key {
            self.key = certified;
        } else if let Some(before) = self.next_key.replace(certified)
            && before.fingerprint != key
        {
            self.supersede(before.fingerprint);
        }
    }

    /// It says that it runs in `boot`. A boot that was over is a second machine. Only an agent that is let in changes.
    pub fn arrive(&mut self, boot: &BootId) {
        if self.state != AgentState::Active || self.boot.as_ref() == Some(boot) {
            return;
        }
        if self.former_boots.contains(boot) {
            self.quarantine(BOOT_IS_BACK);
        } else if let Some(before) = self.boot.replace(boot.clone()) {
            self.former_boots.insert(0, before);
            self.former_boots.truncate(Self::FORMER);
        }
    }

    /// It was seen.
    pub fn see(&mut self, now: Timestamp) {
        if self.last_seen_at.is_none_or(|last| now.since(last) >= Self::SIGHT_STEP) {
            self.last_seen_at = Some(now);
        }
    }

    /// Its machine was installed anew and has made another key; the join token `with` gives `labels`.
    pub fn reinstall(
        &mut self,
        key: KeyFingerprint,
        labels: Labels,
        with: TokenId,
        now: Timestamp,
    ) {
        let before = mem::replace(&mut self.key, AgentKey::new(key));
        let next = self.next_key.take();
        for superseded in [Some(before), next].into_iter().flatten() {
            self.supersede(superseded.fingerprint);
        }
        self.labels = labels;
        self.enrolled_at = now;
        self.enrolled_with = with;
    }

    /// A person decides. One that is let in again begins with the boot that is seen next.
    pub fn decide(&mut self, state: AgentState, reason: &str) {
        self.state = state;
        reason.clone_into(&mut self.reason);
        if state == AgentState::Active {
            self.reason.clear();
            self.boot = None;
            self.former_boots.clear();
        }
    }

    fn quarantine(&mut self, why: &str) {
        self.state = AgentState::Quarantined;
        why.clone_into(&mut self.reason);
    }

    fn supersede(&mut self, key: KeyFingerprint) {
        self.former_keys.insert(0, key);
        self.former_keys.truncate(Self::FORMER);
    }
}
