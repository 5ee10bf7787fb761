use super::*;
use std::collections::BTreeMap;

fn config(text: &str, variables: &[(&str, &str)], given: Given) -> Result<Config, Problem> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("server.toml");
    std::fs::write(&path, text).unwrap();
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let variable = |name: &str| variables.get(name).map(|it| (*it).to_owned());
    Config::read(Some(&path), variable, given)
}

fn refused(text: &str) -> String {
    config(text, &[], Given::default()).unwrap_err().message
}

#[test]
fn nothing_is_needed() {
    let config = Config::read(None, |_| None, Given::default()).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:7443");
    assert_eq!(config.encryption, Encryption::Own { names: vec![] });
    assert_eq!(config.agents.listen.to_string(), "127.0.0.1:7444");
    assert_eq!(config.agents.blocks_listen.to_string(), "127.0.0.1:7446");
    assert_eq!((config.agents.address, config.agents.heartbeat), (None, HEARTBEAT));
    assert!(config.database.is_none() && !config.limits.local_hosts);
    assert_eq!(config.limits, Limits::default());
}

#[test]
fn what_is_nearer_goes_before() {
    let text = "listen = \"127.0.0.1:1\"\nlocal_hosts = true\n[limits]\nrequests = 1\nstreams = 1";
    let variables = [("DEPLOY_SERVE_LISTEN", "127.0.0.1:2"), ("DEPLOY_SERVE_LIMITS_REQUESTS", "2")];
    let read = config(text, &variables, Given::default()).unwrap();
    assert_eq!((read.listen.port(), read.limits.requests, read.limits.streams), (2, 2, 1));
    assert!(read.limits.local_hosts);
    let given = Given { listen: Some("127.0.0.1:3".parse().unwrap()), ..Given::default() };
    let read = config(text, &variables, given).unwrap();
    assert_eq!(read.listen.port(), 3);
}

#[test]
fn nothing_is_built_unless_it_is_said() {
    let builds = |text: &str| config(text, &[], Given::default()).unwrap().builds;
    assert_eq!(builds(""), None);
    assert_eq!(builds("[build]\nsandbox = \"never\""), None);
    let careful = builds("[build]\nenabled = true").unwrap();
    assert_eq!(careful.sandbox, deploy_build::SandboxUse::Required);
    assert!(!careful.private_remotes && careful.hooks.is_empty());
    let hook = "[build]\nenabled = true\n[hooks.web-tags]\nforge = \"github\"\nservice = \"web\"\nsecret = \"hook\"";
    let hooks = builds(hook).unwrap().hooks;
    assert_eq!(hooks["web-tags"].service.as_str(), "web");
    assert!(!hooks["web-tags"].release);
    let hook = format!("{hook}\nrelease = true\nparameters = {{ PORT = \"8080\" }}");
    let given = &builds(&hook).unwrap().hooks["web-tags"].parameters;
    assert_eq!(given["PORT"], "8080");
    let variables =
        [("DEPLOY_SERVE_BUILD_ENABLED", "true"), ("DEPLOY_SERVE_BUILD_SANDBOX", "preferred")];
    let read = config("", &variables, Given::default()).unwrap().builds.unwrap();
    assert_eq!(read.sandbox, deploy_build::SandboxUse::Preferred);
}

