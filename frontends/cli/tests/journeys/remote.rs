//! Only over a server: what can go wrong between the two, and where commands go.
use crate::{
    lab::{Lab, eventually},
    server::Served,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// A token that no server has made.
const STRANGE: &str =
    "dpl_0123456789abcdef_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A command with nothing said of where it goes.
fn bare(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = lab.command(arguments);
    for name in ["DEPLOY_SERVER", "DEPLOY_TOKEN", "DEPLOY_DATA_DIR"] {
        command.env_remove(name);
    }
    command
}

fn private(lab: &Lab, name: &str, text: &str) {
    lab.write(name, text);
    fs::set_permissions(lab.path(name), fs::Permissions::from_mode(0o600)).unwrap();
}

fn said(command: &mut Command) -> (Option<i32>, String, Value) {
    let output = command.args(["--output", "json"]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let last = stderr.lines().last().unwrap_or_default();
    let problem: Value = serde_json::from_str(last).unwrap_or_default();
    let stdout = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), stdout, problem["problem"].clone())
}

#[test]
fn what_keeps_a_server_from_answering_is_told() {
    let lab = Lab::with_server();
    let list = || lab.command(&["service", "list"]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, problem) = said(list().env("DEPLOY_SERVER", format!("http://{closed}")));
    assert_eq!((code, &problem["code"]), (Some(1), &json!("unavailable")), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains(&closed.to_string()), "{problem}");

    let (code, _, problem) = said(list().env("DEPLOY_TOKEN", STRANGE));
    assert_eq!((code, &problem["code"]), (Some(1), &json!("unauthenticated")), "{problem}");
    assert!(!problem.to_string().contains(STRANGE));
    let (code, _, problem) = said(list().env("DEPLOY_TOKEN", "dpl_slip"));
    assert_eq!((code, &problem["code"]), (Some(1), &json!("invalid_input")), "{problem}");
    assert!(!problem.to_string().contains("slip"));
    let (code, _, problem) = said(list().env_remove("DEPLOY_TOKEN"));
    assert_eq!((code, &problem["code"]), (Some(1), &json!("unauthenticated")), "{problem}");

    let (code, _, problem) = said(list().env("DEPLOY_SERVER", "http://deploy.example.com"));
    assert_eq!((code, &problem["code"]), (Some(1), &json!("invalid_input")), "{problem}");
}

#[test]
fn a_server_that_proves_to_be_another_gets_no_token() {
    let lab = Lab::new();
    let server = Served::start(&lab, &[]);
    let (url, token) = (format!("https://{}", server.address), server.first.clone().unwrap());
    let other = Lab::new();
    drop(Served::start(&other, &[]));
    let ask = |ca: &std::path::Path| {
        let mut command = bare(&lab, &["service", "list", "--server", &url]);
        command.env("DEPLOY_TOKEN", &token).arg("--ca").arg(ca);
        said(&mut command)
    };
    assert_eq!(ask(&lab.data_dir().join("tls/ca.pem")).0, Some(0));
    let (code, _, problem) = ask(&other.data_dir().join("tls/ca.pem"));
    assert_eq!((code, &problem["code"]), (Some(1), &json!("unauthenticated")), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("does not prove who it is"));
    assert!(problem["hint"].as_str().unwrap().contains("--ca"), "{problem}");
}

#[test]
fn a_token_for_a_service_releases_that_service_and_no_other() {
    let lab = Lab::with_server();
    lab.hosts(1);
    lab.service("");
    let made = lab.json(&[
        "token",
        "create",
        "ci",
        "--allow",
        "artifact_write",
        "--allow",
        "service_write",
        "--allow",
        "rollout_control",
        "--service",
        "web",
        "--note",
        "builds",
    ]);
    let secret = made["secret"].as_str().unwrap();
    lab.write("package/version", "1");
    lab.write("descriptor/descriptor.toml", "format = 1\n[steps.verify]\nenabled = false\n");
    let ci = |arguments: &[&str]| said(lab.command(arguments).env("DEPLOY_TOKEN", secret));
    let files = ["--package", "package", "--descriptor", "descriptor"];
    let (code, _, problem) = ci(&[&["release", "create", "web", "1"][..], &files].concat());
    assert_eq!(code, Some(0), "{problem}");
    let (code, _, problem) = ci(&["rollout", "start", "web", "web-1"]);
    assert_eq!(code, Some(0), "{problem}");
    let push = ["artifact", "push", "package", "--repository", "db", "--version", "1"];
    let (code, _, problem) = ci(&push);
    assert_eq!((code, &problem["code"]), (Some(12), &json!("access_denied")), "{problem}");
    for denied in [
        &["host", "remove", "web-1"][..],
        &["run", "role=web", "--", "true"],
        &["artifact", "gc", "--keep", "1"],
        &["token", "create", "me"],
    ] {
        assert_eq!(ci(denied).0, Some(12), "{denied:?}");
    }

    let id = made["token"]["id"].as_str().unwrap();
    let listed = lab.ok(&["token", "list"]).stdout;
    assert!(listed.contains("artifact_write rollout_control service_write for web"), "{listed}");
    lab.ok(&["token", "revoke", id]);
    assert_eq!(ci(&["service", "list"]).2["code"], "unauthenticated");
    assert!(lab.ok(&["token", "list"]).stdout.contains("revoked"));
    lab.refused(&["token", "revoke", "0123456789abcdef"], 1);
}

