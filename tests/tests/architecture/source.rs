//! What source files name, found in their tokens: comments and texts do not count, `use a::{b, c}` does twice.
use crate::workspace::root;
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// A source file that is part of what is shipped.
#[derive(Debug)]
pub(crate) struct Source {
    /// Seen from the root of the workspace.
    pub(crate) path: PathBuf,
    pub(crate) text: String,
    pub(crate) mentions: Vec<Mention>,
}

/// A path, a name or a keyword somewhere in a source file.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// Whether it is a macro that is called.
    pub(crate) is_macro: bool,
    pub(crate) place: Place,
}

/// What a piece of source is inside of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) in_clock: bool,
    /// Under `#[expect(clippy::disallowed_methods, reason = "…")]`.
    pub(crate) is_excused: bool,
    pub(crate) in_test: bool,
}

impl Source {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_owned();
        let mentions = mentions(&text).unwrap_or_else(|err| panic!("{}: {err}", path.display()));
        Self { path, text, mentions }
    }

    /// What is named outside tests.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = &Mention> {
        self.mentions.iter().filter(|it| !it.place.in_test)
    }

    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

impl Mention {
    /// Whether `path` is all of it, or its end.
    pub(crate) fn ends_with(&self, path: &str) -> bool {
        let wanted: Vec<_> = path.split("::").collect();
        self.path.len() >= wanted.len() && self.path[self.path.len() - wanted.len()..] == wanted
    }

    /// Whether `path` is all of it, or its beginning.
    pub(crate) fn begins_with(&self, path: &str) -> bool {
        let wanted: Vec<_> = path.split("::").collect();
        self.path.len() >= wanted.len() && self.path[..wanted.len()] == wanted
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path.iter().any(|it| it == name)
    }
}

impl fmt::Display for Mention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in line {}", self.path.join("::"), self.line)
    }
}

/// All source files below the folder `below`, or that file, without those that hold tests alone.
pub(crate) fn sources(below: &str) -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root().join(below), &mut files);
    assert!(!files.is_empty(), "there is no source in {below}");
    files.sort();
    files.iter().filter(|it| !is_test(it)).map(|it| Source::read(it)).collect()
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            collect(&entry.unwrap().path(), files);
        }
    } else if path.extension().is_some_and(|it| it == "rs") {
        files.push(path.to_owned());
    }
}

fn is_test(file: &Path) -> bool {
    let stem = file.file_stem().unwrap().to_string_lossy();
    stem == "tests" || stem.ends_with("_tests")
}

/// The folders of the crates in `group`, such as `backends`; those that belong together lie in a folder of their own there.
pub(crate) fn crates(group: &str) -> Vec<String> {
    let below = |folder: PathBuf| fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let is_crate = |it: &PathBuf| it.join("Cargo.toml").exists();
    let crates = below(root().join(group)).filter(|it| it.is_dir()).flat_map(|it| {
        let deeper = if is_crate(&it) { vec![it] } else { below(it).collect() };
        deeper.into_iter().filter(is_crate)
    });
    let mut sources: Vec<_> = crates
        .map(|it| it.strip_prefix(root()).unwrap().join("src").to_str().unwrap().to_owned())
        .collect();
    assert!(!sources.is_empty(), "there is no crate in {group}");
    sources.sort();
    sources
}

fn mentions(text: &str) -> Result<Vec<Mention>, proc_macro2::LexError> {
    let mut found = Vec::new();
    scan(text.parse()?, Place::default(), &mut found);
    Ok(found)
}

fn scan(stream: TokenStream, outer: Place, found: &mut Vec<Mention>) {
    let tokens: Vec<_> = stream.into_iter().collect();
    let (mut rest, mut place) = (&tokens[..], outer);
    while let Some((token, after)) = rest.split_first() {
        rest = after;
        match token {
            TokenTree::Punct(it) if it.as_char() == '#' => {
                place = place.under(attribute(rest));
            }
            TokenTree::Punct(it) if it.as_char() == ';' => place = outer,
            TokenTree::Group(group) => {
                scan(group.stream(), place, found);
                if group.delimiter() == Delimiter::Brace {
                    place = outer;
                }
            }
            TokenTree::Ident(name) => {
                place.in_clock |= name == "impl" && implements_clock(rest);
                rest = path(vec![name.to_string()], name.span().start().line, rest, place, found);
            }
            TokenTree::Literal(_) | TokenTree::Punct(_) => {}
        }
    }
}

