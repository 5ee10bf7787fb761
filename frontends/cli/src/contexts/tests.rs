use super::*;
use crate::cli::Cli;
use clap::Parser as _;
use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _};

const TOKEN: &str =
    "dpl_0123456789abcdef_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A configuration of two contexts, the first of which is the current one.
fn configuration() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    let text = format!(
        "current = \"one\"\n[contexts.one]\nserver = \"https://one\"\nca = \"ca.pem\"\ntoken = \"{TOKEN}\"\n\
        [contexts.two]\nserver = \"https://two\"\ntoken_file = \"/two.token\"\n"
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (folder, path)
}

/// Where a command goes, and the authority and token that it takes there.
fn chosen(options: &[&str], variables: &[(&str, &str)]) -> Result<String, Problem> {
    let (_folder, path) = configuration();
    let mut all: BTreeMap<&str, OsString> =
        variables.iter().map(|(name, value)| (*name, OsString::from(value))).collect();
    all.entry("DEPLOY_CONFIG").or_insert_with(|| path.clone().into());
    let line = [&["deploy"], options, &["doctor"]].concat();
    let global = Cli::try_parse_from(line).unwrap().global;
    Ok(match choose(&global, &|name| all.get(name).cloned())? {
        Destination::Own => "own".to_owned(),
        Destination::Server(it) => {
            let token = match it.token {
                TokenSource::None => "none".to_owned(),
                TokenSource::File(path) => path.display().to_string(),
                TokenSource::Text(text) => text,
            };
            let ca = it.ca.map(|it| it.file_name().unwrap().to_string_lossy().into_owned());
            format!("{} {} {token}", it.url, ca.unwrap_or_else(|| "-".to_owned()))
        }
    })
}

#[test]
fn what_is_nearer_to_the_command_wins() {
    let server = ("DEPLOY_SERVER", "https://v");
    let context = ("DEPLOY_CONTEXT", "two");
    let data_dir = ("DEPLOY_DATA_DIR", "/d");
    let one = format!("https://one ca.pem {TOKEN}");
    for (options, variables, expected) in [
        (&[][..], &[][..], one.as_str()),
        (&[], &[data_dir], "own"),
        (&[], &[data_dir, context], "https://two - /two.token"),
        (&[], &[data_dir, context, server], "https://v - none"),
        (&["--context", "one"], &[data_dir, context, server], one.as_str()),
        (&["--server", "https://o"], &[data_dir, context, server], "https://o - none"),
        (&["--data-dir", "/o"], &[context, server], "own"),
    ] {
        assert_eq!(chosen(options, variables).unwrap(), expected, "{options:?} {variables:?}");
    }
}

#[test]
fn a_token_comes_from_the_nearest_place() {
    let said = ("DEPLOY_TOKEN", "dpl_said");
    let file = ("DEPLOY_TOKEN_FILE", "/v.token");
    for (options, variables, expected) in [
        (&["--context", "two"][..], &[][..], "https://two - /two.token"),
        (&["--context", "two"], &[file], "https://two - /v.token"),
        (&["--context", "two"], &[file, said], "https://two - dpl_said"),
        (&["--token-file", "o"], &[file, said], "https://one ca.pem o"),
        (&["--ca", "/o.pem"], &[("DEPLOY_CA", "/v.pem"), said], "https://one o.pem dpl_said"),
        (&["--server", "https://o"], &[("DEPLOY_CA", "/v.pem")], "https://o v.pem none"),
    ] {
        assert_eq!(chosen(options, variables).unwrap(), expected, "{options:?} {variables:?}");
    }
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let code = |options: &[&str], variables: &[(&str, &str)]| {
        chosen(options, variables).map(drop).unwrap_err().code
    };
    assert_eq!(code(&["--context", "three"], &[]), ProblemCode::NotFound);
    assert_eq!(code(&["--data-dir", "/d", "--ca", "x"], &[]), ProblemCode::Usage);
    assert_eq!(code(&["--token-file", "x"], &[("DEPLOY_DATA_DIR", "/d")]), ProblemCode::Usage);
    for both in [["--server", "x", "--context", "y"], ["--data-dir", "x", "--server", "y"]] {
        assert!(Cli::try_parse_from([&["deploy"], &both[..], &["doctor"]].concat()).is_err());
    }
    assert!(!format!("{:?}", TokenSource::Text(TOKEN.to_owned())).contains("0123"));
}

#[test]
fn a_file_that_holds_a_token_is_for_its_owner() {
    let (_folder, path) = configuration();
    let read = || Contexts::read(&|name| (name == "DEPLOY_CONFIG").then(|| path.clone().into()));
    for (mode, good) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(read().is_ok(), good, "{mode:o}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "[contexts.one]\nserver = \"https://one\"\n").unwrap();
    assert!(read().is_ok(), "there is no secret in it");
    fs::write(&path, "[contexts.one]\nserver = \"https://one\"\ncolour = 1\n").unwrap();
    let problem = read().unwrap_err();
    assert_eq!((problem.code, problem.context["line"].as_str()), (ProblemCode::InvalidFile, "3"));
}

#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deploy/config.toml");
    let variables = |name: &str| (name == "DEPLOY_CONFIG").then(|| path.clone().into());
    let mut contexts = Contexts::read(&variables).unwrap();
    assert!(contexts.entries.is_empty() && contexts.current.is_none());
    let entry = Entry {
        server: "https://one".to_owned(),
        token: Some(TOKEN.to_owned()),
        ..Entry::default()
    };
    contexts.entries.insert("one".to_owned(), entry);
    contexts.current = Some("one".to_owned());
    contexts.write().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = Contexts::read(&variables).unwrap();
    assert_eq!(read.entries["one"].token.as_deref(), Some(TOKEN));
    assert_eq!(read.current.as_deref(), Some("one"));
}
