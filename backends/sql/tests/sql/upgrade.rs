//! Databases of every released schema are opened with today's program, and all of their rows are read.
//!
//! `tests/schemas/vN` holds what the program of schema N left: once released it is never changed. For a new schema, run
//! `cargo nextest run -p deploy-sql --run-ignored only upgrade::write_dumps` and add its number below.
use crate::support::{self, TestDatabase, may, sample};
use deploy_core::{
    access::Action,
    agent::{Certificate, KeyFingerprint},
    backend::{
        AcquireLease, AgentRegistry as _, Answer, AnswerStore as _, ArtifactKind, BeginAnswer,
        Begun, CertifyAgent, ChannelKey, ChannelMove, ChannelTarget, CreateJoinToken, CreateToken,
        CredentialStore as _, EnrollAgent, ErrorKind, Expect, HostInventory as _,
        HostInventoryExt as _, Journal as _, JournalExt as _, LeaseStore as _, LogChunk, LogQuery,
        LogStore as _, Revision, RolloutRef, ServiceRegistry as _, ServiceRegistryExt as _,
        Versioned,
    },
    digest::Digest,
    host::{Connection, Installed, Labels},
    id::Seq,
    token::{SecretHash, TokenScope, TokenSecret},
};
use deploy_sql::{
    Database, SqlAgentRegistry, SqlAnswerStore, SqlCredentialStore, SqlHostInventory, SqlJournal,
    SqlLeaseStore, SqlLogStore, SqlServiceRegistry,
};
use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};
use std::{
    any::Any,
    fs,
    num::NonZeroU32,
    path::{Path, PathBuf},
};

const NEWEST: u32 = 5;
/// Up to here positions were given up, after the last record.
const FLOOR: Seq = Seq::new(1_000);

#[tokio::test]
async fn a_database_of_schema_1_is_read_whole() {
    for database in databases_of(1).await {
        check(&database.1, Seq::new(5)).await;
        check_no_identities(&database.1).await;
    }
}

#[tokio::test]
async fn databases_of_schemas_with_identities_are_read_whole() {
    for version in 2..=3 {
        for database in databases_of(version).await {
            check(&database.1, Seq::new(5)).await;
            check_identities(&database.1).await;
        }
    }
}

#[tokio::test]
async fn databases_of_schemas_with_floors_are_read_whole() {
    for database in databases_of(4).await {
        check(&database.1, FLOOR).await;
        check_identities(&database.1).await;
        assert_eq!(SqlServiceRegistry::new(&database.1).all_channels().await.unwrap(), []);
    }
}

#[tokio::test]
async fn databases_of_schemas_with_channels_are_read_whole() {
    for version in 5..=NEWEST {
        for database in databases_of(version).await {
            check(&database.1, FLOOR).await;
            check_identities(&database.1).await;
            check_channels(&SqlServiceRegistry::new(&database.1)).await;
        }
    }
}

/// What a dump leaves, in either database; the guard keeps it.
async fn databases_of(version: u32) -> [(Box<dyn Any>, Database); 2] {
    let folder = tempfile::tempdir().unwrap();
    load_sqlite(&dump(version, "sqlite.sql"), &folder.path().join("deploy.db")).await;
    load_sqlite(&dump(version, "sqlite-logs.sql"), &folder.path().join("deploy.logs.db")).await;
    let sqlite = support::open_sqlite(&folder).await;
    let test = TestDatabase::new();
    test.load(&dump(version, "postgres.sql"));
    let postgres = Database::connect_postgres(&test.url()).await.unwrap();
    [(Box::new(folder), sqlite), (Box::new(test), postgres)]
}

#[test]
fn there_is_a_dump_of_every_schema() {
    for version in 1..=NEWEST {
        for file in ["sqlite.sql", "sqlite-logs.sql", "postgres.sql"] {
            assert!(dump(version, file).exists(), "{}", dump(version, file).display());
        }
    }
    let newest =
        fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres")).unwrap().count();
    assert_eq!(newest, NEWEST as usize, "a new schema needs a dump, and a test that reads it");
}

#[tokio::test]
#[ignore = "writes what the tests above read"]
async fn write_dumps() {
    fs::create_dir_all(dump(NEWEST, "")).unwrap();
    let (database, folder) = support::sqlite().await;
    fill(&database).await;
    database.close().await;
    for (file, from) in [("sqlite.sql", "deploy.db"), ("sqlite-logs.sql", "deploy.logs.db")] {
        fs::write(dump(NEWEST, file), dump_sqlite(&folder.path().join(from)).await).unwrap();
    }
    let test = TestDatabase::new();
    fill(&Database::connect_postgres(&test.url()).await.unwrap()).await;
    fs::write(dump(NEWEST, "postgres.sql"), test.dump()).unwrap();
}

