//! What is wrong with a descriptor, and where.
use super::FILE_NAME;
use std::{error::Error as StdError, fmt, ops::Range};

/// One thing that is wrong with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file, relative to the descriptor's folder.
    pub file: String,
    /// The line and the column in it, both from 1; `None` if it is the file as a whole.
    pub place: Option<(usize, usize)>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// All that is wrong with a descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescriptorError {
    problems: Vec<Problem>,
}

impl DescriptorError {
    /// About the file as a whole.
    pub(crate) fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { problems: vec![Problem { file: file.into(), place: None, message: message.into() }] }
    }

    /// The problems, in the order in which they stand in the file; never empty.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl StdError for DescriptorError {}

/// Collects problems while a file is looked through.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    text: &'a str,
    found: Vec<(usize, Problem)>,
}

impl<'a> Problems<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, found: Vec::new() }
    }

    pub(super) fn add(&mut self, span: &Range<usize>, message: impl Into<String>) {
        let place = Some(place(self.text, span.start));
        let problem = Problem { file: FILE_NAME.to_owned(), place, message: message.into() };
        self.found.push((span.start, problem));
    }

    /// `value` if nothing was wrong.
    pub(super) fn finish<T>(mut self, value: T) -> Result<T, DescriptorError> {
        if self.found.is_empty() {
            return Ok(value);
        }
        self.found.sort_by_key(|(at, _)| *at);
        Err(DescriptorError { problems: self.found.into_iter().map(|(_, it)| it).collect() })
    }
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}
