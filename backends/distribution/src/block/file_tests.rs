use super::*;
use proptest::{collection::vec, prelude::*};
use std::fs::OpenOptions;
use tempfile::TempDir;

const BLOCK: usize = 256 << 10;
const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn content(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

struct Scene {
    folder: TempDir,
    bytes: Vec<u8>,
    outboard: Outboard,
}

impl Scene {
    fn new(length: usize) -> Self {
        let bytes = content(length);
        let outboard = Outboard::compute(length as u64, &*bytes).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), bytes, outboard }
    }

    fn open(&self) -> BlobFile {
        BlobFile::open(self.folder.path(), self.outboard.clone()).unwrap()
    }

    fn block(&self, number: u32) -> &[u8] {
        let range = self.outboard.blob().block(number).unwrap().bytes();
        &self.bytes[range.start as usize..range.end as usize]
    }

    fn put(&self, file: &BlobFile, number: u32, now: Timestamp) {
        assert!(file.put(number, self.block(number), now).unwrap());
    }

    fn path(&self, extension: &str) -> PathBuf {
        path(self.folder.path(), &self.outboard.blob(), extension)
    }
}

#[test]
fn a_blob_is_put_together_in_any_order() {
    let scene = Scene::new(3 * BLOCK + 7);
    let file = scene.open();
    for number in [2, 0, 3, 1] {
        assert!(matches!(file.finish(), Err(BlobFileError::Incomplete { .. })));
        scene.put(&file, number, START);
        assert!(!file.put(number, b"again", START).unwrap());
    }
    assert_eq!(fs::read(file.finish().unwrap()).unwrap(), scene.bytes);
    assert_eq!(file.finish().unwrap(), scene.path(""));
    assert!(!scene.path("have").exists() && !scene.path("part").exists());
    let again = BlobFile::resume(scene.folder.path(), file.blob()).unwrap().unwrap();
    assert!(again.is_full() && again.readable(&(0..scene.bytes.len() as u64)).is_some());
}

#[test]
fn a_block_that_is_wrong_is_neither_written_nor_had() {
    let scene = Scene::new(2 * BLOCK);
    let file = scene.open();
    let wrong = file.put(0, scene.block(1), START);
    assert!(matches!(wrong, Err(BlobFileError::WrongBlock { number: 0, .. })));
    assert!(matches!(file.put(9, &[], START), Err(BlobFileError::WrongBlock { .. })));
    assert!(fs::read(scene.path("part")).unwrap().iter().all(|it| *it == 0));
    assert_eq!(file.had().count(), 0);
}

#[test]
fn only_what_is_had_is_given_out() {
    let scene = Scene::new(3 * BLOCK);
    let file = scene.open();
    scene.put(&file, 1, START);
    let block = BLOCK as u64;
    assert!(file.readable(&(block..2 * block)).is_some());
    for range in [block - 1..2 * block, block..2 * block + 1, 0..1, 5..5, 3 * block..4 * block] {
        assert!(file.readable(&range).is_none(), "{range:?}");
    }
}

#[test]
fn all_the_room_is_taken_at_once() {
    let scene = Scene::new(2 * BLOCK);
    drop(scene.open());
    let metadata = fs::metadata(scene.path("part")).unwrap();
    let taken = std::os::unix::fs::MetadataExt::blocks(&metadata) * 512;
    assert_eq!((metadata.len(), taken), (2 * BLOCK as u64, 2 * BLOCK as u64));
}

