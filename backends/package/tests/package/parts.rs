//! Every way leads to the same tree, and the cheapest is known before the first byte.
use crate::lab::{Files, LIMITS, Lab, Random, found, manifest, packed, tar_of};
use deploy_core::digest::Digest;
use deploy_package::{
    Manifest, PackageError, Part, PartUse, Publication,
    archive::Encoding,
    block_size,
    chunks::{Index, Packs, cut},
    delta::Delta,
    framing::{Framing, rebuild},
    install::{Previous, unpack},
    manifest::ContentHash,
    publish::{Earlier, Free, Holdings, Way, WayKind, publish, ways},
};
use proptest::prelude::*;
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
};

pub(crate) fn published(lab: &Lab, archive: &[u8], earlier: &[Earlier]) -> Publication {
    let path = lab.path(&format!("{}.archive", Digest::of(archive).short()));
    fs::write(&path, archive).unwrap();
    let publication = publish(&path, earlier, &lab.folder("parts"), LIMITS).unwrap();
    let bytes = publication.to_bytes().unwrap();
    assert_eq!(Publication::parse(&bytes).unwrap(), publication);
    fs::rename(path, part(lab, publication.archive())).unwrap();
    for draft in fs::read_dir(lab.path("parts")).unwrap() {
        let name = draft.unwrap().file_name();
        assert_eq!(name.len(), 64, "{name:?} was left");
    }
    publication
}

pub(crate) fn part(lab: &Lab, part: &Part) -> std::path::PathBuf {
    lab.path("parts").join(part.digest.hex())
}

pub(crate) fn index(lab: &Lab, publication: &Publication) -> Index {
    Index::parse(&fs::read(part(lab, publication.index())).unwrap(), LIMITS).unwrap()
}

pub(crate) fn earlier(lab: &Lab, publication: &Publication) -> Earlier {
    Earlier::new(part(lab, publication.archive()), index(lab, publication))
}

/// Programs and texts of some version: most of it stays from one to the next.
fn version(number: usize) -> Files {
    let mut random = Random(7);
    let mut files = Files::new();
    let mut program = random.bytes(900_000);
    for at in 0..number * 40 {
        let place = (at * 21_001) % program.len();
        program[place] ^= 0x55;
    }
    program.splice(300_000..300_000, vec![b'.'; number * 10]);
    files.insert("bin/program".into(), program);
    files.insert(format!("lib/bundle.{number}{number}{number}abc.js"), {
        let mut text = random.bytes(40_000).iter().map(|it| b'a' + it % 26).collect::<Vec<_>>();
        text.extend(format!("version {number}").bytes());
        text
    });
    for at in 0..50 {
        files.insert(format!("share/{at}"), random.bytes(700));
    }
    files.insert(format!("new/{number}"), Random(number as u64).bytes(30_000));
    files.insert("empty".into(), Vec::new());
    files
}

struct Two {
    lab: Lab,
    old: Manifest,
    publication: Publication,
    expected: crate::lab::Found,
}

/// Two versions are published, and the old one is installed.
fn two(encoding: Encoding) -> Two {
    let lab = Lab::new();
    let [old, new] = [1, 2].map(|it| packed(&tar_of(&version(it)), encoding));
    let first = published(&lab, &old, &[]);
    let publication = published(&lab, &new, &[earlier(&lab, &first)]);
    let [old, new] = [("old", &old), ("whole", &new)].map(|(name, archive)| {
        let manifest = manifest(archive);
        unpack(&**archive, LIMITS, &manifest, lab.tree(name)).unwrap();
        manifest
    });
    assert_eq!(new.digest().unwrap(), publication.manifest().digest);
    let expected = found(&lab.path("whole"));
    Two { lab, old, publication, expected }
}

impl Two {
    fn previous(&self) -> Previous {
        Previous::open(self.lab.path("old"), self.old.clone()).unwrap()
    }

    fn expected(&self) -> Digest {
        self.publication.manifest().digest
    }

    fn delta(&self) -> std::path::PathBuf {
        part(&self.lab, &self.publication.upgrades()[0].delta)
    }

