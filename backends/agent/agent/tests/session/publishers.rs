//! A host that runs what its publishers have signed, and nothing else.
use crate::delivery::{LITTLE, Lab, PLAIN};
use deploy_agent_protocol::v1;
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
use prost::Message as _;
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

/// A gateway that somebody else has taken over gives orders of its own.
#[tokio::test]
async fn an_order_does_what_the_signed_descriptor_says() {
    let ours = &Publisher::new();
    let lab = Lab::with_policy(&policy(&[ours], 1)).await;
    let descriptor = b"format = 1\n[steps.post]\nscript = \"post.sh\"\n";
    let files: &[(&str, &[u8])] =
        &[("descriptor.toml", descriptor), ("post.sh", b"true\n"), ("other.sh", b"true\n")];
    let release = published(&lab, lab.release("one", 1, files).await, 5, &[ours]).await;
    lab.deploy(&release, None).await;
    let order = std::fs::read(lab.fixture.attempt(1).join("order")).unwrap();
    let good = v1::Attempt::decode(&*order).unwrap();
    let other_script = |name: &'static str| {
        move |it: &mut v1::Attempt| {
            let step = it.steps.iter_mut().find(|it| it.name == name).unwrap();
            step.script = "other.sh".to_owned();
        }
    };
    let changes: [&dyn Fn(&mut v1::Attempt); 6] = [
        &|it| {
            it.environment.insert("D_VERIFY_COMMAND".to_owned(), "touch /tmp/x".to_owned());
        },
        &|it| {
            it.environment.remove("D_KEEP_RELEASES");
        },
        &other_script("post"),
        &other_script("install"),
        &|it| it.steps[0].check = "other.sh".to_owned(),
        &|it| it.package = None,
    ];
    for (generation, change) in (2..).zip(changes) {
        let mut order = good.clone();
        (order.generation, order.token) = (generation, format!("{generation:032x}"));
        change(&mut order);
        let refused = lab.start(order).await.unwrap_err();
        assert_eq!(refused.code(), v1::Refusal::NotTrusted, "{}", refused.message);
    }
    let again = v1::Attempt { generation: 9, token: format!("{:032x}", 9), ..good };
    lab.start(again).await.unwrap();
}

#[tokio::test]
async fn what_lies_under_the_name_of_a_release_is_not_taken_for_it() {
    let ours = &Publisher::new();
    let lab = Lab::with_policy(&policy(&[ours], 1)).await;
    let one = published(&lab, lab.release("one", 1, PLAIN).await, 1, &[ours]).await;
    let two = published(&lab, lab.release("two", 2, PLAIN).await, 2, &[ours]).await;
    lab.deploy(&one, None).await;
    lab.deploy(&two, Some(&one)).await;
    // The newest statement, under the name of what lies there and is older.
    let mut passed_off = two.clone();
    passed_off.id = one.id.clone();
    let came = lab.attempted(&lab.attempt(&passed_off, Some(&two))).await;
    is_refused(came, "on this host already");
    let current = std::fs::read_link(lab.fixture.dir.path().join("root/srv/web/current")).unwrap();
    assert!(current.ends_with("two"), "{}", current.display());
}

#[tokio::test]
async fn a_host_goes_back_to_what_was_signed_by_keys_that_are_given_up() {
    let [first, second] = &[Publisher::new(), Publisher::new()];
    let lab = Lab::with_policy(&policy(&[first], 1)).await;
    let one = published(&lab, lab.release("one", 1, PLAIN).await, 1, &[first]).await;
    lab.deploy(&one, None).await;
    let list = KeyList::new(1, 1, vec![second.key()]).to_bytes().unwrap();
    let list = String::from_utf8(list).unwrap();
    let list = SignedKeys::new(list.clone(), vec![first.sign(&list)]);
    let mut two = published(&lab, lab.release("two", 2, PLAIN).await, 2, &[second]).await;
    two.signed = two.signed.map(|it| it.with_key_lists(vec![list]));
    lab.deploy(&two, Some(&one)).await;
    let mut back = lab.attempt(&one, Some(&two));
    back.direction = deploy_core::spec::Direction::Back;
    back.first_step = deploy_core::spec::StepName::Rollback;
    assert_eq!(lab.attempted(&back).await.unwrap(), AttemptReport::Succeeded);
    // Not forward again: nobody whom the host believes has signed that.
    is_refused(lab.attempted(&lab.attempt(&one, Some(&two))).await, "(not_signed)");
}

#[tokio::test]
async fn nothing_runs_where_what_is_remembered_cannot_be_read() {
    let ours = &Publisher::new();
    let lab = Lab::with_policy(&policy(&[ours], 1)).await;
    let one = published(&lab, lab.release("one", 1, PLAIN).await, 1, &[ours]).await;
    for name in [".keys", "web"] {
        let path = lab.fixture.state().join("publishers").join(name);
        std::fs::write(&path, "{").unwrap();
        is_refused(lab.attempted(&lab.attempt(&one, None)).await, "cannot be read");
        std::fs::remove_file(path).unwrap();
    }
    lab.deploy(&one, None).await;
}
