//! One `known_hosts` file, read once and searched through an index.
use super::{Known, Line, Standing};
use crate::pattern::PatternList;
use hmac::{Hmac, KeyInit as _, Mac as _};
use russh::keys::{PublicKey, ssh_key::known_hosts::HostPatterns};
use sha1::Sha1;
use std::{collections::HashMap, fs, io, path::Path, sync::Arc};

/// One file. Keys are not decoded before somebody asks for them: a file may hold those of a whole fleet.
#[derive(Debug)]
pub(crate) struct KnownHosts {
    file: Arc<Path>,
    entries: Vec<Entry>,
    /// The entries that name their hosts.
    by_name: HashMap<String, Vec<usize>>,
    /// The entries with a hashed name: the salt, the hash, and which.
    hashed: Vec<(Vec<u8>, [u8; 20], usize)>,
    /// The entries with patterns.
    patterns: Vec<(PatternList, usize)>,
}

#[derive(Debug)]
struct Entry {
    number: usize,
    standing: Standing,
    /// The algorithm and the key, as they stand in the file.
    key: String,
}

impl KnownHosts {
    /// Reads `file`; one that is not there is empty.
    pub(crate) fn read(file: &Path) -> io::Result<Self> {
        match fs::read(file) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes), file)),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(Self::parse("", file)),
            Err(err) => Err(err),
        }
    }

    pub(crate) fn parse(text: &str, file: &Path) -> Self {
        let mut known = Self {
            file: file.into(),
            entries: Vec::new(),
            by_name: HashMap::new(),
            hashed: Vec::new(),
            patterns: Vec::new(),
        };
        for (at, line) in text.lines().enumerate() {
            if known.add(line, at + 1).is_none() {
                tracing::warn!(file = %file.display(), line = at + 1, "cannot be understood, and is skipped");
            }
        }
        known
    }

    /// The keys of the host with the name `name` (see [`file_name`](super::file_name)), in the order of the file.
    pub(crate) fn lookup(&self, name: &str) -> Vec<Known> {
        let mut found: Vec<usize> = self.by_name.get(name).into_iter().flatten().copied().collect();
        let hashed = self.hashed.iter().filter(|(salt, hash, _)| hashes_to(name, salt, hash));
        found.extend(hashed.map(|(.., at)| at));
        let patterns = self.patterns.iter().filter(|(patterns, _)| patterns.matches(name));
        found.extend(patterns.map(|(_, at)| at));
        found.sort_unstable();
        found.dedup();
        found
            .iter()
            .filter_map(|at| self.entries.get(*at))
            .filter_map(|it| self.known(it))
            .collect()
    }

    /// `None` for a key of a kind that nobody here can check, which is as good as no key.
    fn known(&self, entry: &Entry) -> Option<Known> {
        let at = Line { file: Arc::clone(&self.file), number: entry.number };
        match PublicKey::from_openssh(&entry.key) {
            Ok(key) => Some(Known { standing: entry.standing, key, at }),
            Err(err) => {
                tracing::warn!(at = %at, %err, "the key cannot be read, and is skipped");
                None
            }
        }
    }

    /// Adds one line; `None` if it cannot be understood.
    fn add(&mut self, line: &str, number: usize) -> Option<()> {
        let mut words = line.split_ascii_whitespace().peekable();
        let standing = match words.peek() {
            None => return Some(()),
            Some(first) if first.starts_with('#') => return Some(()),
            Some(&"@revoked") => Standing::Revoked,
            Some(&"@cert-authority") => Standing::Authority,
            Some(first) if first.starts_with('@') => return None,
            Some(_) => Standing::Trusted,
        };
        let mut words = words.skip(usize::from(standing != Standing::Trusted));
        let hosts: HostPatterns = words.next()?.parse().ok()?;
        let key = format!("{} {}", words.next()?, words.next()?);
        let at = self.entries.len();
        self.entries.push(Entry { number, standing, key });
        match hosts {
            HostPatterns::HashedName { salt, hash } => self.hashed.push((salt, hash, at)),
            HostPatterns::Patterns(hosts) => self.index(&hosts, at),
        }
        Some(())
    }

    fn index(&mut self, hosts: &[String], at: usize) {
        let patterns = PatternList::new(hosts.iter().map(|it| it.to_ascii_lowercase()));
        match patterns.names() {
            Some(names) => {
                for name in names {
                    self.by_name.entry(name.clone()).or_default().push(at);
                }
            }
            None => self.patterns.push((patterns, at)),
        }
    }
}

/// Whether `hash` is the salted SHA-1 of `name`, as `ssh-keygen -H` writes it.
fn hashes_to(name: &str, salt: &[u8], hash: &[u8; 20]) -> bool {
    Hmac::<Sha1>::new_from_slice(salt)
        .is_ok_and(|it| it.chain_update(name).verify_slice(hash).is_ok())
}
