//! Releases for tests of executors.
use deploy_core::{
    access::{Action, Resource},
    backend::{ArtifactKind, ArtifactStore, PutArtifact},
    conformance::{permit, sample},
    digest::Digest,
    error::BackendResult,
    spec::{ArtifactRef, Release},
};
use deploy_host::{
    archive::{ArchiveError, Limits, PackedFile, pack_files},
    descriptor,
};
use std::{collections::BTreeMap, error::Error};

/// Why there is no release.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Packs files; those whose name ends in `.sh` can be executed.
///
/// # Errors
/// If they break a rule of archives.
pub fn pack(files: &[(&str, &[u8])]) -> Result<Vec<u8>, ArchiveError> {
    let files = files.iter().map(|(path, bytes)| PackedFile {
        path,
        executable: path.ends_with(".sh"),
        bytes,
    });
    pack_files(files, Limits::PACKAGE, Vec::new())
}

/// Stores an artifact.
///
/// # Errors
/// If the store fails.
pub async fn put(
    store: &dyn ArtifactStore,
    kind: ArtifactKind,
    bytes: &[u8],
) -> BackendResult<ArtifactRef> {
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    let (repository, version) = (sample::name("web"), sample::name(&digest.short()));
    let request = PutArtifact::new(digest, size, repository, kind, version, sample::at(0));
    let permit = permit(Action::ArtifactWrite, Resource::System).await;
    store.put(&permit, request, &mut &*bytes).await?;
    Ok(ArtifactRef::new(digest, size))
}

/// The release `id` of the service `web`: its descriptor is made of `files`, its parameters are those that are `given`.
///
/// # Errors
/// If the descriptor is not valid, or the store fails.
pub async fn release(
    store: &dyn ArtifactStore,
    id: &str,
    files: &[(&str, &[u8])],
    given: &[(&str, &str)],
) -> Result<Release, Failure> {
    let packed = pack(files)?;
    let bundle = descriptor::read(&packed)?;
    let given = given.iter().map(|(name, value)| Ok((name.parse()?, (*value).to_owned())));
    let parameters =
        bundle.descriptor.resolve(&given.collect::<Result<BTreeMap<_, _>, Failure>>()?)?;
    let (service, version) = (sample::name("web"), sample::name(id));
    let descriptor = put(store, ArtifactKind::Descriptor, &packed).await?;
    let (steps, by) = (bundle.descriptor.steps(), sample::principal("kit"));
    let release =
        Release::new(sample::name(id), service, version, descriptor, steps, sample::at(0), by);
    Ok(release.with_parameters(parameters))
}
