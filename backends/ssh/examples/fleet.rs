//! Runs one command on many hosts at once, and prints what that took:
//! `fleet HOSTS USER PORT KEY KNOWN_HOSTS HANDSHAKES ROUNDS LINE`, where `HOSTS` is a file with one address a line.
//!
//! The second and later rounds go over the connections of the first. `benches/peers` measures this beside other tools.
use deploy_core::host::{Connection, Host, SshConnection};
use deploy_host::transport::{HostCommand, HostOutput, Transport as _};
use deploy_ssh::{SshOptions, SshTransport};
use std::{env, error::Error, fs};
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}

#[expect(clippy::print_stdout, reason = "this is a program to look at")]
async fn run() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [hosts, user, port, key, known_hosts, handshakes, rounds, line] = arguments.as_slice()
    else {
        return Err("usage: fleet HOSTS USER PORT KEY KNOWN_HOSTS HANDSHAKES ROUNDS LINE".into());
    };
    let options = SshOptions::new()
        .with_config_files(vec![])
        .with_user(Some(user.parse()?))
        .with_identity_files(vec![key.into()])
        .with_known_hosts(vec![known_hosts.into()])
        .with_max_handshakes(handshakes.parse()?);
    let transport = SshTransport::new(options);
    let hosts = fs::read_to_string(hosts)?;
    for _ in 0..rounds.parse()? {
        let mut running = JoinSet::new();
        for address in hosts.split_ascii_whitespace() {
            let record = SshConnection::new().with_address(address).with_port(port.parse()?);
            let host = Host::new(address.parse()?, Connection::Ssh(record));
            running.spawn(one(transport.clone(), host, HostCommand::new(line.clone())));
        }
        let outcomes = running.join_all().await;
        for err in outcomes.iter().filter_map(|it| it.as_ref().err()) {
            println!("{err}");
        }
        println!("OK {}", outcomes.iter().filter(|it| it.is_ok()).count());
        println!("{}", cost()?);
    }
    Ok(())
}

async fn one(transport: SshTransport, host: Host, command: HostCommand) -> Outcome<usize> {
    let opened = transport.open(&host, &command).await;
    let mut process = opened.map_err(|err| err.chain())?;
    let mut size = 0;
    while let Some(output) = process.next().await? {
        let (HostOutput::Stdout(bytes) | HostOutput::Stderr(bytes)) = output;
        size += bytes.len();
    }
    Ok(size)
}

/// The CPU time used so far, and the memory at its highest.
fn cost() -> Outcome<String> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let times =
        stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().skip(11).take(2);
    let ticks: u64 = times.filter_map(|it| it.parse::<u64>().ok()).sum();
    let status = fs::read_to_string("/proc/self/status")?;
    let memory = status.lines().filter(|it| it.starts_with("VmHWM") || it.starts_with("VmRSS"));
    let memory: Vec<_> =
        memory.map(|it| it.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
    Ok(format!("cpu {}0 ms, {}", ticks, memory.join(", ")))
}
