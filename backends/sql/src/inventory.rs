use crate::{
    arg::{int, limit},
    body::{Body, FORMAT, decode},
    database::Database,
    row::{Damage, Row},
    store::{Store, Transaction},
};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{Expect, HostInventory, Revision, Versioned},
    error::{BackendError, BackendResult, ErrorKind},
    host::{Host, Installed},
    id::{HostName, ServiceName},
};
use std::collections::{BTreeMap, BTreeSet};

const PUT: &str = "inventory.put";
const RECORD: &str = "inventory.record";
const REMOVE: &str = "inventory.remove";

/// Keeps machine records in SQL.
#[derive(Clone, Debug)]
pub struct SqlHostInventory {
    store: Store,
}

impl SqlHostInventory {
    /// The inventory in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { store: database.main().clone() }
    }

    /// Puts all of these records, or none of them: what cannot be put keeps the others from being put. For each, one of the
    /// permits must be for it.
    ///
    /// # Errors
    /// As [`put`](HostInventory::put), for the first host that it fails for.
    pub async fn put_all(
        &self,
        permits: &[Permit],
        mut hosts: Vec<(Host, Expect)>,
    ) -> BackendResult<()> {
        demand_each(permits, hosts.iter().map(|(host, _)| &host.name), PUT)?;
        // In one order for everybody: two that put the same hosts wait for each other, and never both.
        hosts.sort_unstable_by(|(one, _), (other, _)| one.name.cmp(&other.name));
        let mut transaction = self.store.begin(PUT).await?;
        let mut outcome = Ok(());
        for (host, expect) in &hosts {
            outcome = self.set_host(&mut transaction, host, *expect).await.map(drop);
            if outcome.is_err() {
                break;
            }
        }
        transaction.finish(outcome).await
    }

    /// Removes all of these records, or none of them. For each, one of the permits must be for it.
    ///
    /// # Errors
    /// As [`remove`](HostInventory::remove), for the first host that it fails for.
    pub async fn remove_all(
        &self,
        permits: &[Permit],
        names: &BTreeSet<HostName>,
    ) -> BackendResult<()> {
        demand_each(permits, names.iter(), REMOVE)?;
        let mut transaction = self.store.begin(REMOVE).await?;
        let mut outcome = Ok(());
        for name in names {
            outcome = self.delete_host(&mut transaction, name).await;
            if outcome.is_err() {
                break;
            }
        }
        transaction.finish(outcome).await
    }

    fn missing(&self, operation: &'static str, name: &HostName) -> BackendError {
        self.store.error(ErrorKind::NotFound, operation).with("host", name)
    }

    async fn set_host(
        &self,
        transaction: &mut Transaction,
        host: &Host,
        expect: Expect,
    ) -> BackendResult<Revision> {
        const NEXT: &str = "INSERT INTO host_revisions (name, revision) VALUES ($1, 1) \
             ON CONFLICT (name) DO UPDATE SET revision = host_revisions.revision + 1 \
             RETURNING name, revision";
        const INSERT: &str = "INSERT INTO hosts (name, revision, format, checksum, body) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name) DO NOTHING";
        const UPDATE: &str = "UPDATE hosts SET revision = $2, format = $3, checksum = $4, body = $5 \
             WHERE name = $1 AND revision = $6";
        let body = Body::encode(PUT, FORMAT, host)?;
        let [format, checksum, json] = body.args();
        let name = host.name.as_str().into();
        // Taken before the comparison: it makes writers of one host queue. A refusal undoes it.
        let row = transaction.fetch(NEXT, &[name]).await?;
        let next = self.store.place(PUT, "host_revisions").decode_all(&row, |row| row.number(1))?;
        let next = next.into_iter().next().unwrap_or(1);
        let revision = int(PUT, "revision", next)?.into();
        let written = match expect {
            Expect::Absent => {
                transaction.execute(INSERT, &[name, revision, format, checksum, json]).await?
            }
            Expect::At(expected) => {
                // A revision that no column can hold is none that is there.
                let expected = i64::try_from(expected.get()).unwrap_or(i64::MAX).into();
                let args = [name, revision, format, checksum, json, expected];
                transaction.execute(UPDATE, &args).await?
            }
        };
        if written > 0 {
            return Ok(Revision::new(next));
        }
        let there = transaction.fetch_optional(SELECT_HOST, &[name]).await?.is_some();
        let kind = match (expect, there) {
            (Expect::Absent, _) => ErrorKind::AlreadyExists,
            (Expect::At(_), true) => ErrorKind::Conflict,
            (Expect::At(_), false) => ErrorKind::NotFound,
        };
        Err(self.store.error(kind, PUT).with("host", &host.name))
    }

    async fn delete_host(
        &self,
        transaction: &mut Transaction,
        name: &HostName,
    ) -> BackendResult<()> {
        match transaction
            .execute("DELETE FROM hosts WHERE name = $1", &[name.as_str().into()])
            .await?
        {
            0 => Err(self.missing(REMOVE, name)),
            _ => Ok(()),
        }
    }

    async fn set_installed(
        &self,
        transaction: &mut Transaction,
        name: &HostName,
        service: &ServiceName,
        seen: &Installed,
    ) -> BackendResult<()> {
        const SQL: &str = "INSERT INTO installed (service, host, generation, seen_at, format, checksum, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (service, host) DO UPDATE SET generation = excluded.generation, \
             seen_at = excluded.seen_at, format = excluded.format, checksum = excluded.checksum, \
             body = excluded.body \
             WHERE (installed.generation, installed.seen_at) <= (excluded.generation, excluded.seen_at)";
        let body = Body::encode(RECORD, FORMAT, seen)?;
        let [format, checksum, json] = body.args();
        if transaction.fetch_optional(SELECT_HOST, &[name.as_str().into()]).await?.is_none() {
            return Err(self.missing(RECORD, name));
        }
        let args = [
            service.as_str().into(),
            name.as_str().into(),
            int(RECORD, "generation", seen.generation.get())?.into(),
            int(RECORD, "seen_at", seen.seen_at.as_millis())?.into(),
            format,
            checksum,
            json,
        ];
        match transaction.execute(SQL, &args).await {
            // The host was removed in between: the foreign key holds what the look above cannot.
            Err(err) if err.kind() == ErrorKind::Conflict => Err(self.missing(RECORD, name)),
            Err(err) => Err(err),
            Ok(_) => Ok(()),
        }
    }
}

