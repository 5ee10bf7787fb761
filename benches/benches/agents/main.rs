//! Many agents on one gateway: what they cost when nothing happens, and how fast a rollout goes over all of them.
//!
//! ```text
//! cargo bench -p deploy-benches --bench agents -- [HOSTS [WAVE]]
//! ```
//!
//! The agents are in a process of their own: real sessions of the agent's own code over loopback, at whose end nothing is run.
//! The journal is SQLite on a real disk, with full durability; the files that are open limit `HOSTS` to about half of `ulimit -n`.
mod fleet;
mod server;

use deploy_benches::{Failure, Table};
use server::Server;
use std::{
    env,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long agents that have nothing to do are watched.
const IDLE: Duration = Duration::from_secs(20);
/// What tells the process of the agents from the one that measures.
const AGENTS: &str = "agents";

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [AGENTS, address, hosts] => fleet::connect(address.parse()?, hosts.parse()?).await,
        [] => measure(1_000, 500).await,
        [hosts] => measure(hosts.parse()?, 500).await,
        [hosts, wave, ..] => measure(hosts.parse()?, wave.parse()?).await,
    }
}

async fn measure(hosts: usize, wave: usize) -> Result<(), Failure> {
    let server = Server::new(hosts, wave).await?;
    let alone = server.resident()?;
    let title = format!("{hosts} agents, a rollout in waves of {wave}");
    let table = Table::begin(&title, &["what", "measured", "a host"])?;
    let row =
        |what: &str, measured: String, each: String| table.row(&[what.to_owned(), measured, each]);

    let began = server.now();
    let _fleet = Fleet::begin(&server, hosts)?;
    server.wait_for(hosts).await;
    let took = server.since(began);
    row("all connected", format!("{took:.1} s"), each(took * 1e6, hosts, "µs"))?;
    let held = kib(server.resident()?.saturating_sub(alone));
    row(
        "the server's memory for them",
        format!("{:.0} MiB", held / 1024.0),
        each(held, hosts, "KiB"),
    )?;

    let (began, used) = (server.now(), server.cpu());
    server.wait(IDLE).await;
    let share = (server.cpu() - used) / server.since(began);
    row(
        "the server's CPU for heartbeats",
        format!("{:.1} % of a core", share * 100.0),
        String::new(),
    )?;

    let began = server.now();
    server.disconnect_all();
    server.wait_for(hosts).await;
    let took = server.since(began);
    row(
        "all of them back after all were cut off",
        format!("{took:.1} s"),
        each(took * 1e6, hosts, "µs"),
    )?;

    let (began, used, before) = (server.now(), server.cpu(), server.resident()?);
    server.roll_out(1).await?;
    let took = server.since(began);
    row(
        "a rollout in which nothing is to be done",
        format!("{took:.1} s"),
        each(took * 1e6, hosts, "µs"),
    )?;
    let cpu = server.cpu() - used;
    row("its CPU on the server", format!("{cpu:.1} s"), each(cpu * 1e6, hosts, "µs"))?;
    let grown = kib(server.resident()?.saturating_sub(before)) / 1024.0;
    row("its memory on the server", format!("{grown:.0} MiB"), String::new())?;

    let mut latencies = server.latencies().await?;
    latencies.sort_by(f64::total_cmp);
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or(f64::NAN);
    row(
        "one attempt, ordered to ended, half of them within",
        format!("{:.2} ms", at(50)),
        String::new(),
    )?;
    row("and of a hundred all but one within", format!("{:.2} ms", at(99)), String::new())?;
    Ok(())
}

fn each(all: f64, hosts: usize, unit: &str) -> String {
    let hosts = u32::try_from(hosts).map_or(f64::NAN, f64::from);
    format!("{:.1} {unit}", all / hosts)
}

/// Bytes as KiB; a memory of 2^52 bytes is not to be expected.
fn kib(bytes: u64) -> f64 {
    u32::try_from(bytes / 1024).map_or(f64::NAN, f64::from)
}

/// The process of the agents. It ends with this.
struct Fleet(Child);

impl Fleet {
    fn begin(server: &Server, hosts: usize) -> Result<Self, Failure> {
        let child = Command::new(env::current_exe()?)
            .args([AGENTS, &server.address().to_string(), &hosts.to_string()])
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _gone = self.0.kill();
        let _status = self.0.wait();
    }
}
