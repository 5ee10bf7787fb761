//! The files that people write: each is read strictly, and every complaint names file, line and column.
pub(crate) mod ansible;
mod build;
mod duration;
pub(crate) mod hosts;
mod service;
mod staging;
mod strategy;

use crate::reason::os_error;
pub(crate) use duration::Human;
pub(crate) use service::parse_service;

use deploy_wire::{Problem, ProblemCode};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// A place in a text; both count from 1, and columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A file in memory, and what to call it in messages.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    name: String,
    text: String,
}

impl Source {
    /// A text that came from `name`.
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text: String = text.into();
        let text = text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), ToOwned::to_owned);
        Self { name: name.into(), text }
    }

    /// Reads a file of at most `limit` bytes; `-` is standard input.
    pub(crate) fn read(path: &Path, limit: u64) -> Result<Self, Problem> {
        let stdin = path == Path::new("-");
        let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
        let mut bytes = Vec::new();
        let read = if stdin {
            std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        };
        read.map_err(|err| unreadable(&name, &err))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            let message =
                format!("{name}: larger than {limit} bytes, the most such a file may have");
            return Err(Problem::new(ProblemCode::InvalidFile, message).with_context("file", name));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self::new(name, text)),
            Err(err) => {
                let valid = err.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(err.as_bytes().get(..valid).unwrap_or(&[]));
                let source = Self::new(name, text);
                let end = source.position_of(source.text.len());
                Err(source.problem(Some(end), "not text in UTF-8"))
            }
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Where the byte `offset` lies.
    pub(crate) fn position_of(&self, offset: usize) -> Position {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |it| it + 1);
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        Position { line: before.matches('\n').count() + 1, column }
    }

    /// What is wrong at a place in this file.
    pub(crate) fn problem(&self, at: Option<Position>, message: impl fmt::Display) -> Problem {
        let Some(Position { line, column }) = at else {
            return Problem::new(ProblemCode::InvalidFile, format!("{}: {message}", self.name))
                .with_context("file", &self.name);
        };
        let message = format!("{}:{line}:{column}: {message}", self.name);
        let source = self.text.lines().nth(line - 1).unwrap_or("");
        Problem::new(ProblemCode::InvalidFile, message)
            .with_context("file", &self.name)
            .with_context("line", line)
            .with_context("column", column)
            .with_context("source", source.chars().take(200).collect::<String>())
    }

    /// Reads it as TOML.
    pub(crate) fn toml<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        toml::from_str(&self.text).map_err(|err| {
            let at = err.span().map(|span| self.position_of(span.start));
            self.problem(at, in_words(err.message()))
        })
    }

    /// Reads it as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_str(&self.text).map_err(|err| {
            let at = Position { line: err.line().max(1), column: err.column().max(1) };
            if err.is_eof() {
                return self.problem(Some(at), "it ends in the middle: the file was cut off");
            }
            let text = err.to_string();
            let message = text.split(" at line ").next().unwrap_or(&text);
            self.problem(Some(at), in_words(message))
        })
    }

    /// Where this begins to be something else than `other`, apart from white space; `None` if it does not.
    pub(crate) fn difference(&self, other: &str) -> Option<Position> {
        let (mut mine, mut others) = (written(&self.text), written(other));
        loop {
            match (mine.next(), others.next()) {
                (None, None) => return None,
                (Some((_, one)), Some((_, two))) if one == two => {}
                (Some((at, _)), _) => return Some(self.position_of(at)),
                (None, Some(_)) => return Some(self.position_of(self.text.len())),
            }
        }
    }
}

/// The characters of a JSON text and where they are, without the white space between its words.
fn written(json: &str) -> impl Iterator<Item = (usize, char)> {
    let (mut quoted, mut escaped) = (false, false);
    json.char_indices().filter(move |(_, c)| {
        let blank = !quoted && c.is_ascii_whitespace();
        if *c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = quoted && *c == '\\' && !escaped;
        !blank
    })
}

/// What parsers call by the names of types, as people know it.
const WORDS: [(&str, &str); 9] = [
    ("expected a nonzero u16", "expected a whole number from 1 to 65535"),
    ("expected a nonzero u32", "expected a whole number from 1 to 4294967295"),
    ("expected u32", "expected a whole number from 0 to 4294967295"),
    ("expected u64", "expected a whole number of at least 0"),
    ("expected a sequence", "expected a list"),
    ("expected a map", "expected a table"),
    ("invalid type: sequence", "invalid type: list"),
    ("invalid type: map", "invalid type: table"),
    ("unknown variant", "unknown value"),
];

