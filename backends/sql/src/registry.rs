use crate::{
    arg::{Arg, int, limit},
    body::{Body, FORMAT, decode},
    channel::MOVE,
    database::Database,
    row::{Damage, Row},
    store::{Store, Transaction},
};
use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{ChannelKey, ChannelMove, Expect, Revision, ServiceRegistry, Versioned},
    error::{BackendError, BackendResult, ErrorKind},
    id::{ReleaseId, ServiceName},
    spec::{Release, Service},
};

const PUT: &str = "registry.put_service";
const CREATE: &str = "registry.create_release";

/// Keeps services, releases and channels in SQL.
#[derive(Clone, Debug)]
pub struct SqlServiceRegistry {
    pub(crate) store: Store,
}

impl SqlServiceRegistry {
    /// The registry in `database`.
    #[must_use]
    pub fn new(database: &Database) -> Self {
        Self { store: database.main().clone() }
    }

    /// Reads the columns `service, revision, format, checksum, body`.
    async fn fetch_services(
        &self,
        operation: &'static str,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> BackendResult<Vec<Versioned<Service>>> {
        let rows = self.store.fetch(operation, sql, args).await?;
        self.store.place(operation, "service_revisions").decode_all(&rows, decode_service)
    }

    async fn demand_service(
        &self,
        operation: &'static str,
        name: &ServiceName,
    ) -> BackendResult<()> {
        match self.store.fetch_optional(operation, SELECT_REVISION, &[name.as_str().into()]).await?
        {
            Some(_) => Ok(()),
            None => Err(self.missing(operation, name)),
        }
    }

    fn missing(&self, operation: &'static str, name: &ServiceName) -> BackendError {
        self.store.error(ErrorKind::NotFound, operation).with("service", name)
    }

    async fn set_service(
        &self,
        transaction: &mut Transaction,
        service: &Service,
        expect: Expect,
    ) -> BackendResult<Revision> {
        const INSERT: &str = "INSERT INTO service_revisions (service, revision, format, checksum, body) \
             VALUES ($1, $2, $3, $4, $5)";
        let body = Body::encode(PUT, FORMAT, service)?;
        let [format, checksum, json] = body.args();
        let revision = self.advance(transaction, &service.name, expect).await?;
        let name = service.name.as_str().into();
        let number = int(PUT, "revision", revision.get())?.into();
        transaction.execute(INSERT, &[name, number, format, checksum, json]).await?;
        Ok(revision)
    }

    /// Compares and sets the revision.
    async fn advance(
        &self,
        transaction: &mut Transaction,
        name: &ServiceName,
        expect: Expect,
    ) -> BackendResult<Revision> {
        const FIRST: &str =
            "INSERT INTO services (name, revision) VALUES ($1, 1) ON CONFLICT (name) DO NOTHING";
        const NEXT: &str =
            "UPDATE services SET revision = revision + 1 WHERE name = $1 AND revision = $2";
        let error = |kind| self.store.error(kind, PUT).with("service", name);
        let key = name.as_str().into();
        match expect {
            Expect::Absent => match transaction.execute(FIRST, &[key]).await? {
                0 => Err(error(ErrorKind::AlreadyExists)),
                _ => Ok(Revision::new(1)),
            },
            Expect::At(expected) => {
                // A revision that no column can hold is none that is there.
                let number = i64::try_from(expected.get()).unwrap_or(i64::MAX);
                if transaction.execute(NEXT, &[key, number.into()]).await? > 0 {
                    return Ok(Revision::new(expected.get() + 1));
                }
                match transaction.fetch_optional(SELECT_REVISION, &[key]).await? {
                    Some(_) => Err(error(ErrorKind::Conflict).with("expected", expected)),
                    None => Err(error(ErrorKind::NotFound)),
                }
            }
        }
    }

    async fn add_release(
        &self,
        transaction: &mut Transaction,
        release: &Release,
    ) -> BackendResult<()> {
        const INSERT: &str = "INSERT INTO releases (id, service, created_at, format, checksum, body) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";
        let service = release.service.as_str().into();
        if transaction.fetch_optional(SELECT_REVISION, &[service]).await?.is_none() {
            return Err(self.missing(CREATE, &release.service));
        }
        let body = Body::encode(CREATE, FORMAT, release)?;
        let [format, checksum, json] = body.args();
        let id = release.id.as_str().into();
        let created_at = int(CREATE, "created_at", release.created_at.as_millis())?.into();
        let args = [id, service, created_at, format, checksum, json];
        if transaction.execute(INSERT, &args).await? > 0 {
            return Ok(());
        }
        let rows = transaction.fetch(SELECT_RELEASE, &[id]).await?;
        let there = self.store.place(CREATE, "releases").decode_all(&rows, decode_release)?;
        if there.first() == Some(release) {
            return Ok(());
        }
        Err(self.store.error(ErrorKind::AlreadyExists, CREATE).with("release", &release.id))
    }
}

const SELECT_REVISION: &str = "SELECT revision FROM services WHERE name = $1";
const SELECT_RELEASE: &str = "SELECT id, format, checksum, body FROM releases WHERE id = $1";