#[test]
fn contexts_say_where_commands_go() {
    let lab = Lab::with_server();
    let url = lab.url();
    private(&lab, "token", &lab.token());
    let run = |arguments: &[&str]| said(&mut bare(&lab, arguments));
    assert!(run(&["context", "current"]).1.contains("/.local/share/deploy"));
    let set = ["context", "set", "prod", "--server", &url, "--token-file", "token"];
    assert_eq!(run(&set).0, Some(0));
    lab.ok(&["host", "add", "web-1"]);
    assert!(run(&["host", "list"]).1.contains("web-1"), "the first context is used");
    assert!(run(&["doctor"]).1.contains("\"healthy\":true"));
    let list: Value = serde_json::from_str(&run(&["context", "list"]).1).unwrap();
    assert_eq!((&list[0]["name"], &list[0]["current"]), (&json!("prod"), &json!(true)));

    // What is nearer to the command wins.
    assert_eq!(run(&["host", "list", "--data-dir", "other"]).1, "[]\n");
    let mut here = bare(&lab, &["host", "list"]);
    assert_eq!(said(here.env("DEPLOY_DATA_DIR", lab.path("other"))).1, "[]\n");
    let mut there = bare(&lab, &["host", "list", "--context", "prod"]);
    assert!(said(there.env("DEPLOY_DATA_DIR", lab.path("other"))).1.contains("web-1"));
    assert_eq!(run(&["host", "list", "--data-dir", "other", "--context", "prod"]).0, Some(2));
    assert_eq!(run(&["host", "list", "--data-dir", "other", "--ca", "x"]).0, Some(2));
    assert_eq!(run(&["host", "list", "--context", "none"]).2["code"], "not_found");

    // What works on this machine alone says so.
    for alone in [&["demo", "--context", "prod"][..], &["serve", "--server", &url]] {
        assert_eq!(run(alone).2["code"], "unsupported", "{alone:?}");
    }
    assert_eq!(run(&["context", "use", "--none"]).0, Some(0));
    assert_eq!(run(&["host", "list"]).1, "[]\n");
    assert_eq!(run(&["context", "use", "prod"]).0, Some(0));
    assert_eq!(run(&["context", "remove", "prod"]).0, Some(0));
    assert_eq!(run(&["context", "use", "prod"]).2["code"], "not_found");
}

#[test]
fn a_configuration_that_gives_a_token_away_is_refused() {
    let lab = Lab::with_server();
    let (url, token) = (lab.url(), lab.token());
    let config = lab.path(".config/deploy/config.toml");
    let mut set = bare(&lab, &["context", "set", "prod", "--server", &url, "--token-stdin"]);
    let mut set = set.stdin(Stdio::piped()).spawn().unwrap();
    set.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    assert!(set.wait().unwrap().success());
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&config), 0o600);
    let list = || said(&mut bare(&lab, &["service", "list"]));
    assert_eq!(list().0, Some(0));

    fs::set_permissions(&config, fs::Permissions::from_mode(0o640)).unwrap();
    let (code, _, problem) = list();
    assert_eq!((code, &problem["code"]), (Some(1), &json!("invalid_file")), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("chmod 600"), "{problem}");
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();

    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{good}colour = 1\n")).unwrap();
    let (_, _, problem) = list();
    let lines = good.lines().count() + 1;
    assert_eq!(problem["context"]["line"], lines.to_string(), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("colour"), "{problem}");
    fs::write(&config, good.replace("token = ", "token =")).unwrap();
    fs::write(&config, good.replacen("token = \"", "token = x\"", 1)).unwrap();
    let (_, _, problem) = list();
    assert!(!problem.to_string().contains(&token), "{problem}");

    lab.write("open", &token);
    let mut open = bare(&lab, &["service", "list", "--server", &url, "--token-file", "open"]);
    let (_, _, problem) = said(&mut open);
    assert!(problem["hint"].as_str().unwrap().contains("chmod 600"), "{problem}");
}

