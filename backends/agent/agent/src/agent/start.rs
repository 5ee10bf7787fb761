//! `start`: from an order to a promise.
use super::{
    Host,
    answers::{failing, invalid, refused},
    delivery::{Package, Trees},
    prepare::{Fetched, FetchedPackage, Prepared},
    questions::current_release,
};
use crate::{
    FetchArtifact,
    account::Account,
    attempt::{Acceptance, NotAccepted},
    cache::FetchError,
    disk::{self, Disk},
    package::{self, PackageTree},
    publishers::{self, Said},
    spec::{Artifact, DeliverySpec, Spec},
};
use deploy_agent_protocol::v1::{Accepted, Attempt, Refusal, Refused};
use deploy_core::telemetry::TARGET_BACKEND;
use deploy_package::publish::Needs;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};
use tokio::{sync::watch, task::spawn_blocking};

/// What an attempt and its way back need.
#[derive(Debug)]
pub(super) struct Wanted {
    package: Option<Package>,
    back_package: Option<Package>,
    /// All that has to be in the cache.
    pub(super) artifacts: Vec<Artifact>,
}

impl Wanted {
    pub(super) fn packages(&self) -> Vec<&Package> {
        self.package.iter().chain(&self.back_package).collect()
    }
}

impl Host {
    pub(super) async fn start(
        self: Arc<Self>,
        attempt: Attempt,
        artifacts: &dyn FetchArtifact,
    ) -> Result<Accepted, Refused> {
        if self.closing.load(Ordering::SeqCst) {
            return Err(failing("the agent of this host is being stopped"));
        }
        let spec = Spec::parse(attempt)?;
        if self.is_new(&spec).await? {
            let (account, said) = self.permitted(&spec).await?;
            self.leave_alone_what_is_left(&spec).await?;
            let prepared = self.prepare(&spec, &account, &said, artifacts).await?;
            self.remember(&spec, said).await?;
            self.accept(&spec, prepared).await?;
        }
        Ok(Accepted {})
    }

    /// The account of an attempt that the host lets be run, and what publishers have said of it and of its way back.
    pub(super) async fn permitted(
        self: &Arc<Self>,
        spec: &Spec,
    ) -> Result<(Account, Vec<Option<Said>>), Refused> {
        let account = self.allowed(spec).await?;
        let mut said = vec![self.published(spec).await?];
        if let Some(revert) = &spec.revert {
            self.allowed(&revert.back).await.map_err(of_the_way_back)?;
            said.push(self.published(&revert.back).await.map_err(of_the_way_back)?);
        }
        Ok((account, said))
    }

    /// What publishers have said of an attempt's release; `None` if this host asks for nobody's word.
    async fn published(self: &Arc<Self>, spec: &Spec) -> Result<Option<Said>, Refused> {
        if self.trust.is_none() {
            return Ok(None);
        }
        let (host, spec) = (Arc::clone(self), spec.clone());
        let checked = spawn_blocking(move || {
            let current = current_release(&spec.place).and_then(|it| it.parse().ok());
            let releases = spec.place.releases();
            let is_there = spec.release.as_ref().is_some_and(|it| package::is_whole(&releases, it));
            host.trust.as_ref().map(|it| it.check(&spec, current.as_ref(), is_there)).transpose()
        });
        checked.await.map_err(failing)?.map_err(not_trusted)
    }

    /// What is about to run: the attempt, and its way back.
    async fn remember(
        self: &Arc<Self>,
        spec: &Spec,
        said: Vec<Option<Said>>,
    ) -> Result<(), Refused> {
        let (host, spec) = (Arc::clone(self), spec.clone());
        let remembered = spawn_blocking(move || {
            let back = spec.revert.as_deref().map(|it| &it.back);
            for (spec, said) in [&spec].into_iter().chain(back).zip(said) {
                if let (Some(trust), Some(said)) = (&host.trust, said) {
                    trust.remember(spec, said)?;
                }
            }
            Ok::<_, String>(())
        });
        remembered.await.map_err(failing)?.map_err(failing)
    }

    /// Whether there is something to start. What will be refused is refused before anything is fetched for it.
    async fn is_new(&self, spec: &Spec) -> Result<bool, Refused> {
        let (accepted, decided) =
            self.journal.look(|attempts| attempts.accept(&spec.key, &spec.order.token));
        self.journal.durable(decided).await?;
        Ok(accepted.map_err(not_accepted)? != Acceptance::Known)
    }