    /// Goes a way with nothing but what it says has to be fetched.
    fn go(&self, way: &Way) {
        let fetched = |it: &PartUse| part(&self.lab, &it.part);
        let from = way.from.map(|_| self.previous());
        let tree = self.lab.tree("new");
        let expected = self.publication.manifest().digest;
        match way.kind {
            WayKind::Archive => {
                let archive = File::open(fetched(&way.parts[0])).unwrap();
                let manifest = fs::read(part(&self.lab, self.publication.manifest())).unwrap();
                let manifest = Manifest::parse(&manifest, LIMITS).unwrap();
                unpack(archive, LIMITS, &manifest, tree).unwrap();
            }
            WayKind::Chunks => {
                let (index, packs) = way.parts.split_first().unwrap();
                let index = Index::parse(&fs::read(fetched(index)).unwrap(), LIMITS).unwrap();
                let packs = packs
                    .iter()
                    .fold(Packs::new(), |packs, it| packs.with(fetched(it), it.clone()));
                index.install(expected, &packs, from.as_ref(), tree).unwrap();
            }
            _ => {
                let delta = Delta::open(fetched(&way.parts[0]), &self.old, LIMITS).unwrap();
                delta.install(expected, from.as_ref().unwrap(), tree).unwrap();
            }
        }
        assert_eq!(found(&self.lab.path("new")), self.expected, "{}", way.kind);
    }
}

#[test]
fn every_way_leads_to_the_same_tree() {
    for encoding in Encoding::ALL {
        let two = two(*encoding);
        let holdings = Holdings::new().with_tree(two.old.digest().unwrap());
        let ways = ways(&two.publication, &holdings);
        let kinds: Vec<_> = ways.iter().map(|it| (it.kind, it.from.is_some())).collect();
        assert_eq!(kinds.len(), 4, "{kinds:?}");
        assert!(ways.is_sorted_by_key(|it| it.needs.download));
        assert_eq!(kinds[0], (WayKind::Delta, true));
        ways.iter().for_each(|it| two.go(it));
    }
}

#[test]
fn parts_are_what_they_are_called() {
    let two = two(Encoding::TarGz);
    let publication = &two.publication;
    let uses = publication.fresh().iter().map(|it| it.part);
    let parts = [publication.archive(), publication.manifest(), publication.index()];
    let parts = parts.into_iter().chain(publication.framing()).copied().chain(uses);
    for it in parts.chain(publication.upgrades().iter().map(|it| it.delta)) {
        let bytes = fs::read(part(&two.lab, &it)).unwrap();
        assert_eq!(Digest::of(&bytes), it.digest);
        assert_eq!(bytes.len() as u64, it.size);
        assert_eq!(ContentHash::of(&bytes), it.blake3);
    }
}

#[test]
fn packs_hold_what_earlier_ones_do_not() {
    let two = two(Encoding::TarZst);
    let fresh: BTreeSet<_> = two.publication.fresh().iter().map(|it| it.part).collect();
    let upgrade: BTreeSet<_> =
        two.publication.upgrades()[0].chunks.iter().map(|it| it.part).collect();
    assert!(upgrade.is_subset(&fresh) && upgrade.len() < fresh.len(), "{upgrade:?} {fresh:?}");
    let size = |parts: &BTreeSet<Part>| parts.iter().map(|it| it.size).sum::<u64>();
    assert!(size(&upgrade) < size(&fresh) / 2, "{} of {}", size(&upgrade), size(&fresh));
}

#[test]
fn the_archive_is_made_again_where_it_is_wanted() {
    let two = two(Encoding::TarGz);
    let framing = fs::read(part(&two.lab, two.publication.framing().unwrap())).unwrap();
    let (framing, recipe) = Framing::parse(&framing).unwrap();
    let archive = fs::read(part(&two.lab, two.publication.archive())).unwrap();
    let open =
        |it: deploy_package::manifest::File<'_>| File::open(two.lab.path("whole").join(it.path));
    let mut made = Vec::new();
    rebuild(&manifest(&archive), &framing, &recipe, open, &mut made).unwrap();
    assert!(made == archive);
    let holdings = Holdings::new().with_tree(two.old.digest().unwrap()).wanting_archive();
    let ways = ways(&two.publication, &holdings);
    let delta = ways.iter().find(|it| it.kind == WayKind::Delta).unwrap();
    assert!(delta.parts.iter().any(|it| Some(&it.part) == two.publication.framing()));
    assert_eq!(delta.needs.scratch, archive.len() as u64);
}

