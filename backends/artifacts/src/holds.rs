//! Who needs which artifact.
use crate::{fault, layout};
use deploy_core::{
    backend::{ArtifactKind, BackendError, BackendResult, ChannelKey, ErrorKind, Holder, Revision},
    digest::Digest,
};
use futures_util::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, path::Path};
use std::{collections::BTreeSet, sync::Arc};

#[derive(Clone, Debug)]
pub(crate) struct Holds {
    store: Arc<dyn ObjectStore>,
}

impl Holds {
    pub(crate) const fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    pub(crate) async fn add(&self, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        let path = layout::hold(digest, holder);
        let put = self.store.put(&path, PutPayload::new()).await;
        put.map(drop).map_err(|err| fault::writing("artifact.hold", path, err))
    }

    pub(crate) async fn remove(&self, digest: &Digest, holder: &Holder) -> BackendResult<()> {
        let path = layout::hold(digest, holder);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(err) => Err(fault::writing("artifact.let_go", path, err)),
        }
    }

    pub(crate) async fn of(&self, digest: &Digest) -> BackendResult<BTreeSet<Holder>> {
        let operation = "artifact.holders";
        let held = self.under(operation, &layout::holds_of(digest)).await?;
        held.into_iter().map(|(_, holder)| parse_holder(operation, &holder)).collect()
    }

    /// Anybody who holds `digest`, as text: a holder of a kind that this version does not know holds as well.
    pub(crate) async fn any(
        &self,
        operation: &'static str,
        digest: &Digest,
    ) -> BackendResult<Option<String>> {
        let held = self.under(operation, &layout::holds_of(digest)).await?;
        Ok(held.into_iter().next().map(|(_, holder)| holder))
    }

    /// All that is held, and by whom; `None` is a holder of a kind that this version does not know.
    pub(crate) async fn all(
        &self,
        operation: &'static str,
    ) -> BackendResult<Vec<(Digest, Option<Holder>)>> {
        let held = self.under(operation, &layout::holds()).await?.into_iter();
        Ok(held.map(|(digest, holder)| (digest, known_holder(&holder))).collect())
    }

    async fn under(
        &self,
        operation: &'static str,
        prefix: &Path,
    ) -> BackendResult<BTreeSet<(Digest, String)>> {
        let holds = self.store.list(Some(prefix));
        let holds = holds.try_filter_map(async |it| Ok(layout::hold_of(&it.location)));
        holds.try_collect().await.map_err(|err| fault::reading(operation, prefix, err))
    }
}

fn parse_holder(operation: &'static str, text: &str) -> BackendResult<Holder> {
    known_holder(text).ok_or_else(|| {
        BackendError::new(ErrorKind::Unsupported, operation)
            .with("holder", text)
            .with("hint", "a newer version of this program wrote it")
    })
}

fn known_holder(text: &str) -> Option<Holder> {
    match text.split_once('/')? {
        ("channel", rest) => parse_channel(rest),
        ("release", id) => id.parse().ok().map(Holder::Release),
        ("pin", name) => name.parse().ok().map(Holder::Pin),
        _ => None,
    }
}

/// `<repository>/<kind>/<name>/<revision>`.
fn parse_channel(text: &str) -> Option<Holder> {
    let [repository, kind, name, revision] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
    let kind = ArtifactKind::from_name(kind)?;
    let key = ChannelKey::new(repository.parse().ok()?, kind, name.parse().ok()?);
    Some(Holder::Channel(key, Revision::new(revision.parse().ok()?)))
}
