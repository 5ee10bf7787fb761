use crate::Builds;
use deploy_core::id::BuildId;
use deploy_wire::{BuildLogLine, Problem};

/// How much of a log is read at a time, in bytes; longer lines are cut in pieces.
const PIECE: usize = 64 << 10;

/// What a build prints, line by line.
#[derive(Debug)]
pub struct BuildFeed {
    builds: Builds,
    id: BuildId,
    /// How much of the log was read.
    read: u64,
    /// What was read of a line whose end was not.
    held: Vec<u8>,
    over: bool,
}

impl BuildFeed {
    /// What `id` prints from the position `after` on: 0, or that of a line.
    ///
    /// # Errors
    /// If there is no such build.
    pub async fn open(builds: Builds, id: BuildId, after: u64) -> Result<Self, Problem> {
        builds.show(&id).await?;
        Ok(Self { builds, id, read: after, held: Vec::new(), over: false })
    }

    /// The next lines, each with the position behind it; none if there are no more for now.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn next(&mut self) -> Result<Vec<(u64, BuildLogLine)>, Problem> {
        let mut lines = Vec::new();
        while lines.is_empty() && !self.over {
            let log = self.builds.log(&self.id, self.read, PIECE).await?;
            let is_new = !log.bytes.is_empty();
            self.read = self.read.saturating_add(length(&log.bytes));
            self.held.extend(log.bytes);
            self.over = log.is_last;
            while let Some(end) = line_end(&self.held, self.over) {
                let rest = self.held.split_off(end);
                let line = std::mem::replace(&mut self.held, rest);
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(['\n', '\r']).to_owned();
                let position = self.read.saturating_sub(length(&self.held));
                lines.push((position, BuildLogLine { build: self.id.to_string(), text }));
            }
            if !is_new {
                break;
            }
        }
        Ok(lines)
    }

    /// Whether nothing comes any more.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }
}

/// Where the first line ends; the last one need not have an end of its own.
fn line_end(held: &[u8], is_last: bool) -> Option<usize> {
    let end = held.iter().position(|it| *it == b'\n').map(|it| it + 1);
    let longest = (held.len() > PIECE).then_some(PIECE);
    let last = (is_last && !held.is_empty()).then_some(held.len());
    end.filter(|it| *it <= PIECE + 1).or(longest).or(last)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_all_there_is(bytes in prop::collection::vec(prop::sample::select(b"ab\n".to_vec()), 0..200)) {
            let (mut held, mut lines) = (bytes.clone(), Vec::new());
            while let Some(end) = line_end(&held, true) {
                let rest = held.split_off(end);
                lines.push(std::mem::replace(&mut held, rest));
            }
            prop_assert!(held.is_empty());
            prop_assert!(lines.iter().rev().skip(1).all(|it| it.ends_with(b"\n")));
            prop_assert_eq!(lines.concat(), bytes);
        }
    }

    #[test]
    fn a_line_without_an_end_waits_for_it_or_is_cut() {
        assert_eq!(line_end(b"abc", false), None);
        assert_eq!(line_end(b"abc", true), Some(3));
        assert_eq!(line_end(b"a\nc", false), Some(2));
        assert_eq!(line_end(&vec![b'x'; PIECE + 2], false), Some(PIECE));
        assert_eq!(line_end(b"", true), None);
    }
}
