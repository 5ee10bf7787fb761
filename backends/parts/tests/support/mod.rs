//! A store of packages, and versions of one.
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{ArtifactKind, ArtifactStore as _, PutArtifact, authorize},
    digest::Digest,
    memory::{MemoryArtifactStore, MemoryAuthorizer, Rule},
    spec::ArtifactRef,
    time::Timestamp,
};
use deploy_package::archive::{Limits, PackedFile, pack_files};
use std::{error::Error, sync::Arc};

pub(crate) type Tested = Result<(), Box<dyn Error>>;

pub(crate) struct Packages {
    pub(crate) store: Arc<MemoryArtifactStore>,
    permit: Permit,
}

impl Packages {
    pub(crate) async fn new() -> Result<Self, Box<dyn Error>> {
        let rules =
            MemoryAuthorizer::new(vec![Rule::allow("ci".parse()?, [Action::ArtifactWrite])]);
        let permit =
            authorize(&rules, "ci".parse()?, Action::ArtifactWrite, Resource::System).await?;
        Ok(Self { store: Arc::new(MemoryArtifactStore::new()), permit })
    }

    pub(crate) async fn put(
        &self,
        version: &str,
        bytes: &[u8],
    ) -> Result<ArtifactRef, Box<dyn Error>> {
        let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
        let (web, kind, at) = ("web".parse()?, ArtifactKind::Package, Timestamp::from_millis(0));
        let request = PutArtifact::new(digest, size, web, kind, version.parse()?, at);
        self.store.put(&self.permit, request, &mut &*bytes).await?;
        Ok(ArtifactRef::new(digest, size))
    }
}

/// Bytes that no compression makes much shorter.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

pub(crate) fn version(changed: u8) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut program = noise(1 << 20);
    program.splice(500_000..500_001, [changed]);
    let files = [
        PackedFile { path: "bin/srv", executable: true, bytes: &program },
        PackedFile { path: "etc/motd", executable: false, bytes: b"the same\n" },
    ];
    Ok(pack_files(files, Limits::PACKAGE, Vec::new())?)
}