impl Place {
    fn under(mut self, attribute: Option<String>) -> Self {
        let text: String = attribute.unwrap_or_default().split_whitespace().collect();
        self.in_test |= text.starts_with("cfg(") && text.contains("test") && !text.contains("not(");
        self.in_test |= text == "test";
        self.is_excused |= text.starts_with("expect(")
            && text.contains("clippy::disallowed_methods")
            && text.contains("reason=");
        self
    }
}

fn attribute(tokens: &[TokenTree]) -> Option<String> {
    let group = tokens.iter().find(|it| !matches!(it, TokenTree::Punct(_)));
    match group {
        Some(TokenTree::Group(it)) if it.delimiter() == Delimiter::Bracket => {
            Some(it.stream().to_string())
        }
        _ => None,
    }
}

fn implements_clock(tokens: &[TokenTree]) -> bool {
    let is = |token: &TokenTree, name: &str| matches!(token, TokenTree::Ident(it) if it == name);
    let head = tokens.iter().take_while(
        |it| !matches!(it, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace),
    );
    let head: Vec<_> = head.collect();
    head.windows(2).any(|it| is(it[0], "Clock") && is(it[1], "for"))
}

/// Follows a path that began with `names`, into each branch of `{…}`; gives what comes after it.
fn path<'a>(
    mut names: Vec<String>,
    line: usize,
    mut rest: &'a [TokenTree],
    place: Place,
    found: &mut Vec<Mention>,
) -> &'a [TokenTree] {
    let is = |token: &TokenTree, sign: char| matches!(token, TokenTree::Punct(it) if it.as_char() == sign);
    while let [one, two, next, after @ ..] = rest
        && is(one, ':')
        && is(two, ':')
    {
        match next {
            TokenTree::Ident(name) => names.push(name.to_string()),
            TokenTree::Group(branches) if branches.delimiter() == Delimiter::Brace => {
                let tokens: Vec<_> = branches.stream().into_iter().collect();
                for branch in tokens.split(|it| is(it, ',')) {
                    if let [TokenTree::Ident(name), rest @ ..] = branch {
                        let names = [&names[..], &[name.to_string()]].concat();
                        path(names, name.span().start().line, rest, place, found);
                    }
                }
                return after;
            }
            _ => break,
        }
        rest = after;
    }
    let is_macro = rest.first().is_some_and(|it| is(it, '!'))
        && matches!(rest.get(1), Some(TokenTree::Group(_)));
    found.push(Mention { path: names, line, is_macro, place });
    rest
}

const SAMPLE: &str = r#"
//! std::fs in a comment
use std::{fs, io::{self, Read as _}, time::Instant};
impl Clock for Mine { fn now(&self) { SystemTime::now() } }
impl Mine { fn now(&self) { Instant::now() } }
#[expect(clippy::disallowed_methods, reason = "a good one")]
fn excused<A, B>() { tokio::time::sleep(A) }
fn after() { sleep("std::env::var"); say!(std::env::var) }
#[cfg(test)]
mod tests { fn f() { panic!() } }
"#;

#[test]
fn names_are_found_where_they_are() {
    let found = mentions(SAMPLE).unwrap();
    let all = |path: &str| found.iter().filter(|it| it.ends_with(path)).collect::<Vec<_>>();
    let one = |path: &str| {
        let [found] = all(path)[..] else { panic!("{path}: {:?}", all(path)) };
        found
    };
    assert_eq!((one("std::fs").line, one("std::io::self").line), (3, 3));
    assert!(one("std::io::Read").begins_with("std") && one("std::time::Instant").has("time"));
    assert!(one("SystemTime::now").place.in_clock);
    assert!(!one("Instant::now").place.in_clock);
    assert!(one("tokio::time::sleep").place.is_excused);
    let sleeps: Vec<_> = all("sleep").iter().map(|it| it.place.is_excused).collect();
    assert_eq!(sleeps, [true, false]);
    assert_eq!(one("std::env::var").line, 8);
    assert!(one("panic").place.in_test && one("panic").is_macro && one("say").is_macro);
    assert!(!one("say").place.in_test);
}
