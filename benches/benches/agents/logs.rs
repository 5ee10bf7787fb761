//! What steps print: one that prints without end on a real host, and many hosts at once that have printed.
use crate::{
    fleet::policy_of,
    kib,
    server::{Server, program, resident},
};
use deploy_benches::{Failure, Table};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// The service of which all hosts but the first say that it prints, and the one whose step does.
pub(crate) const PRINTING: &str = "printing";
pub(crate) const PRINTER: &str = "printer";
/// What the step prints, over and over, and how much of it in bytes, if it is let.
pub(crate) const LINE: &str =
    "a line such as steps print them, of some seventy bytes, with no end to it";
pub(crate) const PRINTED: u64 = 1 << 30;
/// How much of it the host keeps, in MiB.
const KEPT: u32 = 16;
/// How much all hosts together have printed, in MiB.
const TOGETHER: u32 = 1 << 10;

/// How much each of so many hosts has printed, in bytes.
pub(crate) fn part_of(hosts: usize) -> u64 {
    let hosts = u64::try_from(hosts).unwrap_or(u64::MAX);
    (u64::from(TOGETHER) << 20) / hosts.max(1)
}

/// Measures both.
pub(crate) async fn measure(server: &Server, hosts: usize) -> Result<(), Failure> {
    let table = Table::begin("What steps print", &["what", "measured"])?;
    let row = |what: &str, measured: String| table.row(&[what.to_owned(), measured]);
    for round in ["printing-1", "printing-2"] {
        let (began, used, before) = (server.now(), server.cpu()?, server.resident()?);
        let rollout = server.roll_out(PRINTING, round);
        let (rollout, most) = most_of(server, rollout, || server.resident()).await?;
        rollout?;
        let took = server.since(began);
        row(
            &format!("{TOGETHER} MiB from {hosts} hosts at once, stored"),
            format!("{:.0} MiB/s", f64::from(TOGETHER) / took),
        )?;
        let cpu = (server.cpu()? - used) * 1e3 / f64::from(TOGETHER);
        row("the server's CPU for it", format!("{cpu:.1} ms a MiB"))?;
        row("what the server grew by at most", mib(most.saturating_sub(before)))?;
    }

    let printer = Printer::begin(server)?;
    server.wait_for(hosts + 1).await?;
    let (agent, before) = (printer.process.id(), server.resident()?);
    let (mut agents, mut shims) = (0, 0);
    let began = server.now();
    let rollout = server.carry_out(PRINTER, "printer-1");
    let (rollout, most) = most_of(server, rollout, || {
        agents = agents.max(resident(agent)?);
        shims = shims.max(largest_child(agent));
        server.resident()
    })
    .await?;
    let ended = rollout?;
    row(
        "a step that prints without end: until its host's end was known",
        format!("{:.1} s", server.since(began)),
    )?;
    let why = ended.attention.iter().find_map(|it| it.reason.clone());
    row("how it ended", format!("{}: {}", ended.state, why.unwrap_or_default()))?;
    let stored = server.printed(&ended.id).await?;
    row(&format!("what was stored of it, of a host that keeps {KEPT} MiB"), mib(stored))?;
    row("the agent, and the shim, at most", format!("{} and {}", mib(agents), mib(shims)))?;
    row("what the server grew by at most", mib(most.saturating_sub(before)))?;
    Ok(())
}

/// What comes of `work`, and the most that `measured` gave meanwhile.
async fn most_of<T>(
    server: &Server,
    work: impl Future<Output = T>,
    mut measured: impl FnMut() -> Result<u64, Failure>,
) -> Result<(T, u64), Failure> {
    let mut work = std::pin::pin!(work);
    let mut most = measured()?;
    loop {
        tokio::select! {
            done = &mut work => return Ok((done, most)),
            () = server.look() => most = most.max(measured()?),
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", kib(bytes) / 1024.0)
}

/// The most that a child of a process has in memory; 0 without one.
fn largest_child(pid: u32) -> u64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let sizes = children.split_whitespace().flat_map(str::parse).flat_map(resident);
    sizes.max().unwrap_or(0)
}

/// An agent as it is installed. It ends with this.
struct Printer {
    process: Child,
    _folder: TempDir,
}

impl Printer {
    fn begin(server: &Server) -> Result<Self, Failure> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let (state, policy) = (folder.path().join("state"), folder.path().join("host.toml"));
        fs::create_dir(&state)?;
        fs::write(&policy, format!("{}log_mib = {KEPT}\n", policy_of(&server.hosts())))?;
        enrol(server, &state)?;
        let process = agent("run", &state).arg("--config").arg(&policy).spawn()?;
        Ok(Self { process, _folder: folder })
    }
}

impl Drop for Printer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let _gone = pid.map(|it| kill_process(it, Signal::TERM));
        let _status = self.process.wait();
    }
}

fn enrol(server: &Server, state: &Path) -> Result<(), Failure> {
    let names = ["--name", PRINTER, "--instance", "bench/here/printer"];
    let mut enrolling = agent("enrol", state)
        .args(["--server", server.agents()])
        .args(names)
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = enrolling.stdin.take().ok_or("no input")?;
    input.write_all(server.join_token(PRINTER, 1)?.as_bytes())?;
    drop(input);
    match enrolling.wait()?.success() {
        true => Ok(()),
        false => Err("the agent is not enrolled".into()),
    }
}

fn agent(command: &str, state: &Path) -> Command {
    let mut agent = Command::new(program("DEPLOY_AGENT", "deploy-agent"));
    agent.arg(command).arg("--state-dir").arg(state);
    agent
}
