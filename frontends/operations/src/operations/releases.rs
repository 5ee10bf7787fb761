use super::{Listed, Operations};
use crate::{
    parse::{field, refused},
    problem::{OrProblem as _, chain, invalid},
};
use deploy_core::{
    backend::{ArtifactKind, ArtifactStoreExt as _},
    digest::Digest,
    error::ErrorKind,
    id::{ReleaseId, RepositoryName, ServiceName},
    spec::{self, ArtifactRef, ParameterName},
};
use deploy_host::descriptor::{self, Descriptor};
use deploy_package::publisher::Statement;
use deploy_wire::{Change, NewRelease, Problem, ProblemCode, Release, ReleaseDiff};
use std::collections::{BTreeMap, BTreeSet};

/// How many characters of a signature name its key, in base64.
const KEY_NUMBER: usize = 13;
/// How much goes with a release to hosts, in bytes: an order has to hold that of its way back, too.
const LARGEST_SIGNED: usize = 128 << 10;
const MOST_SIGNATURES: usize = 32;
const MOST_KEY_LISTS: usize = 16;

/// The largest descriptor archive that is read into memory, in bytes.
const LARGEST_DESCRIPTOR: u64 = 16 << 20;

impl Operations {
    /// Releases of a service, newest first.
    ///
    /// # Errors
    /// If there is no such service, or no release `after`.
    pub async fn releases(
        &self,
        service: &ServiceName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed<Release>, Problem> {
        let registry = &self.parts().registry;
        registry.service(service).await.or_problem()?;
        // The registry counts from the newest: what lies before `after` is read, and skipped.
        let most = if after.is_some() { usize::MAX } else { limit.saturating_add(1) };
        let releases = registry.releases(service, most).await.or_problem()?;
        let listed = Listed::behind(releases, after, limit, |it| it.id.to_string())?;
        Ok(listed.map(|it| Release::from(&it)))
    }

    /// One release.
    ///
    /// # Errors
    /// If there is none.
    pub async fn release(&self, id: &ReleaseId) -> Result<Release, Problem> {
        Ok(Release::from(&self.parts().registry.release(id).await.or_problem()?))
    }

    /// What differs between two releases.
    ///
    /// # Errors
    /// If there is not one of them.
    pub async fn release_diff(
        &self,
        from: &ReleaseId,
        to: &ReleaseId,
    ) -> Result<ReleaseDiff, Problem> {
        let (from, to) = (self.release(from).await?, self.release(to).await?);
        let (was, is) = (facts(&from), facts(&to));
        let names: BTreeSet<_> = was.keys().chain(is.keys()).cloned().collect();
        let changes = names.into_iter().filter(|it| was.get(it) != is.get(it)).map(|field| {
            Change { from: was.get(&field).cloned(), to: is.get(&field).cloned(), field }
        });
        Ok(ReleaseDiff { changes: changes.collect(), from: from.id, to: to.id })
    }

    /// Makes a release of artifacts that are in the store. One that is there already is the answer, if it is the same.
    ///
    /// # Errors
    /// If the principal may not, something it consists of is not there, or another release has its name.
    pub async fn create_release(&self, asked: &NewRelease) -> Result<Release, Problem> {
        let service: ServiceName = field("service", &asked.service)?;
        self.parts().registry.service(&service).await.or_problem()?;
        let id = match &asked.id {
            Some(id) => field("id", id)?,
            None => field("version", &format!("{service}-{}", asked.version))?,
        };
        let descriptor = self.stored(&service, ArtifactKind::Descriptor, &asked.descriptor).await?;
        let package = self.stored(&service, ArtifactKind::Package, &asked.package).await?;
        let described = self.descriptor(&descriptor.digest).await?;
        let given: BTreeMap<ParameterName, String> = asked
            .parameters
            .iter()
            .map(|(name, value)| Ok((field("parameters", name)?, value.clone())))
            .collect::<Result<_, Problem>>()?;
        let parameters = described.resolve(&given).map_err(|err| invalid(chain(&err)))?;
        let (now, by) = (self.parts().clock.now(), self.principal.clone());
        let version = field("version", &asked.version)?;
        let release =
            spec::Release::new(id, service, version, descriptor, described.steps(), now, by)
                .with_package(package)
                .with_parameters(parameters)
                .with_provenance(asked.provenance.clone())
                .with_signed(asked.signed.as_ref().map(spec::Signed::from));
        if let Some(signed) = &release.signed {
            agrees(&release, signed)?;
        }
        // Made again as it was, a release that was retired holds what it consists of again.
        let release = self.same_release(&release).await?.unwrap_or(release);
        self.platform.create_release(&self.principal, release.clone()).await.or_problem()?;
        Ok(Release::from(&release))
    }

    /// The release of this name that is there already, if it is the same but for when it was made and by whom.
    async fn same_release(
        &self,
        release: &spec::Release,
    ) -> Result<Option<spec::Release>, Problem> {
        let there = match self.parts().registry.release(&release.id).await {
            Ok(there) => there,
            Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err).or_problem(),
        };
        let mut same = release.clone();
        same.created_at = there.created_at;
        same.created_by = there.created_by.clone();
        // Signed again by the same keys it says the same at another time.
        let signers = |it: &spec::Release| it.signed.as_ref().map(signers);
        if signers(&same) == signers(&there) {
            same.signed.clone_from(&there.signed);
        }
        let mut content = same.clone();
        content.signed.clone_from(&there.signed);
        if content == there && same != there {
            let message =
                format!("release `{}` is there already, and is signed otherwise", release.id);
            return Err(Problem::new(ProblemCode::AlreadyExists, message)
                .with_hint("a release never changes, nor do its signatures: give it another name with `--id`")
                .with_context("release", &release.id));
        }
        if same == there {
            return Ok(Some(there));
        }
        let message = format!("release `{}` is there already, and is another one", release.id);
        let hint =
            "a release never changes: give the new one a new version, or another name with `--id`";
        Err(Problem::new(ProblemCode::AlreadyExists, message)
            .with_hint(hint)
            .with_context("release", &release.id))
    }

