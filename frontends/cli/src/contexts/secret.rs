//! Tokens, from where they are kept.
use crate::problem::io_problem;
use deploy_core::token::ApiToken;
use deploy_wire::{Problem, ProblemCode};
use std::{fs::File, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

/// The most that is read of a file that should hold a token, in bytes.
const LONGEST: u64 = 4_096;

/// Reads a token out of a file that nobody else may read.
pub(crate) fn read_token(path: &Path) -> Result<String, Problem> {
    let unreadable = |err: &std::io::Error| io_problem(path.display(), err);
    let file = File::open(path).map_err(|err| unreadable(&err))?;
    let meta = file.metadata().map_err(|err| unreadable(&err))?;
    if meta.is_file() {
        keeps_secrets(path, meta.permissions().mode())?;
    }
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).map_err(|err| unreadable(&err))?;
    check(&text, &path.display().to_string())
}

/// Refuses a file that others than its owner can read, or change.
pub(super) fn keeps_secrets(path: &Path, mode: u32) -> Result<(), Problem> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let message = format!(
        "{}: it holds a token, and others than its owner can get at it (mode {:o})",
        path.display(),
        mode & 0o7777
    );
    Err(Problem::new(ProblemCode::InvalidFile, message)
        .with_hint(format!("`chmod 600 {}` keeps it to its owner", path.display()))
        .with_context("file", path.display()))
}

/// The token that `text` is. What it is instead is in no message: it may be one with a slip in it.
pub(crate) fn check(text: &str, place: &str) -> Result<String, Problem> {
    let text = text.trim();
    match text.parse::<ApiToken>() {
        Ok(_) => Ok(text.to_owned()),
        Err(err) => Err(Problem::new(ProblemCode::InvalidInput, format!("{place}: {err}"))),
    }
}