/// Whoever forgets to compare what it has with what was ordered is told.
#[test]
fn no_way_leads_to_another_version_than_was_ordered() {
    let two = two(Encoding::TarZst);
    let other = two.old.digest().unwrap();
    let delta = Delta::open(two.delta(), &two.old, LIMITS).unwrap();
    let index = index(&two.lab, &two.publication);
    let errors = [
        delta.install(other, &two.previous(), two.lab.tree("new")),
        index.install(other, &Packs::new(), Some(&two.previous()), two.lab.tree("new")),
    ];
    for err in errors {
        assert_eq!(err.unwrap_err().code(), "manifest_mismatch");
        assert!(!two.lab.path("new").exists());
    }
}

#[test]
fn a_changed_file_is_named() {
    let two = two(Encoding::TarZst);
    let delta = Delta::open(two.delta(), &two.old, LIMITS).unwrap();
    let program = two.lab.path("old/bin/program");
    let mut bytes = fs::read(&program).unwrap();
    bytes[1] ^= 1;
    fs::write(program, bytes).unwrap();
    let err = delta.install(two.expected(), &two.previous(), two.lab.tree("new")).unwrap_err();
    let path = "bin/program";
    assert!(matches!(&err, PackageError::OldFileChanged { path: it } if it == path), "{err}");
    assert!(!two.lab.path("new").exists());
}

#[test]
fn a_delta_fits_one_version() {
    let two = two(Encoding::TarZst);
    let other = manifest(&tar_of(&version(3)));
    let err = Delta::open(two.delta(), &other, LIMITS).unwrap_err();
    assert_eq!(err.code(), "malformed");
}

/// Patches against the files of one archive, by the index of another, would make nothing.
#[test]
fn an_index_belongs_to_its_archive() {
    let lab = Lab::new();
    let [one, other] = [1, 2].map(|it| tar_of(&version(it)));
    let published = [&one, &other].map(|it| published(&lab, it, &[]));
    let wrong = Earlier::new(part(&lab, published[0].archive()), index(&lab, &published[1]));
    let archive = part(&lab, published[1].archive());
    let err = publish(&archive, &[wrong], &lab.folder("parts"), LIMITS).unwrap_err();
    assert_eq!(err.code(), "malformed");
}

/// Packs of which a block is missing, or wrong, make no tree.
#[test]
fn damaged_packs_install_nothing() {
    let two = two(Encoding::TarZst);
    let index = index(&two.lab, &two.publication);
    let err = index.install(two.expected(), &Packs::new(), None, two.lab.tree("new")).unwrap_err();
    assert_eq!(err.code(), "malformed");
    let packs = two.publication.fresh().iter().fold(Packs::new(), |packs, it| {
        let path = part(&two.lab, &it.part);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        packs.with(path, it.clone())
    });
    let err = index.install(two.expected(), &packs, None, two.lab.tree("new")).unwrap_err();
    assert!(["file_mismatch", "malformed"].contains(&err.code()), "{err}");
    assert!(!two.lab.path("new").exists());
}