    /// The account of an attempt, if the host lets it be run.
    pub(super) async fn allowed(&self, spec: &Spec) -> Result<Account, Refused> {
        let name = spec.place.account.clone();
        // Where accounts come over a network, that takes its time.
        let account =
            spawn_blocking(move || Account::find(name.as_ref())).await.map_err(failing)?;
        let account = account.map_err(failing)?.ok_or_else(|| {
            let name = spec.place.account.as_ref().map_or("of the agent", |it| it.as_str());
            refused(
                Refusal::NoAccount,
                format_args!("there is no account `{name}` on this host"),
                0,
            )
        })?;
        let refuse = |why| refused(Refusal::NotAllowed, why, 0);
        self.options.policy.allows(spec, &account.name, account.uid).map_err(refuse)?;
        if !account.is_own() && !rustix::process::geteuid().is_root() {
            return Err(refuse(format!(
                "the agent does not run as root, and so can run nothing as `{}`",
                account.name
            )));
        }
        Ok(account)
    }

    /// An attempt of which something could not be ended is in the way of the next.
    async fn leave_alone_what_is_left(self: &Arc<Self>, spec: &Spec) -> Result<(), Refused> {
        let service = spec.key.service.clone();
        let host = Arc::clone(self);
        let left = spawn_blocking(move || host.left_of(&service)).await.map_err(failing)?;
        let Some((generation, names)) = left.map_err(failing)? else { return Ok(()) };
        let why = format!(
            "of the attempt {generation} processes are left that could not be ended: {}",
            names.join(", ")
        );
        Err(refused(Refusal::Busy, why, generation))
    }

    /// Makes the promise: from here on it is started, whatever becomes of whoever asked.
    async fn accept(self: &Arc<Self>, spec: &Spec, prepared: Prepared) -> Result<(), Refused> {
        let key = &spec.key;
        let limit = self.options.policy.concurrency();
        let (accepted, decided) = self.journal.decide(|attempts| {
            let accepted = attempts.accept(key, &spec.order.token);
            let records = match &accepted {
                Ok(Acceptance::Known) | Err(_) => return (Vec::new(), Some(accepted)),
                Ok(Acceptance::New(records)) => records.clone(),
                Ok(Acceptance::Unstarted) => Vec::new(),
            };
            let mut live = self.live();
            if live.len() >= usize::try_from(limit).unwrap_or(usize::MAX) {
                return (Vec::new(), None);
            }
            // Whoever sees the record finds somebody to listen to.
            live.insert(key.clone(), watch::Sender::new(0));
            attempts.resume(key);
            (records, Some(accepted))
        })?;
        let accepted = accepted.ok_or_else(|| {
            let why = format_args!("{limit} attempts are under way, and host.toml allows no more");
            refused(Refusal::Busy, why, 0)
        })?;
        let is_new = !matches!(accepted.map_err(not_accepted)?, Acceptance::Known);
        if is_new {
            let host = Arc::clone(self);
            let (key, group) = (key.clone(), spec.group());
            self.spawn(async move { host.launch(key, group, prepared, decided).await });
        }
        Ok(self.journal.durable(decided).await?)
    }

    async fn prepare(
        &self,
        spec: &Spec,
        account: &Account,
        said: &[Option<Said>],
        artifacts: &dyn FetchArtifact,
    ) -> Result<Prepared, Refused> {
        let wanted = self.wanted(spec, said, Trees::Verified, artifacts).await;
        // What comes later must not take the place of what has come.
        let _held = self.cache.hold(&wanted.artifacts);
        let missing = self.missing(&wanted.artifacts)?;
        self.has_room_for(&spec.place, &wanted.packages(), missing)?;
        let packages = [wanted.package.clone(), wanted.back_package.clone()];
        let made = self.make(spec, account, packages, artifacts).await;
        made.map_err(|why| {
            self.lacking_for(&spec.place, &wanted.packages(), &wanted.artifacts, why)
        })
    }

    /// Fetches what an attempt and its way back need, and lays it out.
    async fn make(
        &self,
        spec: &Spec,
        account: &Account,
        [package, back_package]: [Option<Package>; 2],
        artifacts: &dyn FetchArtifact,
    ) -> Result<Prepared, Refused> {
        let fetched = self.fetch(spec, package, artifacts).await?;
        let back = match &spec.revert {
            Some(revert) => Some(self.fetch(&revert.back, back_package, artifacts).await?),
            None => None,
        };
        let folder = self.unfinished(&spec.key);
        let (spec, account, policy) = (spec.clone(), account.clone(), self.options.policy.clone());
        let prepared = spawn_blocking(move || {
            Prepared::new(folder, &spec, &account, &fetched, back.as_ref(), &policy)
        });
        prepared.await.map_err(failing)?.map_err(|err| self.not_written(&err))
    }

    /// What an attempt needs, and how it comes. What its way back needs is there before anything is changed.
    pub(super) async fn wanted(
        &self,
        spec: &Spec,
        said: &[Option<Said>],
        trees: Trees,
        from: &dyn FetchArtifact,
    ) -> Wanted {
        let said_of = |at: usize| said.get(at).and_then(Option::as_ref);
        let package = self.package(spec, said_of(0), trees, from).await;
        let back = spec.revert.as_deref().map(|it| &it.back);
        let back_package = match back {
            Some(back) => self.package(back, said_of(1), trees, from).await,
            None => None,
        };
        let mut wanted = Wanted { package, back_package, artifacts: vec![spec.descriptor] };
        wanted.artifacts.extend(back.map(|it| it.descriptor));
        let parts: Vec<_> = wanted.packages().iter().flat_map(|it| it.artifacts()).collect();
        wanted.artifacts.extend(parts);
        wanted
    }

