//! `known_hosts` files: which keys a host may show.
mod append;
mod file;

pub(crate) use append::append;
pub(crate) use file::KnownHosts;

use russh::keys::{Algorithm, HashAlg, PublicKey};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What a line says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is the key of an authority that signs keys of hosts.
    Authority,
    /// It is never to be trusted.
    Revoked,
    /// It is the host's key.
    Trusted,
}

/// A key that a `known_hosts` file has for a host.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) standing: Standing,
    pub(crate) key: PublicKey,
    pub(crate) at: Line,
}

/// A line of a `known_hosts` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: Arc<Path>,
    pub(crate) number: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.number)
    }
}

/// All that is known of one host.
#[derive(Clone, Debug)]
pub(crate) struct KnownKeys {
    /// The name in the files: `name`, or `[name]:port` where the port is not 22.
    pub(crate) name: String,
    pub(crate) keys: Vec<Known>,
    /// The files that were looked into; new keys are added to the first.
    pub(crate) files: Vec<PathBuf>,
}

/// What the files say about the key that a server shows.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    /// There are keys of the host, and this is none of them.
    Changed(Vec<&'a Known>),
    /// It is revoked.
    Revoked(&'a Known),
    Trusted,
    /// There is no key of the host at all; an authority, perhaps.
    Unknown {
        authority: Option<&'a Known>,
    },
}

impl KnownKeys {
    /// What the files say about `shown`.
    pub(crate) fn judge(&self, shown: &PublicKey) -> Verdict<'_> {
        let same = |it: &&Known| it.key.key_data() == shown.key_data();
        let with = |standing| self.keys.iter().filter(move |it| it.standing == standing);
        if let Some(known) = with(Standing::Revoked).find(same) {
            return Verdict::Revoked(known);
        }
        if with(Standing::Trusted).any(|it| same(&it)) {
            return Verdict::Trusted;
        }
        let others: Vec<_> = with(Standing::Trusted).collect();
        if others.is_empty() {
            return Verdict::Unknown { authority: with(Standing::Authority).next() };
        }
        Verdict::Changed(others)
    }

    /// `algorithms`, those first of which the host has a key: a server with several keys then shows one that is known.
    pub(crate) fn preferred(&self, algorithms: &[Algorithm]) -> Vec<Algorithm> {
        let known = |algorithm: &&Algorithm| {
            let mut trusted = self.keys.iter().filter(|it| it.standing == Standing::Trusted);
            trusted.any(|it| kind(&it.key.algorithm()) == kind(algorithm))
        };
        let (mut first, others): (Vec<_>, Vec<_>) = algorithms.iter().partition(known);
        first.extend(others);
        first.into_iter().cloned().collect()
    }
}

/// The algorithm of a key, whichever hash its signatures use.
fn kind(algorithm: &Algorithm) -> Algorithm {
    match algorithm {
        Algorithm::Rsa { .. } => Algorithm::Rsa { hash: None },
        other => other.clone(),
    }
}

/// The fingerprint of a key as OpenSSH prints it: `SHA256:…`.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// What a host is called in `known_hosts`.
pub(crate) fn file_name(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == 22 { host } else { format!("[{host}]:{port}") }
}

#[cfg(test)]
mod tests;
