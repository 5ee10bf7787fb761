use crate::{documents, problem::OrProblem as _, text::clean};
use deploy_core::{
    backend::{LogChunk, LogQuery, LogStore},
    id::{HostName, RolloutId},
};
use deploy_wire::{LogLine, Problem};
use std::collections::BTreeMap;

/// Longer lines are cut in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// Follows the output of a rollout's attempts, in whole lines.
#[derive(Debug)]
pub struct LogTail {
    query: LogQuery,
    /// Whether anything came at all.
    empty: bool,
    cutter: LineCutter,
}

impl LogTail {
    /// From the first line of a rollout on.
    #[must_use]
    pub const fn new(rollout: RolloutId) -> Self {
        Self { query: LogQuery::new(rollout), empty: true, cutter: LineCutter::new() }
    }

    /// Only of one host.
    #[must_use]
    pub fn of_host(mut self, host: Option<HostName>) -> Self {
        self.query.host = host;
        self
    }

    /// Whether nothing was printed so far.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.empty
    }

    /// The next chunks; none if there are no more for now.
    ///
    /// # Errors
    /// If the logs cannot be read.
    pub async fn chunks(&mut self, logs: &dyn LogStore) -> Result<Vec<LogChunk>, Problem> {
        let read = logs.read(&self.query).await.or_problem()?;
        self.empty &= read.is_empty();
        self.query.after = read.last().map_or(self.query.after, |(at, _)| *at);
        Ok(read.into_iter().map(|(_, chunk)| chunk).collect())
    }

    /// The next chunks as documents; none if there are no more for now.
    ///
    /// # Errors
    /// If the logs cannot be read.
    pub async fn documents(&mut self, logs: &dyn LogStore) -> Result<Vec<LogLine>, Problem> {
        let chunks = self.chunks(logs).await?;
        Ok(chunks.iter().map(documents::log_line).collect())
    }

    /// Gives all lines that are whole, each behind the name of its host.
    ///
    /// # Errors
    /// If the logs cannot be read.
    pub async fn lines(
        &mut self,
        logs: &dyn LogStore,
        mut each: impl FnMut(&HostName, &str),
    ) -> Result<(), Problem> {
        loop {
            let chunks = self.chunks(logs).await?;
            if chunks.is_empty() {
                return Ok(());
            }
            for chunk in chunks {
                let (host, generation) = (chunk.host.as_str(), chunk.generation.get());
                self.cutter.take(host, generation, &chunk.bytes, |line| each(&chunk.host, line));
            }
        }
    }

    /// Gives what is left of lines that were never ended.
    pub fn rest(&mut self, mut each: impl FnMut(&HostName, &str)) {
        self.cutter.rest(|host, line| {
            if let Ok(host) = host.parse() {
                each(&host, line);
            }
        });
    }
}

/// Puts the output of attempts together in whole lines.
#[derive(Debug, Default)]
pub struct LineCutter {
    /// What came of lines that are not whole yet, by host and attempt.
    begun: BTreeMap<(String, u64), Vec<u8>>,
}

impl LineCutter {
    /// Without anything.
    #[must_use]
    pub const fn new() -> Self {
        Self { begun: BTreeMap::new() }
    }

    /// Takes the next bytes of an attempt; gives the lines that are whole with them.
    pub fn take(&mut self, host: &str, generation: u64, bytes: &[u8], each: impl FnMut(&str)) {
        let begun = self.begun.entry((host.to_owned(), generation)).or_default();
        begun.extend_from_slice(bytes);
        take_lines(begun, each);
    }

    /// Gives what is left of lines that were never ended, each behind the name of its host.
    pub fn rest(&mut self, mut each: impl FnMut(&str, &str)) {
        for ((host, _), begun) in std::mem::take(&mut self.begun) {
            if !begun.is_empty() {
                each(&host, &clean(&String::from_utf8_lossy(&begun)));
            }
        }
    }
}

fn take_lines(begun: &mut Vec<u8>, mut each: impl FnMut(&str)) {
    loop {
        let end = match begun.iter().position(|it| *it == b'\n') {
            Some(end) => end + 1,
            None if begun.len() >= LONGEST_LINE => begun.len(),
            None => return,
        };
        let line: Vec<u8> = begun.drain(..end).collect();
        let text = String::from_utf8_lossy(&line);
        each(&clean(text.trim_end_matches(['\n', '\r'])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_pieces() {
        let mut begun = b"one\ntw".to_vec();
        let mut lines = Vec::new();
        take_lines(&mut begun, |line| lines.push(line.to_owned()));
        begun.extend_from_slice(b"o\r\nthree \xff\n\x1b[2Jfour");
        take_lines(&mut begun, |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two", "three \u{fffd}"]);
        assert_eq!(begun, b"\x1b[2Jfour");
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let mut begun = vec![b'x'; LONGEST_LINE + 10];
        let mut lines = Vec::new();
        take_lines(&mut begun, |line| lines.push(line.len()));
        assert_eq!(lines, [LONGEST_LINE + 10]);
    }
}
