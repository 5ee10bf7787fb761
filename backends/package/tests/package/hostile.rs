//! Whatever is fetched or uploaded: it is used as it was meant, or refused in one message, in bounded memory and time.
use crate::{
    attacks::{self, Maker, fix_checksums},
    lab::{LIMITS, Lab, Random, begin, found, gzip, is_one_message, manifest, packed, tar_of},
    parts,
};
use deploy_package::{
    Manifest, PackageError, Publication,
    archive::Encoding,
    chunks::{Index, Packs},
    delta::Delta,
    framing::Framing,
    install::{Previous, unpack},
    publish::Earlier,
};
use std::{fs, process::Command};

/// How many of each kind.
const MUTANTS: u64 = 1_000;

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        let piece = random.below(40).min(bytes.len() - at);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            2 => bytes.truncate(at.max(1)),
            3 => drop(bytes.drain(at..at + piece)),
            4 => bytes.extend_from_within(at..at + piece),
            _ => {
                let inserted = random.bytes(piece);
                bytes.splice(at..at, inserted);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// A refusal is one message; what is accepted is what it says it is.
fn archive(lab: &Lab, bytes: &[u8]) {
    let releases = lab.path("releases");
    match Manifest::read(bytes, LIMITS) {
        Err(err) => is_one_message(&err),
        Ok(scan) => {
            let tree = begin(&releases, "new").unwrap();
            unpack(bytes, LIMITS, &scan.manifest, tree).unwrap();
            fs::remove_dir_all(releases.join("new")).unwrap();
        }
    }
    assert_eq!(fs::read_dir(&releases).unwrap().count(), 0);
}

fn archives(lab: &Lab) {
    let mut maker = Maker::new();
    maker.folder("d/");
    maker.file("d/a", b"some text, some text, some text");
    maker.long(b'L', format!("d/{}", "n".repeat(120)).as_bytes());
    maker.file("cut", &[b'x'; 700]);
    maker.link("d/l", "a");
    maker.entry(b'1', b"d/h", b"d/a", 0o644, b"");
    let tar = maker.tar();
    for seed in 0..MUTANTS {
        let mut random = Random(seed);
        let mut mutant = tar.clone();
        mutate(&mut mutant, &mut random);
        if random.below(2) == 0 {
            fix_checksums(&mut mutant);
        }
        let mut mutant = match random.below(4) {
            0 => gzip(&mutant, 1),
            1 => packed(&mutant, Encoding::TarZst),
            _ => mutant,
        };
        if random.below(8) == 0 {
            mutate(&mut mutant, &mut random);
        }
        archive(lab, &mutant);
    }
    for attack in attacks::all() {
        archive(lab, &attack.bytes);
        archive(lab, &[attack.entries, Maker::new().tar()].concat());
    }
}

/// The documents and parts of an upgrade, each as what reads it.
fn parts(lab: &Lab) {
    let files = |number: u8| -> crate::lab::Files {
        let text = [vec![b'a'; 30_000], Random(9).bytes(30_000), vec![number]].concat();
        [("same".into(), b"same".to_vec()), ("text".into(), text)].into()
    };
    let [old, new] = [1, 2].map(|it| tar_of(&files(it)));
    let first = parts::published(lab, &old, &[]);
    let earlier = Earlier::new(parts::part(lab, first.archive()), parts::index(lab, &first));
    let publication = parts::published(lab, &new, &[earlier]);
    let said = manifest(&old);
    unpack(&*old, LIMITS, &said, lab.tree("old")).unwrap();
    let upgrade = Upgrade {
        previous: Previous::open(lab.path("old"), said).unwrap(),
        packs: publication
            .fresh()
            .iter()
            .fold(Packs::new(), |packs, it| packs.with(parts::part(lab, &it.part), it.clone())),
        publication,
        lab,
    };
    upgrade.delta(&fs::read(upgrade.part(2)).unwrap()).unwrap();
    for kind in 0..5 {
        let good = fs::read(upgrade.part(kind)).unwrap();
        for seed in 0..MUTANTS {
            let mut mutant = good.clone();
            mutate(&mut mutant, &mut Random(seed));
            if let Err(err) = upgrade.read(kind, &mutant) {
                is_one_message(&err);
                assert!(!lab.path("new").exists());
            }
        }
    }
}

struct Upgrade<'a> {
    lab: &'a Lab,
    publication: Publication,
    previous: Previous,
    packs: Packs,
}

