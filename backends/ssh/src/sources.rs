//! The files that say where hosts are, who they are, and who we are: each read once, and again when it has changed.
use crate::{
    config::SshConfig,
    failure::Failure,
    identity::KeyFile,
    known_hosts::{KnownHosts, KnownKeys},
    options::SshOptions,
    target::Target,
    watched::Watched,
};
use deploy_core::host::{Connection, Host};
use std::{
    collections::HashMap,
    path::PathBuf,
    slice,
    sync::{Arc, Mutex, PoisonError},
};

/// All files that are read.
#[derive(Debug)]
pub(crate) struct Sources {
    options: SshOptions,
    config_files: Vec<PathBuf>,
    config: Watched<SshConfig>,
    keys: Shelf<KeyFile>,
    known_hosts: Shelf<Result<KnownHosts, String>>,
}

impl Sources {
    pub(crate) fn new(options: SshOptions) -> Self {
        let config_files = options.config_files.clone().unwrap_or_else(|| {
            let own = options.home.iter().map(|it| it.join(".ssh/config"));
            own.chain([PathBuf::from("/etc/ssh/ssh_config")]).collect()
        });
        let (config, keys, known_hosts) = Default::default();
        Self { options, config_files, config, keys, known_hosts }
    }

    /// Where `host` is.
    pub(crate) fn target(&self, host: &Host) -> Result<Target, Failure> {
        let Connection::Ssh(record) = &host.connection else {
            return Err(Failure::invalid("the host is not one to be reached over SSH"));
        };
        let config = self.config.load(&self.config_files, || {
            let config = SshConfig::read(&self.config_files, self.options.home.as_deref());
            let sources = config.sources().to_vec();
            (config, sources)
        });
        Target::find(&host.name, record, &config, &self.options)
    }

    /// What is known of the keys of `target`.
    pub(crate) fn known_keys(&self, target: &Target) -> Result<KnownKeys, Failure> {
        let (name, files) = (target.known_as.clone(), target.known_hosts.clone());
        let mut keys = Vec::new();
        for file in &files {
            let read = || KnownHosts::read(file).map_err(|err| err.to_string());
            match self.known_hosts.load(file, read).as_ref() {
                Ok(known) => keys.extend(known.lookup(&name)),
                Err(err) => {
                    let reason = format!("{} cannot be read: {err}", file.display());
                    return Err(Failure::unauthenticated(reason));
                }
            }
        }
        Ok(KnownKeys { name, keys, files })
    }

    /// The private keys of `target`.
    pub(crate) fn keys(&self, target: &Target) -> Vec<(PathBuf, Arc<KeyFile>)> {
        let load = |path: &PathBuf| (path.clone(), self.keys.load(path, || KeyFile::read(path)));
        target.identity_files.iter().map(load).collect()
    }
}

/// Files of one kind, by path.
#[derive(Debug)]
struct Shelf<T> {
    files: Mutex<HashMap<PathBuf, Arc<Watched<T>>>>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { files: Mutex::default() }
    }
}

impl<T> Shelf<T> {
    fn load(&self, path: &PathBuf, read: impl FnOnce() -> T) -> Arc<T> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = match files.get(path) {
            Some(watched) => Arc::clone(watched),
            None => Arc::clone(files.entry(path.clone()).or_default()),
        };
        drop(files);
        watched.load(slice::from_ref(path), || (read(), Vec::new()))
    }
}
