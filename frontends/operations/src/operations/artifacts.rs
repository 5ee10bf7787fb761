use super::{Listed, Operations};
use crate::problem::{IntoProblem as _, OrProblem as _};
use deploy_core::{
    access::{Action, Resource},
    backend::{ArtifactEntry, ArtifactKind, ListArtifacts, PutArtifact},
    digest::Digest,
    error::ErrorKind,
    id::{RepositoryName, Version},
};
use deploy_wire::{Artifact, Problem, ProblemCode, Upload, Verification};
use tokio::io::AsyncRead;

/// What is uploaded, from `offset` on.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever uploads says all of it")]
pub struct ArtifactUpload {
    /// What the whole artifact must hash to.
    pub digest: Digest,
    /// How many bytes the whole has.
    pub size: u64,
    /// Where it is to be listed.
    pub repository: RepositoryName,
    /// What it is for.
    pub kind: ArtifactKind,
    /// Which version it is.
    pub version: Version,
    /// Where in the artifact the upload begins: what [`Operations::upload`] said, or 0.
    pub offset: u64,
}

impl Operations {
    /// What is listed, in the order of repository, kind and version.
    ///
    /// # Errors
    /// If the store cannot be read, or `after` is none of them.
    pub async fn artifacts(
        &self,
        request: &ListArtifacts,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed<Artifact>, Problem> {
        let mut entries = self.parts().artifacts.list(request).await.or_problem()?;
        entries.sort_by(|a, b| {
            let key = |it: &ArtifactEntry| (it.repository.clone(), it.kind, it.version.clone());
            key(a).cmp(&key(b))
        });
        let key =
            |it: &ArtifactEntry| format!("{}/{}/{}", it.repository, it.kind.as_str(), it.version);
        Ok(Listed::behind(entries, after, limit, key)?.map(|it| document(&it)))
    }

    /// How far the upload of an artifact is.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn upload(&self, digest: &Digest) -> Result<Upload, Problem> {
        let store = &self.parts().artifacts;
        match store.head(digest).await {
            Ok(meta) => return Ok(Upload { offset: meta.size, complete: true }),
            Err(err) if err.kind() == ErrorKind::NotFound => {}
            Err(err) => return Err(err.into_problem()),
        }
        Ok(Upload { offset: store.partial(digest).await.or_problem()?, complete: false })
    }

    /// Takes an artifact, or the rest of one. What arrived of it is kept when the rest does not come.
    ///
    /// # Errors
    /// If the principal may not, the bytes are not those of the digest, or the version is another artifact already.
    pub async fn put_artifact(
        &self,
        upload: ArtifactUpload,
        body: &mut (dyn AsyncRead + Send + Unpin),
    ) -> Result<Artifact, Problem> {
        let ArtifactUpload { digest, size, repository, kind, version, offset } = upload;
        let resource = Resource::Repository(repository.clone());
        let permit = self.permit(Action::ArtifactWrite, resource).await?;
        let now = self.parts().clock.now();
        let request =
            PutArtifact::new(digest, size, repository.clone(), kind, version.clone(), now)
                .with_offset(offset);
        let meta = self.parts().artifacts.put(&permit, request, body).await.map_err(|err| {
            if err.kind() == ErrorKind::AlreadyExists {
                return another_already(&repository, kind, &version);
            }
            err.into_problem()
        })?;
        Ok(document(&ArtifactEntry::new(repository, kind, version, meta, now)))
    }

    /// Reads an artifact whole, and says whether its bytes are still those that were put.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub async fn verify_artifact(&self, digest: &Digest) -> Result<Verification, Problem> {
        let reason = match self.parts().artifacts.verify(digest).await {
            Ok(()) => None,
            Err(err) if err.kind() == ErrorKind::Corrupt => Some(err.chain()),
            Err(err) => return Err(err.into_problem()),
        };
        Ok(Verification { digest: digest.to_string(), intact: reason.is_none(), reason })
    }
}

pub(super) fn document(entry: &ArtifactEntry) -> Artifact {
    Artifact {
        repository: entry.repository.to_string(),
        kind: entry.kind.as_str().to_owned(),
        version: entry.version.to_string(),
        digest: entry.meta.digest.to_string(),
        size: entry.meta.size,
        put_at: entry.put_at.to_string(),
    }
}

/// What is wrong with putting something as a version that is something else.
#[must_use]
pub fn another_already(
    repository: &RepositoryName,
    kind: ArtifactKind,
    version: &Version,
) -> Problem {
    let what = kind.as_str();
    let message = format!("version `{version}` of `{repository}` is another {what} already");
    Problem::new(ProblemCode::AlreadyExists, message)
        .with_hint("a version never changes: give the new content a new version")
}
