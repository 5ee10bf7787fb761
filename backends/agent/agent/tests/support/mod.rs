//! An executor whose host is in this very process, and a host for it.
#![allow(
    dead_code,
    unused_imports,
    clippy::allow_attributes,
    reason = "no test uses all of it, and one or another uses each"
)]
mod executor;
pub(crate) mod scripts;

pub(crate) use executor::{LocalAgent, place, refused};

use async_trait::async_trait;
use bytes::Bytes;
use deploy_agent::{ArtifactBytes, FetchArtifact, HostOptions, JournaledHost, Policy};
use deploy_agent_protocol::v1::SwarmReply;
use deploy_core::{
    backend::{ArtifactReader, ArtifactStore, HostRequest},
    conformance::sample,
    digest::Digest,
    host::{Connection, Host},
    id::AccountName,
    memory::MemoryArtifactStore,
};
use deploy_test_support::scripted::Traces;
use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    io,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

/// The account that steps run as, where a test can choose.
pub(crate) const ACCOUNT: &str = "nobody";

/// A host, and what it needs.
#[derive(Debug)]
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) store: Arc<MemoryArtifactStore>,
    pub(crate) policy: String,
    pub(crate) account: Option<AccountName>,
    pub(crate) host: Mutex<Arc<JournaledHost>>,
    /// In the tokens of its attempts: tests run side by side on one machine.
    pub(crate) number: u64,
}

impl Fixture {
    /// Whose control groups are of that kind.
    pub(crate) async fn new(cgroups: &str) -> Self {
        Self::with_policy(&format!("cgroups = '{cgroups}'\nrun = true\n")).await
    }

    pub(crate) async fn with_policy(policy: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        // Steps of another account leave their traces here.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let account = is_root.then(|| ACCOUNT.parse().unwrap());
        let policy = format!("folders = ['{}']\n{policy}", root.display());
        let host = Mutex::new(open(&dir, &policy).await);
        let number = RandomState::new().hash_one(std::process::id());
        Self { dir, store: Arc::default(), policy, account, host, number }
    }

    pub(crate) fn host(&self) -> Arc<JournaledHost> {
        Arc::clone(&self.host.lock().unwrap())
    }

    /// As if the agent had been started anew.
    pub(crate) async fn reopen(&self) {
        use deploy_agent::HostSide as _;
        self.host().shutdown().await;
        let host = open(&self.dir, &self.policy).await;
        *self.host.lock().unwrap() = host;
    }

    pub(crate) fn executor(&self) -> Arc<LocalAgent> {
        Arc::new(LocalAgent {
            host: self.host(),
            store: Arc::<MemoryArtifactStore>::clone(&self.store),
            log_limit: 64 << 20,
        })
    }

    pub(crate) fn on(&self) -> HostRequest {
        let root = self.dir.path().join("root").to_str().unwrap().to_owned();
        let host = Host::new(sample::name("h1"), Connection::Local { root });
        let on = HostRequest::new(host, sample::name("web"), "/srv/web".parse().unwrap());
        on.with_account(self.account.clone())
    }

    /// Where steps leave their traces.
    pub(crate) fn traces(&self) -> Traces {
        Traces::of(self.dir.path())
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The folder of an attempt of the one service.
    pub(crate) fn attempt(&self, generation: u64) -> PathBuf {
        self.state().join("attempts/web").join(generation.to_string())
    }
}

pub(crate) async fn open(dir: &TempDir, policy: &str) -> Arc<JournaledHost> {
    let policy = Policy::parse(policy).unwrap();
    let options = HostOptions::new("h1", dir.path().join("state"), policy)
        .with_program(env!("CARGO_BIN_EXE_deploy-agent"));
    Arc::new(JournaledHost::open(options).await.unwrap())
}

/// Artifacts out of a store.
#[derive(Debug)]
pub(crate) struct FromStore(pub(crate) Arc<dyn ArtifactStore>);

struct Pieces(ArtifactReader);

#[async_trait]
impl FetchArtifact for FromStore {
    async fn fetch(&self, digest: Digest, offset: u64) -> io::Result<Box<dyn ArtifactBytes>> {
        let reader = self.0.open(&digest, offset).await.map_err(io::Error::other)?;
        Ok(Box::new(Pieces(reader)))
    }

    async fn swarm(&self, _: Digest) -> io::Result<Option<SwarmReply>> {
        Ok(None)
    }
}

#[async_trait]
impl ArtifactBytes for Pieces {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = vec![0; 10_000];
        let length = self.0.read(&mut piece).await?;
        piece.truncate(length);
        Ok((length > 0).then(|| piece.into()))
    }
}

/// Artifacts out of a folder, which another process can read, too.
#[derive(Debug)]
pub(crate) struct FromFolder(pub(crate) PathBuf);

struct Once(Option<Vec<u8>>);

#[async_trait]
impl FetchArtifact for FromFolder {
    async fn fetch(&self, digest: Digest, offset: u64) -> io::Result<Box<dyn ArtifactBytes>> {
        let bytes = fs::read(self.0.join(digest.hex()))?;
        let rest = bytes.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        Ok(Box::new(Once(Some(rest.to_vec()))))
    }

    async fn swarm(&self, _: Digest) -> io::Result<Option<SwarmReply>> {
        Ok(None)
    }
}

#[async_trait]
impl ArtifactBytes for Once {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        Ok(self.0.take().map(Bytes::from))
    }
}
