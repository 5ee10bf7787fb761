//! One tar header, read so strictly that no two programs can read it differently.
use super::{Refusal, Rule, tree::Kind};
use std::ops::Range;
use tar::{EntryType, Header};

/// What a header announces.
pub(super) enum Announced {
    Entry(Kind),
    /// The next entry's path (GNU `L`).
    LongName,
    /// The next entry's link target (GNU `K`).
    LongTarget,
    /// Records about the next entry (PAX `x`).
    Pax,
    /// Records about all that follows (PAX `g`).
    PaxGlobal,
}

/// Where the fields are that are looked at byte by byte.
const SIZE: Range<usize> = 124..136;
const MODE: Range<usize> = 100..108;
const OWNER: Range<usize> = 108..116;
const GROUP: Range<usize> = 116..124;
const TIME: Range<usize> = 136..148;
const MAJOR: Range<usize> = 329..337;
const MINOR: Range<usize> = 337..345;
const MAGIC: Range<usize> = 257..265;
const TYPE: usize = 156;
/// `prefix` of a POSIX header; other formats keep times and sparse maps there, which some programs take for a prefix.
const PREFIX: Range<usize> = 345..512;
const POSIX: &[u8] = b"ustar\x0000";
const GNU: &[u8] = b"ustar  \0";

pub(super) fn announced(header: &Header) -> Result<Announced, Refusal> {
    checksum(header)?;
    fields(header)?;
    if header.as_bytes().get(TYPE) == Some(&0) {
        return Err(Refusal::new(Rule::Header, "an entry without a type"));
    }
    Ok(match header.entry_type() {
        EntryType::Regular => Announced::Entry(Kind::File),
        EntryType::Directory => Announced::Entry(Kind::Folder),
        EntryType::Link => Announced::Entry(Kind::HardLink),
        EntryType::Symlink => Announced::Entry(Kind::SymbolicLink),
        EntryType::GNULongName => Announced::LongName,
        EntryType::GNULongLink => Announced::LongTarget,
        EntryType::XHeader => Announced::Pax,
        EntryType::XGlobalHeader => Announced::PaxGlobal,
        EntryType::Block | EntryType::Char => return Err(Refusal::new(Rule::Type, "a device")),
        EntryType::Fifo => return Err(Refusal::new(Rule::Type, "a named pipe")),
        EntryType::GNUSparse => return Err(Refusal::new(Rule::Type, "a sparse file")),
        other => {
            let detail = format!("an entry of type 0x{:02x}", other.as_byte());
            return Err(Refusal::new(Rule::Type, detail));
        }
    })
}

/// What every program needs to read, and what none may take for something else.
fn fields(header: &Header) -> Result<(), Refusal> {
    let bytes = header.as_bytes();
    match bytes.get(MAGIC) {
        Some(POSIX) => {}
        Some(GNU) if bytes.get(PREFIX).is_some_and(|it| it.iter().all(|b| *b == 0)) => {}
        Some(GNU) => {
            let detail = "a header with extra fields that some programs take for a path";
            return Err(Refusal::new(Rule::Header, detail));
        }
        _ => return Err(Refusal::new(Rule::Header, "a header of an old format")),
    }
    let field = |range| bytes.get(range).unwrap_or_default();
    let owned = [OWNER, GROUP, TIME].into_iter().all(|it| number(field(it)).is_some());
    // Only device entries need these; others may leave them empty.
    let unused = |it: &[u8]| it.iter().all(|b| *b == 0) || octal(it).is_some();
    let device = [MAJOR, MINOR].into_iter().all(|it| unused(field(it)));
    if owned && device {
        return Ok(());
    }
    Err(Refusal::new(Rule::Header, "an owner, a time or a device that is not a plain number"))
}

fn checksum(header: &Header) -> Result<(), Refusal> {
    let fixed = header.as_bytes().iter().enumerate();
    let sum: u32 =
        fixed.map(|(at, b)| if (148..156).contains(&at) { 32 } else { u32::from(*b) }).sum();
    match header.cksum() {
        Ok(said) if said == sum => Ok(()),
        Ok(_) | Err(_) => Err(Refusal::new(Rule::NotTar, "a header with a wrong checksum")),
    }
}

