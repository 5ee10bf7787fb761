//! A `deploy serve` of its own, and a way to talk to it.
use serde_json::Value;
use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::Duration,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server without encryption. It is gone with this.
#[derive(Debug)]
pub struct Served {
    process: Child,
    /// Where it listens; `None` if it ended before it did.
    pub address: Option<String>,
    /// The token that it made at this start.
    pub token: Option<String>,
}

/// What to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// `GET` and so on.
    pub method: &'a str,
    /// From the root on.
    pub path: &'a str,
    /// The token to show.
    pub token: &'a str,
    /// More of the head.
    pub headers: &'a [(&'a str, &'a str)],
    /// What to send; `Null` is nothing.
    pub body: &'a Value,
}

impl Served {
    /// Starts `deploy serve`, as `command` has it but for `serve` and what it takes, and waits until it listens or is gone.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut command: Command, arguments: &[&str]) -> io::Result<Self> {
        command.args(["serve", "--listen", "127.0.0.1:0", "--plain-http"]).args(arguments);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let said = process.stdout.take();
        let mut server = Self { process, address: None, token: None };
        for line in said.into_iter().flat_map(|it| BufReader::new(it).lines()) {
            let line = line?;
            if let Some((_, token)) = line.split_once("token, shown only now: ") {
                server.token = Some(token.to_owned());
            }
            if let Some(address) = line.strip_prefix("listening on http://") {
                server.address = Some(address.to_owned());
                break;
            }
        }
        Ok(server)
    }

    /// Whether it has ended.
    ///
    /// # Errors
    /// If nobody can tell.
    pub fn is_gone(&mut self) -> io::Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    /// The status and the document of an answer, if there is a whole one.
    #[must_use]
    pub fn ask(&self, request: &Request<'_>) -> Option<(u16, Value)> {
        let Request { method, path, token, headers, body } = request;
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: server\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
            {headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address.as_ref()?).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(text.as_bytes()).ok()?;
        let mut said = String::new();
        stream.read_to_string(&mut said).ok()?;
        let (head, body) = said.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).ok()?))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may be gone already.
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}
