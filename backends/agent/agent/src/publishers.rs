//! Whose releases this host runs, if its `host.toml` names publishers: what they have signed, and nothing else, whatever a server says.
//!
//! `host.toml` names the first keys. Lists of keys that these have signed take their place, each signed by those before it; the newest is kept
//! here. Whoever changes `host.toml` begins anew. What cannot be read is never taken for nothing: then nothing is run.
use crate::{policy::Policy, spec::Spec};
use deploy_agent_protocol::v1::Published;
use deploy_core::{
    digest::Digest,
    id::{ReleaseId, ServiceName},
    spec::ParameterName,
};
use deploy_host::{
    descriptor::{self, Script, Values},
    executor::options,
};
use deploy_package::publisher::{KeyList, NotPublished, Publishers, Statement};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

/// How many lists of keys an order may bring.
const MOST_LISTS: usize = 16;
/// Of how many releases of a service it is known what they were.
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
    /// Whoever changes what is kept does so alone.
    alone: Mutex<()>,
}

/// The newest list of keys that this host has followed.
#[derive(Debug, Serialize, Deserialize)]
struct Followed {
    root: Digest,
    list: KeyList,
}

/// What this host has run as a release.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Ran {
    /// When it was made.
    issued: u64,
    /// Of which package.
    package: Option<Digest>,
    /// The SHA-256 of what was signed.
    statement: Digest,
}

type Known = BTreeMap<ReleaseId, Ran>;

/// What publishers have said of an attempt's release.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    statement: Statement,
    text: Digest,
    /// The newest list of keys, if this host did not know it.
    newer: Option<KeyList>,
}

impl Trust {
    /// By what `policy` says, with what is remembered in `folder`; `None` if it asks for no publishers.
    pub(crate) fn of(policy: &Policy, folder: PathBuf) -> Option<Self> {
        let (first, root) = policy.publishers()?;
        Some(Self { first, root, folder, alone: Mutex::new(()) })
    }

    /// What publishers have said of an attempt's release. `current` is what the host runs, `is_there` whether it has that release already. This blocks.
    ///
    /// # Errors
    /// Why it is not to be run, for a person.
    pub(crate) fn check(
        &self,
        spec: &Spec,
        current: Option<&ReleaseId>,
        is_there: bool,
    ) -> Result<Said, String> {
        let Some(published) = &spec.order.published else {
            return Err(
                "host.toml asks for what `publishers` have signed, and this is not signed: sign the release (`--sign-key`); ad-hoc runs cannot be"
                    .to_owned(),
            );
        };
        let known = self.known(&spec.key.service)?;
        let before = spec.release.as_ref().and_then(|it| known.get(it));
        let said = self.read(spec, published, before)?;
        agrees(&said.statement, spec)?;
        if is_there && before.is_none_or(|it| it.package != said.statement.package) {
            return Err(format!(
                "release `{}` is on this host already, and nothing shows that it is what was signed: give the new one another name (`--id`), or remove it there",
                spec.order.release
            ));
        }
        not_older(&said.statement, spec, current.and_then(|it| known.get(it)))?;
        Ok(said)
    }