    /// How the package of an attempt comes, if it has one.
    async fn package(
        &self,
        spec: &Spec,
        said: Option<&Said>,
        trees: Trees,
        artifacts: &dyn FetchArtifact,
    ) -> Option<Package> {
        let release = spec.release.as_ref();
        // What publishers have not said of the tree has to come as what they have said something of.
        let signed = |it: &&DeliverySpec| {
            self.trust.is_none() || said.is_some_and(|said| said.covers(it.manifest))
        };
        let delivery = spec.delivery.as_ref().filter(signed);
        Some(self.way(&spec.place, release, spec.package?, delivery, trees, artifacts).await)
    }

    async fn fetch(
        &self,
        spec: &Spec,
        package: Option<Package>,
        artifacts: &dyn FetchArtifact,
    ) -> Result<Fetched, Refused> {
        let descriptor = self.cached(spec.descriptor, artifacts).await?;
        if self.trust.is_some() {
            let (path, spec, host) = (descriptor.clone(), spec.clone(), self.options.name.clone());
            let read = spawn_blocking(move || {
                let archive = fs::read(path).map_err(|err| err.to_string())?;
                publishers::follows(&spec, &host, &archive)
            });
            read.await.map_err(failing)?.map_err(not_trusted)?;
        }
        let package = match package {
            Some(Package::Archive(archive)) => {
                Some(FetchedPackage::Archive(self.cached(archive, artifacts).await?))
            }
            Some(Package::Tree(tree, needs)) => {
                Some(self.parts(spec, tree, needs, artifacts).await?)
            }
            None => None,
        };
        Ok(Fetched { descriptor, package })
    }

    /// The parts of a tree, or the package itself if one of them is gone: nobody promises to keep parts.
    async fn parts(
        &self,
        spec: &Spec,
        tree: PackageTree,
        needs: Needs,
        artifacts: &dyn FetchArtifact,
    ) -> Result<FetchedPackage, Refused> {
        let mut parts = Vec::new();
        for part in &tree.parts {
            match self.cached(part.part.into(), artifacts).await {
                Ok(part) => parts.push(part),
                // The package is larger.
                Err(why) if why.code() == Refusal::NoSpace => return Err(why),
                Err(why) => {
                    let package = spec.package.filter(|it| it.digest != part.part.digest);
                    let package = package.ok_or_else(|| why.clone())?;
                    tracing::warn!(
                        target: TARGET_BACKEND, { reason = why.message }, "a package is fetched whole"
                    );
                    return Ok(FetchedPackage::Archive(self.cached(package, artifacts).await?));
                }
            }
        }
        Ok(FetchedPackage::Tree { tree, needs, parts })
    }

    async fn cached(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
    ) -> Result<PathBuf, Refused> {
        self.cache.get(artifact, from).await.map_err(|err| self.not_fetched(&err))
    }

    pub(super) fn not_fetched(&self, err: &FetchError) -> Refused {
        match err {
            FetchError::Keep(err) => self.not_written(err),
            FetchError::Fetch { .. } | FetchError::Other { .. } => {
                refused(Refusal::Artifact, err, 0)
            }
        }
    }

    /// A full disk is called that, whatever it broke.
    pub(super) fn not_written(&self, err: &io::Error) -> Refused {
        match err.kind() {
            _ if disk::is_full(err) => {
                refused(Refusal::NoSpace, no_room(&self.options.state, err), 0)
            }
            io::ErrorKind::InvalidData => refused(Refusal::Artifact, err, 0),
            io::ErrorKind::PermissionDenied => refused(Refusal::NotAllowed, err, 0),
            io::ErrorKind::InvalidInput => invalid(err),
            _ => failing(err),
        }
    }
}

fn not_trusted(why: String) -> Refused {
    refused(Refusal::NotTrusted, why, 0)
}

fn of_the_way_back(mut refused: Refused) -> Refused {
    refused.message.insert_str(0, "the way back: ");
    refused
}

fn not_accepted(why: NotAccepted) -> Refused {
    match why {
        NotAccepted::Busy { generation } => refused(Refusal::Busy, why, generation),
        NotAccepted::Fenced { seen } => refused(Refusal::Fenced, why, seen),
        NotAccepted::OtherToken => invalid(why),
    }
}

/// Where nothing is lacking by now, or what is full is not the disk but what an account may put on it.
fn no_room(folder: &Path, err: &io::Error) -> String {
    let now = Disk::of(folder).map_or_else(|_| String::new(), |it| format!("; {} now", it.says()));
    format!("{} has no room for it: {err}{now}", folder.display())
}
