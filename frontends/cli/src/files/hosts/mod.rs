//! Hosts, as people keep them in files.
mod csv;
mod toml;

use super::{Source, ansible};
use clap::ValueEnum;
use deploy_core::host::Host;
pub(crate) use deploy_operations::parse::check_address;
use deploy_wire::{Problem, ProblemCode};
use std::{fmt, path::Path};

/// The most hosts that one file may name.
pub(crate) const MOST_HOSTS: usize = 200_000;

/// The largest file of hosts that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// How a file of hosts is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HostsFormat {
    Toml,
    Csv,
    AnsibleIni,
    AnsibleYaml,
}

impl HostsFormat {
    /// The format that files named like `path` have.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match super::extension(path).as_deref() {
            Some("toml") => Some(Self::Toml),
            Some("csv") => Some(Self::Csv),
            Some("ini" | "cfg") => Some(Self::AnsibleIni),
            Some("yml" | "yaml") => Some(Self::AnsibleYaml),
            None if path != Path::new("-") => Some(Self::AnsibleIni),
            Some(_) | None => None,
        }
    }
}

/// What a file of hosts says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct HostsFile {
    pub(crate) hosts: Vec<Host>,
    /// What the file says and this program does not use.
    pub(crate) warnings: Vec<String>,
}

/// Reads a file of hosts. `docs/files.md` describes the formats.
pub(crate) fn read_hosts(path: &Path, format: Option<HostsFormat>) -> Result<HostsFile, Problem> {
    let Some(format) = format.or_else(|| HostsFormat::of(path)) else {
        let message = format!("{}: the name does not say what format it has", path.display());
        return Err(Problem::new(ProblemCode::Usage, message)
            .with_hint("add `--format toml`, `csv`, `ansible-ini` or `ansible-yaml`"));
    };
    parse_hosts(&Source::read(path, LARGEST)?, format)
}

pub(crate) fn parse_hosts(source: &Source, format: HostsFormat) -> Result<HostsFile, Problem> {
    let file = match format {
        HostsFormat::Toml => toml::parse(source)?,
        HostsFormat::Csv => csv::parse(source)?,
        HostsFormat::AnsibleIni => ansible::parse_ini(source)?,
        HostsFormat::AnsibleYaml => ansible::parse_yaml(source)?,
    };
    if file.hosts.is_empty() {
        return Err(source.problem(None, "it names no host"));
    }
    Ok(file)
}

/// What is wrong with a file that names too many hosts.
pub(crate) fn too_many() -> impl fmt::Display {
    format!("more than {MOST_HOSTS} hosts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format() {
        for (name, format) in [
            ("hosts.toml", Some(HostsFormat::Toml)),
            ("HOSTS.CSV", Some(HostsFormat::Csv)),
            ("inventory/prod.ini", Some(HostsFormat::AnsibleIni)),
            ("hosts", Some(HostsFormat::AnsibleIni)),
            ("site.yaml", Some(HostsFormat::AnsibleYaml)),
            ("hosts.txt", None),
            ("-", None),
        ] {
            assert_eq!(HostsFormat::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn a_file_without_hosts_is_refused() {
        let problem = parse_hosts(&Source::new("hosts.toml", ""), HostsFormat::Toml).unwrap_err();
        assert_eq!(problem.message, "hosts.toml: it names no host");
    }
}
