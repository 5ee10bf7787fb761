//! Many agents on one server: what they cost when nothing happens, and how fast a rollout goes over all of them.
//!
//! ```text
//! cargo build --release -p deploy-cli -p deploy-agent
//! cargo bench -p deploy-benches --bench agents -- [HOSTS [WAVE]]
//! ```
//!
//! The server is `deploy serve` as it is, over a data folder on a real disk, with full durability. The agents are in a process of their own: they
//! enrol with a join token, and have sessions of the agent's own code over loopback and TLS, at whose end nothing is run; but the first of them runs what it
//! is told. `HOSTS` must stay below `ulimit -n`; with 1, the
//! server is idle when it is measured how soon a step begins.
mod fleet;
mod logs;
mod server;

use deploy_benches::{Failure, Table};
use rustix::time::{ClockId, clock_gettime};
use server::{Server, TIMES};
use std::{
    env,
    fs::OpenOptions,
    io::{Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::task::spawn_blocking;

/// How long agents that have nothing to do are watched.
const IDLE: Duration = Duration::from_secs(30);
/// What tells the process of the agents from the one that measures.
const AGENTS: &str = "agents";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [AGENTS, server, count, folder, hosts] => {
            let (count, folder, hosts) = (count.parse()?, Path::new(folder), Path::new(hosts));
            fleet::connect(server, count, folder, hosts, logs::part_of(count)).await
        }
        [] => measure(1_000, 500).await,
        [hosts] => measure(hosts.parse()?, 500).await,
        [hosts, wave, ..] => measure(hosts.parse()?, wave.parse()?).await,
    }
}

async fn measure(hosts: usize, wave: usize) -> Result<(), Failure> {
    let mut server = Server::start(wave).await?;
    let alone = server.resident()?;
    let title = format!("{hosts} agents over TLS, a rollout in waves of {wave}");
    let table = Table::begin(&title, &["what", "measured", "a host"])?;
    let row =
        |what: &str, measured: String, each: String| table.row(&[what.to_owned(), measured, each]);

    let (began, used) = (server.now(), server.cpu()?);
    let _fleet = Fleet::begin(&server, hosts)?;
    server.wait_for(hosts).await?;
    let took = server.since(began);
    row("all enrolled and connected", format!("{took:.1} s"), each(took * 1e6, hosts, "µs"))?;
    let cpu = server.cpu()? - used;
    row("the server's CPU for that", format!("{cpu:.1} s"), each(cpu * 1e6, hosts, "µs"))?;
    let held = kib(server.resident()?.saturating_sub(alone));
    row(
        "the server's memory for them",
        format!("{:.0} MiB", held / 1024.0),
        each(held, hosts, "KiB"),
    )?;

    let (began, used) = (server.now(), server.cpu()?);
    server.wait(IDLE).await;
    let share = (server.cpu()? - used) / server.since(began);
    row(
        "the server's CPU for heartbeats",
        format!("{:.1} % of a core", share * 100.0),
        String::new(),
    )?;

    let began = server.now();
    server.restart().await?;
    server.wait_for(hosts).await?;
    let took = server.since(began);
    row(
        "all of them back after the server was killed",
        format!("{took:.1} s"),
        each(took * 1e6, hosts, "µs"),
    )?;
    let held = kib(server.resident()?.saturating_sub(alone));
    row("its memory for them then", format!("{:.0} MiB", held / 1024.0), each(held, hosts, "KiB"))?;

    for round in ["1", "2"] {
        let (began, used, before) = (server.now(), server.cpu()?, server.resident()?);
        server.roll_out("all", &format!("all-{round}")).await?;
        let took = server.since(began);
        let what = format!("rollout {round} in which nothing is to be done");
        row(&what, format!("{took:.1} s"), each(took * 1e6, hosts, "µs"))?;
        let cpu = server.cpu()? - used;
        row("its CPU on the server", format!("{cpu:.1} s"), each(cpu * 1e6, hosts, "µs"))?;
        let grown = kib(server.resident()?.saturating_sub(before)) / 1024.0;
        row("what the server has grown by", format!("{grown:.0} MiB"), String::new())?;
    }

    let mut latencies = latencies(&server).await?;
    latencies.sort_by(f64::total_cmp);
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or(f64::NAN);
    row(
        "one host: from the call of the API to the first command of the step, half of them within",
        format!("{:.2} ms", at(50)),
        String::new(),
    )?;
    row("and of a hundred all but one within", format!("{:.2} ms", at(99)), String::new())?;
    // One host has none to print together with.
    if hosts > 1 { logs::measure(&server, hosts).await } else { Ok(()) }
}

/// Milliseconds from the call that starts a rollout onto one host to the first command that is run there.
async fn latencies(server: &Server) -> Result<Vec<f64>, Failure> {
    let mut all = Vec::new();
    // Open for writing as well, so that nobody who writes to it has to wait for whoever reads.
    let started = OpenOptions::new().read(true).write(true).open(server.started())?;
    for round in 1..=TIMES {
        let mut pipe = started.try_clone()?;
        let begun = spawn_blocking(move || pipe.read_exact(&mut [0]).map(|()| uptime()));
        let called = uptime();
        server.roll_out("one", &format!("one-{round}")).await?;
        all.push((begun.await?? - called).as_secs_f64() * 1e3);
    }
    Ok(all)
}

fn uptime() -> Duration {
    // It is never negative.
    Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

fn each(all: f64, hosts: usize, unit: &str) -> String {
    let hosts = u32::try_from(hosts).map_or(f64::NAN, f64::from);
    format!("{:.1} {unit}", all / hosts)
}

/// Bytes as KiB; a memory of 2^52 bytes is not to be expected.
fn kib(bytes: u64) -> f64 {
    u32::try_from(bytes / 1024).map_or(f64::NAN, f64::from)
}

/// The process of the agents, and their folders. It ends with this.
struct Fleet {
    process: Child,
    _folder: TempDir,
}

impl Fleet {
    fn begin(server: &Server, hosts: usize) -> Result<Self, Failure> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let mut process = Command::new(env::current_exe()?)
            .args([AGENTS, server.agents(), &hosts.to_string()])
            .args([folder.path(), &server.hosts()])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut input = process.stdin.take().ok_or("no input")?;
        input.write_all(server.join_token("bench", hosts)?.as_bytes())?;
        Ok(Self { process, _folder: folder })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
