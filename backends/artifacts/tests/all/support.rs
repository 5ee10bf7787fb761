//! Small pieces that the tests share.
use deploy_artifacts::ObjectArtifactStore;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{ArtifactKind, ArtifactStore as _, BackendResult, PutArtifact},
    conformance::sample::{at, name},
    digest::Digest,
};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    process::Command,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead, ReadBuf};

/// A permit for everything that the store asks for.
pub(crate) async fn permit() -> Permit {
    deploy_core::conformance::permit(Action::ArtifactWrite, Resource::System).await
}

/// SHA-256 by the crate that has it in hardware.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// Bytes that differ from seed to seed, and from place to place.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// `bytes` as `version` of the packages in the repository `web`, put at the second `second`.
pub(crate) fn request(bytes: &[u8], version: &str, second: u64) -> PutArtifact {
    let (digest, size) = (digest(bytes), bytes.len() as u64);
    PutArtifact::new(digest, size, name("web"), ArtifactKind::Package, name(version), at(second))
}

/// Puts `bytes` as [`request`] says, and gives their digest.
pub(crate) async fn put(
    store: &ObjectArtifactStore,
    bytes: &[u8],
    version: &str,
    second: u64,
) -> BackendResult<Digest> {
    let meta = store.put(&permit().await, request(bytes, version, second), &mut &*bytes).await?;
    Ok(meta.digest)
}

/// Where the bytes of `digest` lie in the folder of a store.
pub(crate) fn blob(root: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    root.join("blobs/sha256").join(&hex[..2]).join(hex)
}

/// All files under `root`, sorted, relative to it.
pub(crate) fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// A body that comes in pieces of these lengths, over and over, and fails at the end if `broken`.
#[derive(Debug)]
pub(crate) struct Pieces<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) lengths: Vec<usize>,
    pub(crate) turn: usize,
    pub(crate) broken: bool,
}

impl<'a> Pieces<'a> {
    /// All of `bytes`, or as many as there are before the connection breaks.
    pub(crate) fn new(bytes: &'a [u8], lengths: Vec<usize>, broken: bool) -> Self {
        Self { bytes, lengths, turn: 0, broken }
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.bytes.is_empty() && self.broken {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let length = self.lengths[self.turn % self.lengths.len()];
        let length = length.min(buf.remaining()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(length);
        buf.put_slice(now);
        self.bytes = later;
        self.turn += 1;
        Poll::Ready(Ok(()))
    }
}

/// This test program, to run the ignored test `name` in the folder `root`.
pub(crate) fn child(name: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "--nocapture", "--test-threads=1", name]);
    command.env("DEPLOY_TEST_ROOT", root);
    command
}

/// What [`child`] was told.
pub(crate) fn child_root() -> PathBuf {
    std::env::var_os("DEPLOY_TEST_ROOT").expect("started by another test").into()
}
