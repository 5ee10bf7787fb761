//! Whether the release can be made for which something is built: what can be known of that is said before commands run.
use crate::{ended::Ended, pack};
use deploy_core::{
    backend::{BuildFailure, BuildFault, BuildRequest},
    spec::RelativePath,
};
use deploy_host::{
    archive::{self, Limits},
    descriptor,
};
use std::path::Path;

/// Refuses parameters that the descriptor in the folder `source` does not take. One that is not there yet, or is none, is left to whoever packs it: commands may
/// make it. This blocks.
pub(crate) fn judge_source(request: &BuildRequest, source: &Path) -> Result<(), Ended> {
    let (Some(_), Some(path)) = (&request.parameters, &request.recipe.descriptor) else {
        return Ok(());
    };
    match packed(path, source) {
        Some(archive) => judge(request, &archive),
        None => Ok(()),
    }
}

fn packed(path: &RelativePath, source: &Path) -> Option<Vec<u8>> {
    let folder = pack::find(source, path).ok().filter(|it| it.is_dir())?;
    archive::pack_dir(&folder, Limits::DESCRIPTOR, Vec::new()).ok()
}

/// Refuses parameters that the descriptor in `archive` does not take.
pub(crate) fn judge(request: &BuildRequest, archive: &[u8]) -> Result<(), Ended> {
    let (Some(given), Ok(bundle)) = (&request.parameters, descriptor::read(archive)) else {
        return Ok(());
    };
    match bundle.descriptor.resolve(given) {
        Ok(_) => Ok(()),
        Err(err) => Err(BuildFailure::new(BuildFault::ParametersRefused, err.to_string()).into()),
    }
}
