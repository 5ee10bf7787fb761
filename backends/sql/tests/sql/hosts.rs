//! Many hosts at a time: all of them, or none.
use crate::support::{self, TestDatabase, may, sample};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{Expect, HostInventory as _, Revision},
    error::ErrorKind,
};
use deploy_sql::{Database, SqlHostInventory};

async fn names(inventory: &SqlHostInventory) -> Vec<String> {
    let hosts = inventory.hosts(None, 100).await.unwrap();
    hosts.iter().map(|it| it.value.name.to_string()).collect()
}

async fn all_or_none(database: &Database) {
    let inventory = SqlHostInventory::new(database);
    let permits = [may(Action::HostWrite).await];
    let new = |name| (sample::host(name), Expect::Absent);
    inventory.put_all(&permits, vec![new("h3"), new("h1"), new("h2")]).await.unwrap();
    assert_eq!(names(&inventory).await, ["h1", "h2", "h3"]);

    let stale = (sample::host("h2"), Expect::At(Revision::new(9)));
    let err = inventory.put_all(&permits, vec![new("h0"), stale, new("h9")]).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Conflict);
    assert!(err.to_string().contains("h2"), "{err}");
    assert_eq!(names(&inventory).await, ["h1", "h2", "h3"]);

    let set = |all: &[&str]| all.iter().map(|it| sample::name(it)).collect();
    let err = inventory.remove_all(&permits, &set(&["h1", "h7"])).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::NotFound);
    assert_eq!(names(&inventory).await, ["h1", "h2", "h3"]);
    inventory.remove_all(&permits, &set(&["h1", "h3"])).await.unwrap();
    assert_eq!(names(&inventory).await, ["h2"]);
}

#[tokio::test]
async fn hosts_change_together_on_sqlite() {
    let (database, _folder) = support::sqlite().await;
    all_or_none(&database).await;
}

#[tokio::test]
async fn hosts_change_together_on_postgres() {
    let test = TestDatabase::new();
    all_or_none(&Database::connect_postgres(&test.url()).await.unwrap()).await;
}

#[tokio::test]
async fn a_permit_for_one_host_does_not_change_another() {
    let (database, _folder) = support::sqlite().await;
    let inventory = SqlHostInventory::new(&database);
    let only = async |host: &str, action| -> Permit {
        let resource = Resource::Host(sample::name(host), None);
        deploy_core::conformance::permit(action, resource).await
    };
    let one = [only("h1", Action::HostWrite).await, only("h2", Action::HostObserve).await];
    let hosts = || ["h1", "h2"].map(|it| (sample::host(it), Expect::Absent)).into();
    let err = inventory.put_all(&one, hosts()).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
    let both = ["h1", "h2"].map(sample::name).into();
    let err = inventory.remove_all(&one, &both).await.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied);
    assert!(names(&inventory).await.is_empty());

    let each = [only("h1", Action::HostWrite).await, only("h2", Action::HostWrite).await];
    inventory.put_all(&each, hosts()).await.unwrap();
    inventory.remove_all(&each, &both).await.unwrap();
    assert!(names(&inventory).await.is_empty());
}
