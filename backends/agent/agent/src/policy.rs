//! `host.toml`: what this host lets be done to it, whoever asks. Nothing that comes over the network can change it.
use crate::{disk::Reserve, process::cgroup::Choice, spec::Spec};
use deploy_agent_identity::HostPort;
use deploy_core::{
    digest::Digest,
    id::AccountName,
    spec::{AbsolutePath, StepName},
};
use deploy_package::publisher::{NotPublished, PublisherKey, Publishers};
use serde::Deserialize;
use std::{
    fs, io, net::SocketAddr, num::NonZeroU32, os::unix::fs::MetadataExt as _, path::Path,
    path::PathBuf,
};
use thiserror::Error;

/// Why a policy cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It says something that this agent does not understand.
    #[error("{}: {message}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
    /// It cannot be read.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could change what it says.
    #[error("{} can be changed by others than root and the agent's account: it must belong to one of them, and be writable by nobody else", .path.display())]
    Writable {
        /// The file, or the folder that it is in.
        path: PathBuf,
    },
}

/// What a host lets be done to it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Absent: every account but root.
    accounts: Option<Vec<AccountName>>,
    folders: Vec<AbsolutePath>,
    #[serde(default)]
    run: bool,
    #[serde(default)]
    signers: Vec<String>,
    publishers: Option<PublishersPolicy>,
    #[serde(default = "default_concurrency")]
    concurrency: NonZeroU32,
    #[serde(default = "default_log_mib")]
    log_mib: NonZeroU32,
    #[serde(default = "default_cache_mib")]
    cache_mib: u32,
    /// Absent: so much that it is a twentieth of the file system.
    free_mib: Option<u32>,
    #[serde(default = "default_free_files")]
    free_files: u32,
    #[serde(default)]
    cgroups: Choice,
    #[serde(default)]
    peers: PeersPolicy,
    #[serde(default)]
    gateway: GatewayPolicy,
}

/// How this host reaches its control plane.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct GatewayPolicy {
    /// Who passes on what is said to it. Empty: nobody has to.
    #[serde(default)]
    via: Vec<HostPort>,
}

/// More than any data centre has relays.
const MOST_VIA: usize = 16;

/// What this host has to do with blocks of artifacts.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PeersPolicy {
    /// Where others ask it for blocks.
    pub(crate) listen: SocketAddr,
    /// Whether it gives any.
    pub(crate) serve: bool,
    /// Megabits a second; `None` is as fast as it goes.
    pub(crate) upload_mbit: Option<NonZeroU32>,
    pub(crate) download_mbit: Option<NonZeroU32>,
}

impl Default for PeersPolicy {
    fn default() -> Self {
        let listen = SocketAddr::from(([0, 0, 0, 0], PEERS_PORT));
        Self { listen, serve: true, upload_mbit: None, download_mbit: None }
    }
}

/// Where hosts give each other blocks, unless it is said.
const PEERS_PORT: u16 = 7445;

/// Who has to have signed what is run here.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishersPolicy {
    keys: Vec<PublisherKey>,
    #[serde(default = "default_needed")]
    needed: NonZeroU32,
}

impl PublishersPolicy {
    fn publishers(&self) -> Result<Publishers, NotPublished> {
        let needed = usize::try_from(self.needed.get()).unwrap_or(usize::MAX);
        Publishers::new(self.keys.iter().cloned(), needed)
    }

    /// By which what was reached from these keys is known.
    fn name(&self) -> Digest {
        let mut keys: Vec<_> = self.keys.iter().map(ToString::to_string).collect();
        keys.sort();
        Digest::of(format!("{} of {}", self.needed, keys.join(" ")).as_bytes())
    }
}

const fn default_needed() -> NonZeroU32 {
    NonZeroU32::MIN
}

const fn default_concurrency() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(7)
}

const fn default_log_mib() -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(63)
}

const fn default_cache_mib() -> u32 {
    10 << 10
}

const fn default_free_files() -> u32 {
    1_000
}

impl Policy {
    /// Reads the file `path`, which nobody else may be able to change.
    ///
    /// # Errors
    /// If it cannot be read, can be changed by others, or says something that is not understood.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let failed = |source| PolicyError::Io { path: path.to_owned(), source };
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        for place in [path, folder.unwrap_or_else(|| Path::new("."))] {
            if !is_ours(place).map_err(failed)? {
                return Err(PolicyError::Writable { path: place.to_owned() });
            }
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        Self::parse(&text)
            .map_err(|message| PolicyError::Invalid { path: path.to_owned(), message })
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = toml::from_str(text).map_err(|err| err.to_string())?;
        if policy.folders.is_empty() {
            return Err("`folders` is empty: nothing could be deployed to this host".to_owned());
        }
        if let Some(Err(why)) = policy.publishers.as_ref().map(PublishersPolicy::publishers) {
            return Err(format!("[publishers]: {why}"));
        }
        if policy.gateway.via.len() > MOST_VIA {
            return Err(format!("[gateway]: `via` names more than {MOST_VIA} addresses"));
        }
        for signer in &policy.signers {
            parse_key(signer).ok_or_else(|| {
                format!("`signers`: `{}` is not 64 hexadecimal digits", signer.escape_debug())
            })?;
        }
        Ok(policy)
    }

