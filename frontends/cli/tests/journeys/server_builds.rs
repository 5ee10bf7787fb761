//! Builds at a server, for whoever asks: by the command line, and by webhooks of forges.
use crate::{
    builds::{PRINTS, git, prepare, prepare_with},
    lab::{Lab, eventually},
};
use hmac_sha256::HMAC;
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
};

const BUILDS: &str = "[build]\nenabled = true\nsandbox = \"preferred\"\nprivate_remotes = true\n";
const SECRET: &str = "It's a Secret to Everybody";

#[test]
fn a_server_builds_for_whoever_asks() {
    let lab = Lab::with_server_of(BUILDS);
    prepare(&lab, PRINTS);
    let made = lab.ok(&["build", "web", "--rev", "v1.0.0", "--release"]);
    assert!(made.stdout.ends_with("release web-1.0.0 is made\n"), "{}", made.stdout);
    assert!(made.stderr.contains("compiling\n"), "{}", made.stderr);
    let again = lab.json(&["build", "web", "--rev", "v1.0.0", "--push"]);
    assert_eq!(again["build"]["same_as"], "b1");
    let listed = lab.json(&["build", "list", "--service", "web"]);
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, ["b2", "b1"]);
    let log = lab.ok(&["build", "log", "b1"]).stdout;
    assert!(log.contains("\ncompiling\n== packing\n== succeeded: sha256:"), "{log}");
    assert_eq!(lab.ok(&["build", "log", "b1", "--follow"]).stdout, log);
    assert_eq!(lab.json(&["build", "show", "b1"])["tag"], "v1.0.0");
    let problem = lab.refused(&["build", "web", "--rev", "v9"], 1);
    assert_eq!(problem["context"]["fault"], "revision_unknown");
    let problem = lab.refused(&["build", "web", "--rev", "v1.0.0", "--sandbox", "never"], 2);
    assert!(
        problem["message"].as_str().unwrap().contains("this one goes to a server"),
        "{problem}"
    );
}

#[test]
fn a_build_at_a_server_is_cancelled_from_elsewhere() {
    let lab = Lab::with_server_of(BUILDS);
    prepare(&lab, "\"echo up; sleep 1000\"");
    let mut build = lab.start(&["build", "web", "--rev", "v1.0.0"]);
    let state = || lab.json(&["build", "list"])[0]["state"].clone();
    eventually("it is building", || state() == "building");
    assert_eq!(lab.ok(&["build", "cancel", "b1"]).stdout, "build b1 is cancelled\n");
    assert_eq!(build.wait().unwrap().code(), Some(1));
}

#[test]
fn a_server_builds_only_what_it_is_told_to() {
    let silent = Lab::with_server();
    prepare(&silent, PRINTS);
    let problem = silent.refused(&["build", "web", "--rev", "v1.0.0"], 1);
    assert_eq!(problem["code"], "unsupported");
    // Whoever writes services need not be who runs the server.
    let careful = Lab::with_server_of("[build]\nenabled = true\nsandbox = \"preferred\"\n");
    prepare(&careful, PRINTS);
    let problem = careful.refused(&["build", "web", "--rev", "v1.0.0"], 1);
    assert_eq!(problem["context"]["fault"], "source_refused");
    for remote in ["https://127.0.0.1/web.git", "https://[::1]/web.git", "git@10.0.0.1:web.git"] {
        let file = fs::read_to_string(careful.path("service.toml")).unwrap();
        let own = format!("file://{}", careful.path("repository").display());
        careful.write("private.toml", &file.replace(&own, remote));
        careful.ok(&["service", "apply", "private.toml"]);
        let problem = careful.refused(&["build", "web", "--rev", "v1.0.0"], 1);
        assert_eq!(problem["context"]["fault"], "source_refused", "{remote}");
    }
}

