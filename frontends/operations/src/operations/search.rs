//! Which artifacts are meant: by a search, and by a name.
use super::Operations;
use super::artifacts::document;
use crate::{
    parse::{field, refused},
    problem::OrProblem as _,
};
use deploy_core::{
    backend::{ArtifactEntry, ArtifactKind, ArtifactMeta, ChannelKey, ListArtifacts},
    digest::Digest,
    error::ErrorKind,
    id::{ChannelName, RepositoryName},
};
use deploy_wire::{Artifact, Problem, ProblemCode};
use std::{collections::BTreeSet, fmt, str::FromStr, time::Duration};

/// Which artifacts to list; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "whoever searches says all of it")]
pub struct ArtifactSearch {
    /// Of these repositories.
    pub repository: Option<RepositoryPattern>,
    /// Of this kind.
    pub kind: Option<ArtifactKind>,
    /// Of versions that begin with this.
    pub version: Option<String>,
    /// Whose digests begin with this.
    pub digest: Option<DigestPrefix>,
    /// That a channel of this name leads to.
    pub channel: Option<ChannelName>,
    /// That were put within this time.
    pub since: Option<Duration>,
}

/// A repository, or all whose names begin alike: `web`, `web-*`, `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum RepositoryPattern {
    /// This one.
    Is(RepositoryName),
    /// Those that begin with this.
    Begins(String),
}

impl FromStr for RepositoryPattern {
    type Err = String;

    /// # Errors
    /// If no repository can be called like that.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some(begin) = text.strip_suffix('*') else {
            return text.parse().map(Self::Is).map_err(|err| format!("{err}"));
        };
        let plain = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'-';
        if begin.len() <= 63 && begin.bytes().all(plain) {
            return Ok(Self::Begins(begin.to_owned()));
        }
        Err("it must be a repository, or the beginning of one and `*`".to_owned())
    }
}

impl fmt::Display for RepositoryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(one) => one.fmt(f),
            Self::Begins(begin) => write!(f, "{begin}*"),
        }
    }
}

impl RepositoryPattern {
    fn fits(&self, name: &RepositoryName) -> bool {
        match self {
            Self::Is(one) => one == name,
            Self::Begins(begin) => name.as_str().starts_with(begin.as_str()),
        }
    }
}

/// A digest, or its beginning: `sha256:` and 6 to 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPrefix(String);

impl DigestPrefix {
    /// With fewer digits it would soon be that of several artifacts.
    const SHORTEST: usize = 6;

    /// The digest, where it is a whole one.
    #[must_use]
    pub fn whole(&self) -> Option<Digest> {
        self.0.parse().ok()
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `digest` begins like that.
    #[must_use]
    pub fn fits(&self, digest: &Digest) -> bool {
        digest.to_string().starts_with(&self.0)
    }
}

impl FromStr for DigestPrefix {
    type Err = &'static str;

    /// # Errors
    /// If no digest begins like that, or too many do.
    fn from_str(text: &str) -> Result<Self, &'static str> {
        const WHY: &str =
            "a digest is `sha256:` and 64 hexadecimal digits, of which the first 6 may do";
        let hex = text.strip_prefix("sha256:").ok_or(WHY)?;
        let plain = hex.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it));
        let length = (Self::SHORTEST..=64).contains(&hex.len());
        if plain && length { Ok(Self(text.to_owned())) } else { Err(WHY) }
    }
}

impl Operations {
    /// What a search finds, in the order of repository, kind and version.
    pub(super) async fn found(
        &self,
        search: &ArtifactSearch,
    ) -> Result<Vec<ArtifactEntry>, Problem> {
        let mut request = ListArtifacts::new();
        request.kind = search.kind;
        if let Some(RepositoryPattern::Is(name)) = &search.repository {
            request.repository = Some(name.clone());
        }
        let mut entries = self.parts().artifacts.list(&request).await.or_problem()?;
        let now = self.parts().clock.now();
        entries.retain(|it| {
            search.repository.as_ref().is_none_or(|asked| asked.fits(&it.repository))
                && search
                    .version
                    .as_ref()
                    .is_none_or(|asked| it.version.as_str().starts_with(asked))
                && search.digest.as_ref().is_none_or(|asked| asked.fits(&it.meta.digest))
                && search.since.is_none_or(|within| now.since(it.put_at) <= within)
        });
        if let Some(channel) = &search.channel {
            let led_to = self.led_to(channel).await?;
            entries.retain(|it| {
                let key = ChannelKey::new(it.repository.clone(), it.kind, channel.clone());
                led_to.contains(&(key, it.version.to_string()))
            });
        }
        entries.sort_by(|a, b| {
            let key = |it: &ArtifactEntry| (it.repository.clone(), it.kind, it.version.clone());
            key(a).cmp(&key(b))
        });
        Ok(entries)
    }

    /// The versions that channels of this name lead to.
    async fn led_to(&self, name: &ChannelName) -> Result<BTreeSet<(ChannelKey, String)>, Problem> {
        let all = self.open_channels().await?.into_iter().map(|it| it.value);
        let named = all.filter(|it| it.channel.name == *name);
        Ok(named.filter_map(|it| Some((it.channel, it.to?.version.to_string()))).collect())
    }