    /// Follows new keys, and remembers what is about to run. This blocks; it is on the disk afterwards.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(crate) fn remember(&self, spec: &Spec, said: Said) -> Result<(), String> {
        let _alone = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(list) = said.newer
            && self.followed()?.is_none_or(|it| it.serial < list.serial)
        {
            self.write(KEYS, &Followed { root: self.root, list })?;
        }
        let Some(release) = &spec.release else { return Ok(()) };
        let Said { statement, text, .. } = said;
        let ran = Ran { issued: statement.issued, package: statement.package, statement: text };
        let mut known = self.known(&spec.key.service)?;
        known.insert(release.clone(), ran);
        while known.len() > MOST_RELEASES {
            let oldest = known.iter().filter(|it| it.0 != release).min_by_key(|it| it.1.issued);
            let Some(oldest) = oldest.map(|it| it.0.clone()) else { break };
            known.remove(&oldest);
        }
        self.write(spec.key.service.as_str(), &known)
    }

    /// The statement, if enough of those have signed it that this host believes. It goes back to what it ran with the same statement `before`,
    /// though the keys of then may be given up by now.
    fn read(
        &self,
        spec: &Spec,
        published: &Published,
        before: Option<&Ran>,
    ) -> Result<Said, String> {
        let bytes = published.statement.as_bytes();
        let text = Digest::of(bytes);
        if spec.order.direction == "back" && before.is_some_and(|it| it.statement == text) {
            let statement = Statement::read_unverified(bytes).map_err(|why| said(&why))?;
            return Ok(Said { statement, text, newer: None });
        }
        let (publishers, newer) = self.follow(published)?;
        let statement = publishers.verify(bytes, &published.signatures);
        Ok(Said { statement: statement.map_err(|why| said(&why))?, text, newer })
    }

    /// Whom this host believes once it has followed the lists that come with a release, and the newest of them if it did not know that.
    fn follow(&self, published: &Published) -> Result<(Publishers, Option<KeyList>), String> {
        if published.key_lists.len() > MOST_LISTS {
            return Err(format!("it brings more than {MOST_LISTS} lists of keys"));
        }
        let followed = self.followed()?;
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

    fn followed(&self) -> Result<Option<KeyList>, String> {
        let kept: Option<Followed> = self.load(KEYS)?;
        Ok(kept.filter(|it| it.root == self.root).map(|it| it.list))
    }

    fn known(&self, service: &ServiceName) -> Result<Known, String> {
        Ok(self.load(service.as_str())?.unwrap_or_default())
    }

    fn load<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, String> {
        let path = self.folder.join(name);
        let failed = |err: &dyn std::fmt::Display| {
            let path = path.display();
            format!(
                "what is remembered of publishers cannot be read, and nothing runs without it: {path}: {err}"
            )
        };
        match fs::read(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(failed(&err)),
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|err| failed(&err)),
        }
    }

    fn write(&self, name: &str, content: &impl Serialize) -> Result<(), String> {
        let draft = self.folder.join(format!(".{name}.new"));
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(&serde_json::to_vec(content)?)?;
            file.sync_all()?;
            fs::rename(&draft, self.folder.join(name))?;
            crate::folder::sync_folder(&self.folder)
        };
        write().map_err(|err: io::Error| format!("{}: {err}", draft.display()))
    }
}

impl Said {
    /// Whether the tree with that manifest is what publishers have signed.
    pub(crate) fn covers(&self, manifest: Digest) -> bool {
        self.statement.manifest == Some(manifest)
    }
}

/// Whether an order is what the signed descriptor says: an order that runs other scripts of it, or gives its default steps other commands, would
/// run what nobody has signed.
///
/// # Errors
/// What differs, for a person.
pub(crate) fn follows(spec: &Spec, host: &str, archive: &[u8]) -> Result<(), String> {
    let other = |what: &str, name: &str| {
        Err(format!("the order has {what} `{name}` that its signed descriptor does not have"))
    };
    let bundle = descriptor::read(archive).map_err(|err| format!("the descriptor: {err}"))?;
    for step in &spec.steps {
        let described = bundle.descriptor.step(step.name);
        let script = described.map(|it| match &it.script {
            Script::Custom(path) => Some(path.clone()),
            Script::Default => None,
        });
        let check = described.and_then(|it| it.check.clone());
        if script != Some(step.script.clone()) || check != step.check {
            return other("a step", step.name.as_str());
        }
    }
    let environment = &spec.order.environment;
    let parameters = environment
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("P_")?.parse().ok()?, value.clone())));
    let parameters: BTreeMap<ParameterName, String> = parameters.collect();
    let values = Values {
        parameters: &parameters,
        host,
        release: &spec.order.release,
        service: spec.key.service.as_str(),
        version: &spec.order.version,
    };
    let said = options(values, &bundle.descriptor).map_err(|err| err.chain())?;
    let said: BTreeMap<_, _> = said.into_iter().collect();
    let ordered = environment.iter().filter(|it| it.0.starts_with("D_"));
    for (name, value) in ordered.clone() {
        if said.get(name) != Some(value) {
            return other("an option", name);
        }
    }
    if ordered.count() != said.len() {
        return Err("the order leaves out options of its signed descriptor".to_owned());
    }
    Ok(())
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
    let package = spec.package.map(|it| it.digest);
    if spec.order.keeps_release && statement.package != package {
        return other("package");
    }
    Ok(())
}

fn not_older(statement: &Statement, spec: &Spec, runs: Option<&Ran>) -> Result<(), String> {
    if spec.order.downgrade || runs.is_none_or(|it| it.issued <= statement.issued) {
        return Ok(());
    }
    Err(format!(
        "{} is older than what runs here, and the order does not say that this is meant",
        statement.version
    ))
}

fn said(why: &NotPublished) -> String {
    format!("host.toml asks for what `publishers` have signed: {why} ({})", why.code())
}
