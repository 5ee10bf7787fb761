//! The HTTP server of the demonstration: small, real, and no example for anything else.
use crate::{
    app::App,
    problem::{invalid, io_problem},
};
use clap::Args;
use deploy_wire::{Exit, Problem};
use std::{
    collections::BTreeSet,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The longest request that is read, in bytes.
const LONGEST_REQUEST: u64 = 8 << 10;

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves the site of the demonstration
#[derive(Debug, Args)]
pub(crate) struct ServeDemo {
    /// Where
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Which pages
    #[arg(long, value_name = "DIR")]
    site: PathBuf,
    /// Of which version
    #[arg(long, value_name = "VERSION")]
    site_version: String,
    /// Until this file is gone
    #[arg(long, value_name = "FILE")]
    as_long_as: PathBuf,
}

#[derive(Debug)]
struct Site {
    folder: PathBuf,
    version: String,
}

/// What a request is answered with.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: &'static str,
    kind: &'static str,
    body: Vec<u8>,
}

impl ServeDemo {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let listener =
            TcpListener::bind(self.listen).map_err(|err| io_problem(self.listen, &err))?;
        let site = Arc::new(Site { folder: self.site, version: self.site_version });
        app.output.line(format_args!("serving {} at http://{}", site.version, self.listen));
        std::thread::spawn(move || serve(&listener, &site));
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            every.tick().await;
            if !self.as_long_as.exists() {
                return Err(invalid("the demonstration is over"));
            }
        }
    }
}

fn serve(listener: &TcpListener, site: &Arc<Site>) {
    for stream in listener.incoming().flatten() {
        let site = Arc::clone(site);
        // A client that goes away early is no concern of anybody else.
        std::thread::spawn(move || drop(answer(&stream, &site)));
    }
}

fn answer(stream: &TcpStream, site: &Site) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.take(LONGEST_REQUEST)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|it| !it.is_empty()) {}
    let Answer { status, kind, body } = site.answer(&request);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nX-Version: {}\r\nConnection: close\r\n\r\n",
        body.len(),
        site.version
    );
    let mut out = stream;
    out.write_all(head.as_bytes())?;
    out.write_all(&body)
}

impl Site {
    fn answer(&self, request: &str) -> Answer {
        let mut words = request.split(' ');
        let (Some("GET"), Some(path)) = (words.next(), words.next()) else {
            return plain("405 Method Not Allowed", "only GET");
        };
        match path {
            "/health" => self.health(),
            "/" => self.page("index.html"),
            _ => self.page(path.trim_start_matches('/')),
        }
    }

    /// A page right in the site's folder.
    fn page(&self, name: &str) -> Answer {
        let plain_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.starts_with('.') || !name.chars().all(plain_name) {
            return plain("404 Not Found", "no such page");
        }
        match fs::read(self.folder.join(name)) {
            Ok(body) => Answer { status: "200 OK", kind: kind_of(Path::new(name)), body },
            Err(_) => plain("404 Not Found", "no such page"),
        }
    }

    /// Whether every page that the first one links to is there.
    fn health(&self) -> Answer {
        let Ok(index) = fs::read_to_string(self.folder.join("index.html")) else {
            return plain("503 Service Unavailable", "index.html is missing");
        };
        let missing = links(&index).into_iter().find(|it| !self.folder.join(it).is_file());
        match missing {
            Some(page) => plain("503 Service Unavailable", &format!("{page} is missing")),
            None => plain("200 OK", &format!("ok {}", self.version)),
        }
    }
}

fn plain(status: &'static str, text: &str) -> Answer {
    Answer { status, kind: "text/plain; charset=utf-8", body: format!("{text}\n").into_bytes() }
}

fn kind_of(page: &Path) -> &'static str {
    match page.extension().and_then(|it| it.to_str()) {
        Some("css") => "text/css",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What a page links to.
fn links(page: &str) -> BTreeSet<&str> {
    page.split("href=\"").skip(1).filter_map(|it| it.split('"').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(dir: &Path) -> Site {
        fs::write(dir.join("index.html"), "<a href=\"about.html\">").unwrap();
        Site { folder: dir.to_owned(), version: "2".to_owned() }
    }

    #[test]
    fn a_site_with_a_dead_link_is_ill() {
        let dir = tempfile::tempdir().unwrap();
        let site = site(dir.path());
        assert_eq!(site.answer("GET /health HTTP/1.1").status, "503 Service Unavailable");
        fs::write(dir.path().join("about.html"), "").unwrap();
        let healthy = site.answer("GET /health HTTP/1.1");
        assert_eq!((healthy.status, healthy.body.as_slice()), ("200 OK", b"ok 2\n".as_slice()));
    }

    #[test]
    fn only_pages_of_the_site_are_served() {
        let dir = tempfile::tempdir().unwrap();
        let site = site(dir.path());
        for path in ["/../etc/passwd", "/.hidden", "/a/b", "/none.html", "//etc/passwd"] {
            let status = site.answer(&format!("GET {path} HTTP/1.1")).status;
            assert_eq!(status, "404 Not Found", "{path}");
        }
        assert_eq!(site.answer("GET / HTTP/1.1").status, "200 OK");
        assert_eq!(site.answer("POST / HTTP/1.1").status, "405 Method Not Allowed");
        assert_eq!(site.answer("").status, "405 Method Not Allowed");
    }
}
