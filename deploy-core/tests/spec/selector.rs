use deploy_core::{
    host::{Connection, Host, Labels},
    spec::{ParseSelectorError, Selector},
};
use proptest::prelude::*;

fn selector(text: &str) -> Selector {
    text.parse().unwrap_or_else(|err: ParseSelectorError| panic!("{err}"))
}

fn host(name: &str, labels: &[(&str, &str)]) -> Host {
    let labels: Labels =
        labels.iter().map(|(key, value)| (key.parse().unwrap(), value.parse().unwrap())).collect();
    let connection = Connection::Local { root: "/nowhere".into() };
    Host::new(name.parse().unwrap(), connection).with_labels(labels)
}

#[test]
fn terms_mean_what_they_say() {
    let web = host("web-10", &[("zone", "a"), ("role", "web"), ("example.com/rack", "r1")]);
    let bare = host("db@1", &[]);
    let cases = [
        ("*", true, true),
        ("all", true, true),
        ("zone=a", true, false),
        ("zone==a", true, false),
        ("zone=b", false, false),
        ("zone!=a", false, true),
        ("zone!=b", true, true),
        ("zone in (b, a)", true, false),
        ("zone in (b)", false, false),
        ("zone notin (a,b)", false, true),
        ("zone notin (b)", true, true),
        ("zone", true, false),
        ("!zone", false, true),
        ("example.com/rack=r1", true, false),
        ("zone=a,role=web", true, false),
        ("zone=a,role=db", false, false),
        ("zone=a,!role", false, false),
        ("host=web-10", true, false),
        ("host=web-*", true, false),
        ("host=web-?", false, false),
        ("host=web-1?", true, false),
        ("host=*1*", true, true),
        ("host=*", true, true),
        ("host=?b@1", false, true),
        ("host!=web-*", false, true),
        ("host in (db@?,nothing)", false, true),
        ("host notin (db@?,nothing)", true, false),
        ("host=WEB-10", false, false),
        ("zone=A", false, false),
    ];
    for (text, on_web, on_bare) in cases {
        assert_eq!(selector(text).matches(&web), on_web, "{text} on web");
        assert_eq!(selector(text).matches(&bare), on_bare, "{text} on bare");
    }
}

#[test]
fn display_is_canonical() {
    let cases = [
        (" all ", "*"),
        ("*", "*"),
        ("zone == a", "zone=a"),
        ("zone in ( b,a , b )", "zone in (a,b)"),
        ("zone in (a)", "zone=a"),
        ("zone notin (a)", "zone!=a"),
        ("! zone ,gpu", "!zone,gpu"),
        ("host=web-*", "host=web-*"),
        ("host notin (b,a*)", "host notin (a*,b)"),
        ("in in (in)", "in=in"),
        ("zone=a,\tzone=b", "zone=a,zone=b"),
    ];
    for (text, canonical) in cases {
        assert_eq!(selector(text).to_string(), canonical);
        assert_eq!(selector(canonical), selector(text));
    }
    assert_eq!(selector("*"), Selector::all());
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("", 1, "must be a label key, and is the end"),
        ("  ", 3, "must be a label key, and is the end"),
        ("zone=", 6, "must be a value, and is the end"),
        ("zone=a,", 8, "must be a label key, and is the end"),
        ("zone in prod", 9, "must be `(`, and is `prod`"),
        ("zone in (a b)", 12, "must be `,` or `)`, and is `b`"),
        ("zone in ()", 10, "must be a value, and is `)`"),
        ("zone in (a", 11, "must be `,` or `)`, and is the end"),
        ("zone a", 6, "must be `,` or the end, and is `a`"),
        ("zone=a env=b", 8, "must be `,` or the end, and is `env`"),
        ("-zone=a", 1, "must be a label key: at most 63"),
        ("zone=ä", 6, "must be a label value: at most 63"),
        ("ä=b,=", 1, "must be a label key: at most 63"),
        ("zone=a,=b", 8, "must be a label key, and is `=`"),
        ("!host", 2, "every host has a name"),
        ("host", 5, "must be `=`, `!=`, `in` or `notin` after `host`, and is the end"),
        ("host=a/b", 6, "must be a host name of at most 253 characters"),
        ("zone=a,*", 8, "what selects every host stands alone"),
        ("all=b", 1, "what selects every host stands alone"),
        ("!all", 2, "what selects every host stands alone"),
        ("zone===a", 7, "must be a value, and is `=`"),
    ];
    for (text, column, message) in cases {
        let err = text.parse::<Selector>().unwrap_err();
        assert_eq!(err.column(), column, "{text}: {err}");
        assert!(err.to_string().contains(message), "{text}: {err}");
        assert!(err.to_string().contains(&format!("column {column} ")), "{text}: {err}");
    }
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    let text = format!("zone in (a{})", ",a".repeat(10_000));
    assert!(text.parse::<Selector>().unwrap_err().to_string().contains("16,384 bytes"));
    assert!(format!("host={}", "*".repeat(254)).parse::<Selector>().is_err());
}

