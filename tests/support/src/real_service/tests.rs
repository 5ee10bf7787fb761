//! The real server is built, packed, and says which version it is.
use super::{CONTENT, PROGRAM, RealPackage, VERSIONS, arguments, ask_version, packages};
use flate2::read::GzDecoder;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead as _, BufReader, ErrorKind, Lines},
    net::TcpListener,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};
use tar::Archive;

/// Ends a server with the test. The server ends by itself when nobody can read what it prints.
struct Running(Child, Lines<BufReader<ChildStdout>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// By a process of its own: a child that another test starts in the meantime would hold the program open for writing.
fn unpack(package: &RealPackage, into: &Path) {
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(&package.archive).arg("-C").arg(into);
    assert!(tar.status().unwrap().success());
}

fn start(folder: &Path, port: u16) -> Running {
    let mut command = Command::new(folder.join(PROGRAM));
    command.args(arguments(port, &folder.join(CONTENT))).stdout(Stdio::piped());
    let mut server = command.spawn().unwrap();
    let said = BufReader::new(server.stdout.take().unwrap()).lines();
    let mut running = Running(server, said);
    let address = format!("127.0.0.1:{port}");
    assert!(running.1.any(|line| line.unwrap().ends_with(&address)), "it did not start");
    running
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn each_version_serves_what_says_so() {
    for (package, version) in packages().iter().zip(VERSIONS) {
        assert_eq!(package.version, version);
        let folder = tempfile::tempdir().unwrap();
        unpack(package, folder.path());
        let asked = Command::new(folder.path().join(PROGRAM)).arg("--version").output().unwrap();
        assert_eq!(String::from_utf8(asked.stdout).unwrap().trim(), package.banner());
        assert_eq!(fs::read_to_string(folder.path().join("VERSION")).unwrap().trim(), version);

        let port = free_port();
        let _running = start(folder.path(), port);
        let mut answer = ask_version(port);
        while answer.as_ref().is_err_and(|err| err.kind() == ErrorKind::ConnectionRefused) {
            answer = ask_version(port);
        }
        assert_eq!(answer.unwrap(), version);
    }
}

#[test]
fn the_archives_tell_nothing_of_the_machine() {
    let [older, newer] = packages();
    assert_ne!(fs::read(&older.archive).unwrap(), fs::read(&newer.archive).unwrap());
    let mut archive = Archive::new(GzDecoder::new(File::open(older.archive).unwrap()));
    let mut modes = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), 0);
        let path = entry.path().unwrap().display().to_string();
        modes.insert(path, header.mode().unwrap());
    }
    let expected = [
        ("VERSION", 0o644),
        ("bin/", 0o755),
        (PROGRAM, 0o755),
        ("www/", 0o755),
        ("www/index.html", 0o644),
        ("www/version.txt", 0o644),
    ];
    assert_eq!(modes, expected.map(|(path, mode)| (path.to_owned(), mode)).into());
}
