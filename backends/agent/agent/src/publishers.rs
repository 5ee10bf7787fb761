//! Whose releases this host runs, if its `host.toml` names publishers: what they have signed, and nothing else, whatever a server says.
//!
//! `host.toml` names the first keys. Lists of keys that these have signed take their place, each signed by those before it; the newest is kept
//! here. Whoever changes `host.toml` begins anew.
use crate::{policy::Policy, spec::Spec};
use deploy_agent_protocol::v1::Published;
use deploy_core::{
    digest::Digest,
    id::{ReleaseId, ServiceName},
};
use deploy_package::publisher::{KeyList, NotPublished, Publishers, Statement};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// How many lists of keys an order may bring.
const MOST_LISTS: usize = 16;
/// Of how many releases of a service it is known when they were made.
const MOST_RELEASES: usize = 64;
/// No service is called that.
const KEYS: &str = ".keys";

/// What publishers say on this host.
#[derive(Debug)]
pub(crate) struct Trust {
    first: Publishers,
    /// Which first keys what is kept was reached from.
    root: Digest,
    folder: PathBuf,
}

/// The newest list of keys that this host has followed.
#[derive(Debug, Serialize, Deserialize)]
struct Followed {
    root: Digest,
    list: KeyList,
}

impl Trust {
    /// By what `policy` says, with what is remembered in `folder`; `None` if it asks for no publishers.
    pub(crate) fn of(policy: &Policy, folder: PathBuf) -> Option<Self> {
        let (first, root) = policy.publishers()?;
        Some(Self { first, root, folder })
    }

    /// What publishers have said of an attempt's release. New keys are followed, durably. `current` is what the host runs. This blocks.
    ///
    /// # Errors
    /// Why it is not to be run, for a person.
    pub(crate) fn check(
        &self,
        spec: &Spec,
        current: Option<&ReleaseId>,
    ) -> Result<Statement, String> {
        let Some(published) = &spec.order.published else {
            return Err(
                "host.toml asks for what `publishers` have signed, and this is not signed: sign the release (`--sign-key`); ad-hoc runs cannot be"
                    .to_owned(),
            );
        };
        let (publishers, newer) = self.follow(published)?;
        let statement = publishers.verify(published.statement.as_bytes(), &published.signatures);
        let statement = statement.map_err(|why| said(&why))?;
        agrees(&statement, spec)?;
        self.not_older(&statement, spec, current)?;
        if let Some(list) = newer {
            self.keep(list)
                .map_err(|err| format!("the keys of publishers cannot be kept: {err}"))?;
        }
        Ok(statement)
    }

    /// Remembers when the release of an attempt was made that is about to run. This blocks.
    pub(crate) fn remember(&self, spec: &Spec, statement: &Statement) -> io::Result<()> {
        let Some(release) = &spec.release else { return Ok(()) };
        let mut known = self.known(&spec.key.service);
        known.insert(release.clone(), statement.issued);
        while known.len() > MOST_RELEASES {
            let oldest = known.iter().min_by_key(|it| it.1).map(|it| it.0.clone());
            oldest.map(|it| known.remove(&it));
        }
        self.write(spec.key.service.as_str(), &serde_json::to_vec(&known)?)
    }

    /// Whom this host believes once it has followed the lists that come with a release, and the newest of them if it did not know that.
    fn follow(&self, published: &Published) -> Result<(Publishers, Option<KeyList>), String> {
        if published.key_lists.len() > MOST_LISTS {
            return Err(format!("it brings more than {MOST_LISTS} lists of keys"));
        }
        let followed = self.followed();
        let mut serial = followed.as_ref().map_or(0, |it| it.serial);
        let mut publishers = match &followed {
            Some(list) => list.publishers().map_err(|why| said(&why))?,
            None => self.first.clone(),
        };
        let mut newer = None;
        for keys in &published.key_lists {
            let bytes = keys.list.as_bytes();
            let list = KeyList::read_unverified(bytes).map_err(|why| said(&why))?;
            // What was followed before may be signed by keys that are given up by now.
            if list.serial <= serial {
                continue;
            }
            let list = publishers.succeed(bytes, &keys.signatures, serial);
            let list = list.map_err(|why| said(&why))?;
            publishers = list.publishers().map_err(|why| said(&why))?;
            serial = list.serial;
            newer = Some(list);
        }
        Ok((publishers, newer))
    }

    fn followed(&self) -> Option<KeyList> {
        let kept: Followed =
            serde_json::from_slice(&fs::read(self.folder.join(KEYS)).ok()?).ok()?;
        (kept.root == self.root).then_some(kept.list)
    }

    fn keep(&self, list: KeyList) -> io::Result<()> {
        self.write(KEYS, &serde_json::to_vec(&Followed { root: self.root, list })?)
    }

    fn not_older(
        &self,
        statement: &Statement,
        spec: &Spec,
        current: Option<&ReleaseId>,
    ) -> Result<(), String> {
        let runs = current.and_then(|it| self.known(&spec.key.service).get(it).copied());
        if spec.order.downgrade || runs.is_none_or(|runs| runs <= statement.issued) {
            return Ok(());
        }
        Err(format!(
            "{} is older than what runs here, and the order does not say that this is meant",
            statement.version
        ))
    }

    fn known(&self, service: &ServiceName) -> BTreeMap<ReleaseId, u64> {
        let bytes = fs::read(self.folder.join(service.as_str())).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let draft = self.folder.join(format!(".{name}.new"));
        let mut file = File::create(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(draft, self.folder.join(name))?;
        crate::folder::sync_folder(Path::new(&self.folder))
    }
}

/// Whether a statement is about the very thing that an attempt is to run.
fn agrees(statement: &Statement, spec: &Spec) -> Result<(), String> {
    let other = |what: &str| Err(format!("what publishers have signed is for another {what}"));
    if statement.service != spec.key.service {
        return other("service");
    }
    if statement.version.as_str() != spec.order.version {
        return other("version");
    }
    if statement.descriptor != spec.descriptor.digest {
        return other("descriptor");
    }
    match spec.package {
        Some(package) if statement.package != Some(package.digest) => other("package"),
        _ => Ok(()),
    }
}

fn said(why: &NotPublished) -> String {
    format!("host.toml asks for what `publishers` have signed: {why} ({})", why.code())
}
