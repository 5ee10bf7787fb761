//! Every dependency may be used in a product, under a licence that asks for no more than to be named.
use crate::workspace::packages;

const ALLOWED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Whether `expression` can be satisfied with allowed licences alone. `/` is an old way to write `OR`.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let mut tokens = expression.replace('(', " ( ").replace(')', " ) ");
    tokens.push_str(" )");
    let tokens: Vec<_> = tokens.split_whitespace().collect();
    let (allowed, rest) = any(&tokens);
    allowed && rest == [")"]
}

/// Alternatives, up to a closing parenthesis.
fn any<'a>(tokens: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut allowed, mut rest) = all(tokens);
    while let ["OR", next @ ..] = rest {
        let (also, after) = all(next);
        (allowed, rest) = (allowed || also, after);
    }
    (allowed, rest)
}

fn all<'a>(tokens: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    let (mut allowed, mut rest) = one(tokens);
    while let ["AND", next @ ..] = rest {
        let (also, after) = one(next);
        (allowed, rest) = (allowed && also, after);
    }
    (allowed, rest)
}

fn one<'a>(tokens: &'a [&'a str]) -> (bool, &'a [&'a str]) {
    match tokens {
        ["(", inner @ ..] => match any(inner) {
            (allowed, [")", rest @ ..]) => (allowed, rest),
            (_, rest) => (false, rest),
        },
        [licence, "WITH", exception, rest @ ..] => {
            (ALLOWED.contains(&format!("{licence} WITH {exception}").as_str()), rest)
        }
        [licence, rest @ ..] => (ALLOWED.contains(licence), rest),
        [] => (false, &[]),
    }
}

#[test]
fn expressions_are_understood() {
    let good = ["MIT", "MIT/GPL-3.0", "(MIT OR GPL-2.0) AND ISC", "GPL-2.0 OR (MIT AND Zlib)"];
    let bad =
        ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT AND AGPL-3.0) OR LGPL-2.1", "(MIT", "MIT ISC"];
    good.into_iter().for_each(|it| assert!(is_allowed(it), "{it}"));
    bad.into_iter().for_each(|it| assert!(!is_allowed(it), "{it}"));
}

#[test]
fn every_licence_is_allowed() {
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages were found", packages.len());
    let bad: Vec<_> = packages
        .iter()
        .filter(|it| !is_allowed(&it.licence))
        .map(|it| format!("{}: {}", it.name, it.licence))
        .collect();
    assert!(bad.is_empty(), "these licences are not in the list: {bad:#?}");
}