    /// The artifact of `kind` that `name` means: a digest or its beginning, a version of `repository`, or
    /// `[REPOSITORY]@NAME`, where `NAME` is a channel or a version, and `repository` is meant if it names none.
    ///
    /// # Errors
    /// If it means nothing, or more than one thing.
    pub async fn resolve(
        &self,
        name: &str,
        kind: ArtifactKind,
        repository: Option<&RepositoryName>,
    ) -> Result<Artifact, Problem> {
        if name.starts_with("sha256:") {
            return self.by_digest(&field(kind.as_str(), name)?, kind).await;
        }
        let anywhere = || refused(kind.as_str(), "it names no repository: say `REPOSITORY@NAME`");
        let here = || repository.cloned().ok_or_else(anywhere);
        let entry = match name.split_once('@') {
            None => self.by_version(name, kind, &here()?).await?,
            Some(("", name)) => self.by_name(name, kind, &here()?).await?,
            Some((place, name)) => self.by_name(name, kind, &field(kind.as_str(), place)?).await?,
        };
        Ok(document(&entry))
    }

    async fn by_version(
        &self,
        name: &str,
        kind: ArtifactKind,
        repository: &RepositoryName,
    ) -> Result<ArtifactEntry, Problem> {
        let entries = self.versions(repository, kind).await?;
        let found = entries.into_iter().find(|it| it.version.as_str() == name);
        found.ok_or_else(|| {
            let what = kind.as_str();
            let message = format!(
                "`{}` is no digest, and no version of a {what} in repository `{repository}`",
                name.escape_debug()
            );
            Problem::new(ProblemCode::NotFound, message).with_context(what, name)
        })
    }

    /// A version, or what a channel leads to: a name that is both is refused, whoever has made the second of them.
    async fn by_name(
        &self,
        name: &str,
        kind: ArtifactKind,
        repository: &RepositoryName,
    ) -> Result<ArtifactEntry, Problem> {
        let entries = self.versions(repository, kind).await?;
        let version = entries.iter().find(|it| it.version.as_str() == name);
        let led_to = match name.parse::<ChannelName>() {
            Ok(channel) => {
                self.leads_to(ChannelKey::new(repository.clone(), kind, channel)).await?
            }
            Err(_) => None,
        };
        let what = kind.as_str();
        let found = match (version, &led_to) {
            (Some(_), Some(_)) => {
                let message =
                    format!("`{repository}@{name}` is a channel and a version of a {what}");
                return Err(Problem::new(ProblemCode::Conflict, message)
                    .with_hint("name the digest, or move the channel to another name")
                    .with_context(what, name));
            }
            (version, None) => version,
            (None, Some(version)) => entries.iter().find(|it| it.version.as_str() == version),
        };
        found.cloned().ok_or_else(|| {
            let name = name.escape_debug();
            let message =
                format!("repository `{repository}` has no {what} and no channel `{name}`");
            Problem::new(ProblemCode::NotFound, message)
                .with_hint("`deploy artifact channel list` shows channels, and `deploy artifact list` versions")
                .with_context(what, name)
        })
    }

    async fn leads_to(&self, key: ChannelKey) -> Result<Option<String>, Problem> {
        match self.parts().registry.channel(&key).await {
            Ok(found) => Ok(found.value.to.map(|it| it.version.to_string())),
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err).or_problem(),
        }
    }

    async fn by_digest(
        &self,
        prefix: &DigestPrefix,
        kind: ArtifactKind,
    ) -> Result<Artifact, Problem> {
        let search = ArtifactSearch { digest: Some(prefix.clone()), ..ArtifactSearch::default() };
        let entries = self.found(&search).await?;
        let digests: BTreeSet<_> = entries.iter().map(|it| it.meta.digest).collect();
        let listed = entries.iter().find(|it| it.kind == kind).or_else(|| entries.first());
        match (listed, prefix.whole()) {
            (Some(_), None) if digests.len() > 1 => {
                let (several, prefix) = (digests.len(), prefix.as_str());
                let why = format!("{several} digests begin with `{prefix}`: say more of it");
                Err(refused(kind.as_str(), why))
            }
            (Some(entry), _) => Ok(document(entry)),
            (None, Some(digest)) => {
                let meta = self.parts().artifacts.head(&digest).await.or_problem()?;
                Ok(unlisted(&meta, kind))
            }
            (None, None) => {
                let message = format!("no digest begins with `{}`", prefix.as_str());
                Err(Problem::new(ProblemCode::NotFound, message)
                    .with_hint("`deploy artifact list` shows all artifacts"))
            }
        }
    }
}

/// What can be said of an artifact that is in no list.
fn unlisted(meta: &ArtifactMeta, kind: ArtifactKind) -> Artifact {
    Artifact {
        repository: String::new(),
        kind: kind.as_str().to_owned(),
        version: String::new(),
        digest: meta.digest.to_string(),
        size: meta.size,
        put_at: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_named_or_begins() {
        let fits = |pattern: &str, name: &str| {
            pattern.parse::<RepositoryPattern>().unwrap().fits(&name.parse().unwrap())
        };
        assert!(fits("web", "web") && !fits("web", "web-2"));
        assert!(fits("web*", "web") && fits("web-*", "web-2") && !fits("web-*", "web"));
        assert!(fits("*", "anything"));
        for wrong in ["", "*a", "w*b", "WEB*", "we b", "../*"] {
            assert!(wrong.parse::<RepositoryPattern>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_digest_is_named_by_its_beginning() {
        let digest = Digest::of(b"bytes");
        let whole: DigestPrefix = digest.to_string().parse().unwrap();
        assert_eq!((whole.whole(), whole.fits(&digest)), (Some(digest), true));
        let begin: DigestPrefix = digest.to_string()[..13].parse().unwrap();
        assert_eq!((begin.whole(), begin.fits(&digest)), (None, true));
        assert!(!begin.fits(&Digest::of(b"others")));
        for wrong in ["", "sha256:", "sha256:abcde", "abcdef", "sha256:ABCDEF", "md5:abcdef"] {
            assert!(wrong.parse::<DigestPrefix>().is_err(), "{wrong}");
        }
    }
}
