//! A real server that somebody else wrote, in two of its released versions, as packages to deploy.
//!
//! It is [`simple-http-server`](https://crates.io/crates/simple-http-server), built from crates.io by `cargo install`. The
//! first test that asks for it builds it, and all others find what it built: see [`packages`].
mod archive;
mod build;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

/// The server's name on crates.io.
pub const NAME: &str = "simple-http-server";

/// The released versions, the older first.
pub const VERSIONS: [&str; 2] = ["0.8.0", "0.8.1"];

/// Where the server is in a package.
pub const PROGRAM: &str = "bin/simple-http-server";

/// Which folder of a package it is to serve.
pub const CONTENT: &str = "www";

/// How long [`ask_version`] waits for a server that does not answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One version of the server, as a package.
///
/// The archive holds `bin/simple-http-server`, `VERSION`, `www/index.html` and `www/version.txt`. The same server gives the
/// same bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RealPackage {
    /// Which version.
    pub version: &'static str,
    /// The archive, named `srv.tar.gz`.
    pub archive: PathBuf,
    /// The server alone.
    pub program: PathBuf,
}

impl RealPackage {
    /// What the server prints when it is asked for its version by [`--version`](PROGRAM).
    #[must_use]
    pub fn banner(&self) -> String {
        format!("Simple HTTP(s) Server {}", self.version)
    }
}

/// Both versions, the older first.
///
/// They are under `real-service` in the target folder. Building both takes about half a minute on two cores; what is there
/// is not built again. Processes that ask at the same time wait for one of them to build.
///
/// # Panics
/// If a version cannot be built, with what `cargo` said.
#[must_use]
#[expect(clippy::panic, reason = "a test that needs a server cannot go on without it")]
pub fn packages() -> [RealPackage; 2] {
    static PACKAGES: OnceLock<[RealPackage; 2]> = OnceLock::new();
    let built = PACKAGES.get_or_init(|| match build::packages() {
        Ok(packages) => packages,
        Err(err) => panic!("cannot build {NAME} {}: {err}", VERSIONS.join(" and ")),
    });
    built.clone()
}

/// The arguments that make the server serve the folder `content` on a port of loopback.
#[must_use]
pub fn arguments(port: u16, content: &Path) -> [String; 6] {
    let content = content.display().to_string();
    let port = port.to_string();
    ["--ip", "127.0.0.1", "--port", &port, "--nocache", &content].map(str::to_owned)
}

/// Asks the server on a port of loopback which version it was packaged as, over HTTP.
///
/// # Errors
/// If nobody answers there, or not with a version.
pub fn ask_version(port: u16) -> io::Result<String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /version.txt HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").filter(|(head, _)| head.contains(" 200 "));
    let version = body.map(|(_, version)| version.trim().to_owned());
    version.ok_or_else(|| io::Error::other(format!("the server answered {answer:?}")))
}
