//! What builds have made, in their folders.
use crate::{
    ended::Ended,
    log::Log,
    pack::{self, Watch},
    provenance::Made,
};
use deploy_core::{
    backend::{Build, BuildOutput, BuildReport, Isolation},
    digest::Hasher,
    spec::ArtifactRef,
};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Packs what the commands of `build` have left in `source`, and says how it came about. This blocks.
pub(super) fn pack(made: &Making<'_>) -> Result<BuildReport, Ended> {
    let recipe = &made.build.request.recipe;
    let path = |output: BuildOutput| made.folder.join(output.as_str());
    let package = pack::package(recipe, made.source, &path(BuildOutput::Package), &made.watch)?;
    let descriptor = recipe.descriptor.as_ref();
    let descriptor = descriptor
        .map(|it| pack::descriptor(it, made.source, &path(BuildOutput::Descriptor)))
        .transpose()?;
    // The statement is about the log as it stays, so its last line has to be there.
    made.log.close(&said(package));
    let statement = Made {
        build: made.build,
        builder: made.builder,
        isolation: made.isolation.as_str(),
        package,
        descriptor,
        log: digest_of_file(&made.folder.join("log"))?,
        ended_at: made.at,
    };
    let statement = statement.statement().map_err(io::Error::from)?;
    fs::write(path(BuildOutput::Provenance), &statement)?;
    let size = u64::try_from(statement.len()).unwrap_or(u64::MAX);
    let provenance = ArtifactRef::new(deploy_core::digest::Digest::of(&statement), size);
    let report = BuildReport::new(package, recipe.archive, provenance, made.isolation);
    Ok(match descriptor {
        Some(descriptor) => report.with_descriptor(descriptor),
        None => report,
    })
}

/// What a log ends with whose build succeeded.
pub(super) fn said(package: ArtifactRef) -> String {
    format!("succeeded: {}", package.digest)
}

/// What is known when a build is packed.
#[derive(Debug)]
pub(super) struct Making<'a> {
    pub(super) build: &'a Build,
    /// Where its outputs go.
    pub(super) folder: &'a Path,
    pub(super) source: &'a Path,
    pub(super) builder: &'a str,
    pub(super) log: &'a Log,
    pub(super) isolation: Isolation,
    /// When packing has to stop.
    pub(super) watch: Watch,
    pub(super) at: deploy_core::time::Timestamp,
}

fn digest_of_file(path: &Path) -> io::Result<deploy_core::digest::Digest> {
    let (mut file, mut hasher, mut buffer) = (File::open(path)?, Hasher::new(), [0; 64 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}
