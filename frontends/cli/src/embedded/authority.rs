//! The authority of this control plane, and who may come in by it.
use super::{DataDir, make_private};
use crate::{
    files::write_whole,
    problem::{chain, io_problem},
};
use deploy_core::time::Timestamp;
use deploy_operations::LinksElsewhere;
use deploy_pki::{Authority, PkiError};
use deploy_wire::{Problem, ProblemCode};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The authority in `folder`, which is made there at the first start; and beside it what clients have to trust.
pub(crate) fn open_authority(folder: &Path, now: Timestamp) -> Result<Authority, Problem> {
    make_private(folder).map_err(|err| io_problem(folder.display(), &err))?;
    let authority = Authority::open(folder, now).map_err(|err| unusable(&err))?;
    let (path, root) = (trusted(folder), authority.root_pem());
    if fs::read_to_string(&path).ok().as_deref() != Some(root) {
        write_whole(&path, root)?;
    }
    Ok(authority)
}

/// What clients have to trust.
pub(crate) fn trusted(folder: &Path) -> PathBuf {
    folder.join("ca.pem")
}

/// What is wrong with keys or certificates.
pub(crate) fn unusable(err: &PkiError) -> Problem {
    let code = match err {
        PkiError::Damaged { .. } => ProblemCode::Corrupt,
        PkiError::Crypto(_) | PkiError::Random(_) => ProblemCode::Internal,
        _ => ProblemCode::InvalidInput,
    };
    Problem::new(code, chain(err))
}

/// Agents as a process sees them to which none is connected.
pub(super) fn links_elsewhere(
    data_dir: &DataDir,
    now: Timestamp,
) -> Result<LinksElsewhere, Problem> {
    let authority = open_authority(&data_dir.tls(), now)?.fingerprint();
    let address = fs::read_to_string(data_dir.agents_address()).ok();
    let address = address.map(|it| it.trim().to_owned()).filter(|it| !it.is_empty());
    Ok(LinksElsewhere::new(authority, address))
}