#[test]
fn what_was_synced_is_trusted_and_the_rest_hashed() {
    let scene = Scene::new(5 * BLOCK);
    let file = scene.open();
    scene.put(&file, 0, START);
    file.sync(START).unwrap();
    scene.put(&file, 1, START);
    scene.put(&file, 2, START);
    drop(file);
    // Neither of these reached the disk, as far as anybody can tell: the one that was synced cannot have been lost.
    let part = OpenOptions::new().write(true).open(scene.path("part")).unwrap();
    part.write_all_at(b"lost", 0).unwrap();
    part.write_all_at(b"lost", 2 * BLOCK as u64).unwrap();
    assert_eq!(scene.open().had().iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_lost_record_costs_hashing_and_no_block() {
    let scene = Scene::new(5 * BLOCK);
    let file = scene.open();
    [4, 1].into_iter().for_each(|it| scene.put(&file, it, START));
    drop(file);
    for damage in [&b""[..], b"have v1\n", &[0; 4_096]] {
        fs::write(scene.path("have"), damage).unwrap();
        assert_eq!(scene.open().had().iter().collect::<Vec<_>>(), [1, 4]);
    }
}

#[test]
fn a_sync_is_due_after_two_seconds() {
    let scene = Scene::new(4 * BLOCK);
    let file = scene.open();
    let synced = || {
        let written = fs::read(scene.path("have")).unwrap();
        Have::from_bytes(&file.blob(), &written).unwrap().synced.count()
    };
    scene.put(&file, 0, START);
    scene.put(&file, 1, START.after(Duration::from_millis(1_999)));
    assert_eq!(synced(), 0);
    scene.put(&file, 2, START.after(Duration::from_secs(2)));
    assert_eq!(synced(), 3);
}

#[test]
fn a_beginning_that_came_in_another_way_is_gone_on_with() {
    let scene = Scene::new(3 * BLOCK + 7);
    let elsewhere = tempfile::tempdir().unwrap();
    let beginning = elsewhere.path().join("beginning");
    let open = || {
        let opened =
            BlobFile::open_with(scene.folder.path(), scene.outboard.clone(), &beginning).unwrap();
        opened.had().iter().collect::<Vec<_>>()
    };
    let mut bytes = scene.bytes[..2 * BLOCK + 9].to_vec();
    bytes[7] ^= 1;
    fs::write(&beginning, &bytes).unwrap();
    assert_eq!(open(), [1], "the first block is damaged, and the third one cut");
    assert!(!beginning.exists());
    assert_eq!(fs::metadata(scene.path("part")).unwrap().len(), scene.bytes.len() as u64);
    // Where there is something already, it is what counts.
    fs::write(&beginning, &scene.bytes).unwrap();
    assert_eq!(open(), [1]);
}

#[test]
fn a_full_disk_is_found_before_the_first_byte() {
    let scene = Scene::new(1);
    let outboard = Outboard::of_nothing(1 << 40);
    let refused = BlobFile::open(scene.folder.path(), outboard);
    assert!(matches!(refused, Err(BlobFileError::NoRoom { .. })), "{refused:?}");
    let (beginning, outboard) = (scene.path("other"), Outboard::of_nothing(1 << 40));
    fs::write(&beginning, "begun").unwrap();
    let refused = BlobFile::open_with(scene.folder.path(), outboard, &beginning);
    assert!(matches!(refused, Err(BlobFileError::NoRoom { .. })), "{refused:?}");
    assert_eq!(fs::read(beginning).unwrap(), b"begun");
}

#[test]
fn an_empty_blob_is_whole_at_once() {
    let scene = Scene::new(0);
    let file = scene.open();
    assert!(file.is_full());
    assert_eq!(fs::read(file.finish().unwrap()).unwrap(), b"");
}

#[test]
fn a_damaged_outboard_is_had_again_and_costs_no_block() {
    let scene = Scene::new(3 * BLOCK);
    scene.put(&scene.open(), 1, START);
    for damage in [&[0; 96][..], b"short", b""] {
        fs::write(scene.path("outboard"), damage).unwrap();
        let resumed = BlobFile::resume(scene.folder.path(), scene.outboard.blob());
        assert!(resumed.unwrap().is_none());
        assert_eq!(scene.open().had().iter().collect::<Vec<_>>(), [1]);
        assert_eq!(fs::read(scene.path("outboard")).unwrap(), *scene.outboard.bytes());
    }
}

#[test]
fn what_was_damaged_on_the_disk_is_not_given_out() {
    let scene = Scene::new(3 * BLOCK);
    let file = scene.open();
    (0..3).for_each(|it| scene.put(&file, it, START));
    let named = file.finish().unwrap();
    let disk = OpenOptions::new().write(true).open(&named).unwrap();
    disk.write_all_at(b"rot", BLOCK as u64 + 9).unwrap();
    let block = BLOCK as u64;
    for file in [scene.open(), BlobFile::whole(&named, scene.outboard.clone()).unwrap()] {
        assert!(file.readable(&(0..block)).is_some() && file.readable(&(0..2 * block)).is_none());
        assert_eq!(file.had().iter().collect::<Vec<_>>(), [0, 2]);
    }
    let file = scene.open();
    file.check().unwrap();
    assert_eq!(file.had().iter().collect::<Vec<_>>(), [0, 2]);
    scene.put(&file, 1, START);
    assert!(file.readable(&(0..3 * block)).is_some());
    assert_eq!(fs::read(file.finish().unwrap()).unwrap(), scene.bytes);
}

#[test]
fn what_could_not_be_finished_can_be_later() {
    let scene = Scene::new(BLOCK);
    let file = scene.open();
    scene.put(&file, 0, START);
    let in_the_way = scene.path("").join("folder");
    fs::create_dir_all(&in_the_way).unwrap();
    file.finish().unwrap_err();
    fs::remove_dir_all(scene.path("")).unwrap();
    assert_eq!(fs::read(file.finish().unwrap()).unwrap(), scene.bytes);
}

/// A blob of one block has its root for its only chaining value, whatever size is claimed.
#[test]
fn another_size_under_the_same_root_touches_nothing() {
    let scene = Scene::new(BLOCK);
    let file = scene.open();
    scene.put(&file, 0, START);
    let whole = file.finish().unwrap();
    let lie = Blob::new(scene.outboard.blob().root(), 1).unwrap();
    let lie = Outboard::parse(lie, scene.outboard.bytes().clone()).unwrap();
    let shorter = BlobFile::open(scene.folder.path(), lie).unwrap();
    assert!(shorter.put(0, &scene.bytes[..1], START).is_err());
    shorter.remove().unwrap();
    assert_eq!(fs::read(whole).unwrap(), scene.bytes);
    assert!(BlobFile::resume(scene.folder.path(), file.blob()).unwrap().unwrap().is_full());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is put and whenever the program is killed: what is had is right, and was put.
    #[test]
    fn what_is_had_is_right(steps in vec((0_u32..6, any::<bool>(), any::<bool>()), 0..20)) {
        let scene = Scene::new(5 * BLOCK + 100);
        let (mut file, mut put) = (scene.open(), std::collections::BTreeSet::new());
        for (number, good, kill) in steps {
            if good {
                file.put(number, scene.block(number), START).unwrap();
                put.insert(number);
            } else {
                prop_assert_eq!(file.put(number, b"bad", START).is_ok(), put.contains(&number));
            }
            if kill {
                drop(file);
                file = scene.open();
            }
        }
        prop_assert_eq!(file.had().iter().collect::<std::collections::BTreeSet<_>>(), put);
    }
}