const SELECT_HOST: &str =
    "SELECT name, revision, format, checksum, body FROM hosts WHERE name = $1";

/// What many changes at once need: a permit for each of the hosts, or one for all of them.
fn demand_each<'a>(
    permits: &[Permit],
    mut names: impl Iterator<Item = &'a HostName>,
    operation: &'static str,
) -> BackendResult<()> {
    if permits.iter().any(|it| it.covers(Action::HostWrite, &Resource::System)) {
        return Ok(());
    }
    let mine: BTreeSet<_> = permits
        .iter()
        .filter(|it| it.action() == Action::HostWrite)
        .filter_map(|it| match it.resource() {
            Resource::Host(name, None) => Some(name),
            _ => None,
        })
        .collect();
    match names.find(|it| !mine.contains(it)) {
        Some(name) => {
            Err(BackendError::new(ErrorKind::PermissionDenied, operation).with("host", name))
        }
        None => Ok(()),
    }
}

#[async_trait]
impl HostInventory for SqlHostInventory {
    async fn put(&self, permit: &Permit, host: Host, expect: Expect) -> BackendResult<Revision> {
        permit.demand(Action::HostWrite, &Resource::Host(host.name.clone(), None), PUT)?;
        let mut transaction = self.store.begin(PUT).await?;
        let outcome = self.set_host(&mut transaction, &host, expect).await;
        transaction.finish(outcome).await
    }

    async fn host(&self, name: &HostName) -> BackendResult<Versioned<Host>> {
        const HOST: &str = "inventory.host";
        let rows = self.store.fetch(HOST, SELECT_HOST, &[name.as_str().into()]).await?;
        let found = self.store.place(HOST, "hosts").decode_all(&rows, decode_host)?;
        found.into_iter().next().ok_or_else(|| self.missing(HOST, name))
    }

    async fn hosts(
        &self,
        after: Option<&HostName>,
        most: usize,
    ) -> BackendResult<Vec<Versioned<Host>>> {
        const HOSTS: &str = "inventory.hosts";
        const SQL: &str = "SELECT name, revision, format, checksum, body FROM hosts \
             WHERE name > $1 ORDER BY name LIMIT $2";
        // Every name is greater than the empty text, which is none.
        let after = after.map_or("", HostName::as_str);
        let rows = self.store.fetch(HOSTS, SQL, &[after.into(), limit(most)]).await?;
        self.store.place(HOSTS, "hosts").decode_all(&rows, decode_host)
    }

    async fn remove(&self, permit: &Permit, name: &HostName) -> BackendResult<()> {
        permit.demand(Action::HostWrite, &Resource::Host(name.clone(), None), REMOVE)?;
        let mut transaction = self.store.begin(REMOVE).await?;
        let outcome = self.delete_host(&mut transaction, name).await;
        transaction.finish(outcome).await
    }

    async fn record(
        &self,
        permit: &Permit,
        name: &HostName,
        service: &ServiceName,
        seen: Installed,
    ) -> BackendResult<()> {
        let resource = Resource::Host(name.clone(), Some(service.clone()));
        if !permit.covers(Action::HostObserve, &resource) {
            permit.demand(Action::HostExecute, &resource, RECORD)?;
        }
        let mut transaction = self.store.begin(RECORD).await?;
        let outcome = self.set_installed(&mut transaction, name, service, &seen).await;
        transaction.finish(outcome).await
    }

    async fn installed(
        &self,
        service: &ServiceName,
    ) -> BackendResult<BTreeMap<HostName, Installed>> {
        const INSTALLED: &str = "inventory.installed";
        const SQL: &str = "SELECT host, format, checksum, body FROM installed WHERE service = $1";
        let rows = self.store.fetch(INSTALLED, SQL, &[service.as_str().into()]).await?;
        let place = self.store.place(INSTALLED, "installed");
        let all =
            place.decode_all(&rows, |row| Ok((row.text(0)?.parse()?, decode(row, 1, FORMAT)?)))?;
        Ok(all.into_iter().collect())
    }
}

fn decode_host(row: &Row) -> Result<Versioned<Host>, Damage> {
    let host: Host = decode(row, 2, FORMAT)?;
    if host.name.as_str() != row.text(0)? {
        return Err(Damage::Contradiction("its body is that of another host"));
    }
    Ok(Versioned::new(Revision::new(row.number(1)?), host))
}
