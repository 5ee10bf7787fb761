//! Where artifacts lie.
use super::LARGEST;
use crate::{
    embedded::Bucket,
    files::Source,
    problem::{invalid, usage},
};
use deploy_artifacts::{S3Credentials, S3Location};
use deploy_wire::Problem;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArtifactsFile {
    store: Option<String>,
    key_file: Option<PathBuf>,
}

impl ArtifactsFile {
    pub(super) fn over(self, below: Self) -> Self {
        Self { store: self.store.or(below.store), key_file: self.key_file.or(below.key_file) }
    }

    /// The bucket, and who speaks to it: whom a file names, whom the environment names as other programs have it, or else the machine's own role.
    pub(super) fn check(
        self,
        variable: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Bucket>, Problem> {
        let Some(store) = self.store else {
            return match self.key_file {
                None => Ok(None),
                Some(_) => {
                    Err(usage("`artifacts.key_file` is for `artifacts.store`, which is not said"))
                }
            };
        };
        let location: S3Location =
            store.parse().map_err(|err| invalid(format_args!("`artifacts.store`: {err}")))?;
        let credentials = match self.key_file {
            Some(path) => Some(key(&path)?),
            None => named(variable),
        };
        Ok(Some(Bucket { location, credentials }))
    }
}

/// A file of two lines: the name of a key, and the key.
fn key(path: &Path) -> Result<S3Credentials, Problem> {
    let source = Source::read(path, LARGEST)?;
    let mut words = source.text().split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(id), Some(secret), None) => Ok(S3Credentials::new(id, secret)),
        _ => {
            Err(source.problem(None, "it has two lines: the name of an access key, and its secret"))
        }
    }
}

fn named(variable: &impl Fn(&str) -> Option<String>) -> Option<S3Credentials> {
    let said = |name| variable(name).filter(|it| !it.is_empty());
    let (id, secret) = (said("AWS_ACCESS_KEY_ID")?, said("AWS_SECRET_ACCESS_KEY")?);
    Some(S3Credentials::new(id, secret).with_session_token(said("AWS_SESSION_TOKEN")))
}