impl Upgrade<'_> {
    fn part(&self, kind: usize) -> std::path::PathBuf {
        let list = self.lab.path("publication");
        fs::write(&list, self.publication.to_bytes().unwrap()).unwrap();
        let delta = self.publication.upgrades()[0].delta;
        match kind {
            0 => parts::part(self.lab, self.publication.manifest()),
            1 => parts::part(self.lab, self.publication.index()),
            2 => parts::part(self.lab, &delta),
            3 => parts::part(self.lab, self.publication.framing().unwrap()),
            _ => list,
        }
    }

    fn read(&self, kind: usize, bytes: &[u8]) -> Result<(), PackageError> {
        match kind {
            0 => self.manifest(bytes),
            1 => self.index(bytes),
            2 => self.delta(bytes),
            3 => self.framing(bytes),
            _ => Publication::parse(bytes).map(drop),
        }
    }

    /// What was installed is what the manifest says, whatever it was made of.
    fn installed(&self, manifest: &Manifest) {
        let found = found(&self.lab.path("new"));
        for file in manifest.files() {
            let (_, _, bytes) = &found[file.path];
            assert_eq!(deploy_package::manifest::ContentHash::of(bytes), file.hash);
        }
    }

    fn manifest(&self, bytes: &[u8]) -> Result<(), PackageError> {
        let read = Manifest::parse(bytes, LIMITS)?;
        assert_eq!(read.to_bytes().unwrap(), bytes);
        Ok(())
    }

    fn index(&self, bytes: &[u8]) -> Result<(), PackageError> {
        let index = Index::parse(bytes, LIMITS)?;
        assert!(index.missing(None).iter().all(|it| it.bytes() <= it.part.size));
        let said = index.manifest().digest()?;
        index.install(said, &self.packs, Some(&self.previous), self.lab.tree("new"))?;
        self.installed(index.manifest());
        fs::remove_dir_all(self.lab.path("new")).unwrap();
        Ok(())
    }

    fn delta(&self, bytes: &[u8]) -> Result<(), PackageError> {
        let path = self.lab.path("mutant");
        fs::write(&path, bytes).unwrap();
        let delta = Delta::open(&path, self.previous.manifest(), LIMITS)?;
        let said = delta.manifest().digest()?;
        delta.install(said, &self.previous, self.lab.tree("new"))?;
        self.installed(delta.manifest());
        fs::remove_dir_all(self.lab.path("new")).unwrap();
        Ok(())
    }

    fn framing(&self, bytes: &[u8]) -> Result<(), PackageError> {
        let (framing, recipe) = Framing::parse(bytes)?;
        let manifest = self.previous.manifest();
        let open = |_: deploy_package::manifest::File<'_>| Ok(std::io::repeat(0));
        deploy_package::framing::rebuild(manifest, &framing, &recipe, open, std::io::sink())
    }
}

const CHILD: &str = "hostile::mutants_do_no_harm";

#[test]
fn mutants_do_no_harm() {
    let lab = Lab::new();
    lab.folder("releases");
    archives(&lab);
    parts(&lab);
}

/// The same in a process that has little memory, and may not take long.
#[test]
fn mutants_are_refused_in_little_memory() {
    let program = std::env::current_exe().unwrap();
    let limited = "ulimit -v 786432 && ulimit -t 120 && exec \"$@\"";
    let child = Command::new("sh")
        .args(["-c", limited, "sh"])
        .arg(program)
        .args([CHILD, "--exact", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{child:?}");
}
