//! Archives and manifests of a million entries: made while they are read, and never on a disk.
use crate::{attacks::Maker, lab::LIMITS};
use deploy_package::{
    Manifest,
    archive::{ArchiveError, Limits, Rule, validate},
};
use flate2::{Compression, read::GzEncoder};
use std::{
    fs,
    io::{self, Read},
    ops::Range,
    sync::LazyLock,
};

/// How many entries.
const CROWD: u64 = 1_000_000;
/// How much of the tar is made at a time, in entries.
const BATCH: u64 = 1_000;
/// What this process may come to take, in bytes.
const MEMORY: u64 = 256 << 20;

/// A tar that is made by the entry.
struct Crowd<F> {
    left: Range<u64>,
    entry: F,
    /// What was made and not read yet.
    batch: io::Cursor<Vec<u8>>,
    ended: bool,
    read: u64,
    /// Where a byte is another than it should be, and in which bits.
    flip: Option<(u64, u8)>,
}

impl<F: FnMut(&mut Maker, u64)> Crowd<F> {
    fn new(entry: F) -> Self {
        let batch = io::Cursor::default();
        Self { left: 0..CROWD, entry, batch, ended: false, read: 0, flip: None }
    }

    fn next_batch(&mut self) -> Vec<u8> {
        let mut maker = Maker::new();
        let batch = self.left.by_ref().take(usize::try_from(BATCH).unwrap());
        batch.for_each(|number| (self.entry)(&mut maker, number));
        let mut tar = maker.tar();
        if self.left.is_empty() {
            self.ended = true;
        } else {
            tar.truncate(tar.len() - 1_024);
        }
        tar
    }
}

impl<F: FnMut(&mut Maker, u64)> Read for Crowd<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.batch.position() == self.batch.get_ref().len() as u64 && !self.ended {
            self.batch = io::Cursor::new(self.next_batch());
        }
        let (begin, read) = (self.read, self.batch.read(buffer)?);
        self.read += read as u64;
        if let Some((at, bits)) = self.flip.filter(|it| (begin..self.read).contains(&it.0)) {
            buffer[usize::try_from(at - begin).unwrap()] ^= bits;
        }
        Ok(read)
    }
}

/// A file with a name of its own. Only the first header is made from nothing: a million of these would take longer than what is tested.
fn file(maker: &mut Maker, number: u64) {
    static FIRST: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut maker = Maker::new();
        maker.file("folder-000/file-0000000", b"");
        maker.tar()[..512].to_vec()
    });
    let mut header = FIRST.clone();
    header[7..10].copy_from_slice(format!("{:03}", number / 1_000).as_bytes());
    header[16..23].copy_from_slice(format!("{number:07}").as_bytes());
    let digits = header[7..10].iter().chain(&header[16..23]).map(|it| u32::from(it - b'0'));
    let first = u32::from_str_radix(str::from_utf8(&FIRST[148..154]).unwrap(), 8).unwrap();
    let sum = format!("{:06o}", first + digits.sum::<u32>());
    header[148..154].copy_from_slice(sum.as_bytes());
    maker.raw(&header);
}

/// What it is refused for, in one message.
#[track_caller]
fn refused(err: &ArchiveError) -> Rule {
    let (refusal, said) = (err.refusal().unwrap(), err.to_string());
    assert!(said.len() < 500 && !said.chars().any(char::is_control), "{said}");
    refusal.rule()
}

/// The most that this process has taken.
#[track_caller]
fn memory_was_bounded() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|it| it.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak << 10 < MEMORY, "{peak} KiB");
}

#[test]
fn a_million_files_are_refused_at_the_first_that_is_too_many() {
    let mut crowd = Crowd::new(file);
    let err = validate(&mut crowd, LIMITS).unwrap_err();
    assert_eq!(refused(&err), Rule::TooManyEntries);
    assert!(err.to_string().contains("more than 200000 entries"), "{err}");
    assert!(crowd.read < (LIMITS.entries + 2 * BATCH) * 512, "{} bytes were read", crowd.read);
    memory_was_bounded();
}

#[test]
fn a_million_files_have_no_manifest() {
    let mut crowd = Crowd::new(file);
    let err = Manifest::read(&mut crowd, LIMITS).unwrap_err().to_string();
    assert!(err.contains("more than 200000 entries"), "{err}");
    memory_was_bounded();
}

#[test]
fn wrapping_it_up_changes_nothing() {
    let mut crowd = Crowd::new(file);
    let wrapped = GzEncoder::new(&mut crowd, Compression::fast());
    let err = validate(wrapped, Limits::PACKAGE).unwrap_err();
    assert_eq!(refused(&err), Rule::TooManyEntries);
    assert!(crowd.read < CROWD * 512 / 2, "{} bytes were read", crowd.read);
    memory_was_bounded();
}

#[test]
fn what_is_no_tree_is_refused_at_once() {
    type Entry = fn(&mut Maker, u64);
    let crowds: [(Entry, Rule); 4] = [
        (|maker, _| maker.file("one", b""), Rule::Duplicate),
        (|maker, _| maker.long(b'L', b"name"), Rule::Header),
        (|maker, _| maker.pax(b'x', &[("mtime", b"1")]), Rule::Header),
        (|maker, number| maker.folder(&"d/".repeat(number as usize % 64 + 1)), Rule::PathTooLong),
    ];
    for (entry, rule) in crowds {
        let mut crowd = Crowd::new(entry);
        assert_eq!(refused(&validate(&mut crowd, LIMITS).unwrap_err()), rule);
        assert!(crowd.read <= 16 * BATCH * 512, "{} bytes were read", crowd.read);
    }
    memory_was_bounded();
}

/// Headers that belong to no entry count by their bytes.
#[test]
fn headers_of_nothing_are_too_much_at_some_time() {
    let limits = LIMITS.with_entries(1_000);
    let mut crowd = Crowd::new(|maker, _| maker.pax(b'g', &[("comment", b"nothing")]));
    assert_eq!(refused(&validate(&mut crowd, limits).unwrap_err()), Rule::TooLarge);
    memory_was_bounded();
}

#[test]
fn mutants_are_refused_in_one_message() {
    let limits = LIMITS.with_entries(2_000);
    let mut damaged = 0;
    for mutant in 0..40_u64 {
        let mut crowd = Crowd::new(file);
        // Anywhere in the first 2,500 entries, in any bit.
        let mixed = (mutant + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        crowd.flip = Some(((mixed >> 20) % (2_500 * 512), 1 << (mixed >> 61)));
        let rule = refused(&validate(&mut crowd, limits).unwrap_err());
        let comes_too_late = crowd.flip.is_some_and(|it| it.0 > limits.entries * 512);
        assert!(rule == Rule::TooManyEntries || !comes_too_late, "mutant {mutant}: {rule:?}");
        damaged += u32::from(rule != Rule::TooManyEntries);
    }
    assert!(damaged > 20, "{damaged} of 40 were refused for their damage");
    memory_was_bounded();
}
