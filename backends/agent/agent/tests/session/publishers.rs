//! A host that runs what its publishers have signed, and nothing else.
use crate::delivery::{LITTLE, Lab, PLAIN};
use deploy_core::{
    backend::{AttemptReport, AttemptRequest},
    error::ErrorKind,
    plan::PlannedRelease,
    spec::{Signed, SignedKeys},
};
use deploy_package::{
    Manifest,
    archive::Limits,
    publisher::{KeyList, PublisherKey, Statement},
};
use minisign::KeyPair;
use std::path::Path;

struct Publisher(KeyPair);

impl Publisher {
    fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    fn key(&self) -> PublisherKey {
        self.0.pk.to_base64().parse().unwrap()
    }

    fn sign(&self, text: &str) -> String {
        minisign::sign(None, &self.0.sk, text.as_bytes(), None, None).unwrap().into_string()
    }
}

/// What `host.toml` says of them.
fn policy(publishers: &[&Publisher], needed: usize) -> String {
    let keys: Vec<_> = publishers.iter().map(|it| format!("'{}'", it.key())).collect();
    format!("[publishers]\nkeys = [{}]\nneeded = {needed}\n", keys.join(", "))
}

/// What is true of a release, as made at `issued`.
async fn statement(lab: &Lab, release: &PlannedRelease, issued: u64) -> Statement {
    use deploy_core::backend::ArtifactStoreExt as _;
    let package = release.package.unwrap().digest;
    let archive = lab.fixture.store.read_all(&package, 10 << 20).await.unwrap();
    let manifest = Manifest::read(&*archive, Limits::PACKAGE).unwrap().manifest;
    let (web, version) = ("web".parse().unwrap(), release.version.clone());
    Statement::new(web, version, release.descriptor.digest, issued)
        .with_package(package)
        .with_manifest(manifest.digest().unwrap())
}

fn signed(statement: &Statement, by: &[&Publisher]) -> Signed {
    let text = String::from_utf8(statement.to_bytes().unwrap()).unwrap();
    let signatures = by.iter().map(|it| it.sign(&text)).collect();
    Signed::new(text, signatures)
}

/// The release with a statement that is signed by these.
async fn published(
    lab: &Lab,
    mut release: PlannedRelease,
    issued: u64,
    by: &[&Publisher],
) -> PlannedRelease {
    release.signed = Some(signed(&statement(lab, &release, issued).await, by));
    release
}

#[track_caller]
fn is_refused(came: Result<AttemptReport, deploy_core::error::BackendError>, says: &str) {
    let err = came.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::PermissionDenied, "{}", err.chain());
    assert!(err.chain().contains(says), "{}", err.chain());
}

fn has_run(lab: &Lab) -> bool {
    lab.fixture.dir.path().join("root/srv/web/current").exists()
}

#[tokio::test]
async fn what_is_not_signed_is_refused_whatever_the_server_says() {
    let [ours, stranger] = &[Publisher::new(), Publisher::new()];
    let lab = Lab::with_policy(&policy(&[ours], 1)).await;
    let release = lab.release("one", 1, PLAIN).await;
    is_refused(lab.attempted(&lab.attempt(&release, None)).await, "this is not signed");
    let strange = published(&lab, release.clone(), 5, &[stranger]).await;
    is_refused(lab.attempted(&lab.attempt(&strange, None)).await, "(not_signed)");
    let mut broken = published(&lab, release.clone(), 5, &[ours]).await;
    broken.signed.as_mut().unwrap().signatures[0].insert(60, 'x');
    is_refused(lab.attempted(&lab.attempt(&broken, None)).await, "(");
    assert!(!has_run(&lab), "something of it has run");

    let ours = published(&lab, release, 5, &[ours, stranger]).await;
    assert!(lab.deploy(&ours, None).await > 0);
}

#[tokio::test]
async fn a_signature_is_good_for_one_thing() {
    let ours = &Publisher::new();
    let lab = Lab::with_policy(&policy(&[ours], 1)).await;
    let (one, two) = (lab.release("one", 1, PLAIN).await, lab.release("two", 2, PLAIN).await);
    let of_one = statement(&lab, &one, 5).await;
    let (web, other) = ("api".parse().unwrap(), two.package.unwrap().digest);
    let cases = [
        (Statement::new(web, one.version.clone(), one.descriptor.digest, 5), "another service"),
        (statement(&lab, &two, 5).await, "another version"),
        (of_one.clone().with_package(other), "another package"),
    ];
    for (statement, says) in cases {
        let mut release = one.clone();
        release.signed = Some(signed(&statement, &[ours]));
        is_refused(lab.attempted(&lab.attempt(&release, None)).await, says);
    }
    let mut scripts = of_one;
    scripts.descriptor = other;
    let mut release = one;
    release.signed = Some(signed(&scripts, &[ours]));
    is_refused(lab.attempted(&lab.attempt(&release, None)).await, "another descriptor");
    assert!(!has_run(&lab));
}