#[test]
fn hosts_are_let_in_from_afar() {
    let lab = Lab::with_server();
    let made = lab.json(&["host", "join-token", "create", "--label", "zone=a", "--uses", "2"]);
    assert!(made["secret"].as_str().unwrap().starts_with("dplj_"));
    let id = made["token"]["id"].as_str().unwrap();
    assert_eq!(lab.json(&["host", "join-token", "list"])[0]["id"], id);
    lab.ok(&["host", "join-token", "revoke", id]);
    assert!(lab.json(&["host", "join-token", "list"])[0]["refusal"].is_string());
    assert_eq!(lab.json(&["host", "agent", "list"]), json!([]));
    assert_eq!(lab.refused(&["host", "agent", "show", "web-1"], 1)["code"], "not_found");
}

/// Stands between a client and a server, and cuts what goes through it when it is told to.
struct Between {
    address: String,
    open: Arc<Mutex<Vec<TcpStream>>>,
    count: Arc<AtomicUsize>,
}

impl Between {
    fn new(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (open, count) = (Arc::<Mutex<Vec<TcpStream>>>::default(), Arc::default());
        let between = Self { address, open: Arc::clone(&open), count: Arc::clone(&count) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(&server) else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                open.lock().unwrap().extend(both);
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || {
                        let mut bytes = [0; 4_096];
                        while let Ok(read @ 1..) = from.read(&mut bytes) {
                            if to.write_all(&bytes[..read]).is_err() {
                                break;
                            }
                        }
                        drop(to.shutdown(Shutdown::Both));
                    });
                }
            }
        });
        between
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

#[test]
fn a_cut_connection_is_taken_up_again_and_nothing_is_told_twice() {
    let lab = Lab::with_server();
    lab.hosts(2);
    lab.service("waves = [\"1\"]");
    let go = lab.path("go");
    let post = format!("echo on $DEPLOY_HOST; until [ -e {} ]; do sleep 0.05; done", go.display());
    lab.release("1", &post);
    let between = Between::new(lab.url().replace("http://", ""));
    let mut follow = lab.command(&["rollout", "start", "web", "web-1"]);
    follow.env("DEPLOY_SERVER", format!("http://{}", between.address));
    let out = fs::File::create(lab.path("out")).unwrap();
    let mut follow = follow.stdout(out).stderr(Stdio::null()).spawn().unwrap();
    let told = || fs::read_to_string(lab.path("out")).unwrap();
    eventually("the first wave is told of", || told().contains("wave 1 of 2"));
    let before = between.count.load(Ordering::Relaxed);
    between.cut();
    fs::write(&go, "").unwrap();
    assert_eq!(follow.wait().unwrap().code(), Some(0), "{}", told());
    assert!(between.count.load(Ordering::Relaxed) > before);
    for line in ["wave 1 of 2", "web-1: done", "web-2: done", " succeeded after "] {
        assert_eq!(told().matches(line).count(), 1, "{line}: {}", told());
    }
}

#[test]
fn who_stops_following_does_not_stop_the_rollout() {
    let lab = Lab::with_server();
    lab.hosts(1);
    lab.service("");
    let go = lab.path("go");
    lab.release("1", &format!("until [ -e {} ]; do sleep 0.05; done", go.display()));
    let mut command = lab.command(&["rollout", "start", "web", "web-1"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("it runs", || {
        lab.json(&["rollout", "list"])
            .as_array()
            .is_some_and(|it| it.first().is_some_and(|it| it["state"] == "running"))
    });
    assert!(
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success()
    );
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("the server drives it on: `deploy rollout watch web-"), "{stderr}");
    fs::write(&go, "").unwrap();
    lab.ok(&["rollout", "watch", "web"]);
    assert_eq!(lab.version(1).as_deref(), Some("1"));
}

/// A server that knows who asks, and nothing else.
fn older(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4_096];
            drop(stream.read(&mut bytes));
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    url
}

#[test]
fn a_server_of_another_version_is_told_apart() {
    let lab = Lab::with_server();
    let unknown = "HTTP/1.1 404 Not Found\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n\
        {\"type\":\"x\",\"title\":\"not found\",\"status\":404,\"detail\":\"there is nothing at `/api/v1/x`\",\
        \"code\":\"not_found\",\"hint\":null,\"context\":{},\"request_id\":null}";
    let mut ask = lab.command(&["artifact", "gc", "--keep", "1"]);
    let (code, _, problem) = said(ask.env("DEPLOY_SERVER", older(unknown)));
    assert_eq!((code, &problem["code"]), (Some(1), &json!("unsupported")), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("older than this program"), "{problem}");
    let other = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{\"things\":[]}";
    let mut ask = lab.command(&["service", "list"]);
    let (code, _, problem) = said(ask.env("DEPLOY_SERVER", older(other)));
    assert_eq!((code, &problem["code"]), (Some(1), &json!("internal")), "{problem}");
    assert!(problem["hint"].as_str().unwrap().contains("version"), "{problem}");
}