/// The message of a parser on one line, without the names of types.
fn in_words(message: &str) -> String {
    let lines = message.lines().map(str::trim).filter(|it| !it.is_empty());
    let mut text = lines.collect::<Vec<_>>().join(", ");
    if let Some((before, name)) = text.split_once("expected struct ") {
        let after = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        text = format!("{before}expected a table{after}");
    }
    WORDS.iter().fold(text, |text, (name, word)| text.replace(name, word))
}

fn unreadable(name: &str, err: &std::io::Error) -> Problem {
    let code = match err.kind() {
        std::io::ErrorKind::NotFound => ProblemCode::NotFound,
        _ => ProblemCode::InvalidFile,
    };
    if err.kind() == std::io::ErrorKind::IsADirectory {
        let message = format!("{name}: it is a folder, and a file is wanted here");
        return Problem::new(code, message).with_context("file", name);
    }
    Problem::new(code, format!("{name}: {}", os_error(err))).with_context("file", name)
}

/// The path of a file argument, for messages and for guessing its format.
pub(crate) fn extension(path: &Path) -> Option<String> {
    path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase())
}

/// Writes `text` to `path`, whole or not at all.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), Problem> {
    write_with_mode(path, text, 0o666)
}

/// Writes `text` to `path` for its owner alone, whole or not at all.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), Problem> {
    write_with_mode(path, text, 0o600)
}

/// Refuses a file that is there already.
pub(crate) fn is_new(path: &Path) -> Result<(), Problem> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("{}: there is such a file already", path.display());
    Err(Problem::new(ProblemCode::AlreadyExists, message)
        .with_hint("name another one, or move it away first")
        .with_context("file", path.display()))
}

/// Writes `text` to `path`, with that mode as far as the process's mask allows it.
fn write_with_mode(path: &Path, text: &str, mode: u32) -> Result<(), Problem> {
    let failed = |err: &std::io::Error| {
        let code = match err.kind() {
            std::io::ErrorKind::StorageFull => ProblemCode::NoSpace,
            _ => ProblemCode::InvalidInput,
        };
        let (path, err) = (path.display(), os_error(err));
        Problem::new(code, format!("{path}: cannot be written: {err}")).with_context("file", path)
    };
    let mut partial = PathBuf::from(path).into_os_string();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    // What somebody has left there may be open to others.
    drop(std::fs::remove_file(&partial));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&partial)
        .and_then(|mut file| {
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|err| {
        // What is left of a failed write is of no use, and whether it can be removed changes nothing.
        drop(std::fs::remove_file(&partial));
        failed(&err)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_from_one() {
        let source = Source::new("x", "a\näöü!\n");
        assert_eq!(source.position_of(0), Position { line: 1, column: 1 });
        let bang = source.text().find('!').unwrap();
        assert_eq!(source.position_of(bang), Position { line: 2, column: 4 });
        assert_eq!(source.position_of(9_999), Position { line: 3, column: 1 });
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_where_it_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("service.toml");
        std::fs::write(&path, b"name = \"web\"\nowner = \"\xff\"\n").unwrap();
        let problem = Source::read(&path, 1_000).unwrap_err();
        assert!(problem.message.ends_with("service.toml:2:10: not text in UTF-8"), "{problem}");
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        std::fs::write(&path, "x".repeat(11)).unwrap();
        assert!(Source::read(&path, 10).unwrap_err().message.contains("larger than 10 bytes"));
        assert!(Source::read(&path, 11).is_ok());
    }

    #[test]
    fn names_of_types_are_put_in_words() {
        for (said, words) in [
            ("invalid value: integer `0`, expected a nonzero u16", "from 1 to 65535"),
            ("invalid type: string \"x\", expected struct StrategyFile", "expected a table"),
            ("unknown variant `x`, expected `a` or `b`", "unknown value `x`, expected `a` or `b`"),
        ] {
            assert!(in_words(said).ends_with(words), "{}", in_words(said));
        }
    }

    #[test]
    fn texts_differ_where_words_differ() {
        let saved = "{\n  \"a\": \"x \\\" y\",\n  \"b\": [1, 2]\n}\n";
        let difference = |text: &str| Source::new("x", text).difference(saved);
        assert_eq!(difference(saved), None);
        assert_eq!(difference("{\"a\":\"x \\\" y\",\"b\":[1,2]}"), None);
        let at = |line, column| Some(Position { line, column });
        assert_eq!(difference("{\"a\":\"x  \\\" y\",\"b\":[1,2]}"), at(1, 9));
        assert_eq!(difference("{\n\"a\":\"x \\\" y\",\n\"c\":0, \"b\":[1,2]}"), at(3, 2));
        assert_eq!(difference("{\"a\":\"x \\\" y\",\"b\":[1,2]"), at(1, 24));
    }

    #[test]
    fn a_file_is_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        write_whole(&path, "one").unwrap();
        write_whole(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
