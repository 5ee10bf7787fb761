//! One step, in a process of its own.
use deploy_benches::Failure;
use deploy_core::digest::Digest;
use deploy_package::{
    Manifest, Publication,
    archive::Limits,
    chunks::{Index, Packs},
    delta::Delta,
    install::{Durability, NewTree, Previous, unpack},
    publish::{Earlier, Holdings, WayKind, publish, ways},
};
use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// The first argument of a process that is to do one step.
pub(crate) const MARK: &str = "--step";
const LIMITS: Limits = Limits::PACKAGE;

/// What a step took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    /// Seconds from start to end.
    pub(crate) wall: f64,
    /// Seconds of CPU, of all its threads and the processes that it started.
    pub(crate) cpu: f64,
    /// The most memory that was resident, in MiB.
    pub(crate) resident: f64,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} / {:.2} / {:.0}", self.wall, self.cpu, self.resident)
    }
}

/// Does the step `name` in a new process.
pub(crate) fn spawn(name: &str, work: &Path, old: &Path, new: &Path) -> Result<Taken, Failure> {
    let child = Command::new(std::env::current_exe()?)
        .args([OsStr::new(MARK), OsStr::new(name), work.as_ref(), old.as_ref(), new.as_ref()])
        .stderr(Stdio::inherit())
        .output()?;
    if !child.status.success() {
        return Err(format!("the step {name} failed").into());
    }
    let said = String::from_utf8(child.stdout)?;
    let numbers: Vec<f64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [wall, cpu, resident] = numbers[..] else { return Err("three numbers are said".into()) };
    Ok(Taken { wall, cpu, resident })
}

/// Does one step, and says what it took.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
#[expect(clippy::print_stdout, reason = "the process that started this one reads it")]
pub(crate) fn run(arguments: &[OsString]) -> Result<(), Failure> {
    let [_, name, work, old, new] = arguments else { return Err("a step has four".into()) };
    let step = Step { work: Path::new(work), old: Path::new(old), new: Path::new(new) };
    step.clear()?;
    let (start, before) = (Instant::now(), cpu()?);
    step.run(name.to_str().unwrap_or_default())?;
    let wall = start.elapsed().as_secs_f64();
    println!("{wall} {} {}", cpu()? - before, resident()?);
    Ok(())
}

struct Step<'a> {
    work: &'a Path,
    old: &'a Path,
    new: &'a Path,
}

impl Step<'_> {
    /// Takes away what an earlier round has made: that is not measured.
    fn clear(&self) -> Result<(), Failure> {
        for name in ["new", "by-delta", "by-chunks", "by-tar"] {
            match fs::remove_dir_all(self.work.join(name)) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err.into()),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn run(&self, name: &str) -> Result<(), Failure> {
        match name {
            "publish-old" => self.publish_old(),
            "publish-new" => self.publish_new(),
            "unpack-old" => self.unpack(self.old, "old.manifest", "old", Durability::Unsynced),
            "unpack" => self.unpack(self.new, "new.manifest", "new", Durability::Synced),
            "unpack-unsynced" => self.unpack(self.new, "new.manifest", "new", Durability::Unsynced),
            "delta" => self.delta(),
            "chunks" => self.chunks(),
            "tar" => self.tar(),
            other => Err(format!("there is no step {other}").into()),
        }
    }

    fn publish_old(&self) -> Result<(), Failure> {
        let publication = publish(self.old, &[], self.work, LIMITS)?;
        self.keep("old", &publication)
    }

    fn publish_new(&self) -> Result<(), Failure> {
        let index = self.part(self.read("old")?.index().digest);
        let old = Index::parse(&fs::read(index)?, LIMITS)?;
        let from = old.manifest().digest()?;
        let publication = publish(self.new, &[Earlier::new(self.old, old)], self.work, LIMITS)?;
        let ways = ways(&publication, &Holdings::new().with_tree(from));
        let least = |kind| {
            let of_kind = ways.iter().filter(|it| it.kind == kind);
            of_kind.map(|it| it.needs.download).min().unwrap_or_default()
        };
        let chosen = ways.first().map_or(0, |it| it.needs.download);
        let least = [WayKind::Archive, WayKind::Chunks, WayKind::Delta].map(least);
        let [archive, chunks, delta] = least;
        let unpacked = publication.totals().unpacked;
        let sizes = format!("{archive} {chunks} {delta} {chosen} {unpacked}");
        fs::write(self.work.join("sizes"), sizes)?;
        self.keep("new", &publication)
    }

    fn keep(&self, version: &str, publication: &Publication) -> Result<(), Failure> {
        fs::write(self.work.join(version).with_extension("publication"), publication.to_bytes()?)?;
        let manifest = self.part(publication.manifest().digest);
        fs::copy(manifest, self.work.join(version).with_extension("manifest"))?;
        Ok(())
    }

    fn read(&self, version: &str) -> Result<Publication, Failure> {
        let bytes = fs::read(self.work.join(version).with_extension("publication"))?;
        Ok(Publication::parse(&bytes)?)
    }

    fn part(&self, digest: Digest) -> PathBuf {
        self.work.join(digest.hex())
    }

    fn unpack(
        &self,
        archive: &Path,
        manifest: &str,
        name: &str,
        durability: Durability,
    ) -> Result<(), Failure> {
        let manifest = Manifest::parse(&fs::read(self.work.join(manifest))?, LIMITS)?;
        let tree = NewTree::begin(self.work, name)?.with_durability(durability);
        unpack(File::open(archive)?, LIMITS, &manifest, tree)?;
        Ok(())
    }

    fn previous(&self) -> Result<Previous, Failure> {
        let manifest = Manifest::parse(&fs::read(self.work.join("old.manifest"))?, LIMITS)?;
        Ok(Previous::open(self.work.join("old"), manifest)?)
    }

    fn delta(&self) -> Result<(), Failure> {
        let publication = self.read("new")?;
        let upgrade = publication.upgrades().first().ok_or("there is no delta")?;
        let previous = self.previous()?;
        let delta = Delta::open(self.part(upgrade.delta.digest), previous.manifest(), LIMITS)?;
        let tree = NewTree::begin(self.work, "by-delta")?;
        Ok(delta.install(publication.manifest().digest, &previous, tree)?)
    }

    fn chunks(&self) -> Result<(), Failure> {
        let publication = self.read("new")?;
        let upgrade = publication.upgrades().first().ok_or("there is no upgrade")?;
        let index = Index::parse(&fs::read(self.part(publication.index().digest))?, LIMITS)?;
        let mut packs = Packs::new();
        for fetched in &upgrade.chunks {
            packs = packs.with(self.part(fetched.part.digest), fetched.clone());
        }
        Ok(index.install(
            publication.manifest().digest,
            &packs,
            Some(&self.previous()?),
            NewTree::begin(self.work, "by-chunks")?,
        )?)
    }

    fn tar(&self) -> Result<(), Failure> {
        let folder = self.work.join("by-tar");
        fs::create_dir(&folder)?;
        let mut tar = Command::new("tar");
        let unpacked = tar.arg("--zstd").arg("-xf").arg(self.new).arg("-C").arg(folder).status()?;
        if unpacked.success() { Ok(()) } else { Err("tar failed".into()) }
    }
}

/// Seconds of CPU of this process and of those it has waited for.
fn cpu() -> Result<f64, Failure> {
    /// Of a second: what the kernel counts in, whatever its own clock does.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(4).map(str::parse::<f64>);
    Ok(ticks.sum::<Result<f64, _>>()? / TICKS)
}

/// The most MiB that were resident.
fn resident() -> Result<f64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1_024.0)
}
