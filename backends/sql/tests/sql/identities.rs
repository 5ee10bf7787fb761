//! Tokens and agents, beyond the kit: crowds, and what a database can and cannot do.
use crate::support::{self, TestDatabase, may, sample};
use deploy_core::{
    access::Action,
    agent::KeyFingerprint,
    backend::{
        AgentRegistry as _, CreateJoinToken, CreateToken, CredentialStore as _, EnrollAgent,
        ErrorKind,
    },
    token::{SecretHash, TokenScope, TokenSecret},
};
use deploy_sql::{Database, SqlAgentRegistry, SqlCredentialStore};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use std::{num::NonZeroU32, sync::Arc};
use tempfile::TempDir;
use tokio::{sync::Barrier, task::JoinSet};

const CROWD: usize = 1_000;

fn secret() -> SecretHash {
    TokenSecret::from_bytes([1; 32]).hash()
}

async fn join_token(agents: &SqlAgentRegistry, uses: u32) {
    let token = CreateJoinToken::new(sample::name("j1"), secret(), sample::at(1), sample::at(100));
    let token = token.with_uses(NonZeroU32::new(uses).unwrap());
    agents.create_join_token(&may(Action::HostEnroll).await, &token).await.unwrap();
}

fn wish(host: &str) -> EnrollAgent {
    let key = KeyFingerprint::of(host.as_bytes());
    let machine = sample::name(&format!("machine/{host}"));
    EnrollAgent::new(sample::name("j1"), secret(), key, sample::name(host), machine, sample::at(2))
}

/// A thousand hosts have the same token, and two processes are asked at once.
async fn one_of_a_crowd_is_let_in(handles: [&Database; 2]) {
    let registries = handles.map(SqlAgentRegistry::new);
    join_token(&registries[0], 1).await;
    let start = Arc::new(Barrier::new(CROWD));
    let crowd = (0..CROWD).map(|at| {
        let (registry, start) = (registries[at % 2].clone(), Arc::clone(&start));
        async move {
            start.wait().await;
            registry.enroll(&wish(&format!("h{at}"))).await
        }
    });
    let done = crowd.collect::<JoinSet<_>>().join_all().await;
    assert_eq!(done.iter().filter(|it| it.is_ok()).count(), 1);
    for err in done.into_iter().filter_map(Result::err) {
        assert_eq!(err.kind(), ErrorKind::Unauthenticated, "{}", err.chain());
    }
    assert_eq!(registries[0].agents(None, 10).await.unwrap().len(), 1);
    assert_eq!(registries[1].join_tokens(None, 10).await.unwrap()[0].used, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_token_for_one_lets_one_of_a_thousand_in() {
    let (one, folder) = support::sqlite().await;
    one_of_a_crowd_is_let_in([&one, &support::open_sqlite(&folder).await]).await;
    let test = TestDatabase::new();
    let one = Database::connect_postgres(&test.url()).await.unwrap();
    let two = Database::connect_postgres(&test.url()).await.unwrap();
    one_of_a_crowd_is_let_in([&one, &two]).await;
}

async fn raw(folder: &TempDir) -> SqliteConnection {
    let path = folder.path().join("deploy.db");
    SqliteConnection::connect(&format!("sqlite://{}", path.display())).await.unwrap()
}

#[tokio::test]
async fn an_agent_that_comes_back_as_it_was_costs_no_write() {
    let (database, folder) = support::sqlite().await;
    let agents = SqlAgentRegistry::new(&database);
    join_token(&agents, 1).await;
    let (host, boot) = (sample::name("h1"), sample::name("boot-1"));
    let key = agents.enroll(&wish("h1")).await.unwrap().key.fingerprint;
    agents.arrive(&host, &boot, sample::at(3)).await.unwrap();
    let mut raw = raw(&folder).await;
    // Changes whenever another connection writes.
    let mut version = async || -> i64 {
        sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut raw).await.unwrap()
    };
    let before = version().await;
    agents.identify(&key).await.unwrap();
    agents.arrive(&host, &boot, sample::at(4)).await.unwrap();
    agents.hear(&host, sample::at(5)).await.unwrap();
    assert_eq!(version().await, before);
    agents.hear(&host, sample::at(303)).await.unwrap();
    assert_ne!(version().await, before);
}

#[tokio::test]
async fn who_may_speak_does_so_while_nothing_can_be_written() {
    let (database, folder) = support::sqlite().await;
    let tokens = SqlCredentialStore::new(&database);
    let scope = TokenScope::new([]);
    let (id, ci) = (sample::name("t1"), sample::name("ci"));
    let token = CreateToken::new(id, secret(), ci, scope, sample::at(1), sample::at(100));
    tokens.create(&may(Action::TokenWrite).await, &token).await.unwrap();
    let trigger = "CREATE TRIGGER no BEFORE UPDATE ON api_tokens \
         BEGIN SELECT RAISE(ABORT, 'nothing is written'); END";
    raw(&folder).await.execute(trigger).await.unwrap();
    let found = tokens.authenticate(&token.id, &secret(), sample::at(2)).await.unwrap();
    assert_eq!(found.principal.as_str(), "ci");
    assert_eq!(tokens.tokens(None, 1).await.unwrap()[0].last_used_at, None);
}

#[tokio::test]
async fn no_secret_is_in_the_database() {
    let (database, folder) = support::sqlite().await;
    let marked = TokenSecret::from_bytes(*b"this is a secret of 32 bytes !!!");
    let tokens = SqlCredentialStore::new(&database);
    let scope = TokenScope::new([]);
    let (id, ci) = (sample::name("t1"), sample::name("ci"));
    let token = CreateToken::new(id, marked.hash(), ci, scope, sample::at(1), sample::at(100));
    tokens.create(&may(Action::TokenWrite).await, &token).await.unwrap();
    tokens.authenticate(&token.id, &marked.hash(), sample::at(2)).await.unwrap();
    let (hash, mut found) = (*marked.hash().as_bytes(), false);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let holds = |what: &[u8]| bytes.windows(what.len()).any(|it| it == what);
        assert!(!holds(b"this is a secret") && !holds(b"7468697320697320"));
        found |= holds(&hash);
    }
    assert!(found, "the hash should be somewhere, or nothing is proved");
}