/// A server with a hook of each forge, which makes releases.
fn hooked() -> Lab {
    let hook = |forge: &str| {
        format!(
            "[hooks.{forge}]\nforge = \"{forge}\"\nservice = \"web\"\nsecret = \"hook\"\nrelease = true\n"
        )
    };
    let hooks = ["github", "gitlab", "gitea"].map(hook).concat();
    let lab = Lab::with_server_of(&format!("{BUILDS}{hooks}"));
    prepare(&lab, PRINTS);
    keep(&lab, SECRET);
    lab
}

fn keep(lab: &Lab, secret: &str) {
    let folder = lab.data_dir().join("builds/secrets/web");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("hook"), format!("{secret}\n")).unwrap();
    fs::set_permissions(folder.join("hook"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn signature(secret: &str, body: &str) -> String {
    let mac = HMAC::mac(body, secret);
    mac.iter().map(|it| format!("{it:02x}")).collect()
}

/// The headers with which a forge sends `body` for a tag.
fn headers(forge: &str, secret: &str, body: &str) -> String {
    match forge {
        "github" => format!(
            "x-github-event: push\r\nx-hub-signature-256: sha256={}\r\n",
            signature(secret, body)
        ),
        "gitea" => {
            format!("x-gitea-event: push\r\nx-gitea-signature: {}\r\n", signature(secret, body))
        }
        _ => format!("x-gitlab-event: Tag Push Hook\r\nx-gitlab-token: {secret}\r\n"),
    }
}

/// What a forge says of a tag of the lab's repository.
fn body(lab: &Lab, forge: &str, tag: &str) -> String {
    let url = format!("file://{}", lab.path("repository").display());
    let common = json!({"ref": format!("refs/tags/{tag}"), "after": "1".repeat(40)});
    let mut body = common;
    match forge {
        "gitlab" => body["project"] = json!({"git_http_url": url}),
        _ => body["repository"] = json!({"clone_url": url, "full_name": "team/web"}),
    }
    body.to_string()
}

/// Sends something to a hook, as somebody without any token.
fn send(lab: &Lab, hook: &str, headers: &str, body: &str) -> (u16, Value) {
    let url = lab.url();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST /hooks/{hook} HTTP/1.1\r\nhost: server\r\nconnection: close\r\ncontent-type: application/json\r\n\
        content-length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(status < 400 || head.contains("application/problem+json"), "{said}");
    (status, serde_json::from_str(body).unwrap())
}

#[test]
fn a_tag_that_is_pushed_becomes_a_release() {
    let lab = hooked();
    for (at, forge) in ["github", "gitlab", "gitea"].into_iter().enumerate() {
        let version = format!("2.0.{at}");
        lab.write("repository/version.txt", &version);
        git(&lab, &["commit", "--quiet", "--all", "--message", &version]);
        git(&lab, &["tag", &format!("v{version}")]);
        let said = body(&lab, forge, &format!("v{version}"));
        let (status, answer) = send(&lab, forge, &headers(forge, SECRET, &said), &said);
        assert_eq!(status, 202, "{forge}: {answer}");
        assert_eq!(answer["build"]["by"], format!("hook-{forge}"));
        let release = format!("web-{version}");
        eventually("the release is made", || lab.run(&["release", "show", &release]).code == 0);
        // The same again starts nothing.
        let (status, problem) = send(&lab, forge, &headers(forge, SECRET, &said), &said);
        assert_eq!((status, &problem["code"]), (409, &json!("already_exists")), "{problem}");
    }
    assert_eq!(lab.json(&["build", "list"]).as_array().unwrap().len(), 3);
}

#[test]
fn a_webhook_that_nobody_has_signed_starts_nothing() {
    let lab = hooked();
    for forge in ["github", "gitlab", "gitea"] {
        let said = body(&lab, forge, "v1.0.0");
        let other = body(&lab, forge, "v1.1.0");
        let of_another = if forge == "gitea" { "github" } else { "gitea" };
        for (headers, reason) in [
            (String::new(), "unsigned"),
            (headers(forge, "a guess", &said), "bad_signature"),
            (headers(of_another, SECRET, &said), "unsigned"),
        ] {
            let (status, problem) = send(&lab, forge, &headers, &said);
            assert_eq!((status, &problem["code"]), (403, &json!("access_denied")), "{problem}");
            assert_eq!(problem["context"]["reason"], reason, "{forge}");
            assert!(!problem.to_string().contains(SECRET));
        }
        if forge != "gitlab" {
            // A signature is of what was signed.
            let (status, problem) = send(&lab, forge, &headers(forge, SECRET, &other), &said);
            assert_eq!((status, &problem["context"]["reason"]), (403, &json!("bad_signature")));
        }
        // What is not about a tag of this repository is genuine, and starts nothing either.
        let branch = said.replace("refs/tags/v1.0.0", "refs/heads/main");
        let (status, answer) = send(&lab, forge, &headers(forge, SECRET, &branch), &branch);
        assert_eq!((status, answer), (200, json!({"build": null})));
        let elsewhere = said.replace("/repository", "/another");
        let (status, _) = send(&lab, forge, &headers(forge, SECRET, &elsewhere), &elsewhere);
        assert_eq!(status, 422);
        let (status, problem) = send(&lab, forge, &headers(forge, SECRET, "{"), "{");
        assert_eq!((status, &problem["context"]["reason"]), (422, &json!("unreadable")));
    }
    assert_eq!(send(&lab, "nothing", "", "{}").0, 404);
    // A secret that is changed holds at once, and one that is missing lets nobody in.
    keep(&lab, "another secret");
    let said = body(&lab, "github", "v1.0.0");
    assert_eq!(send(&lab, "github", &headers("github", SECRET, &said), &said).0, 403);
    fs::remove_file(lab.data_dir().join("builds/secrets/web/hook")).unwrap();
    assert_eq!(send(&lab, "github", &headers("github", SECRET, &said), &said).0, 503);
    assert_eq!(lab.json(&["build", "list"]), json!([]));
    let log = lab.server_log();
    assert!(log.contains("bad_signature") && !log.contains(SECRET), "{log}");
}

#[test]
fn the_parameters_of_a_webhook_are_those_of_its_releases() {
    let hook = |name: &str, parameters: &str| {
        format!(
            "[hooks.{name}]\nforge = \"github\"\nservice = \"web\"\nsecret = \"hook\"\nrelease = true\n{parameters}"
        )
    };
    let (with, without) = (hook("with", "parameters = { PORT = \"8080\" }\n"), hook("without", ""));
    let lab = Lab::with_server_of(&format!("{BUILDS}{with}{without}"));
    let needy = "format = 1\n[parameters.PORT]\ntype = \"integer\"\nmin = 1\nmax = 65535\nrequired = true\n[steps.verify]\nenabled = false\n";
    prepare_with(&lab, PRINTS, needy);
    keep(&lab, SECRET);
    let said = body(&lab, "github", "v1.0.0");
    let (status, answer) = send(&lab, "without", &headers("github", SECRET, &said), &said);
    assert_eq!(status, 202, "{answer}");
    let build = || lab.json(&["build", "show", answer["build"]["id"].as_str().unwrap()]);
    eventually("the build is over", || build()["state"] == "failed");
    assert_eq!(build()["fault"], "parameters_refused");
    assert_eq!(build()["reason"], "parameter `PORT` is required: give it a value");
    let (status, answer) = send(&lab, "with", &headers("github", SECRET, &said), &said);
    assert_eq!(status, 202, "{answer}");
    eventually("the release is made", || lab.run(&["release", "show", "web-1.0.0"]).code == 0);
    let release = lab.json(&["release", "show", "web-1.0.0"]);
    assert_eq!(release["parameters"], json!({"PORT": "8080"}));
}