/// Each `*` could take anything: a matcher that tries all ways would not end.
#[test]
fn a_hostile_pattern_is_matched_at_once() {
    let pattern = selector(&format!("host={}b", "a*".repeat(120)));
    let longest = host(&"a".repeat(253), &[]);
    assert!(!pattern.matches(&longest));
}

#[test]
fn in_files_it_is_a_text() {
    let parsed: Selector = serde_json::from_str(r#""zone in (b,a)""#).unwrap();
    assert_eq!(serde_json::to_string(&parsed).unwrap(), r#""zone in (a,b)""#);
    assert!(serde_json::from_str::<Selector>(r#""""#).is_err());
}

fn term() -> impl Strategy<Value = String> {
    let space = "[ \t]{0,2}";
    let values =
        |word: &'static str| prop::collection::vec(word, 1..4).prop_map(|it| it.join(" , "));
    let key = prop_oneof!["[ab]", "zone|gpu|in|notin|example[.]com/rack"];
    prop_oneof![
        key.clone(),
        (space, key.clone()).prop_map(|(space, key)| format!("!{space}{key}")),
        (key.clone(), space, "=|==|!=", space, "[xyz]")
            .prop_map(|(key, a, op, b, value)| format!("{key}{a}{op}{b}{value}")),
        (key, "in|notin", space, values("[xyz]"))
            .prop_map(|(key, op, space, values)| format!("{key} {op}{space}({space}{values})")),
        ("=|!=", "[ab*?]{1,4}").prop_map(|(op, glob)| format!("host {op} {glob}")),
        ("in|notin", values("[ab*?]{1,4}")).prop_map(|(op, globs)| format!("host {op} ({globs})")),
    ]
}

fn selectors() -> impl Strategy<Value = String> {
    prop::collection::vec(term(), 1..4).prop_map(|it| it.join(","))
}

fn hosts() -> impl Strategy<Value = Host> {
    let labels = prop::collection::btree_map("[ab]|zone|gpu|in", "[xyz]", 0..4);
    ("[ab]{1,5}", labels).prop_map(|(name, labels)| {
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        host(&name, &labels)
    })
}

/// All ways, tried one after another.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|taken| fits(rest, &name[taken..])),
        ([b'?', rest @ ..], [_, left @ ..]) => fits(rest, left),
        ([wanted, rest @ ..], [found, left @ ..]) => wanted == found && fits(rest, left),
        _ => false,
    }
}

proptest! {
    #[test]
    fn text_round_trips(text in selectors(), host in hosts()) {
        let parsed = selector(&text);
        let shown = parsed.to_string();
        prop_assert_eq!(selector(&shown).to_string(), shown.as_str());
        prop_assert_eq!(selector(&shown).matches(&host), parsed.matches(&host));
        prop_assert_eq!(selector(&shown), parsed);
    }

    #[test]
    fn no_text_panics(text in "(?s).*") {
        if let Err(err) = text.parse::<Selector>() {
            prop_assert!(err.column() <= text.chars().count() + 1);
            prop_assert!(!err.to_string().chars().any(char::is_control));
        }
    }

    #[test]
    fn no_text_of_the_right_characters_panics(text in "[ab=!,() *?iny-]{0,24}") {
        if let Ok(parsed) = text.parse::<Selector>() {
            prop_assert_eq!(selector(&parsed.to_string()), parsed);
        }
    }

    #[test]
    fn a_comma_means_and(a in term(), b in term(), host in hosts()) {
        let both = selector(&format!("{a},{b}")).matches(&host);
        prop_assert_eq!(both, selector(&a).matches(&host) && selector(&b).matches(&host));
    }

    #[test]
    fn a_set_means_or_and_its_negation_the_rest(key in "[ab]|zone", values in prop::collection::vec("[xyz]", 1..4), host in hosts()) {
        let set = values.join(",");
        let any = values.iter().any(|it| selector(&format!("{key}={it}")).matches(&host));
        prop_assert_eq!(selector(&format!("{key} in ({set})")).matches(&host), any);
        prop_assert_eq!(selector(&format!("{key} notin ({set})")).matches(&host), !any);
        let none = values.iter().all(|it| selector(&format!("{key}!={it}")).matches(&host));
        prop_assert_eq!(none, !any);
    }

    #[test]
    fn a_label_is_there_or_not(key in "[ab]|zone", host in hosts()) {
        let there = selector(&key).matches(&host);
        prop_assert_eq!(selector(&format!("!{key}")).matches(&host), !there);
    }

    #[test]
    fn globs_match_as_if_every_way_was_tried(pattern in "[ab*?]{1,6}", host in hosts()) {
        let expected = fits(pattern.as_bytes(), host.name.as_str().as_bytes());
        prop_assert_eq!(selector(&format!("host={pattern}")).matches(&host), expected);
    }
}