/// A file of more than 192 MiB is patched in windows, in place or where it has moved to.
#[test]
fn large_files_are_patched_in_windows() {
    let lab = Lab::new();
    let mut large: Vec<u8> = Random(1).bytes(1 << 20).repeat(200);
    let [before, after] = [0, 1].map(|number| {
        large.splice(50_000_000..50_000_000, vec![number; 1_000]);
        large[199 << 20] = number;
        packed(&tar_of(&[("large".into(), large.clone())].into()), Encoding::TarZst)
    });
    let limits = LIMITS.with_ratio(100_000, 0);
    let publish = |archive: &[u8], earlier: &[Earlier]| {
        let path = lab.path(&Digest::of(archive).short());
        fs::write(&path, archive).unwrap();
        (publish(&path, earlier, &lab.folder("parts"), limits).unwrap(), path)
    };
    let (first, path) = publish(&before, &[]);
    let old = index(&lab, &first);
    let (second, _) = publish(&after, &[Earlier::new(path, old.clone())]);
    let old = old.manifest().clone();
    unpack(&*before, limits, &old, lab.tree("old")).unwrap();
    let delta = &second.upgrades()[0].delta;
    assert!(delta.size < 1_000_000, "{}", delta.size);
    let delta = Delta::open(part(&lab, delta), &old, limits).unwrap();
    let previous = Previous::open(lab.path("old"), old).unwrap();
    delta.install(second.manifest().digest, &previous, lab.tree("new")).unwrap();
    assert!(fs::read(lab.path("new/large")).unwrap() == large);
}

/// Where files are cut is part of the format: another version of the chunker must not move it.
#[test]
fn cuts_stay_where_they_are() {
    let sizes = |bytes: &[u8]| {
        let mut sizes = Vec::new();
        cut(bytes, |chunk, _| {
            sizes.push(chunk.size);
            Ok::<_, io::Error>(())
        })
        .unwrap();
        sizes
    };
    let bytes = Random(42).bytes(1_000_001);
    assert_eq!(sizes(&bytes), GOLDEN);
    assert_eq!(sizes(&[0; 600_000]), [262_144, 262_144, 75_712]);
    assert_eq!(sizes(b"x"), [1]);
    assert_eq!(sizes(b""), [0_u32; 0]);
}

const GOLDEN: &[u32] = &[
    106_594, 75_208, 19_070, 105_223, 66_060, 92_895, 156_030, 42_707, 136_630, 120_388, 69_647,
    9_549,
];

/// However a file is read, it is cut in the same places as all of it at once.
#[test]
fn cuts_do_not_depend_on_how_a_file_is_read() {
    let bytes = Random(3).bytes(10 << 20);
    let mut whole = Vec::new();
    for piece in fastcdc::v2020::FastCDC::new(&bytes, 16 << 10, 64 << 10, 256 << 10) {
        whole.push((ContentHash::of(&bytes[piece.offset..][..piece.length]), piece.length));
    }
    let mut read = Vec::new();
    cut(&*bytes, |chunk, _| {
        read.push((chunk.id, chunk.size as usize));
        Ok::<_, io::Error>(())
    })
    .unwrap();
    assert_eq!(read, whole);
}

#[test]
fn room_is_counted_to_the_byte() {
    let two = two(Encoding::TarGz);
    let way = &ways(&two.publication, &Holdings::new())[0];
    let needs = way.needs;
    let reserve = Free { bytes: 1_000, inodes: 10 };
    let enough = Free { bytes: needs.bytes() + 1_000, inodes: needs.inodes + 10 };
    assert_eq!(needs.check(enough, reserve), Ok(()));
    let short = Free { bytes: enough.bytes - 1, inodes: enough.inodes - 2 };
    let short = needs.check(short, reserve).unwrap_err();
    assert_eq!((short.bytes, short.inodes), (1, 2));
    assert!(needs.unpacked >= two.publication.totals().unpacked);
}

#[test]
fn what_is_there_is_not_fetched_again() {
    let two = two(Encoding::TarGz);
    let archive = two.publication.archive().digest;
    let ways = ways(&two.publication, &Holdings::new().with_part(archive));
    assert_eq!((ways[0].kind, ways[0].needs.download), (WayKind::Archive, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_are_whole_subtrees(size in 0_u64..1 << 40) {
        let block = block_size(size);
        prop_assert!(block.is_power_of_two() && (256 << 10..=4 << 20).contains(&block));
        prop_assert!(block == 256 << 10 || block == 4 << 20 || size / block <= 512);
    }
}
