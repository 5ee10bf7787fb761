//! What it takes to bring a new version of real programs to a host that has the version before it.
//!
//! ```text
//! cargo bench -p deploy-benches --bench package -- FOLDER
//! ```
//!
//! FOLDER holds two trees for each program, `uv-0.9.2` and `uv-0.9.3` and so on: `benches/benches/package/trees.sh FOLDER` puts them there, from PyPI
//! and npm. It needs some 8 GB while the bench runs. Every step runs in a process of its own, which says what it took.
mod step;

use deploy_benches::{Failure, Table};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use step::Taken;

/// Each program, its two versions, and how many bytes may travel.
const PAIRS: [(&str, &str, &str, u64); 5] = [
    ("uv", "0.9.2", "0.9.3", 10_000_000),
    ("ruff", "0.14.0", "0.14.1", 10_800_000),
    ("node", "26.9.0", "26.10.0", 10_300_000),
    ("next", "16.4.5", "16.4.6", 8_500_000),
    ("jupyterlab", "4.4.8", "4.4.9", 250_000),
];

fn main() -> Result<(), Failure> {
    let arguments: Vec<OsString> =
        std::env::args_os().skip(1).filter(|it| it != "--bench").collect();
    match arguments.first() {
        Some(first) if first == step::MARK => step::run(&arguments),
        Some(folder) => all(Path::new(folder)),
        None => Err("say in which folder the trees are".into()),
    }
}

fn all(folder: &Path) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for pair in PAIRS {
        if folder.join(format!("{}-{}", pair.0, pair.1)).is_dir() {
            rows.push(Row::measure(folder, pair)?);
        }
    }
    bytes(&rows)?;
    times(&rows)
}

/// What was measured of one program.
struct Row {
    name: &'static str,
    goal: u64,
    /// Bytes that travel: archive, chunks, delta, and what is chosen.
    ways: [u64; 4],
    unpacked: u64,
    publish: Taken,
    delta: Taken,
    chunks: Taken,
    unpack: Taken,
    unsynced: Taken,
    tar: Taken,
}

impl Row {
    fn measure(
        folder: &Path,
        (name, old, new, goal): (&'static str, &str, &str, u64),
    ) -> Result<Self, Failure> {
        let work = tempfile::tempdir_in(folder)?;
        let old = pack(&folder.join(format!("{name}-{old}")), &work.path().join("old.tar.zst"))?;
        let new = pack(&folder.join(format!("{name}-{new}")), &work.path().join("new.tar.zst"))?;
        let step = |name: &str| step::spawn(name, work.path(), &old, &new);
        step("publish-old")?;
        let publish = step("publish-new")?;
        let sizes = fs::read_to_string(work.path().join("sizes"))?;
        let mut sizes = sizes.split_whitespace().map(str::parse);
        let mut next = || sizes.next().ok_or("no sizes were written")?.map_err(Failure::from);
        let (ways, unpacked) = ([next()?, next()?, next()?, next()?], next()?);
        step("unpack-old")?;
        Ok(Self {
            name,
            goal,
            ways,
            unpacked,
            publish,
            delta: step("delta")?,
            chunks: step("chunks")?,
            unpack: median(|| step("unpack"))?,
            unsynced: median(|| step("unpack-unsynced"))?,
            tar: median(|| step("tar"))?,
        })
    }
}

/// The one of three with the middle time.
fn median(mut step: impl FnMut() -> Result<Taken, Failure>) -> Result<Taken, Failure> {
    let mut rounds = [step()?, step()?, step()?];
    rounds.sort_by(|one, other| one.wall.total_cmp(&other.wall));
    let [_, middle, _] = rounds;
    Ok(middle)
}

/// Packs a tree as `tar --zstd` does.
fn pack(tree: &Path, archive: &Path) -> Result<PathBuf, Failure> {
    let options = ["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"];
    let mut tar = Command::new("tar")
        .args(options)
        .args(["--format=gnu", "--hard-dereference", "--mode=u+rw,go-w", "-cf", "-", "-C"])
        .arg(tree)
        .arg(".")
        .stdout(Stdio::piped())
        .spawn()?;
    let from = tar.stdout.take().ok_or("tar has no output")?;
    let packed = zstd_of(from, archive);
    if !tar.wait()?.success() {
        return Err("tar failed".into());
    }
    packed?;
    Ok(archive.to_owned())
}

fn zstd_of(from: std::process::ChildStdout, archive: &Path) -> Result<(), Failure> {
    let packed =
        Command::new("zstd").args(["-3", "-q", "-f", "-o"]).arg(archive).stdin(from).status()?;
    if packed.success() { Ok(()) } else { Err("zstd failed".into()) }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.3}", bytes as f64 / 1e6)
}

fn bytes(rows: &[Row]) -> Result<(), Failure> {
    let columns = ["program", "goal", "archive", "chunks", "delta", "chosen"];
    let table = Table::begin("Bytes that travel, metadata included, MB", &columns)?;
    for row in rows {
        let cells = [row.goal].into_iter().chain(row.ways).map(megabytes);
        table.row(&[row.name.to_owned()].into_iter().chain(cells).collect::<Vec<_>>())?;
    }
    Ok(())
}

fn times(rows: &[Row]) -> Result<(), Failure> {
    let columns = [
        "program",
        "MiB unpacked",
        "publish, s / CPU s / MiB resident",
        "delta",
        "chunks",
        "unpack",
        "unpack, not synced",
        "`tar --zstd -x`",
        "to `tar`: synced / not",
        "MiB a CPU s",
    ];
    let table = Table::begin("Time and memory", &columns)?;
    for row in rows {
        let mebibytes = row.unpacked as f64 / f64::from(1 << 20);
        table.row(&[
            row.name.to_owned(),
            format!("{mebibytes:.0}"),
            row.publish.to_string(),
            row.delta.to_string(),
            row.chunks.to_string(),
            row.unpack.to_string(),
            row.unsynced.to_string(),
            row.tar.to_string(),
            format!(
                "{:.2} / {:.2}",
                row.unpack.wall / row.tar.wall,
                row.unsynced.wall / row.tar.wall
            ),
            format!("{:.0}", mebibytes / row.unsynced.cpu),
        ])?;
    }
    Ok(())
}
