//! `packaging/systemd`: what systemd says of the units.
use crate::workspace::root;
use std::{fs, path::PathBuf, process::Command};

/// The units, with the programs that they start.
const UNITS: [(&str, &str); 3] = [
    ("deploy.service", "/usr/local/bin/deploy"),
    ("deploy-agent.service", "/usr/local/bin/deploy-agent"),
    ("deploy-relay.service", "/usr/local/bin/deploy"),
];

#[test]
fn systemd_takes_the_units_without_a_word() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: what systemd says of the units: there is no systemd-analyze");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let units = UNITS.map(|(unit, program)| -> PathBuf {
        let text = fs::read_to_string(root().join("packaging/systemd").join(unit)).unwrap();
        let start = format!("ExecStart={program} ");
        assert!(text.contains(&start), "{unit} does not start {program}");
        let there = folder.path().join(unit);
        // The programs are not installed here.
        fs::write(&there, text.replace(&start, "ExecStart=/bin/sh ")).unwrap();
        there
    });
    let said = Command::new("systemd-analyze").arg("verify").args(units).output().unwrap();
    let said = [said.stdout, said.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
}
