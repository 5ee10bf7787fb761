//! `docs/faults.md`: each fault has its tests, and they are there.
use crate::workspace::root;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The faults that have to have a test.
const NEEDED: [u32; 20] =
    [1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 24, 25, 26, 27];

/// The tests that the table names, by fault.
fn named(text: &str) -> BTreeMap<u32, Vec<&str>> {
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let fault = cells.next()?.strip_prefix('F')?.parse().ok()?;
        let tests = cells.next_back()?.split('`').skip(1).step_by(2).collect();
        Some((fault, tests))
    });
    rows.collect()
}

/// All functions with an attribute that makes them tests.
fn tests_in(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let skipped = ["target", "fuzz", ".git"].iter().any(|it| name == *it);
        if path.is_dir() && !skipped {
            tests_in(&path, found);
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.extend(tests_of(&fs::read_to_string(path).unwrap()));
        }
    }
}

fn tests_of(source: &str) -> Vec<String> {
    let (mut tests, mut is_test) = (Vec::new(), false);
    for line in source.lines().map(str::trim) {
        if line.starts_with("#[") {
            is_test |= ["#[test]", "#[tokio::test"].iter().any(|it| line.starts_with(it));
        } else if let Some(name) = line.split("fn ").nth(1).and_then(|it| it.split('(').next()) {
            if is_test {
                tests.push(name.to_owned());
            }
            is_test = false;
        }
    }
    tests
}

#[test]
fn every_fault_has_tests_that_are_there() {
    let root = root();
    let text = fs::read_to_string(root.join("docs/faults.md")).unwrap();
    let named = named(&text);
    assert_eq!(named.keys().copied().collect::<Vec<_>>(), NEEDED);
    let mut tests = BTreeSet::new();
    tests_in(root, &mut tests);
    for (fault, names) in named {
        assert!(!names.is_empty(), "F{fault} has no test");
        for name in names {
            assert!(tests.contains(name), "F{fault}: there is no test `{name}`");
        }
    }
}

#[test]
fn tests_are_told_from_other_functions() {
    let source = "#[test]\nfn one() {}\nfn two() {}\n#[tokio::test(flavor = \"x\")]\n#[ignore = \"y\"]\nasync fn three() {}";
    assert_eq!(tests_of(source), ["one", "three"]);
    assert_eq!(
        named("| F3 | a | b | `x` `y` |\n| F4 | c |"),
        [(3, vec!["x", "y"]), (4, vec![])].into()
    );
}
