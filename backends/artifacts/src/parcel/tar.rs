//! The few bytes of a tar that are no content: there is one way to write them.
use super::ParcelError;
use deploy_core::{backend::ArtifactMeta, digest::Digest};

/// Headers and contents begin at multiples of this.
pub(super) const BLOCK: usize = 512;

/// What eleven octal digits can say, in bytes.
pub(super) const LARGEST_FILE: u64 = (8 << 30) - 1;

/// What a tar ends with.
pub(super) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;

/// Where the bytes of an artifact lie.
pub(super) fn place(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Where the index lies: damage to it is noticed like damage to an artifact.
pub(super) fn index_place(digest: &Digest) -> String {
    format!("index/sha256/{}", digest.hex())
}

/// The header of the file `name` (at most 100 bytes long) of `size` bytes, in the `ustar` format: for everybody to read, of nobody, from
/// the beginning of time.
pub(super) fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let size = format!("{size:011o}");
    let fields: [(usize, &[u8]); 9] = [
        (0, name.as_bytes()),
        (100, b"0000644"),
        (108, b"0000000"),
        (116, b"0000000"),
        (SIZE.start, size.as_bytes()),
        (136, b"00000000000"),
        // As the sum is counted.
        (CHECKSUM.start, b"        "),
        (156, b"0"),
        (257, b"ustar\x0000"),
    ];
    for (at, field) in fields {
        write(&mut header, at, field);
    }
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    write(&mut header, CHECKSUM.start, format!("{sum:06o}\0 ").as_bytes());
    header
}

fn write(header: &mut [u8; BLOCK], at: usize, field: &[u8]) {
    header.iter_mut().skip(at).zip(field).for_each(|(to, from)| *to = *from);
}

/// What `found` says of the index, if it is the header of one.
pub(super) fn index_of(found: &[u8; BLOCK]) -> Result<ArtifactMeta, ParcelError> {
    let not = || ParcelError::foreign("it does not begin with an index");
    let name = text(found.split(|it| *it == 0).next()).ok_or_else(not)?;
    let hex = name.strip_prefix("index/sha256/").ok_or_else(not)?;
    let digest: Digest = format!("sha256:{hex}").parse().map_err(|_| not())?;
    let digits = text(found.get(SIZE).and_then(|it| it.strip_suffix(b"\0"))).ok_or_else(not)?;
    let size = u64::from_str_radix(digits, 8).map_err(|_| not())?;
    if header(&index_place(&digest), size) != *found {
        return Err(not());
    }
    Ok(ArtifactMeta::new(digest, size))
}

fn text(field: Option<&[u8]>) -> Option<&str> {
    field.and_then(|it| std::str::from_utf8(it).ok())
}

/// How many bytes follow `size` of them up to the next block.
pub(super) fn padding(size: u64) -> usize {
    let block = u64::try_from(BLOCK).unwrap_or(u64::MAX);
    usize::try_from(size.next_multiple_of(block).saturating_sub(size)).unwrap_or(0)
}
