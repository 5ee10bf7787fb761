//! What this machine is.
use deploy_agent_protocol::v1::Facts;
use rustix::{fs::statvfs, system::uname};
use std::{fs, io, net::UdpSocket};

/// What can be told of this machine. What it does not tell is left out.
#[must_use]
pub fn gather() -> Facts {
    let name = uname();
    let text = |it: &std::ffi::CStr| it.to_string_lossy().into_owned();
    Facts {
        machine_id: line("/etc/machine-id"),
        hostname: text(name.nodename()),
        os: os(),
        kernel: text(name.release()),
        architecture: text(name.machine()),
        cpus: std::thread::available_parallelism()
            .map_or(0, |it| u32::try_from(it.get()).unwrap_or(0)),
        memory_bytes: memory(),
        disks: disks(),
        addresses: address().into_iter().collect(),
        ..Facts::default()
    }
}

/// Which boot of the machine this is.
///
/// # Errors
/// If the kernel does not say it.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

fn line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn os() -> String {
    let release = line("/etc/os-release");
    let pretty = release.lines().find_map(|it| it.strip_prefix("PRETTY_NAME="));
    pretty.unwrap_or_default().trim_matches('"').to_owned()
}

fn memory() -> u64 {
    let info = line("/proc/meminfo");
    let total = info.lines().find_map(|it| it.strip_prefix("MemTotal:"));
    let kib = total.and_then(|it| it.split_whitespace().next()).and_then(|it| it.parse().ok());
    kib.unwrap_or(0_u64).saturating_mul(1024)
}

fn disks() -> Vec<deploy_agent_protocol::v1::Disk> {
    let Ok(disk) = statvfs("/") else { return Vec::new() };
    let (size, free) = (disk.f_blocks, disk.f_bavail);
    vec![deploy_agent_protocol::v1::Disk {
        path: "/".to_owned(),
        size_bytes: size.saturating_mul(disk.f_frsize),
        free_bytes: free.saturating_mul(disk.f_frsize),
    }]
}

/// The address by which this machine would reach others. Nothing is sent: a route is looked up.
fn address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip().to_string())
}
