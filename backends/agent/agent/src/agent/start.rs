//! `start`: from an order to a promise.
use super::{
    Host,
    answers::{failing, invalid, refused},
    prepare::{Fetched, Prepared},
};
use crate::{
    FetchArtifact,
    account::Account,
    attempt::{Acceptance, NotAccepted},
    cache::FetchError,
    spec::Spec,
};
use deploy_agent_protocol::v1::{Accepted, Attempt, Refusal, Refused};
use rustix::fs::statvfs;
use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};
use tokio::{sync::watch, task::spawn_blocking};

/// So much of a disk is left alone: what an attempt writes about itself must find room.
const RESERVE: u64 = 64 << 20;
/// And so many files.
const RESERVE_FILES: u64 = 1_000;

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
            let account = self.allowed(&spec).await?;
            if let Some(revert) = &spec.revert {
                self.allowed(&revert.back).await?;
            }
            self.leave_alone_what_is_left(&spec).await?;
            has_room(&self.options.state, self.missing(&spec.artifacts())?)?;
            let prepared = self.prepare(&spec, &account, artifacts).await?;
            self.accept(&spec, prepared).await?;
        }
        Ok(Accepted {})
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
        artifacts: &dyn FetchArtifact,
    ) -> Result<Prepared, Refused> {
        let fetched = self.fetch(spec, artifacts).await?;
        // What the way back needs is there before anything is changed.
        let back = match &spec.revert {
            Some(revert) => Some(self.fetch(&revert.back, artifacts).await?),
            None => None,
        };
        let folder = self.unfinished(&spec.key);
        let (spec, account, policy) = (spec.clone(), account.clone(), self.options.policy.clone());
        let prepared = spawn_blocking(move || {
            Prepared::new(folder, &spec, &account, &fetched, back.as_ref(), &policy)
        });
        prepared.await.map_err(failing)?.map_err(|err| self.not_written(&err))
    }

    async fn fetch(&self, spec: &Spec, artifacts: &dyn FetchArtifact) -> Result<Fetched, Refused> {
        let descriptor = self.cache.get(spec.descriptor, artifacts).await;
        let descriptor = descriptor.map_err(|err| self.not_fetched(&err))?;
        let package = match spec.package {
            Some(package) => {
                let package = self.cache.get(package, artifacts).await;
                Some(package.map_err(|err| self.not_fetched(&err))?)
            }
            None => None,
        };
        Ok(Fetched { descriptor, package })
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
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                refused(Refusal::NoSpace, no_room(&self.options.state), 0)
            }
            io::ErrorKind::InvalidData => refused(Refusal::Artifact, err, 0),
            io::ErrorKind::PermissionDenied => refused(Refusal::NotAllowed, err, 0),
            io::ErrorKind::InvalidInput => invalid(err),
            _ => failing(err),
        }
    }
}

fn not_accepted(why: NotAccepted) -> Refused {
    match why {
        NotAccepted::Busy { generation } => refused(Refusal::Busy, why, generation),
        NotAccepted::Fenced { seen } => refused(Refusal::Fenced, why, seen),
        NotAccepted::OtherToken => invalid(why),
    }
}

/// Whether `size` more bytes can be kept in `folder`, with a reserve that stays.
pub(super) fn has_room(folder: &Path, size: u64) -> Result<(), Refused> {
    let disk = statvfs(folder).map_err(|err| failing(io::Error::from(err)))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // Some file systems do not count files.
    let files = disk.f_files == 0 || disk.f_favail >= RESERVE_FILES;
    if free >= RESERVE.saturating_add(size) && files {
        return Ok(());
    }
    Err(refused(Refusal::NoSpace, no_room(folder), 0))
}

fn no_room(folder: &Path) -> String {
    let reserve = RESERVE >> 20;
    format!(
        "the disk of {} is full: {reserve} MiB and {RESERVE_FILES} files have to stay free beside what is fetched",
        folder.display()
    )
}
