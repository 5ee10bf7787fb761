//! What a release consists of: found in the store, or taken from this machine and put there.
use crate::{
    commands::artifact::blocking,
    fetch::{confirm, fetch_packed},
    output::Output,
    packages::{Packed, pack_descriptor, pack_package},
    plane::{Place, Plane},
    problem::usage,
};
use deploy_core::{
    backend::{ArtifactKind, Clock as _},
    id::{RepositoryName, ServiceName, Version},
    memory::SystemClock,
};
use deploy_host::descriptor::{self, Descriptor};
use deploy_operations::{ArtifactSearch, RepositoryPattern, another_already, parse::field};
use deploy_package::publisher::Statement;
use deploy_wire::{Artifact, Problem, ProblemCode};
use std::path::{Path, PathBuf};

/// An artifact of a release: in the store already, or still to be put there.
#[derive(Debug)]
pub(crate) struct Part {
    kind: ArtifactKind,
    pub(crate) digest: String,
    /// Its bytes, where they are here.
    packed: Option<Packed>,
    /// Where it is in the store.
    stored: Option<Artifact>,
    /// Whether it is to be put there.
    is_new: bool,
    /// The version that it was found to be, where it was named by something else.
    pub(crate) meant: Option<String>,
}

/// Where artifacts of a release are looked for, and put.
pub(crate) struct Parts<'a> {
    pub(crate) plane: &'a dyn Plane,
    pub(crate) output: &'a Output,
    pub(crate) service: &'a ServiceName,
    pub(crate) version: &'a Version,
}

impl Parts<'_> {
    /// The descriptor that `named` means, and what it says.
    pub(crate) async fn descriptor(&self, named: &str) -> Result<(Part, Descriptor), Problem> {
        const KIND: ArtifactKind = ArtifactKind::Descriptor;
        if let Some(part) = self.stored(named, KIND).await? {
            let digest = field("digest", &part.digest)?;
            let archive = self.plane.descriptor(&digest).await?;
            confirm(&digest, &archive)?;
            let bundle = descriptor::read(&archive).map_err(|err| {
                let message = format!("descriptor {}: {err}", part.digest);
                Problem::new(ProblemCode::InvalidFile, message)
            })?;
            return Ok((part, bundle.descriptor));
        }
        let path = PathBuf::from(named);
        let (bundle, packed) = blocking(move || pack_descriptor(&path)).await?;
        Ok((self.part(KIND, packed).await?, bundle.descriptor))
    }

    /// The package that `named` means.
    pub(crate) async fn package(&self, named: &str) -> Result<Part, Problem> {
        const KIND: ArtifactKind = ArtifactKind::Package;
        if let Some(part) = self.stored(named, KIND).await? {
            return Ok(part);
        }
        let path = PathBuf::from(named);
        let packed = blocking(move || pack_package(&path)).await?;
        self.part(KIND, packed).await
    }

    /// What publishers say of a release that consists of these. What it says of the package is computed of its bytes, here: whoever keeps them is not asked.
    pub(crate) async fn statement(
        &self,
        descriptor: &Part,
        package: &mut Part,
    ) -> Result<Statement, Problem> {
        let packed = match (package.packed.take(), &package.stored) {
            (Some(packed), _) => packed,
            (None, Some(stored)) => fetch_packed(self.plane, self.output, stored).await?,
            (None, None) => {
                return Err(unknown(&package.digest, package.kind, &self.repository()?));
            }
        };
        let (packed, manifest) = blocking(move || packed.manifest().map(|it| (packed, it))).await?;
        let issued = SystemClock::new().now().as_millis() / 1_000;
        let (service, version) = (self.service.clone(), self.version.clone());
        let statement =
            Statement::new(service, version, field("descriptor", &descriptor.digest)?, issued)
                .with_package(packed.digest)
                .with_manifest(manifest);
        package.packed = Some(packed);
        Ok(statement)
    }

    /// The artifact in the store that `named` means: a digest, a version, or where a channel leads. `None` if it is a path.
    async fn stored(&self, named: &str, kind: ArtifactKind) -> Result<Option<Part>, Problem> {
        let by_name = named.starts_with("sha256:") || named.contains('@');
        if !by_name && Path::new(named).exists() {
            return Ok(None);
        }
        let repository = self.repository()?;
        let found = match self.plane.resolve(named, kind, Some(&repository)).await {
            Ok(found) => found,
            Err(problem) if problem.code == ProblemCode::NotFound && !by_name => {
                return Err(unknown(named, kind, &repository));
            }
            Err(problem) => return Err(problem),
        };
        demand_named(named, &found)?;
        let is_named = found.digest == named || found.version == named;
        let meant = (!is_named).then(|| found.version.clone());
        let digest = found.digest.clone();
        Ok(Some(Part { kind, digest, packed: None, stored: Some(found), is_new: false, meant }))
    }

    /// What is there under another version already is not listed a second time.
    async fn part(&self, kind: ArtifactKind, packed: Packed) -> Result<Part, Problem> {
        let is_new = !self.plane.upload(&packed.digest).await?.complete;
        let digest = packed.digest.to_string();
        Ok(Part { kind, digest, packed: Some(packed), stored: None, is_new, meant: None })
    }

    /// Puts what is not in the store yet, unless one of the two cannot be listed as this version.
    pub(crate) async fn put(&self, parts: [Part; 2]) -> Result<(), Problem> {
        let repository = self.repository()?;
        let search = ArtifactSearch {
            repository: Some(RepositoryPattern::Is(repository.clone())),
            ..ArtifactSearch::default()
        };
        let entries = self.plane.artifacts(&search).await?;
        for part in parts.iter().filter(|it| it.is_new) {
            let same = entries
                .iter()
                .find(|it| it.kind == part.kind.as_str() && it.version == self.version.as_str());
            if same.is_some_and(|it| it.digest != part.digest) {
                return Err(another_already(&repository, part.kind, self.version));
            }
        }
        for Part { kind, packed, is_new, .. } in parts {
            if let Some(packed) = packed.filter(|_| is_new) {
                let (repository, version) = (repository.clone(), self.version.clone());
                self.plane.put_artifact(packed, &Place { repository, kind, version }).await?;
            }
        }
        Ok(())
    }

    fn repository(&self) -> Result<RepositoryName, Problem> {
        self.service.as_str().parse().map_err(usage)
    }
}

/// A store is not believed what a digest means that somebody has named.
pub(crate) fn demand_named(named: &str, found: &Artifact) -> Result<(), Problem> {
    if !named.starts_with("sha256:") || found.digest.starts_with(named) {
        return Ok(());
    }
    let digest = &found.digest;
    let message = format!("the store says that {named} is {digest}, which is another artifact");
    Err(Problem::new(ProblemCode::Corrupt, message).with_context("digest", named))
}

fn unknown(named: &str, kind: ArtifactKind, repository: &RepositoryName) -> Problem {
    let what = kind.as_str();
    let message = format!(
        "`{}` is no path, no digest, and no version of a {what} in repository `{repository}`",
        named.escape_debug()
    );
    let hint = format!("`deploy artifact list --repository {repository}` shows what there is");
    Problem::new(ProblemCode::NotFound, message).with_hint(hint)
}
