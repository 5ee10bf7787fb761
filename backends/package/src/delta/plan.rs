//! Which old file a new one came from.
use crate::{
    chunks::{Chunk, Index},
    manifest::{ContentHash, File},
};
use std::collections::{BTreeMap, HashMap};

/// Of how many files it is remembered that they have a chunk: more would make what many share cost the most, and say the least.
const MOST_HAVING: usize = 16;

/// The files of an old version, found by what files of a new one are called and made of.
pub(crate) struct Sources<'a> {
    files: Vec<File<'a>>,
    paths: HashMap<&'a str, usize>,
    /// Paths, and then names, without what changes from version to version; the files of each by size.
    masked: [HashMap<String, Vec<usize>>; 2],
    /// Some of the files that have a chunk.
    chunks: HashMap<ContentHash, Vec<usize>>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(old: &'a Index) -> Self {
        let files: Vec<_> = old.manifest().files().collect();
        let paths = files.iter().enumerate().map(|(at, it)| (it.path, at)).collect();
        let mut masked = [HashMap::<_, Vec<_>>::new(), HashMap::new()];
        let mut chunks = HashMap::<_, Vec<_>>::new();
        for (at, file) in files.iter().enumerate().filter(|it| it.1.size > 0) {
            for (names, name) in masked.iter_mut().zip(names(file.path)) {
                names.entry(name).or_default().push(at);
            }
            for id in old.ids(at) {
                let having = chunks.entry(id).or_default();
                if having.len() < MOST_HAVING {
                    having.push(at);
                }
            }
        }
        let size = |at: &usize| files.get(*at).map(|it| it.size);
        masked.iter_mut().flat_map(HashMap::values_mut).for_each(|it| it.sort_by_key(size));
        Self { files, paths, masked, chunks }
    }

    /// The number and description of the old file that `file` is most likely made of: the one in its place, else one of its name
    /// but for hashes and versions, else the one it shares the most chunks with.
    pub(crate) fn of(&self, file: File<'_>, chunks: &[Chunk]) -> Option<(usize, File<'a>)> {
        let at = self.paths.get(file.path).copied();
        let at = at.or_else(|| self.named(file)).or_else(|| self.sharing(chunks))?;
        let old = self.files.get(at).filter(|it| it.size > 0)?;
        Some((at, *old))
    }

    fn named(&self, file: File<'_>) -> Option<usize> {
        let candidates = self.masked.iter().zip(names(file.path));
        let mut candidates = candidates.filter_map(|(names, name)| names.get(&name));
        nearest(candidates.next()?, file.size, |at| self.files.get(at).map_or(0, |it| it.size))
    }

    fn sharing(&self, chunks: &[Chunk]) -> Option<usize> {
        let mut shared = BTreeMap::<usize, u64>::new();
        for chunk in chunks {
            for at in self.chunks.get(&chunk.id).into_iter().flatten() {
                *shared.entry(*at).or_default() += u64::from(chunk.size);
            }
        }
        let most = shared.into_iter().max_by_key(|(at, bytes)| (*bytes, std::cmp::Reverse(*at)));
        most.map(|(at, _)| at)
    }
}

/// The one of `candidates`, which are sorted by size, whose size is nearest. All of a large package may be called alike, so not all are looked
/// at.
fn nearest(candidates: &[usize], size: u64, size_of: impl Fn(usize) -> u64) -> Option<usize> {
    let larger = candidates.partition_point(|it| size_of(*it) < size);
    let around = [larger.checked_sub(1), Some(larger)].into_iter().flatten();
    let around = around.filter_map(|it| candidates.get(it).copied());
    around.min_by_key(|it| size_of(*it).abs_diff(size))
}

/// A path and its last name, without versions and hashes.
fn names(path: &str) -> [String; 2] {
    let name = path.rsplit('/').next().unwrap_or(path);
    [masked(path), masked(name)]
}

/// `#` for every number, and for every word that looks like a hash.
fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match rest.find(|it: char| !it.is_ascii_alphanumeric()) {
            Some(0) => first.len_utf8(),
            Some(end) => end,
            None => rest.len(),
        };
        let (word, after) = rest.split_at(end);
        if is_hash(word) {
            masked.push('#');
        } else {
            mask_numbers(word, &mut masked);
        }
        rest = after;
    }
    masked
}

fn is_hash(word: &str) -> bool {
    const SHORTEST: usize = 6;
    let hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    word.len() >= SHORTEST && word.bytes().all(hex) && word.bytes().any(|it| it.is_ascii_digit())
}

fn mask_numbers(word: &str, masked: &mut String) {
    for letter in word.chars() {
        if !letter.is_ascii_digit() {
            masked.push(letter);
        } else if !masked.ends_with('#') {
            masked.push('#');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{masked, nearest};
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn none_is_nearer(mut sizes in vec(0_u64..50, 0..20), wanted in 0_u64..50) {
            sizes.sort_unstable();
            let all: Vec<_> = (0..sizes.len()).collect();
            let found = nearest(&all, wanted, |it| sizes[it]).map(|it| sizes[it].abs_diff(wanted));
            prop_assert_eq!(found, sizes.iter().map(|it| it.abs_diff(wanted)).min());
        }
    }

    #[test]
    fn names_are_known_again() {
        let same = [
            ("remoteEntry.5cbb9d2323598fbda535.js", "remoteEntry.94ae0e2fd00eb5d5cd7a.js"),
            ("uv-0.9.2.dist-info/RECORD", "uv-0.9.13.dist-info/RECORD"),
            ("libfoo.so.1.9", "libfoo.so.1.10"),
        ];
        same.iter().for_each(|(one, other)| assert_eq!(masked(one), masked(other)));
        let different = [("decade.txt", "facade.txt"), ("a1b", "ab"), ("é1", "è1")];
        different.iter().for_each(|(one, other)| assert_ne!(masked(one), masked(other)));
    }
}
