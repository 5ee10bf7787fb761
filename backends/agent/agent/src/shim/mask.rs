//! Keeps secrets out of logs, however what is printed is cut into pieces.
use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use std::fmt;

/// What stands where a secret stood.
const MASK: &[u8] = b"***";
/// A line of a secret that is shorter is not looked for: it would be found everywhere.
const SHORTEST_LINE: usize = 8;

/// Replaces secrets in what it is given, piece by piece. What may be the beginning of a secret is held back until more comes.
pub(crate) struct Masker {
    searcher: Option<AhoCorasick>,
    secrets: Vec<Vec<u8>>,
    longest: usize,
    held: Vec<u8>,
}

impl Masker {
    /// For these secrets, and for each line of those that have several.
    pub(crate) fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Result<Self, BuildError> {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for secret in secrets {
            let lines = secret.lines().filter(|it| it.len() >= SHORTEST_LINE);
            let parts = lines.chain([secret]).filter(|it| !it.is_empty());
            all.extend(parts.map(|it| it.as_bytes().to_vec()));
        }
        all.sort();
        all.dedup();
        let longest = all.iter().map(Vec::len).max().unwrap_or(0);
        let searcher = (longest > 0)
            .then(|| AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&all));
        Ok(Self { searcher: searcher.transpose()?, secrets: all, longest, held: Vec::new() })
    }

    /// Takes in a piece, and gives what is certain to hold no secret.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Some(searcher) = &self.searcher else {
            out.extend_from_slice(bytes);
            return;
        };
        self.held.extend_from_slice(bytes);
        // From here on a secret may have begun that goes on in what has not come yet.
        let open = self.held.len().saturating_sub(self.longest - 1);
        let done = replace(searcher, &self.held, open, out);
        let rest = self.held.split_off(done);
        let begins = |at: &usize| {
            let rest = rest.get(*at..).unwrap_or_default();
            self.secrets.iter().any(|it| it.starts_with(rest))
        };
        // A whole secret that a longer one may grow from stays, too.
        let whole = searcher.find(&rest).map(|it| it.start());
        let hold = (0..rest.len()).find(begins).into_iter().chain(whole).min();
        let (safe, held) = rest.split_at(hold.unwrap_or(rest.len()));
        out.extend_from_slice(safe);
        self.held = held.to_vec();
    }

    /// Gives what was held back: nothing more comes that could make a secret of it.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        match &self.searcher {
            Some(searcher) => {
                let done = replace(searcher, &held, held.len(), out);
                out.extend_from_slice(held.get(done..).unwrap_or_default());
            }
            None => out.extend(held),
        }
    }
}

impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").finish_non_exhaustive()
    }
}

/// Writes `bytes` up to `open` with the secrets that begin there replaced, and says where what was not written begins.
fn replace(searcher: &AhoCorasick, bytes: &[u8], open: usize, out: &mut Vec<u8>) -> usize {
    let mut done = 0;
    for found in searcher.find_iter(bytes).take_while(|it| it.start() < open) {
        out.extend_from_slice(bytes.get(done..found.start()).unwrap_or_default());
        out.extend_from_slice(MASK);
        done = found.end();
    }
    if done < open {
        out.extend_from_slice(bytes.get(done..open).unwrap_or_default());
        done = open;
    }
    done
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
