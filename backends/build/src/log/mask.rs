//! Keeps secrets out of logs, however what is printed is cut into pieces.
use crate::secrets::Secret;

/// What stands where a secret stood.
const MASK: &[u8] = b"***";
/// A line of a secret that is shorter is not looked for: it would be found everywhere.
const SHORTEST_LINE: usize = 8;

/// Replaces secrets in what it is given, piece by piece. What may be the beginning of a secret is held back until more comes.
#[derive(Debug)]
pub(super) struct Masker {
    /// What is looked for, the longest first.
    secrets: Vec<Secret>,
    held: Vec<u8>,
}

impl Masker {
    /// For these secrets, and for each line of those that have several.
    pub(super) fn new(secrets: &[Secret]) -> Self {
        let lines = |it: &Secret| {
            let lines = it.reveal().split(|b| *b == b'\n').filter(|it| it.len() >= SHORTEST_LINE);
            lines.filter_map(|it| Secret::new(it.to_vec())).collect::<Vec<_>>()
        };
        let mut all: Vec<_> =
            secrets.iter().cloned().chain(secrets.iter().flat_map(lines)).collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.reveal().len()));
        Self { secrets: all, held: Vec::new() }
    }

    /// Takes in a piece, and gives what is certain to hold no secret.
    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        self.give(false, out);
    }

    /// Gives what was held back: nothing more comes that could make a secret of it.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.give(true, out);
    }

    fn give(&mut self, is_last: bool, out: &mut Vec<u8>) {
        let mut rest = std::mem::take(&mut self.held);
        let mut at = 0;
        while let Some(here) = rest.get(at..).filter(|it| !it.is_empty()) {
            let begins =
                |it: &&Secret| here.len() < it.reveal().len() && it.reveal().starts_with(here);
            if !is_last && self.secrets.iter().any(|it| begins(&it)) {
                break;
            }
            match self.secrets.iter().find(|it| here.starts_with(it.reveal())) {
                Some(found) => {
                    out.extend_from_slice(MASK);
                    at += found.reveal().len();
                }
                None => {
                    out.extend(here.first());
                    at += 1;
                }
            }
        }
        self.held = rest.split_off(at.min(rest.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(secrets: &[&str], pieces: &[&[u8]]) -> Vec<u8> {
        let secrets: Vec<_> =
            secrets.iter().filter_map(|it| Secret::new(it.as_bytes().to_vec())).collect();
        let (mut masker, mut out) = (Masker::new(&secrets), Vec::new());
        pieces.iter().for_each(|it| masker.push(it, &mut out));
        masker.flush(&mut out);
        out
    }

    #[test]
    fn the_longest_secret_is_masked_and_lines_of_one_as_well() {
        assert_eq!(masked(&["ab", "abcd"], &[b"xabc", b"dabx"]), b"x******x");
        let key = "first line\nsecond line";
        assert_eq!(masked(&[key], &[b"it has a second line"]), b"it has a ***");
        assert_eq!(masked(&[], &[b"plain"]), b"plain");
        assert_eq!(masked(&["swordfish"], &[b"swordfis"]), b"swordfis");
    }

    proptest! {
        #[test]
        fn how_it_is_cut_does_not_matter(text in "[abc]{0,60}", cut in 1_usize..7) {
            let pieces: Vec<_> = text.as_bytes().chunks(cut).collect();
            let out = masked(&["abca", "bb"], &pieces);
            prop_assert_eq!(&out, &masked(&["abca", "bb"], &[text.as_bytes()]));
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.contains("abca") && !out.contains("bb"), "{}", out);
        }
    }
}
