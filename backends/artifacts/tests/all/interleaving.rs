//! Many tasks, everything at once: over two handles on one folder, and over the one handle that a bucket may have.
use crate::{
    garbage::END,
    support::{files, noise, permit, request},
};
use deploy_artifacts::{CollectGarbage, ObjectArtifactStore};
use deploy_core::{
    access::Permit,
    backend::{
        ArtifactStore as _, ArtifactStoreExt as _, BackendResult, ErrorKind, Holder, ListArtifacts,
    },
    conformance::sample::name,
};
use futures_util::TryStreamExt as _;
use object_store::{ObjectStore as _, memory::InMemory};
use std::{sync::Arc, time::Duration};

const TASKS: u64 = 6;
const STEPS: usize = 40;
const ARTIFACTS: u64 = 4;

/// A small generator, so that a seed names a sequence of operations.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

fn bytes(number: u64) -> Vec<u8> {
    noise(number + 1, 40_000 + usize::try_from(number).unwrap() * 700_000)
}

/// One of the things a user does. Whatever goes on elsewhere, only these errors may come of it.
async fn step(store: &ObjectArtifactStore, permit: &Permit, dice: &mut Dice) -> BackendResult<()> {
    let bytes = bytes(dice.roll(ARTIFACTS));
    let asked = request(&bytes, &format!("v{}", dice.roll(6)), dice.roll(50));
    let digest = asked.digest;
    match dice.roll(10) {
        0..4 => store.put(permit, asked, &mut &*bytes).await.map(drop),
        4 => store.delete(permit, &digest).await,
        5 => {
            let now = CollectGarbage::new(2, END).with_min_age(Duration::ZERO);
            store.collect(permit, now).await.map(drop)
        }
        6 => store.list(&ListArtifacts::new()).await.map(drop),
        7 => store.verify(&digest).await,
        _ => store.read_all(&digest, u64::MAX).await.map(|read| assert!(read == bytes)),
    }
}

/// Holds an artifact, and sees that it stays as long as it is held.
async fn hold(store: &ObjectArtifactStore, permit: &Permit, dice: &mut Dice, task: u64) {
    let digest = request(&bytes(dice.roll(ARTIFACTS)), "1", 1).digest;
    let holder = Holder::Release(name(&format!("task-{task}")));
    match store.hold(permit, &digest, &holder).await {
        Ok(()) => {}
        Err(err) if err.kind() == ErrorKind::NotFound => return,
        Err(err) => panic!("{}", err.chain()),
    }
    for _ in 0..3 {
        store.verify(&digest).await.unwrap();
        let deleted = store.delete(permit, &digest).await;
        assert_eq!(deleted.unwrap_err().kind(), ErrorKind::Conflict);
        let now = CollectGarbage::new(0, END).with_min_age(Duration::ZERO);
        store.collect(permit, now).await.unwrap();
    }
    store.let_go(permit, &digest, &holder).await.unwrap();
}

async fn work(store: Arc<ObjectArtifactStore>, permit: Permit, seed: u64, task: u64) {
    let mut dice = Dice((seed << 8 | task).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..STEPS {
        if dice.roll(8) == 0 {
            hold(&store, &permit, &mut dice, task).await;
            continue;
        }
        if let Err(err) = step(&store, &permit, &mut dice).await {
            let expected = [ErrorKind::AlreadyExists, ErrorKind::Conflict, ErrorKind::NotFound];
            assert!(expected.contains(&err.kind()), "seed {seed}, task {task}: {}", err.chain());
        }
    }
}

/// Has all tasks work at once, and sees that nothing is missing, and that nothing need be left.
async fn interleave(stores: &[Arc<ObjectArtifactStore>], seed: u64) {
    let permit = permit().await;
    let tasks: Vec<_> = (0..TASKS)
        .zip(stores.iter().cycle())
        .map(|(task, store)| tokio::spawn(work(Arc::clone(store), permit.clone(), seed, task)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for entry in stores[0].list(&ListArtifacts::new()).await.unwrap() {
        stores[0].verify(&entry.meta.digest).await.unwrap();
    }
    let everything = CollectGarbage::new(0, END).with_min_age(Duration::ZERO);
    stores[0].collect(&permit, everything).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_listed_or_held_is_ever_lost() {
    for seed in 1..=8 {
        let folder = tempfile::tempdir().unwrap();
        let stores =
            [(), ()].map(|()| Arc::new(ObjectArtifactStore::open_local(folder.path()).unwrap()));
        interleave(&stores, seed).await;
        assert_eq!(files(folder.path()), ["format", "lock", "partial/lock"], "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_listed_or_held_is_ever_lost_behind_one_handle() {
    for seed in 1..=8 {
        let objects = Arc::new(InMemory::new());
        let store = Arc::new(ObjectArtifactStore::new(Arc::<InMemory>::clone(&objects)));
        interleave(&[store], seed).await;
        let left: Vec<_> = objects.list(None).try_collect().await.unwrap();
        assert!(left.is_empty(), "seed {seed}: {left:?}");
    }
}
