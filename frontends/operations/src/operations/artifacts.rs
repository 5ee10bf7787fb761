use super::{ArtifactSearch, Listed, Operations};
use crate::problem::{IntoProblem as _, OrProblem as _};
use deploy_core::{
    access::{Action, Resource},
    backend::{ArtifactEntry, ArtifactKind, ArtifactReader, Holder, PutArtifact},
    digest::Digest,
    error::ErrorKind,
    id::{PinName, RepositoryName, Version},
};
use deploy_wire::{Artifact, Holders, Problem, ProblemCode, Upload, Verification};
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
    /// What a search finds, in the order of repository, kind and version.
    ///
    /// # Errors
    /// If the store cannot be read, or `after` is none of them.
    pub async fn artifacts(
        &self,
        search: &ArtifactSearch,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed<Artifact>, Problem> {
        let entries = self.found(search).await?;
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

    /// The bytes of an artifact, from its beginning. Where they have rotted, reading them ends in an error.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub async fn open_artifact(&self, digest: &Digest) -> Result<ArtifactReader, Problem> {
        self.parts().artifacts.open(digest, 0).await.or_problem()
    }

    /// Who keeps an artifact from being removed.
    ///
    /// # Errors
    /// If there is none, or it cannot be read.
    pub async fn holders(&self, digest: &Digest) -> Result<Holders, Problem> {
        let store = &self.parts().artifacts;
        store.head(digest).await.or_problem()?;
        let mut document = Holders {
            digest: digest.to_string(),
            releases: Vec::new(),
            channels: Vec::new(),
            pins: Vec::new(),
        };
        for holder in store.holders(digest).await.or_problem()? {
            match holder {
                Holder::Channel(key, revision) => {
                    if self.leads(&key, revision, digest).await? {
                        document.channels.push(key.to_string());
                    }
                }
                Holder::Release(id) => document.releases.push(id.to_string()),
                Holder::Pin(name) => document.pins.push(name.to_string()),
                other => return Err(Problem::new(ProblemCode::Unsupported, other.to_string())),
            }
        }
        Ok(document)
    }

    /// Keeps an artifact, whether anything runs it or not. Again is as good as once.
    ///
    /// # Errors
    /// If the principal may not, or there is none.
    pub async fn pin(&self, digest: &Digest, name: &PinName) -> Result<Holders, Problem> {
        let permit = self.permit(Action::ArtifactWrite, Resource::System).await?;
        let holder = Holder::Pin(name.clone());
        self.parts().artifacts.hold(&permit, digest, &holder).await.or_problem()?;
        self.holders(digest).await
    }

    /// Keeps an artifact no longer for that reason.
    ///
    /// # Errors
    /// If the principal may not, there is none, or it has no such pin.
    pub async fn unpin(&self, digest: &Digest, name: &PinName) -> Result<(), Problem> {
        let permit = self.permit(Action::ArtifactWrite, Resource::System).await?;
        if !self.holders(digest).await?.pins.iter().any(|it| it == name.as_str()) {
            let message = format!("the artifact {digest} has no pin `{name}`");
            return Err(Problem::new(ProblemCode::NotFound, message)
                .with_hint("`deploy artifact holders` shows those that it has"));
        }
        let holder = Holder::Pin(name.clone());
        self.parts().artifacts.let_go(&permit, digest, &holder).await.or_problem()
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
