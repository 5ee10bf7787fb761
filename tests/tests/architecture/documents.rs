//! The documents: every link leads somewhere, and every decision is in the index.
use crate::workspace::root;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A link of a document.
#[derive(Debug, PartialEq)]
struct Link {
    line: usize,
    target: String,
}

/// All documents of the repository.
fn documents() -> Vec<PathBuf> {
    let mut documents = Vec::new();
    collect(root(), &mut documents);
    documents.sort();
    assert!(documents.len() > 5, "only these were found: {documents:?}");
    documents
}

fn collect(folder: &Path, documents: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            if !matches!(&*name, ".git" | "node_modules" | "target") && !path.is_symlink() {
                collect(&path, documents);
            }
        } else if name.ends_with(".md") {
            documents.push(path);
        }
    }
}

/// The lines of a document that are prose, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    for (line, text) in prose(text) {
        let without_code: String = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for rest in without_code.split("](").skip(1) {
            let target = rest.split([')', ' ']).next().unwrap().to_owned();
            links.push(Link { line, target });
        }
    }
    links
}

/// What a heading is called in a link, as GitHub has it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

fn has_anchor(document: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(document).unwrap();
    let headings = prose(&text).filter(|(_, line)| line.starts_with('#'));
    headings.into_iter().any(|(_, line)| anchor(line.trim_start_matches('#').trim()) == wanted)
}

fn leads_somewhere(from: &Path, target: &str) -> bool {
    if ["https://", "http://", "mailto:"].iter().any(|it| target.starts_with(it)) {
        return true;
    }
    let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = if file.is_empty() { from.to_owned() } else { from.parent().unwrap().join(file) };
    file.exists() && (anchor.is_empty() || has_anchor(&file, anchor))
}

#[test]
fn links_are_understood() {
    let text =
        "See [a](b.md) and [c](d.md#e-f \"title\"), not `[x](y)`.\n```\n[no](no)\n```\n[z](z)";
    let link = |line, target: &str| Link { line, target: target.to_owned() };
    assert_eq!(links(text), [link(1, "b.md"), link(1, "d.md#e-f"), link(5, "z")]);
    assert_eq!(anchor("What `drain` is: a gate"), "what-drain-is-a-gate");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    assert!(leads_somewhere(&here, "../docs") && !leads_somewhere(&here, "nowhere.md"));
}

#[test]
fn every_link_leads_somewhere() {
    let mut dead = Vec::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for Link { line, target } in links(&text) {
            if !leads_somewhere(&document, &target) {
                let document = document.strip_prefix(root()).unwrap().display();
                dead.push(format!("{document}:{line}: {target}"));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn every_document_is_in_the_index() {
    let index = indexed();
    for document in documents() {
        let Ok(name) = document.strip_prefix(root().join("docs")) else { continue };
        let name = name.to_str().unwrap();
        assert!(name == "README.md" || index.contains(name), "docs/README.md does not list {name}");
    }
}

/// What the index leads to.
fn indexed() -> BTreeSet<String> {
    let index = fs::read_to_string(root().join("docs/README.md")).unwrap();
    links(&index).into_iter().map(|it| it.target).collect()
}

/// The files of all decisions, by number.
fn decisions() -> BTreeMap<u32, PathBuf> {
    let mut decisions = BTreeMap::new();
    for entry in fs::read_dir(root().join("docs/adr")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        let number = name.split('-').next().unwrap().parse();
        let number = number.unwrap_or_else(|_| panic!("{name} has no number"));
        assert_eq!(decisions.insert(number, path.clone()), None, "two decisions are {number}");
    }
    decisions
}

#[test]
fn every_decision_says_what_else_was_possible() {
    for (number, path) in decisions() {
        let text = fs::read_to_string(&path).unwrap();
        let title = text.lines().next().unwrap();
        assert!(title.starts_with(&format!("# {number}. ")), "{}: {title}", path.display());
        for section in ["Summary", "Goals", "Alternatives", "Drawbacks"] {
            let found = text.lines().any(|it| it.starts_with(&format!("## {section}")));
            assert!(found, "{} has no section `{section}`", path.display());
        }
    }
}