    /// The keys whose orders this host follows, if it follows only some of those that it was given at its enrolment.
    #[must_use]
    pub fn signers(&self) -> Option<Vec<[u8; 32]>> {
        let keys = self.signers.iter().filter_map(|it| parse_key(it));
        (!self.signers.is_empty()).then(|| keys.collect())
    }

    /// Who has to have signed what is run here, and a name for these keys; `None` if nobody has to.
    pub(crate) fn publishers(&self) -> Option<(Publishers, Digest)> {
        let policy = self.publishers.as_ref()?;
        // It was judged when it was read.
        Some((policy.publishers().ok()?, policy.name()))
    }

    /// How many attempts may be under way at the same time.
    pub(crate) const fn concurrency(&self) -> u32 {
        self.concurrency.get()
    }

    /// How many bytes of a log are kept.
    pub(crate) fn log_cap(&self) -> u64 {
        u64::from(self.log_mib.get()) << 20
    }

    /// How many bytes of artifacts are kept.
    pub(crate) fn cache_limit(&self) -> u64 {
        u64::from(self.cache_mib) << 20
    }

    /// What stays free of each file system.
    pub(crate) fn reserve(&self) -> Reserve {
        let bytes = self.free_mib.map(|it| u64::from(it) << 20);
        Reserve { bytes, inodes: self.free_files.into() }
    }

    /// What this host has to do with blocks.
    pub(crate) const fn peers(&self) -> PeersPolicy {
        self.peers
    }

    /// Who passes on what this host says to its control plane; nobody has to if there are none.
    #[must_use]
    pub fn via(&self) -> &[HostPort] {
        &self.gateway.via
    }

    pub(crate) const fn cgroups(&self) -> Choice {
        self.cgroups
    }

    /// The folder that lets a service lie where it lies.
    pub(crate) fn folder_of(&self, path: &AbsolutePath) -> Option<&AbsolutePath> {
        self.folders.iter().find(|it| Path::new(path.as_str()).starts_with(it.as_str()))
    }

    /// Whether something may be deployed to `path`; if not, why.
    pub(crate) fn allows_path(&self, path: &AbsolutePath) -> Result<(), String> {
        self.folder_of(path).map(drop).ok_or_else(|| {
            format!(
                "host.toml lets nothing be deployed to {path}: name a folder above it in `folders`"
            )
        })
    }

    /// Whether an attempt may be run as `account`; if not, why.
    pub(crate) fn allows(&self, spec: &Spec, account: &str, uid: u32) -> Result<(), String> {
        let named = self.accounts.as_ref().map(|it| it.iter().any(|it| it.as_str() == account));
        if !named.unwrap_or(uid != 0) {
            return Err(format!(
                "host.toml does not let anything run as `{account}`: name it in `accounts`"
            ));
        }
        self.allows_path(&spec.place.deploy_path)?;
        if !self.run && spec.steps.iter().any(|it| it.name == StepName::Run) {
            return Err("host.toml lets no ad-hoc script run: it needs `run = true`".to_owned());
        }
        Ok(())
    }
}

/// Whether only root and this process's account can change it.
fn is_ours(path: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    let owner = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
    let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0;
    Ok(owner && (metadata.mode() & 0o022 == 0 || sticky))
}

fn parse_key(text: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_not_said_is_what_is_safe() {
        let policy = Policy::parse("folders = ['/srv']").unwrap();
        assert!(policy.peers.serve && policy.peers.listen.port() == PEERS_PORT);
        assert!(!policy.run && policy.accounts.is_none() && policy.signers().is_none());
        assert_eq!((policy.concurrency(), policy.log_cap()), (8, 64 << 20));
        assert_eq!(policy.reserve(), Reserve { bytes: None, inodes: 1_000 });
        assert!(policy.folder_of(&"/srv/web".parse().unwrap()).is_some());
        for outside in ["/srvx/web", "/etc", "/"] {
            let outside = outside.parse();
            assert!(outside.is_err() || policy.folder_of(&outside.unwrap()).is_none());
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (text, says) in [
            ("", "folders"),
            ("folders = []", "empty"),
            ("folders = ['/srv']\nfolder = '/x'", "unknown field `folder`"),
            ("folders = ['srv']", "begin with `/`"),
            ("folders = ['/srv']\nconcurrency = 0", "nonzero"),
            ("folders = ['/srv']\nsigners = ['00']", "64 hexadecimal"),
            ("folders = ['/srv']\naccounts = ['-x']", "account name"),
            ("folders = ['/srv']\n[peers]\nupload_mbit = 0", "nonzero"),
            ("folders = ['/srv']\n[peers]\nport = 1", "unknown field `port`"),
            ("folders = ['/srv']\n[gateway]\nvia = ['10.1.0.5']", "has to be HOST:PORT"),
            ("folders = ['/srv']\n[gateway]\nvia = '10.1.0.5:1'", "expected a sequence"),
        ] {
            let refused = Policy::parse(text).unwrap_err();
            assert!(refused.contains(says), "{text}: {refused}");
        }
    }

    #[test]
    fn what_others_can_change_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("host.toml");
        fs::write(&path, "folders = ['/srv']").unwrap();
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&path, 0o644);
        Policy::read(&path).unwrap();
        for wrong in [0o664, 0o646] {
            mode(&path, wrong);
            assert!(matches!(Policy::read(&path), Err(PolicyError::Writable { .. })));
        }
        mode(&path, 0o600);
        mode(dir.path(), 0o777);
        assert!(matches!(Policy::read(&path), Err(PolicyError::Writable { .. })));
    }
}
