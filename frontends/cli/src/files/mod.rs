//! The files that people write: each is read strictly, and every complaint names file, line and column.
pub(crate) mod ansible;
mod duration;
pub(crate) mod hosts;
mod service;
mod strategy;

use duration::Human;
pub(crate) use service::parse_service;

use deploy_wire::{Problem, ProblemCode};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    io::Read as _,
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

    pub(crate) fn name(&self) -> &str {
        &self.name
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
            self.problem(at, one_line(err.message()))
        })
    }

    /// Reads it as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_str(&self.text).map_err(|err| {
            let at = Position { line: err.line().max(1), column: err.column().max(1) };
            let text = err.to_string();
            let message = text.split(" at line ").next().unwrap_or(&text);
            self.problem(Some(at), one_line(message))
        })
    }
}

/// Puts a message of several lines on one.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|it| !it.is_empty()).collect::<Vec<_>>().join(", ")
}

fn unreadable(name: &str, err: &std::io::Error) -> Problem {
    let code = match err.kind() {
        std::io::ErrorKind::NotFound => ProblemCode::NotFound,
        _ => ProblemCode::InvalidFile,
    };
    Problem::new(code, format!("{name}: {err}")).with_context("file", name)
}

/// The path of a file argument, for messages and for guessing its format.
pub(crate) fn extension(path: &Path) -> Option<String> {
    path.extension().map(|it| it.to_string_lossy().to_ascii_lowercase())
}

/// Writes `text` to `path`, whole or not at all.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), Problem> {
    let failed = |err: &std::io::Error| {
        let code = match err.kind() {
            std::io::ErrorKind::StorageFull => ProblemCode::NoSpace,
            _ => ProblemCode::InvalidInput,
        };
        Problem::new(code, format!("{}: cannot be written: {err}", path.display()))
            .with_context("file", path.display())
    };
    let mut partial = PathBuf::from(path).into_os_string();
    partial.push(".part");
    let partial = PathBuf::from(partial);
    let written = std::fs::File::create(&partial)
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
    fn a_file_is_written_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plan.json");
        write_whole(&path, "one").unwrap();
        write_whole(&path, "two").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
