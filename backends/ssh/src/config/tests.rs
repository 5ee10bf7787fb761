use super::*;
use crate::options::HostKeyPolicy;
use proptest::prelude::*;
use std::time::Duration;

fn config(text: &str) -> SshConfig {
    let mut config = SshConfig::default();
    config.add(text, Path::new("/home/me/.ssh/config"), Some(Path::new("/home/me")));
    config.index();
    config
}

fn settings(text: &str, name: &str) -> Settings {
    config(text).settings(name).unwrap()
}

fn refusal(text: &str) -> String {
    config(text).settings("web").unwrap_err().to_string()
}

fn hop(name: &str, user: Option<&str>, port: Option<u16>) -> Hop {
    Hop { name: name.into(), user: user.map(Into::into), port }
}

#[test]
fn the_first_value_wins() {
    let text = "Port 1\nHost web\n Port 2\n User a\nHost *\n User b\n HostName x\n";
    let web = settings(text, "web");
    assert_eq!((web.port, web.user.as_deref()), (Some(1), Some("a")));
    assert_eq!(web.address.as_deref(), Some("x"));
    assert_eq!(settings(text, "db").user.as_deref(), Some("b"));
}

#[test]
fn identity_files_add_up() {
    let web = settings("Host web\nIdentityFile a\nHost *\nIdentityFile b\n", "web");
    assert_eq!(web.identity_files, ["a", "b"]);
}

#[test]
fn hosts_are_patterns_with_negation() {
    let text = "Host *.example.org !db.* 10.0.0.?\nUser ops\n";
    assert_eq!(settings(text, "web.example.org").user.as_deref(), Some("ops"));
    assert_eq!(settings(text, "10.0.0.7").user.as_deref(), Some("ops"));
    assert_eq!(settings(text, "db.example.org").user, None);
    assert_eq!(settings(text, "10.0.0.77").user, None);
}

#[test]
fn match_all_holds_and_other_matches_are_skipped() {
    let text =
        "Match user root\nPort 7\nMatch all\nUser me\nMatch host web exec \"false\"\nHostName x\n";
    let web = settings(text, "web");
    assert_eq!((web.port, web.user.as_deref(), web.address), (None, Some("me"), None));
}

#[test]
fn unknown_keywords_are_ignored() {
    let text = "ForwardAgent yes\nControlMaster auto\nSomething = new\nUser me\n";
    assert_eq!(settings(text, "web"), Settings { user: Some("me".into()), ..Settings::default() });
}

#[test]
fn reads_all_it_knows() {
    let text = "HostName %h.example.org\nIdentitiesOnly yes\nIdentityAgent none\nHostKeyAlias w\n\
                UserKnownHostsFile a \"b c\"\nGlobalKnownHostsFile none\nStrictHostKeyChecking accept-new\n\
                ConnectTimeout 1m5\nServerAliveInterval 20\nServerAliveCountMax 5\n";
    let expected = Settings {
        address: Some("%h.example.org".into()),
        identities_only: Some(true),
        identity_agent: Some("none".into()),
        known_as: Some("w".into()),
        user_known_hosts: Some(vec!["a".into(), "b c".into()]),
        global_known_hosts: Some(vec![]),
        host_keys: Some(HostKeyPolicy::AcceptNew),
        connect_timeout: Some(Duration::from_secs(65)),
        alive_interval: Some(Duration::from_secs(20)),
        alive_count: Some(5),
        ..Settings::default()
    };
    assert_eq!(settings(text, "web"), expected);
}

#[test]
fn proxy_jumps_are_chains() {
    let proxy = |value: &str| settings(&format!("ProxyJump {value}\n"), "web").proxy;
    assert_eq!(proxy("none"), Some(Proxy::Direct));
    assert_eq!(proxy("gate"), Some(Proxy::Jumps(vec![hop("gate", None, None)])));
    let chain = vec![
        hop("a", Some("me"), Some(2222)),
        hop("::1", None, Some(22)),
        hop("fe80::1", None, None),
    ];
    assert_eq!(proxy("me@a:2222,ssh://[::1]:22,fe80::1"), Some(Proxy::Jumps(chain)));
    let first = "Host web\nProxyJump none\nHost *\nProxyCommand nc %h %p\n";
    assert_eq!(settings(first, "web").proxy, Some(Proxy::Direct), "the first of both wins");
}

#[test]
fn what_would_be_unsafe_is_refused_with_its_line() {
    assert!(
        refusal("\nStrictHostKeyChecking no\n")
            .starts_with("/home/me/.ssh/config:2: StrictHostKeyChecking no")
    );
    assert!(refusal("ProxyCommand nc %h %p\n").contains("ProxyJump"));
    assert!(refusal("RevokedHostKeys /etc/revoked\n").contains("@revoked"));
    for text in [
        "Port 0",
        "Port x",
        "IdentitiesOnly maybe",
        "ProxyJump a,,b",
        "ProxyJump a:99999",
        "ConnectTimeout soon",
        "User \"a",
    ] {
        assert!(refusal(text).starts_with("/home/me/.ssh/config:1: "), "{text}");
    }
}

#[test]
fn a_bad_value_for_another_host_does_no_harm() {
    assert_eq!(settings("Host db\nStrictHostKeyChecking no\n", "web"), Settings::default());
}

#[test]
fn includes_hold_where_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("config"), "Host web\nInclude more\nPort 2\nHost *\nUser all\n").unwrap();
    fs::write(at("more"), "User web\nHost db\nPort 9\nHost *\nPort 3\n").unwrap();
    let config = SshConfig::read(&[at("config"), at("missing")], None);
    let web = config.settings("web").unwrap();
    assert_eq!((web.user.as_deref(), web.port), (Some("web"), Some(3)));
    let db = config.settings("db").unwrap();
    assert_eq!(
        (db.user.as_deref(), db.port),
        (Some("all"), None),
        "`Host db` stands inside `Host web`"
    );
    assert!(config.sources().contains(&at("more")));
}

#[test]
fn files_that_include_themselves_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    fs::write(&file, "Include config\n").unwrap();
    let err = SshConfig::read(&[file], None).settings("web").unwrap_err();
    assert!(err.reason.contains("16 levels"), "{err}");
}

#[test]
fn a_block_a_host_is_found_without_a_search() {
    let text: String = (0..1_000).map(|at| format!("Host h{at}\nPort {}\n", at + 1)).collect();
    let config = config(&text);
    assert_eq!(config.settings("h700").unwrap().port, Some(701));
    assert!(config.tried.is_empty());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(?s)[ -~\n\t]{0,200}", name in "[a-z.]{1,8}") {
        let _ = config(&text).settings(&name);
    }

    #[test]
    fn no_value_makes_it_panic(
        keyword in "(Port|ProxyJump|ConnectTimeout|HostName|StrictHostKeyChecking|UserKnownHostsFile|Host|Match)",
        value in "\\PC{0,40}",
    ) {
        let _ = config(&format!("{keyword} {value}\n")).settings("web");
    }

    #[test]
    fn the_index_changes_nothing(
        blocks in prop::collection::vec(("[ab*!?]{1,3}( [ab*]{1,3})?", 1_u16..9), 0..12),
        name in "[ab]{1,3}",
    ) {
        let text: String = blocks.iter().map(|(hosts, port)| format!("Host {hosts}\nPort {port}\n")).collect();
        let plainly = blocks.iter().find(|(hosts, _)| PatternList::new(hosts.split(' ')).matches(&name));
        prop_assert_eq!(settings(&text, &name).port, plainly.map(|(_, port)| *port));
    }
}