#[async_trait]
impl ServiceRegistry for SqlServiceRegistry {
    async fn put_service(
        &self,
        permit: &Permit,
        service: Service,
        expect: Expect,
    ) -> BackendResult<Revision> {
        permit.demand(Action::ServiceWrite, &Resource::Service(service.name.clone()), PUT)?;
        let mut transaction = self.store.begin(PUT).await?;
        let outcome = self.set_service(&mut transaction, &service, expect).await;
        transaction.finish(outcome).await
    }

    async fn service(&self, name: &ServiceName) -> BackendResult<Versioned<Service>> {
        const SERVICE: &str = "registry.service";
        const SQL: &str = "SELECT r.service, r.revision, r.format, r.checksum, r.body \
             FROM services s JOIN service_revisions r ON r.service = s.name AND r.revision = s.revision \
             WHERE s.name = $1";
        let found = self.fetch_services(SERVICE, SQL, &[name.as_str().into()]).await?;
        found.into_iter().next().ok_or_else(|| self.missing(SERVICE, name))
    }

    async fn services(
        &self,
        after: Option<&ServiceName>,
        most: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        const SQL: &str = "SELECT r.service, r.revision, r.format, r.checksum, r.body \
             FROM services s JOIN service_revisions r ON r.service = s.name AND r.revision = s.revision \
             WHERE s.name > $1 ORDER BY s.name LIMIT $2";
        // Every name is greater than the empty text, which is none.
        let after = after.map_or("", ServiceName::as_str);
        self.fetch_services("registry.services", SQL, &[after.into(), limit(most)]).await
    }

    async fn history(
        &self,
        name: &ServiceName,
        most: usize,
    ) -> BackendResult<Vec<Versioned<Service>>> {
        const HISTORY: &str = "registry.history";
        const SQL: &str = "SELECT service, revision, format, checksum, body FROM service_revisions \
             WHERE service = $1 ORDER BY revision DESC LIMIT $2";
        let found = self.fetch_services(HISTORY, SQL, &[name.as_str().into(), limit(most)]).await?;
        if found.is_empty() {
            self.demand_service(HISTORY, name).await?;
        }
        Ok(found)
    }

    async fn create_release(&self, permit: &Permit, release: Release) -> BackendResult<()> {
        permit.demand(Action::ServiceWrite, &Resource::Service(release.service.clone()), CREATE)?;
        let mut transaction = self.store.begin(CREATE).await?;
        let outcome = self.add_release(&mut transaction, &release).await;
        transaction.finish(outcome).await
    }

    async fn release(&self, id: &ReleaseId) -> BackendResult<Release> {
        const RELEASE: &str = "registry.release";
        let rows = self.store.fetch(RELEASE, SELECT_RELEASE, &[id.as_str().into()]).await?;
        let found = self.store.place(RELEASE, "releases").decode_all(&rows, decode_release)?;
        let missing = || self.store.error(ErrorKind::NotFound, RELEASE).with("release", id);
        found.into_iter().next().ok_or_else(missing)
    }

    async fn releases(&self, service: &ServiceName, most: usize) -> BackendResult<Vec<Release>> {
        const RELEASES: &str = "registry.releases";
        const SQL: &str = "SELECT id, format, checksum, body FROM releases \
             WHERE service = $1 ORDER BY created_at DESC, id DESC LIMIT $2";
        let rows = self.store.fetch(RELEASES, SQL, &[service.as_str().into(), limit(most)]).await?;
        if rows.is_empty() {
            self.demand_service(RELEASES, service).await?;
        }
        self.store.place(RELEASES, "releases").decode_all(&rows, decode_release)
    }

    async fn move_channel(
        &self,
        permit: &Permit,
        moved: ChannelMove,
        expect: Expect,
    ) -> BackendResult<Revision> {
        let resource = Resource::Repository(moved.channel.repository.clone());
        permit.demand(Action::ArtifactWrite, &resource, MOVE)?;
        let mut transaction = self.store.begin(MOVE).await?;
        let outcome = self.set_channel(&mut transaction, &moved, expect).await;
        transaction.finish(outcome).await
    }

    async fn channel(&self, key: &ChannelKey) -> BackendResult<Versioned<ChannelMove>> {
        self.newest_move(key).await
    }

    async fn channels(
        &self,
        after: Option<&ChannelKey>,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        self.newest_moves(after, limit).await
    }

    async fn channel_history(
        &self,
        key: &ChannelKey,
        limit: usize,
    ) -> BackendResult<Vec<Versioned<ChannelMove>>> {
        self.moves(key, limit).await
    }
}

fn decode_service(row: &Row) -> Result<Versioned<Service>, Damage> {
    let service: Service = decode(row, 2, FORMAT)?;
    if service.name.as_str() != row.text(0)? {
        return Err(Damage::Contradiction("its body is that of another service"));
    }
    Ok(Versioned::new(Revision::new(row.number(1)?), service))
}

fn decode_release(row: &Row) -> Result<Release, Damage> {
    let release: Release = decode(row, 1, FORMAT)?;
    if release.id.as_str() != row.text(0)? {
        return Err(Damage::Contradiction("its body is that of another release"));
    }
    Ok(release)
}
