//! What builds have made, in their folders.
use super::records::Records;
use crate::{
    ended::Ended,
    log::Log,
    pack::{self, Watch},
    provenance::Made,
};
use deploy_core::{
    backend::{Build, BuildOutput, BuildReport, BuildState, Isolation},
    digest::Hasher,
    spec::ArtifactRef,
};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Everything that a build may make.
const OUTPUTS: [BuildOutput; 3] =
    [BuildOutput::Descriptor, BuildOutput::Package, BuildOutput::Provenance];

/// The newest of `builds` that is the same as `build`, was kept from the machine by `isolation` at least, and whose outputs are all there.
pub(super) fn same<'a>(
    records: &Records,
    builds: &'a [Build],
    build: &Build,
    isolation: Isolation,
) -> Option<&'a Build> {
    let identity = build.identity()?;
    let is_there = |report: &BuildReport, it: &Build| {
        let folder = records.folder(&it.id);
        let size = |output: BuildOutput| {
            fs::metadata(folder.join(output.as_str())).map(|it| it.len()).ok()
        };
        OUTPUTS
            .iter()
            .filter_map(|output| Some((output, report.artifact(*output)?)))
            .all(|(output, artifact)| size(*output) == Some(artifact.size))
    };
    builds.iter().find(|it| {
        it.state == BuildState::Succeeded
            && it.identity() == Some(identity)
            && it
                .report
                .as_ref()
                .is_some_and(|report| report.isolation >= isolation && is_there(report, it))
    })
}

/// Makes what `from` made what `to` has made.
pub(super) fn adopt(records: &Records, from: &Build, to: &Build) -> io::Result<()> {
    let report = from.report.iter();
    for output in
        report.flat_map(|it| OUTPUTS.into_iter().filter(|output| it.artifact(*output).is_some()))
    {
        let path = |build: &Build| records.folder(&build.id).join(output.as_str());
        fs::hard_link(path(from), path(to))?;
    }
    Ok(())
}

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
