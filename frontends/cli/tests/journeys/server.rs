//! `deploy serve`: started, asked, killed, started again, and stopped.
use crate::lab::{Lab, eventually};
use deploy_client::{Client, Server};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

/// Without encryption.
pub(crate) const PLAIN: &str = "--plain-http";

/// A server that is up.
pub(crate) struct Served {
    process: Child,
    pub(crate) address: String,
    /// The first token, where this start has made it.
    pub(crate) first: Option<String>,
    /// The token that was asked for at this start.
    new: Option<String>,
    stdout: BufReader<ChildStdout>,
}

impl Served {
    pub(crate) fn start(lab: &Lab, arguments: &[&str]) -> Self {
        Self::start_with(lab, arguments, |_| {})
    }

    pub(crate) fn start_with(
        lab: &Lab,
        arguments: &[&str],
        set_up: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = lab.command(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        set_up(&mut command);
        let log = fs::File::create(lab.path("server.log")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut server = Self { process, address: String::new(), first: None, new: None, stdout };
        while server.address.is_empty() {
            let mut line = String::new();
            let read = server.stdout.read_line(&mut line).unwrap();
            assert!(read > 0, "{}", fs::read_to_string(lab.path("server.log")).unwrap());
            if let Some(token) = line.strip_prefix("first token, shown only now: ") {
                server.first = Some(token.trim().to_owned());
            }
            if let Some(token) = line.strip_prefix("new token, shown only now: ") {
                server.new = Some(token.trim().to_owned());
            }
            if let Some(url) = line.strip_prefix("listening on ") {
                let (scheme, address) = url.trim().split_once("://").unwrap();
                assert_eq!(scheme == "http", arguments.contains(&PLAIN));
                address.clone_into(&mut server.address);
            }
        }
        server
    }

    fn ask(&self, token: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let (status, body) = self.exchange(token, method, path, body);
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    /// What is answered to a `GET`, as it is.
    pub(crate) fn text(&self, token: &str, path: &str) -> String {
        self.exchange(token, "GET", path, None).1
    }

    fn exchange(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, String) {
        let body = body.map(ToString::to_string).unwrap_or_default();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: server\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
            content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// Ends it as systemd does.
    pub(crate) fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // A test that has failed leaves no server behind; one that has ended is gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn a_rollout_goes_on_over_the_death_of_its_server() {
    let lab = Lab::new();
    lab.hosts(3);
    lab.service("max_parallel = 1\nmin_healthy_time = \"0s\"");
    let gate = lab.path("gate");
    let post = format!(
        "echo ran >> \"$DEPLOY_SHARED/ran\"; while ! test -e {}; do sleep 0.05; done",
        gate.display()
    );
    lab.release("1", &post);
    let server = Served::start(&lab, &[PLAIN]);
    let token = server.first.clone().expect("the first start makes a token");
    let asked = json!({"service": "web", "release": "web-1"});
    let (status, started) = server.ask(&token, "POST", "/api/v1/rollouts", Some(&asked));
    assert_eq!(status, 202, "{started}");
    eventually("a step runs", || !lab.shared(1, "ran").is_empty());
    server.kill();
    let server = Served::start(&lab, &[PLAIN]);
    assert_eq!(server.first, None, "the token is there already");
    fs::write(&gate, "").unwrap();
    let path = format!("/api/v1/rollouts/{}", started["id"].as_str().unwrap());
    eventually("the rollout ends", || {
        server.ask(&token, "GET", &path, None).1["state"] == "succeeded"
    });
    for host in 1..=3 {
        assert_eq!(lab.version(host).as_deref(), Some("1"));
        assert_eq!(lab.shared(host, "ran"), "ran\n", "web-{host}");
    }
    assert_eq!(lab.json(&["rollout", "show", "web"])["state"], "succeeded");
    server.stop();
    assert!(!fs::read_to_string(lab.path("server.log")).unwrap().contains(&token));
}

#[test]
fn what_the_command_line_starts_the_server_takes_up() {
    let lab = Lab::new();
    lab.hosts(1);
    lab.service("confirm = \"after_first\"\nwaves = [\"1\", \"100%\"]\nmin_healthy_time = \"0s\"");
    lab.release("1", "true");
    let server = Served::start(&lab, &[PLAIN]);
    lab.run(&["rollout", "start", "web", "web-1", "--no-wait"]).ended_with(0);
    let token = server.first.clone().unwrap();
    let (status, shown) = server.ask(&token, "GET", "/api/v1/rollouts/web", None);
    assert_eq!((status, &shown["state"]), (200, &json!("succeeded")));
    assert_eq!(server.ask("dpl_0_0", "GET", "/api/v1/rollouts/web", None).0, 401);
    assert_eq!(server.ask("", "GET", "/readyz", None).0, 200);
    server.stop();
}

#[tokio::test]
async fn a_client_trusts_the_authority_that_the_server_has_made() {
    let lab = Lab::new();
    let server = Served::start(&lab, &[]);
    let authority = || fs::read(lab.data_dir().join("tls/ca.pem")).unwrap();
    let token = server.first.clone().unwrap();
    for host in ["127.0.0.1", "localhost"] {
        let port = server.address.rsplit(':').next().unwrap();
        let at = Server::new(format!("https://{host}:{port}"), token.as_str());
        let client = Client::new(at.with_authority(authority())).unwrap();
        assert_eq!(client.current_token().await.unwrap().principal, "admin");
    }
    let before = authority();
    server.stop();
    Served::start(&lab, &[]).stop();
    assert!(authority() == before, "the authority is another one");
}

#[test]
fn systemd_is_told_and_a_lost_token_is_made_anew() {
    let lab = Lab::new();
    drop(Served::start(&lab, &[PLAIN]));
    let told = UnixDatagram::bind(lab.path("notify")).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let state = || {
        let mut bytes = [0; 64];
        let length = told.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim().to_owned()
    };
    let socket = lab.path("notify");
    let server = Served::start_with(&lab, &[PLAIN, "--new-admin-token"], |it| {
        it.env("NOTIFY_SOCKET", &socket);
    });
    assert_eq!(state(), "READY=1");
    let token = server.new.clone().expect("a token was asked for");
    assert_eq!(server.ask(&token, "GET", "/api/v1/tokens", None).0, 200);
    server.stop();
    assert_eq!(state(), "STOPPING=1");
}

#[test]
fn a_server_is_not_set_up_by_accident() {
    let lab = Lab::new();
    let open = ["serve", "--plain-http", "--listen", "0.0.0.0:0"];
    assert_eq!(lab.refused(&open, 2)["code"], "usage");
    let password = ["serve", "--database", "postgres://a:secret@db/x"];
    let problem = lab.refused(&password, 2);
    assert!(!problem.to_string().contains("secret"), "{problem}");
    lab.write("server.toml", "listen = \"127.0.0.1:0\"\nlimit = 1\n");
    let problem = lab.refused(&["serve", "--config", "server.toml"], 1);
    assert_eq!(
        (&problem["code"], &problem["context"]["line"]),
        (&json!("invalid_file"), &json!("2"))
    );
    assert!(!lab.data_dir().exists(), "nothing is made before all is well");
}
