//! Every promise of a contract has a case that quotes it, and every case is run.
#![cfg(feature = "conformance")]
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test panics when it fails, and tells how much it has counted"
)]
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The file of each trait, and the module of its cases.
const TRAITS: [(&str, &str); 15] = [
    ("access", "authorizer"),
    ("agent", "agent_registry"),
    ("answer", "answer_store"),
    ("artifact", "artifact_store"),
    ("builder", "builder"),
    ("clock", "clock"),
    ("credential", "credential_store"),
    ("executor", "executor"),
    ("inventory", "host_inventory"),
    ("journal", "journal"),
    ("lease", "lease_store"),
    ("log", "log_store"),
    ("notifier", "notifier"),
    ("registry", "service_registry"),
    ("scheduler", "scheduler"),
];

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path)
}

/// The text of a file, or of all files of a folder.
fn text(path: &Path) -> String {
    if path.is_file() {
        return fs::read_to_string(path).unwrap();
    }
    let mut files: Vec<_> = fs::read_dir(path).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    files.iter().map(|it| text(it)).collect()
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The promises in a trait's doc comment: the bullets after `# Contract`.
fn promises(trait_file: &str) -> Vec<String> {
    let text = text(&source(&format!("backend/{trait_file}.rs")));
    let docs = text.lines().map(str::trim).skip_while(|it| *it != "/// # Contract").skip(1);
    let docs = docs.map_while(|it| it.strip_prefix("///"));
    let contract = docs.take_while(|it| it.starts_with(" * ") || it.starts_with("   "));
    let mut promises: Vec<String> = Vec::new();
    for line in contract {
        match (line.strip_prefix(" * "), promises.last_mut()) {
            (Some(begin), _) => promises.push(begin.to_owned()),
            (None, Some(promise)) => promise.push_str(line),
            (None, None) => panic!("`{line}` is in no bullet of {trait_file}"),
        }
    }
    promises.iter().map(|it| words(it)).collect()
}

/// A case, and the part of a promise that it quotes.
struct Case {
    name: String,
    quote: Option<String>,
}

fn cases(module: &str) -> Vec<Case> {
    let file = source(&format!("conformance/{module}.rs"));
    let text = text(&if file.exists() { file } else { source(&format!("conformance/{module}")) });
    let (mut cases, mut quote) = (Vec::new(), None);
    for line in text.lines() {
        if let Some(quoted) = line.strip_prefix("/// > ") {
            quote = Some(words(quoted));
        } else if let Some(rest) = line.strip_prefix("pub async fn ") {
            let name = rest.split('<').next().unwrap().to_owned();
            cases.push(Case { name, quote: quote.take() });
        } else if !line.starts_with("///") {
            quote = None;
        }
    }
    cases
}

/// The cases that the macro of a module names.
fn listed(module: &str) -> BTreeSet<String> {
    let file = source(&format!("conformance/{module}.rs"));
    let text =
        text(&if file.exists() { file } else { source(&format!("conformance/{module}/mod.rs")) });
    let (_, listing) = text.split_once("macro_rules!").unwrap();
    listing.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn every_promise_has_a_case() {
    let mut total = (0, 0);
    for (trait_file, module) in TRAITS {
        let (promises, cases) = (promises(trait_file), cases(module));
        assert!(!promises.is_empty(), "{trait_file} has no contract");
        total = (total.0 + promises.len(), total.1 + cases.len());
        let quotes: Vec<_> = cases.iter().filter_map(|it| it.quote.as_ref()).collect();
        for promise in &promises {
            let quoted = quotes.iter().any(|quote| promise.contains(quote.as_str()));
            assert!(quoted, "no case of {module} quotes this promise of {trait_file}: {promise}");
        }
        for quote in quotes {
            let promised = promises.iter().any(|promise| promise.contains(quote.as_str()));
            assert!(
                promised,
                "a case of {module} quotes what {trait_file} does not promise: {quote}"
            );
        }
    }
    println!("{} promises, {} cases", total.0, total.1);
}

#[test]
fn every_case_is_run() {
    for (_, module) in TRAITS {
        let listed = listed(module);
        for case in cases(module) {
            assert!(listed.contains(&case.name), "{module}::{} is in no tier", case.name);
        }
    }
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    entries.flat_map(|it| if it.is_dir() { files(&it) } else { vec![it] }).collect()
}

#[test]
fn every_public_trait_has_an_example() {
    let mut count = 0;
    for file in files(&source("")) {
        let text = text(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, it)| it.starts_with("pub trait ")) {
            let above = lines[..at].iter().rev();
            let mut docs = above.take_while(|it| it.starts_with("///") || it.starts_with("#["));
            assert!(docs.any(|it| *it == "/// ```"), "{}: {line}", file.display());
            count += 1;
        }
    }
    assert!(count > 20, "only {count} traits were found");
}

#[test]
fn every_trait_of_backends_is_covered() {
    let files = fs::read_dir(source("backend")).unwrap().map(|it| it.unwrap().path());
    let with_a_contract = files.filter(|it| text(it).contains("/// # Contract"));
    assert_eq!(with_a_contract.count(), TRAITS.len());
}
