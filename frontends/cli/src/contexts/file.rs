//! The file in which contexts are kept.
use super::{Variables, secret};
use crate::{
    embedded::make_private,
    files::{Source, write_secret},
    problem::{io_problem, usage},
};
use deploy_wire::{Problem, ProblemCode};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The largest configuration file, in bytes.
const LARGEST: u64 = 1 << 20;

/// All contexts, and where they are kept.
#[derive(Debug)]
pub(crate) struct Contexts {
    path: PathBuf,
    /// The one that commands use which name none.
    pub(crate) current: Option<String>,
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// A server, and how to speak to it.
#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) server: String,
    /// The certificate of the authority to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    /// The file that holds the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_file: Option<PathBuf>,
    /// The token itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What the file says.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    contexts: BTreeMap<String, Entry>,
}

impl Contexts {
    /// Reads the file, if there is one.
    pub(crate) fn read(variables: Variables<'_>) -> Result<Self, Problem> {
        let Some(path) = path(variables) else {
            let path = PathBuf::new();
            return Ok(Self { path, current: None, entries: BTreeMap::new() });
        };
        let mode = match fs::metadata(&path) {
            Ok(meta) => meta.permissions().mode(),
            Err(err) if err.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, current: None, entries: BTreeMap::new() });
            }
            Err(err) => return Err(io_problem(path.display(), &err)),
        };
        // What is wrong with it is not shown with the line: that may have a token in it.
        let written: Written = Source::read(&path, LARGEST)?.toml().map_err(without_source)?;
        if written.contexts.values().any(|it| it.token.is_some()) {
            secret::keeps_secrets(&path, mode)?;
        }
        Ok(Self { path, current: written.current, entries: written.contexts })
    }

    /// Writes the file, for its owner alone: as a whole, or not at all.
    pub(crate) fn write(&self) -> Result<(), Problem> {
        if self.path.as_os_str().is_empty() {
            return Err(usage("there is no place for a configuration file")
                .with_hint("`DEPLOY_CONFIG` names one"));
        }
        let written = Written { current: self.current.clone(), contexts: self.entries.clone() };
        let text = toml::to_string(&written).map_err(crate::problem::invalid)?;
        if let Some(folder) = self.path.parent().filter(|it| !it.is_dir()) {
            make_private(folder).map_err(|err| io_problem(folder.display(), &err))?;
        }
        write_secret(&self.path, &text)
    }

    /// A path that an entry says: relative ones begin where the file is.
    pub(crate) fn beside(&self, path: &Path) -> PathBuf {
        self.path.parent().map_or_else(|| path.to_owned(), |folder| folder.join(path))
    }

    /// There is no context of that name.
    pub(crate) fn unknown(&self, name: &str) -> Problem {
        let message = format!("there is no context `{}`", name.escape_debug());
        Problem::new(ProblemCode::NotFound, message)
            .with_hint("`deploy context list` shows all of them, `deploy context set` makes one")
            .with_context("context", name)
    }
}

fn without_source(mut problem: Problem) -> Problem {
    problem.context.remove("source");
    problem
}

/// Where the file is: as a variable says, or where people keep such files.
fn path(variables: Variables<'_>) -> Option<PathBuf> {
    if let Some(path) = variables("DEPLOY_CONFIG") {
        return Some(path.into());
    }
    let folder = match variables("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(variables("HOME")?).join(".config"),
    };
    Some(folder.join("deploy/config.toml"))
}