    /// The archive of a descriptor.
    ///
    /// # Errors
    /// If there is none, or it is larger than a descriptor may be.
    pub async fn descriptor_archive(&self, digest: &Digest) -> Result<Vec<u8>, Problem> {
        let store = &self.parts().artifacts;
        let size = store.head(digest).await.or_problem()?.size;
        if size > LARGEST_DESCRIPTOR {
            let message = format!(
                "artifact {digest} is no descriptor: those have {LARGEST_DESCRIPTOR} bytes at the most"
            );
            return Err(invalid(message).with_context("digest", digest));
        }
        store.read_all(digest, LARGEST_DESCRIPTOR).await.or_problem()
    }

    async fn descriptor(&self, digest: &Digest) -> Result<Descriptor, Problem> {
        let bundle = descriptor::read(&self.descriptor_archive(digest).await?).map_err(|err| {
            let message = format!("descriptor {digest}: {err}");
            Problem::new(ProblemCode::InvalidFile, message).with_context("digest", digest)
        })?;
        Ok(bundle.descriptor)
    }

    /// The artifact that `named` means: see [`resolve`](Self::resolve).
    async fn stored(
        &self,
        service: &ServiceName,
        kind: ArtifactKind,
        named: &str,
    ) -> Result<ArtifactRef, Problem> {
        let repository: RepositoryName = field("service", service.as_str())?;
        let found = self.resolve(named, kind, Some(&repository)).await?;
        Ok(ArtifactRef::new(field("digest", &found.digest)?, found.size))
    }
}

/// Who has signed, and which lists of keys come with that.
fn signers(signed: &spec::Signed) -> (BTreeSet<String>, Vec<spec::SignedKeys>) {
    // The second line begins with the algorithm and the number of the key.
    let key = |it: &String| {
        it.lines().nth(1).unwrap_or_default().chars().take(KEY_NUMBER).collect::<String>()
    };
    (signed.signatures.iter().map(key).collect(), signed.key_lists.clone())
}

/// Refuses a release that hosts would refuse. Whose signatures are good hosts alone decide.
fn agrees(release: &spec::Release, signed: &spec::Signed) -> Result<(), Problem> {
    let lists = signed.key_lists.iter().map(|it| it.list.len() + lengths(&it.signatures));
    let size = signed.statement.len() + lengths(&signed.signatures) + lists.sum::<usize>();
    if size > LARGEST_SIGNED
        || signed.signatures.len() > MOST_SIGNATURES
        || signed.key_lists.len() > MOST_KEY_LISTS
    {
        let why = format!(
            "it may have {LARGEST_SIGNED} bytes, {MOST_SIGNATURES} signatures and {MOST_KEY_LISTS} lists of keys: hosts take no more"
        );
        return Err(refused("signed", why));
    }
    let statement = Statement::read_unverified(signed.statement.as_bytes());
    let statement = statement.map_err(|err| refused("signed", err))?;
    let of_it = statement.service == release.service
        && statement.version == release.version
        && statement.descriptor == release.descriptor.digest
        && statement.package == release.package.map(|it| it.digest);
    if of_it {
        return Ok(());
    }
    Err(refused(
        "signed",
        "what was signed is another service, version, descriptor or package than the release has",
    ))
}

fn lengths(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

/// What a release brings, by name. Not when it was made, nor by whom.
fn facts(release: &Release) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::from([
        ("descriptor".to_owned(), release.descriptor.clone()),
        ("service".to_owned(), release.service.clone()),
        ("version".to_owned(), release.version.clone()),
    ]);
    if let Some(package) = &release.package {
        facts.insert("package".to_owned(), package.clone());
    }
    if let Some(signed) = &release.signed {
        facts.insert("signatures".to_owned(), signed.signatures.len().to_string());
    }
    for step in &release.steps {
        let how = format!("timeout {} ms, effect {}", step.timeout_ms, step.effect);
        facts.insert(format!("steps.{}", step.name), how);
    }
    for (name, value) in &release.parameters {
        facts.insert(format!("parameters.{name}"), value.clone());
    }
    facts
}