#[tokio::test]
async fn as_many_sign_as_the_host_asks_for() {
    let [one, two, three] = &[Publisher::new(), Publisher::new(), Publisher::new()];
    let lab = Lab::with_policy(&policy(&[one, two, three], 2)).await;
    let release = lab.release("one", 1, PLAIN).await;
    let few = published(&lab, release.clone(), 5, &[two]).await;
    is_refused(lab.attempted(&lab.attempt(&few, None)).await, "it takes 2");
    let enough = published(&lab, release, 5, &[two, three]).await;
    lab.deploy(&enough, None).await;
}

#[tokio::test]
async fn a_signed_upgrade_comes_as_a_delta_if_its_tree_is_signed_too() {
    let ours = &Publisher::new();
    let lab = Lab::with_policy(&policy(&[ours], 1)).await;
    let one = published(&lab, lab.release("one", 1, PLAIN).await, 1, &[ours]).await;
    let two = published(&lab, lab.release("two", 2, PLAIN).await, 2, &[ours]).await;
    lab.deploy(&one, None).await;
    assert!(lab.deploy(&two, Some(&one)).await < LITTLE);

    let mut three = lab.release("three", 3, PLAIN).await;
    let mut of_three = statement(&lab, &three, 3).await;
    of_three.manifest = None;
    three.signed = Some(signed(&of_three, &[ours]));
    // Staging goes by what the server says; what is run is what was signed.
    lab.deploy(&three, Some(&two)).await;
    let cached = lab.fixture.state().join("artifacts").join(three.package.unwrap().digest.hex());
    assert!(cached.exists(), "the archive has come");
}

#[tokio::test]
async fn what_is_older_runs_only_if_the_order_says_that_it_is_meant() {
    let ours = &Publisher::new();
    let lab = Lab::with_policy(&policy(&[ours], 1)).await;
    let one = published(&lab, lab.release("one", 1, PLAIN).await, 1, &[ours]).await;
    let two = published(&lab, lab.release("two", 2, PLAIN).await, 2, &[ours]).await;
    lab.deploy(&one, None).await;
    lab.deploy(&two, Some(&one)).await;
    // As somebody replays it: nothing says what it would take the place of.
    let replayed: AttemptRequest = lab.attempt(&one, None);
    is_refused(lab.attempted(&replayed).await, "older than what runs here");
    lab.deploy(&one, Some(&two)).await;
    lab.deploy(&two, Some(&one)).await;
}

#[tokio::test]
async fn keys_are_followed_from_one_list_to_the_next_and_given_up() {
    let [first, second, third] = &[Publisher::new(), Publisher::new(), Publisher::new()];
    let mut lab = Lab::with_policy(&policy(&[first], 1)).await;
    let list = |serial, of: &Publisher, by: &Publisher| {
        let list = KeyList::new(serial, 1, vec![of.key()]).to_bytes().unwrap();
        let list = String::from_utf8(list).unwrap();
        SignedKeys::new(list.clone(), vec![by.sign(&list)])
    };
    let (to_second, to_third) = (list(1, second, first), list(2, third, second));
    let with = async |lab: &Lab, id: &str, issued: u64, by: &Publisher, lists: &[&SignedKeys]| {
        let changed = u8::try_from(issued).unwrap();
        let mut release =
            published(lab, lab.release(id, changed, PLAIN).await, issued, &[by]).await;
        let lists = lists.iter().map(|it| (*it).clone()).collect();
        release.signed = release.signed.map(|it| it.with_key_lists(lists));
        release
    };
    // Nobody whom this host believes has said anything of the third.
    let early = with(&lab, "early", 1, third, &[&to_third]).await;
    is_refused(lab.attempted(&lab.attempt(&early, None)).await, "(not_signed)");
    let one = with(&lab, "one", 2, second, &[&to_second]).await;
    lab.deploy(&one, None).await;
    lab.restart().await;
    let gone = with(&lab, "gone", 3, first, &[]).await;
    is_refused(lab.attempted(&lab.attempt(&gone, Some(&one))).await, "(not_signed)");
    // Both lists, for hosts that were away.
    let two = with(&lab, "two", 4, third, &[&to_second, &to_third]).await;
    lab.deploy(&two, Some(&one)).await;
    let back = with(&lab, "back", 5, second, &[&to_second]).await;
    is_refused(lab.attempted(&lab.attempt(&back, Some(&two))).await, "(not_signed)");
    let kept = lab.fixture.state().join("publishers/.keys");
    assert!(Path::new(&kept).exists());
}
