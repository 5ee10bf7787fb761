//! The system's packages that the tests need.
use crate::{Done, has, run};
use std::{fs, path::Path, process::Command};

/// A program that tests start, and the Debian package that brings it.
struct Need {
    program: &'static str,
    package: &'static str,
    what_for: &'static str,
}

const NEEDS: &[Need] = &[
    Need { program: "bash", package: "bash", what_for: "the host's side is tested under it" },
    Need { program: "bwrap", package: "bubblewrap", what_for: "builds run in it" },
    Need {
        program: "busybox",
        package: "busybox",
        what_for: "the host's side is tested under its shell",
    },
    Need { program: "cc", package: "gcc", what_for: "SQLite is built from source" },
    Need { program: "curl", package: "curl", what_for: "health checks over HTTP" },
    Need { program: "dash", package: "dash", what_for: "the host's side is tested under it" },
    Need { program: "mkfs.ext4", package: "e2fsprogs", what_for: "disks whose power is cut" },
    Need { program: "flock", package: "util-linux", what_for: "the host's side needs it" },
    Need { program: "git", package: "git", what_for: "builds are of its revisions" },
    Need {
        program: "python3",
        package: "python3",
        what_for: "real services in the tests of the host's side",
    },
    Need {
        program: "shellcheck",
        package: "shellcheck",
        what_for: "the host's side is checked by it",
    },
    Need { program: "ssh-keygen", package: "openssh-client", what_for: "keys of the SSH tests" },
    Need { program: "sshd", package: "openssh-server", what_for: "the SSH tests start it" },
    Need {
        program: "strace",
        package: "strace",
        what_for: "the crash tests kill at system calls with it",
    },
    Need { program: "zstd", package: "zstd", what_for: "packages are compressed by it" },
    Need { program: "sudo", package: "sudo", what_for: "steps that run as another account" },
    Need { program: "zstd", package: "zstd", what_for: "hosts apply patches of packages with it" },
];

/// PostgreSQL's programs are not in the search path.
const POSTGRES: &str = "/usr/lib/postgresql";

/// Installs what is missing if this is root on a Debian-like system, and says what is missing if it is not.
pub(crate) fn provide() -> Done {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|it| it.package).collect();
    if !is_root() || !has("apt-get") {
        let list: Vec<String> =
            missing.iter().map(|it| format!("  {} ({})", it.package, it.what_for)).collect();
        return Err(format!(
            "the tests need packages that are not installed:\n{}\ninstall them, for example with: sudo apt-get install {}",
            list.join("\n"),
            names.join(" ")
        ));
    }
    let quiet = [("DEBIAN_FRONTEND", "noninteractive")];
    run(Command::new("apt-get").args(["update", "-qq"]).envs(quiet))?;
    run(Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(&names)
        .envs(quiet))
}

fn missing() -> Vec<&'static Need> {
    const POSTGRESQL: &Need =
        &Need { program: "initdb", package: "postgresql", what_for: "the database tests start it" };
    let mut missing: Vec<&Need> = NEEDS.iter().filter(|it| !has(it.program)).collect();
    if !Path::new(POSTGRES).is_dir() {
        missing.push(POSTGRESQL);
    }
    missing
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uid.and_then(|it| it.split_whitespace().nth(1)) == Some("0")
}