fn dump(version: u32, file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/schemas/v{version}")).join(file)
}

/// Something in every table.
async fn fill(database: &Database) {
    let permit = may(Action::RolloutControl).await;
    let journal = SqlJournal::new(database);
    let web = sample::stream("web");
    let old = [sample::first(1, "r1"), sample::middle(2, "r1"), sample::last(3, "r1")];
    journal.append(&permit, &web, Seq::ZERO, &old).await.unwrap();
    let new = [sample::first(4, "r2"), sample::middle(5, "r2")];
    journal.append(&permit, &web, Seq::new(3), &new).await.unwrap();
    journal.raise_floor(&permit, FLOOR).await.unwrap();

    let permit = may(Action::ServiceWrite).await;
    let registry = SqlServiceRegistry::new(database);
    let service = sample::service("web");
    let first = registry.put_service(&permit, service.clone(), Expect::Absent).await.unwrap();
    registry.put_service(&permit, service, Expect::At(first)).await.unwrap();
    registry.create_release(&permit, sample::release("web", "web-1", sample::at(1))).await.unwrap();
    let permit = may(Action::ArtifactWrite).await;
    for (seen, version) in [(Expect::Absent, "1"), (Expect::At(Revision::new(1)), "2")] {
        registry.move_channel(&permit, stable(version), seen).await.unwrap();
    }

    let permit = may(Action::HostWrite).await;
    let inventory = SqlHostInventory::new(database);
    for name in ["a1", "gone", "h1"] {
        inventory.put(&permit, sample::host(name), Expect::Absent).await.unwrap();
    }
    inventory.remove(&permit, &sample::name("gone")).await.unwrap();
    let permit = may(Action::HostObserve).await;
    let seen = Installed::new(Some(sample::name("web-1")), None, Seq::new(2), sample::at(2));
    inventory.record(&permit, &sample::name("h1"), &sample::name("web"), seen).await.unwrap();

    let leases = SqlLeaseStore::new(database);
    let lease = leases.acquire(&AcquireLease::new("service/web", "one")).await.unwrap();
    leases.release(&lease).await.unwrap();
    leases.acquire(&AcquireLease::new("service/web", "two")).await.unwrap();

    let chunk = |offset, bytes: &[u8]| {
        LogChunk::new(
            sample::name("r1"),
            sample::name("h1"),
            Seq::new(2),
            offset,
            sample::at(2),
            bytes.to_vec(),
        )
    };
    let chunks = [chunk(0, b"hello "), chunk(6, b"\0\xff\n")];
    SqlLogStore::new(database).append(&chunks).await.unwrap();
    fill_identities(database).await;
}

/// That all of it is there, and can be gone on from, with a journal that is at `head`.
async fn check(database: &Database, head: Seq) {
    check_journal(&SqlJournal::new(database), head).await;
    check_registry(&SqlServiceRegistry::new(database)).await;
    check_inventory(&SqlHostInventory::new(database)).await;
    check_leases(&SqlLeaseStore::new(database)).await;
    check_logs(&SqlLogStore::new(database)).await;
}

async fn check_journal(journal: &SqlJournal, head: Seq) {
    let web = sample::stream("web");
    let found = |id, first, last: Option<u64>| {
        RolloutRef::new(sample::name(id), web.clone(), Seq::new(first), last.map(Seq::new))
    };
    let rollouts = journal.rollouts(None, 10).await.unwrap();
    assert_eq!(rollouts, [found("r2", 4, None), found("r1", 1, Some(3))]);
    for (rollout, length) in rollouts.iter().zip([2, 3]) {
        let records = journal.records(rollout).await.unwrap();
        assert!(records.first().unwrap().is_first());
        assert_eq!(records.len(), length);
    }
    assert_eq!(journal.head(&web).await.unwrap(), head);
    let permit = may(Action::RolloutControl).await;
    let last = sample::last(head.next().get(), "r2").behind(Seq::new(5));
    journal.append(&permit, &web, head, &[last]).await.unwrap();
    assert_eq!(journal.rollout(&sample::name("r2")).await.unwrap().last, Some(head.next()));
}

