//! What was kept of what a script printed.
use super::{Animal, Prints};
use crate::releases::Failure;
use async_trait::async_trait;
use deploy_core::{backend::AttemptLog, error::BackendResult, spec::StepName};
use std::sync::{Mutex, PoisonError};

/// Whether a log is what an animal prints, byte by byte, as far as it may be kept.
pub(super) fn check_log(animal: &Animal, log: &[u8]) -> Result<(), Failure> {
    let right = match animal.prints {
        Prints::Again(text) => {
            let (head, _, end) = gap(log).unwrap_or((log, 0, b""));
            let repeats = |log: &[u8]| log.chunks(text.len()).all(|it| text.starts_with(it));
            repeats(head) && repeats(from_next_line(end))
        }
        Prints::Anything => true,
        Prints::Numbers(last) => are_numbers(log, last),
        Prints::Bytes(_) | Prints::Itself | Prints::Text(_) => log == animal.printed(),
    };
    if right {
        return Ok(());
    }
    let length = log.len();
    Err(format!("its log of {length} bytes is wrong: …{:?}", String::from_utf8_lossy(tail(log)))
        .into())
}

/// The last of a log.
pub(super) fn tail(log: &[u8]) -> &[u8] {
    log.get(log.len().saturating_sub(300)..).unwrap_or_default()
}

/// What is before the gap of a log, how many bytes are left out there, and what is after it.
fn gap(log: &[u8]) -> Option<(&[u8], u64, &[u8])> {
    const SAYS: &[u8] = b" bytes are left out here";
    let at = log.windows(SAYS.len()).position(|it| it == SAYS)?;
    let begin = log.get(..at)?.iter().rposition(|it| *it == b'\n')?;
    let end = at + log.get(at..)?.iter().position(|it| *it == b'\n')?;
    let line = String::from_utf8_lossy(log.get(begin + 1..at)?).into_owned();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    Some((log.get(..begin)?, digits.parse().ok()?, log.get(end + 1..)?))
}

/// Whether a log is what `seq 1 LAST` prints, as far as it goes: whole, cut off at the end, or with a gap of which it says how long it is.
fn are_numbers(log: &[u8], last: u64) -> bool {
    let Some((head, left_out, end)) = gap(log) else {
        return begins_as_numbers(log);
    };
    let lines = from_next_line(end);
    let count = lines.iter().filter(|it| **it == b'\n').count() as u64;
    let expected = numbers(last + 1 - count..=last);
    let whole = length_of_numbers(last);
    begins_as_numbers(head)
        && lines == expected
        && (head.len() + end.len()) as u64 + left_out == whole
}

/// What follows the first end of a line.
fn from_next_line(log: &[u8]) -> &[u8] {
    let first = log.iter().position(|it| *it == b'\n');
    first.and_then(|it| log.get(it + 1..)).unwrap_or_default()
}

fn begins_as_numbers(log: &[u8]) -> bool {
    let lines = log.iter().filter(|it| **it == b'\n').count() as u64;
    numbers(1..=lines + 1).starts_with(log)
}

fn numbers(range: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut text = Vec::new();
    for number in range {
        text.extend_from_slice(number.to_string().as_bytes());
        text.push(b'\n');
    }
    text
}

/// How many bytes `seq 1 LAST` prints.
fn length_of_numbers(last: u64) -> u64 {
    let (mut length, mut digits, mut from) = (0, 1, 1);
    while from <= last {
        let to = last.min(from * 10 - 1);
        length += (to + 1 - from) * (digits + 1);
        (digits, from) = (digits + 1, from * 10);
    }
    length
}

/// Keeps a log, and notices when it is not in order.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<(Vec<u8>, Option<u64>)>);

impl Kept {
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.1 {
            None => Ok(kept.0.clone()),
            Some(at) => Err(format!("the log is not in order at {at}")),
        }
    }
}

#[async_trait]
impl AttemptLog for Kept {
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if offset != kept.0.len() as u64 {
            kept.1.get_or_insert(offset);
        }
        kept.0.extend_from_slice(bytes);
        Ok(())
    }

    fn step(&self, _step: StepName) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_others() {
        let all = numbers(1..=2_000);
        assert_eq!(length_of_numbers(2_000), all.len() as u64);
        let cut = |left_out: usize, from: usize| {
            let mut log = all[..100].to_vec();
            log.extend_from_slice(format!("\n[{left_out} bytes are left out here]\n").as_bytes());
            log.extend_from_slice(&all[from..]);
            log
        };
        assert!(are_numbers(&all, 2_000) && are_numbers(&all[..77], 2_000));
        assert!(are_numbers(&cut(900, 1_000), 2_000));
        assert!(!are_numbers(&cut(901, 1_000), 2_000) && !are_numbers(&cut(900, 999), 2_000));
        assert!(!are_numbers(b"1\n2\n4\n", 2_000));
    }
}