pub(super) fn size(header: &Header) -> Result<u64, Refusal> {
    let size = number(header.as_bytes().get(SIZE).unwrap_or_default());
    size.ok_or_else(|| Refusal::new(Rule::Header, "a size that is not a plain number"))
}

/// A number, in octal digits or (GNU, for large ones) in bytes.
fn number(field: &[u8]) -> Option<u64> {
    if field.first() == Some(&0x80) { base_256(field) } else { octal(field) }
}

/// The permission bits of a file or folder.
pub(super) fn mode(header: &Header, kind: Kind) -> Result<u32, Refusal> {
    let field = header.as_bytes().get(MODE).unwrap_or_default();
    let mode = octal(field).and_then(|it| u32::try_from(it).ok());
    let mode =
        mode.ok_or_else(|| Refusal::new(Rule::Header, "permissions that are not a plain number"))?;
    let needed = match kind {
        Kind::File | Kind::HardLink => 0o400,
        Kind::Folder => 0o700,
        Kind::SymbolicLink => 0,
    };
    if mode & 0o7000 != 0 {
        return Err(Refusal::new(Rule::Mode, "a setuid, setgid or sticky bit"));
    }
    if mode & needed != needed {
        return Err(Refusal::new(Rule::Mode, "permissions that keep its own account out"));
    }
    Ok(mode & 0o777)
}

/// Spaces, octal digits, then only spaces and NULs.
fn octal(field: &[u8]) -> Option<u64> {
    let spaces = field.iter().take_while(|b| **b == b' ').count();
    let (_, field) = field.split_at_checked(spaces)?;
    let digits = field.iter().take_while(|b| (b'0'..=b'7').contains(b)).count();
    let (number, rest) = field.split_at_checked(digits)?;
    if number.is_empty() || rest.iter().any(|b| !matches!(b, 0 | b' ')) {
        return None;
    }
    number.iter().try_fold(0_u64, |sum, b| sum.checked_mul(8)?.checked_add(u64::from(b - b'0')))
}

fn base_256(field: &[u8]) -> Option<u64> {
    let (_, number) = field.split_first()?;
    number.iter().try_fold(0_u64, |sum, b| sum.checked_mul(256)?.checked_add(u64::from(*b)))
}

/// What PAX records about one entry say that matters.
#[derive(Debug, Default)]
pub(super) struct PaxRecords {
    pub(super) path: Option<Vec<u8>>,
    pub(super) target: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
}

/// Reads PAX records. Those that change what an entry is are refused, as are those nobody knows.
pub(super) fn pax(mut data: &[u8], global: bool) -> Result<PaxRecords, Refusal> {
    let mut records = PaxRecords::default();
    while !data.is_empty() {
        let (key, value, rest) = pax_record(data).ok_or_else(|| {
            Refusal::new(Rule::Header, "a PAX record that does not hold together")
        })?;
        data = rest;
        match key {
            b"comment" => {}
            b"atime" | b"ctime" | b"gid" | b"gname" | b"mtime" | b"uid" | b"uname" if !global => {}
            b"path" if !global => set(&mut records.path, value.to_vec())?,
            b"linkpath" if !global => set(&mut records.target, value.to_vec())?,
            b"size" if !global => {
                let number = std::str::from_utf8(value).ok().and_then(|it| it.parse().ok());
                let number = number
                    .ok_or_else(|| Refusal::new(Rule::Header, "a PAX size that is no number"))?;
                set(&mut records.size, number)?;
            }
            _ => {
                let detail = format!("a PAX record `{}`", key.escape_ascii());
                return Err(Refusal::new(Rule::Header, detail));
            }
        }
    }
    Ok(records)
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::new(Rule::Header, "a PAX record that is there twice")),
    }
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts all of it.
fn pax_record(data: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = data.iter().take(12).position(|b| *b == b' ')?;
    let length: usize = std::str::from_utf8(data.get(..space)?).ok()?.parse().ok()?;
    let (record, rest) = data.split_at_checked(length)?;
    let body = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    Some((body.get(..equals)?, body.get(equals + 1..)?, rest))
}
