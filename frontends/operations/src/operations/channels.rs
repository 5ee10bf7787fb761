//! Channels, and what a name of an artifact means.
use super::{Listed, Operations, expect, put_problem};
use crate::{
    parse::{field, refused},
    problem::{IntoProblem as _, OrProblem as _},
};
use deploy_core::backend::ChannelMove as Moved;
use deploy_core::{
    access::{Action, Resource},
    backend::{
        ArtifactEntry, ArtifactKind, ChannelKey, ChannelTarget, Holder, ListArtifacts, Revision,
        Versioned,
    },
    digest::Digest,
    error::ErrorKind,
    id::{RepositoryName, Version},
};
use deploy_wire::{Channel, ChannelMove, ChannelSpec, Problem, ProblemCode};

/// How many bytes a reason may have.
const LONGEST_REASON: usize = 1_000;

impl Operations {
    /// Channels, in the order of repository, kind and name: of a repository, or all. Those that are closed are left out.
    ///
    /// # Errors
    /// If the registry cannot be read, or `after` means no channel.
    pub async fn channels(
        &self,
        repository: Option<&RepositoryName>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed<Channel>, Problem> {
        let after = after.map(channel_key).transpose()?;
        let all = self.open_channels().await?;
        let asked = all.into_iter().filter(|it| {
            let key = &it.value.channel;
            repository.is_none_or(|it| *it == key.repository)
                && after.as_ref().is_none_or(|after| key > after)
        });
        let some = asked.take(limit.saturating_add(1)).collect();
        let listed =
            Listed::first(some, limit, |it: &Versioned<Moved>| it.value.channel.to_string());
        Ok(listed.map(|it| document(&it)))
    }

    /// One channel, also where it is closed.
    ///
    /// # Errors
    /// If there is none.
    pub async fn channel(&self, key: &ChannelKey) -> Result<Channel, Problem> {
        let found = self.parts().registry.channel(key).await;
        Ok(document(&found.map_err(|err| unknown(err, key))?))
    }

    /// How a channel was moved, newest first: up to `limit` moves before the one of revision `before`.
    ///
    /// # Errors
    /// If there is no such channel.
    pub async fn channel_history(
        &self,
        key: &ChannelKey,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Listed<ChannelMove>, Problem> {
        let registry = &self.parts().registry;
        // Revisions of a channel have no gaps: the newest is as many as there are.
        let newest = registry.channel(key).await.map_err(|err| unknown(err, key))?.revision.get();
        let skipped = before.map_or(0, |it| newest.saturating_sub(it).saturating_add(1));
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        // One more than is asked for says whether there is more, and each says where the one after it came from.
        let most = skipped.saturating_add(limit).saturating_add(1);
        let mut moves = registry.channel_history(key, most).await.or_problem()?;
        moves.retain(|it| before.is_none_or(|before| it.revision.get() < before));
        let version = |it: &Versioned<Moved>| it.value.to.as_ref().map(|it| it.version.to_string());
        let earlier = moves.iter().skip(1).map(version).chain([None]);
        let told = moves.iter().zip(earlier).map(|(it, from)| ChannelMove {
            revision: it.revision.get(),
            from,
            to: version(it),
            digest: it.value.to.as_ref().map(|it| it.digest.to_string()),
            moved_at: it.value.at.to_string(),
            moved_by: it.value.by.to_string(),
            reason: it.value.reason.clone(),
        });
        Ok(Listed::first(told.collect(), limit, |it| it.revision.to_string()))
    }

    /// Has a channel that is at `revision`, or (`None`) that is not there, lead to a version, or nowhere.
    ///
    /// # Errors
    /// If the principal may not, there is no such version, or the channel is at another revision.
    pub async fn move_channel(
        &self,
        key: ChannelKey,
        asked: &ChannelSpec,
        revision: Option<Revision>,
    ) -> Result<Channel, Problem> {
        if asked.reason.len() > LONGEST_REASON {
            let why = format!("it may have {LONGEST_REASON} bytes at the most");
            return Err(refused("reason", why));
        }
        let resource = Resource::Repository(key.repository.clone());
        let permit = self.permit(Action::ArtifactWrite, resource).await?;
        let to = match &asked.version {
            Some(version) => Some(self.target(&key, &field("version", version)?).await?),
            None => None,
        };
        let next = Revision::new(revision.map_or(0, Revision::get).saturating_add(1));
        if let Some(to) = &to {
            // Held first, as by releases. What a move that came to nothing holds goes with the next garbage.
            let holder = Holder::Channel(key.clone(), next);
            self.parts().artifacts.hold(&permit, &to.digest, &holder).await.or_problem()?;
        }
        let (now, by) = (self.parts().clock.now(), self.principal.clone());
        let moved = Moved::new(key.clone(), to, now, by).with_reason(asked.reason.clone());
        let put = self.parts().registry.move_channel(&permit, moved.clone(), expect(revision));
        let revision = put.await.map_err(|err| put_problem(err, "channel", &key))?;
        Ok(document(&Versioned::new(revision, moved)))
    }

    /// Whether the move `revision` of a channel is what leads to `digest` now. Earlier ones hold on until garbage is collected.
    pub(super) async fn leads(
        &self,
        key: &ChannelKey,
        revision: Revision,
        digest: &Digest,
    ) -> Result<bool, Problem> {
        match self.parts().registry.channel(key).await {
            Ok(now) => {
                let to = now.value.to.is_some_and(|it| it.digest == *digest);
                Ok(now.revision == revision && to)
            }
            Err(err) if err.kind() == ErrorKind::NotFound => Ok(false),
            Err(err) => Err(err.into_problem()),
        }
    }

    async fn target(&self, key: &ChannelKey, version: &Version) -> Result<ChannelTarget, Problem> {
        let entries = self.versions(&key.repository, key.kind).await?;
        let entry = entries.into_iter().find(|it| it.version == *version);
        let found = entry.ok_or_else(|| {
            let (repository, what) = (&key.repository, key.kind.as_str());
            let message = format!("repository `{repository}` has no {what} `{version}`");
            let hint =
                format!("`deploy artifact list --repository {repository}` shows what it has");
            Problem::new(ProblemCode::NotFound, message)
                .with_hint(hint)
                .with_context("version", version)
        })?;
        Ok(ChannelTarget { version: found.version, digest: found.meta.digest })
    }

    /// What is listed of one kind in one repository.
    pub(super) async fn versions(
        &self,
        repository: &RepositoryName,
        kind: ArtifactKind,
    ) -> Result<Vec<ArtifactEntry>, Problem> {
        let listed = ListArtifacts::new().with_repository(repository.clone()).with_kind(kind);
        self.parts().artifacts.list(&listed).await.or_problem()
    }

    /// Every channel that leads somewhere.
    pub(super) async fn open_channels(&self) -> Result<Vec<Versioned<Moved>>, Problem> {
        use deploy_core::backend::ServiceRegistryExt as _;
        let mut all = self.parts().registry.all_channels().await.or_problem()?;
        all.retain(|it| it.value.to.is_some());
        Ok(all)
    }
}

/// The channel that `REPOSITORY/KIND/NAME` is.
fn channel_key(text: &str) -> Result<ChannelKey, Problem> {
    let parts: Vec<_> = text.split('/').collect();
    let [repository, kind, name] = parts.as_slice() else {
        return Err(refused("after", "it must be `REPOSITORY/KIND/NAME`"));
    };
    let kind =
        ArtifactKind::from_name(kind).ok_or_else(|| refused("after", "there is no such kind"))?;
    Ok(ChannelKey::new(field("after", repository)?, kind, field("after", name)?))
}

fn unknown(err: deploy_core::error::BackendError, key: &ChannelKey) -> Problem {
    if err.kind() != ErrorKind::NotFound {
        return err.into_problem();
    }
    let ChannelKey { repository, kind, name } = key;
    let message =
        format!("repository `{repository}` has no channel `{name}` of {}s", kind.as_str());
    Problem::new(ProblemCode::NotFound, message)
        .with_hint("`deploy artifact channel list` shows all channels")
        .with_context("channel", name)
}

fn document(moved: &Versioned<Moved>) -> Channel {
    let Moved { channel, to, reason, at, by, .. } = &moved.value;
    Channel {
        repository: channel.repository.to_string(),
        kind: channel.kind.as_str().to_owned(),
        name: channel.name.to_string(),
        revision: moved.revision.get(),
        version: to.as_ref().map(|it| it.version.to_string()),
        digest: to.as_ref().map(|it| it.digest.to_string()),
        moved_at: at.to_string(),
        moved_by: by.to_string(),
        reason: reason.clone(),
    }
}