#[test]
fn every_complaint_says_where() {
    for (text, wanted) in [
        ("colour = 1", "server.toml:1:1: unknown field `colour`"),
        ("\n[limits]\nrequest = 1", "server.toml:3:1: unknown field `request`"),
        ("listen = \"here\"", "server.toml:1:10: "),
        ("[limits]\nhead_timeout = 5", "server.toml:2:16: "),
        ("[limits]\nrequests = 0", "`limits.requests` must be more than 0"),
        ("[tls]\nkey = \"k\"", "`tls.certificate` and `tls.key` go together"),
        ("listen = \"0.0.0.0:80\"\nplain_http = true", "tokens would travel readable"),
        ("[repair]\ninterval = \"0s\"", "`repair.interval` must be 100ms to 1d"),
        ("[agents]\nheartbeat = \"1ms\"", "`agents.heartbeat` must be 100ms to 5m"),
        ("[agents]\naddress = \"here\"", "`agents.address`: `here` is no HOST:PORT"),
        ("[agents]\nblocks_address = \":1\"", "`agents.blocks_address`: `:1` is no HOST:PORT"),
        ("[build]\nenable = true", "server.toml:2:1: unknown field `enable`"),
        ("[build]\nsandbox = \"no\"", "server.toml:2:11: "),
        (
            "[hooks.a]\nforge = \"github\"\nservice = \"web\"\nsecret = \"s\"",
            "`hooks.a` starts builds, and `build.enabled` is not said",
        ),
        (
            "[build]\nenabled = true\n[hooks.A]\nforge = \"github\"\nservice = \"web\"\nsecret = \"s\"",
            "`hooks.A`: a name has a-z, 0-9 and `-`",
        ),
        (
            "[build]\nenabled = true\n[hooks.a]\nforge = \"github\"\nservice = \"web\"\nsecret = \"s\"\nparameters = { PORT = \"1\" }",
            "`hooks.a.parameters` are those of a release",
        ),
        (
            "[hooks.a]\nforge = \"sourceforge\"\nservice = \"web\"\nsecret = \"s\"",
            "server.toml:2:9: ",
        ),
        ("database = \"mysql://x\"", "`database` must be the address of a PostgreSQL"),
    ] {
        let message = refused(text);
        assert!(message.contains(wanted), "{message}\n  wanted: {wanted}");
    }
    let variables = [("DEPLOY_SERVE_LIMITS_REQUESTS", "many")];
    let message = config("", &variables, Given::default()).unwrap_err().message;
    assert!(message.starts_with("DEPLOY_SERVE_LIMITS_REQUESTS: "), "{message}");
}

#[test]
fn a_password_is_never_shown() {
    let url = "postgres://deploy:hunter2@db/deploy";
    let given = Given { database: Some(url.to_owned()), ..Given::default() };
    let problem = config("", &[], given).unwrap_err();
    assert!(problem.message.starts_with("a password on the command line"), "{problem}");
    let read = config("", &[("DEPLOY_SERVE_DATABASE", url)], Given::default());
    assert!(!format!("{:?}", read.unwrap()).contains("hunter2"));
    let problem = refused(&format!("database = [\"{url}\"]"));
    assert!(!problem.contains("hunter2"), "{problem}");
    assert!(!has_password("postgres://deploy@db:5432/deploy?sslmode=verify-full"));
    assert!(has_password("postgres://db/deploy?password=hunter2"));
}

#[test]
fn every_key_is_described() {
    let document = include_str!("../../../../../../docs/server.md");
    for (key, _) in KEYS {
        assert!(document.contains(&format!("| `{key}` |")), "{key} is not in docs/server.md");
    }
    let example = document.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    read(&Source::new("docs/server.md", example)).unwrap();
}

#[test]
fn artifacts_may_lie_in_a_bucket() {
    let text = "[artifacts]\nstore = \"s3://b/p?endpoint=https://s3.example.org\"";
    let named = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hush")];
    let read = config(text, &named, Given::default()).unwrap();
    let bucket = read.artifacts.as_ref().unwrap();
    assert_eq!(bucket.location.bucket(), "b");
    assert_eq!(bucket.credentials.as_ref().unwrap().access_key_id, "id");
    assert!(!format!("{read:?}").contains("hush"));
    // The machine's own role.
    assert!(config(text, &[], Given::default()).unwrap().artifacts.unwrap().credentials.is_none());

    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, "other\nhush\n").unwrap();
    let with_key = format!("{text}\nkey_file = {key:?}");
    let bucket = config(&with_key, &named, Given::default()).unwrap().artifacts.unwrap();
    assert_eq!(bucket.credentials.unwrap().access_key_id, "other");
    std::fs::write(&key, "hush\n").unwrap();
    let err = config(&with_key, &[], Given::default()).unwrap_err();
    assert!(err.message.contains("two lines") && !err.message.contains("hush"));

    assert!(refused("[artifacts]\nkey_file = \"k\"").contains("`artifacts.store`"));
    let plain = refused("[artifacts]\nstore = \"s3://b?endpoint=http://s3.example.org\"");
    assert!(plain.contains("without TLS"), "{plain}");
}