async fn check_registry(registry: &SqlServiceRegistry) {
    let web = sample::name("web");
    let history = registry.history(&web, 10).await.unwrap();
    assert_eq!(history.iter().map(|it| it.revision.get()).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(registry.service(&web).await.unwrap(), history[0]);
    assert_eq!(history[0].value.deploy_path.as_str(), "/srv/web");
    let releases = registry.releases(&web, 10).await.unwrap();
    assert_eq!(releases.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["web-1"]);
    assert_eq!(releases[0].created_at, sample::at(1));
    let permit = may(Action::ServiceWrite).await;
    let next =
        registry.put_service(&permit, history[0].value.clone(), Expect::At(Revision::new(2)));
    assert_eq!(next.await.unwrap(), Revision::new(3));
}

/// A channel that goes to a version.
fn stable(version: &str) -> ChannelMove {
    let key = ChannelKey::new(sample::name("web"), ArtifactKind::Package, sample::name("stable"));
    let digest = Digest::of(version.as_bytes());
    let to = ChannelTarget { version: sample::name(version), digest };
    ChannelMove::new(key, Some(to), sample::at(2), sample::name("ann")).with_reason("it was tried")
}

async fn check_channels(registry: &SqlServiceRegistry) {
    let [newest] = registry.all_channels().await.unwrap().try_into().unwrap();
    assert_eq!(newest, Versioned::new(Revision::new(2), stable("2")));
    let history = registry.channel_history(&newest.value.channel, 10).await.unwrap();
    assert_eq!(history, [newest, Versioned::new(Revision::new(1), stable("1"))]);
    let permit = may(Action::ArtifactWrite).await;
    let next = registry.move_channel(&permit, stable("1"), Expect::At(Revision::new(2)));
    assert_eq!(next.await.unwrap(), Revision::new(3));
}

async fn check_inventory(inventory: &SqlHostInventory) {
    let hosts = inventory.all_hosts().await.unwrap();
    assert_eq!(hosts.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["a1", "h1"]);
    assert_eq!(hosts[1].connection, Connection::Local { root: "/nowhere/h1".to_owned() });
    let installed = inventory.installed(&sample::name("web")).await.unwrap();
    let seen = Installed::new(Some(sample::name("web-1")), None, Seq::new(2), sample::at(2));
    assert_eq!(installed.into_iter().collect::<Vec<_>>(), [(sample::name("h1"), seen)]);
    let permit = may(Action::HostWrite).await;
    let back = inventory.put(&permit, sample::host("gone"), Expect::Absent).await.unwrap();
    assert!(back > Revision::new(1), "revisions grow over a removal");
}

async fn check_leases(leases: &SqlLeaseStore) {
    let lease = leases.current("service/web").await.unwrap().unwrap();
    assert_eq!((lease.holder.as_str(), lease.epoch), ("two", 2));
    let next =
        leases.acquire(&AcquireLease::new("service/web", "three").with_dead("two")).await.unwrap();
    assert_eq!(next.epoch, 3);
}

async fn check_logs(logs: &SqlLogStore) {
    let chunks = logs.read(&LogQuery::new(sample::name("r1"))).await.unwrap();
    let output: Vec<u8> = chunks.into_iter().flat_map(|(_, it)| it.bytes).collect();
    assert_eq!(output, b"hello \0\xff\n");
    assert_eq!(
        logs.length(&sample::name("r1"), &sample::name("h1"), Seq::new(2)).await.unwrap(),
        9
    );
}

/// A hash that stands for the secret of a token.
fn secret(byte: u8) -> SecretHash {
    TokenSecret::from_bytes([byte; 32]).hash()
}

fn begin(key: &str) -> BeginAnswer {
    BeginAnswer::new(sample::name("ann"), sample::name(key), Digest::of(b"request"), "one")
}

fn given() -> Answer {
    let headers = vec![("etag".to_owned(), "\"1\"".to_owned())];
    Answer::new(201, b"{}\0\xff".to_vec()).with_headers(headers)
}

fn wish(host: &str) -> EnrollAgent {
    let (key, machine) = (KeyFingerprint::of(host.as_bytes()), sample::name("machine/4f"));
    EnrollAgent::new(sample::name("j1"), secret(2), key, sample::name(host), machine, sample::at(3))
}

async fn fill_identities(database: &Database) {
    let permit = may(Action::TokenWrite).await;
    let tokens = SqlCredentialStore::new(database);
    let scope = TokenScope::new([Action::RolloutControl]).with_services([sample::name("web")]);
    let (from, until) = (sample::at(1), sample::at(1_000));
    for id in ["t1", "t2"] {
        let (id, principal) = (sample::name(id), sample::name("ci"));
        let token = CreateToken::new(id, secret(1), principal, scope.clone(), from, until);
        tokens.create(&permit, &token.with_note("for tests")).await.unwrap();
    }
    tokens.authenticate(&sample::name("t1"), &secret(1), sample::at(5)).await.unwrap();
    tokens.revoke(&permit, &sample::name("t2"), sample::at(6)).await.unwrap();

    let answers = SqlAnswerStore::new(database);
    for key in ["answered", "running"] {
        let Begun::New(claim) = answers.begin(&begin(key)).await.unwrap() else { panic!() };
        if key == "answered" {
            answers.finish(&claim, &given(), sample::at(7)).await.unwrap();
        }
    }

    let permit = may(Action::HostEnroll).await;
    let agents = SqlAgentRegistry::new(database);
    let labels = Labels::from([(sample::name("zone"), sample::name("a"))]);
    let token = CreateJoinToken::new(sample::name("j1"), secret(2), from, until);
    let token = token.with_labels(labels).with_uses(NonZeroU32::new(3).unwrap());
    agents.create_join_token(&permit, &token).await.unwrap();
    for host in ["h1", "h2"] {
        agents.enroll(&wish(host)).await.unwrap();
    }
    let (h1, key) = (sample::name("h1"), KeyFingerprint::of(b"h2"));
    let certificate = Certificate::new("0a", until);
    agents.certify(&CertifyAgent::new(key, key, certificate)).await.unwrap();
    agents.arrive(&h1, &sample::name("boot-1"), sample::at(8)).await.unwrap();
    agents.arrive(&h1, &sample::name("boot-2"), sample::at(9)).await.unwrap();
}

async fn check_no_identities(database: &Database) {
    assert_eq!(SqlCredentialStore::new(database).tokens(None, 10).await.unwrap(), []);
    assert_eq!(SqlAgentRegistry::new(database).agents(None, 10).await.unwrap(), []);
    let begun = SqlAnswerStore::new(database).begin(&begin("first")).await.unwrap();
    assert!(matches!(begun, Begun::New(_)));
}

async fn check_identities(database: &Database) {
    let tokens = SqlCredentialStore::new(database);
    let [used, revoked] = tokens.tokens(None, 10).await.unwrap().try_into().unwrap();
    assert_eq!((used.last_used_at, used.note.as_str()), (Some(sample::at(5)), "for tests"));
    assert_eq!(revoked.revoked_at, Some(sample::at(6)));
    let found = tokens.authenticate(&used.id, &secret(1), sample::at(6)).await.unwrap();
    assert_eq!((found.principal.as_str(), found.scope), ("ci", used.scope));

    let answers = SqlAnswerStore::new(database);
    let answered = answers.begin(&begin("answered")).await.unwrap();
    assert_eq!(answered, Begun::Answered(given()));
    let running = answers.begin(&begin("running")).await.unwrap();
    assert_eq!(running, Begun::Running { holder: "one".to_owned() });

    let agents = SqlAgentRegistry::new(database);
    let [grant] = agents.join_tokens(None, 10).await.unwrap().try_into().unwrap();
    assert_eq!((grant.used, grant.uses.get(), grant.labels.len()), (2, 3, 1));
    let agent = agents.identify(&KeyFingerprint::of(b"h2")).await.unwrap();
    assert_eq!((agent.host.as_str(), agent.last_seen_at), ("h1", Some(sample::at(8))));
    assert_eq!(agent.key.certificate, Some(Certificate::new("0a", sample::at(1_000))));
    assert_eq!(agent.former_boots, [sample::name("boot-1")]);
    let copy = agents.identify(&KeyFingerprint::of(b"h1")).await.unwrap_err();
    assert_eq!(copy.kind(), ErrorKind::PermissionDenied);
}

async fn load_sqlite(dump: &Path, path: &Path) {
    let mut connection =
        SqliteConnection::connect(&format!("sqlite://{}?mode=rwc", path.display())).await.unwrap();
    let sql = fs::read_to_string(dump).unwrap();
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(sql))).await.unwrap();
    connection.close().await.unwrap();
}

/// All tables, and all rows in the order of their keys.
async fn dump_sqlite(path: &Path) -> String {
    const TABLES: &str = "SELECT name, sql FROM sqlite_schema \
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY type DESC, rowid";
    let mut connection =
        SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap();
    let mut dump = "BEGIN;\nPRAGMA defer_foreign_keys = ON;\n".to_owned();
    for table in connection.fetch_all(TABLES).await.unwrap() {
        let (name, create): (String, String) = (table.get(0), table.get(1));
        dump.push_str(&format!("{create};\n"));
        if create.starts_with("CREATE TABLE") {
            let columns = format!(
                "SELECT group_concat('quote(' || name || ')', ' || '', '' || ') FROM pragma_table_info('{name}')"
            );
            let columns: String = sqlx::query_scalar(sqlx::AssertSqlSafe(columns))
                .fetch_one(&mut connection)
                .await
                .unwrap();
            let rows = format!(
                "SELECT 'INSERT INTO {name} VALUES (' || {columns} || ');' FROM {name} ORDER BY 1"
            );
            let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(rows))
                .fetch_all(&mut connection)
                .await
                .unwrap();
            dump.extend(rows.into_iter().map(|it| it + "\n"));
        }
    }
    dump + "COMMIT;\n"
}
