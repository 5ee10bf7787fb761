//! A segment: what is known when it begins, and the records that were added since.
//!
//! It begins with a header, `magic | first sequence number u64 | length of what it began with u64 | CRC-32C u32`. What it began with was synced before the
//! segment had its name; what follows was written batch by batch, each after the one before was synced.
use super::record::{self, Found, Record};
use crate::attempt::{Attempts, Illegal};
use crc::{CRC_32_ISCSI, Crc};
use thiserror::Error;

const MAGIC: &[u8; 8] = b"dplyjrn1";
const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The length of a segment's header.
pub(super) const HEADER: usize = 28;

/// Why a journal cannot be gone on with: something that was on the disk is not any more. It is for a person to look at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Damaged {
    #[error("its header is not one that this agent writes")]
    Header,
    #[error("record {sequence} at byte {at}: {source}")]
    Illegal { at: usize, sequence: u64, source: Illegal },
    #[error("byte {at} begins a record that was written, and is not whole any more")]
    Record { at: usize },
    #[error("record {sequence} at byte {at} stands where {expected} should")]
    Sequence { at: usize, sequence: u64, expected: u64 },
    #[error(
        "byte {at} begins a record of the kind {kind}, which this agent does not know: was it written by a newer one?"
    )]
    Unknown { at: usize, kind: u8 },
}

/// What a segment says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Replayed {
    pub(super) attempts: Attempts,
    /// The sequence number of the record to come.
    pub(super) next: u64,
    /// Where that goes. What stands there was never synced, and is to be cut off.
    pub(super) end: usize,
}

/// The first bytes of a segment that begins with `attempts`; `first` is the sequence number of its first record. Also gives the number of the record to come.
pub(super) fn begin(attempts: &Attempts, first: u64) -> (Vec<u8>, u64) {
    let mut body = Vec::new();
    let mut next = first;
    for record in attempts.snapshot() {
        record.write(next, next == first, &mut body);
        next += 1;
    }
    let mut bytes = header(first, body.len() as u64).to_vec();
    bytes.extend(body);
    (bytes, next)
}

fn header(first: u64, length: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let fields = [&MAGIC[..], &first.to_le_bytes(), &length.to_le_bytes()].concat();
    let sum = CRC.checksum(&fields).to_le_bytes();
    header.iter_mut().zip(fields.iter().chain(&sum)).for_each(|(to, from)| *to = *from);
    header
}

/// The sequence number of a segment's first record, and where what it began with ends.
fn read_header(bytes: &[u8]) -> Option<(u64, usize)> {
    let (first, rest) = bytes.get(MAGIC.len()..)?.split_first_chunk()?;
    let first = u64::from_le_bytes(*first);
    let length = u64::from_le_bytes(*rest.first_chunk()?);
    let same = bytes.get(..HEADER)? == header(first, length);
    let floor = usize::try_from(length).ok()?.checked_add(HEADER)?;
    same.then_some((first, floor))
}

/// Reads a segment of which at least `synced` bytes are known to have been on the disk.
///
/// The tail of the last batch may be missing or torn: nobody was told of it. Anything else that is not whole is damage: it was on the disk once.
pub(super) fn replay(bytes: &[u8], synced: usize) -> Result<Replayed, Damaged> {
    let (first, floor) = read_header(bytes).ok_or(Damaged::Header)?;
    let synced = synced.max(floor);
    let mut state = Replayed { attempts: Attempts::default(), next: first, end: HEADER };
    while let Some(rest) = bytes.get(state.end..).filter(|it| !it.is_empty()) {
        let at = state.end;
        match record::read(rest) {
            Found::Whole { record, sequence, length, .. } => {
                state.take(&record, sequence)?;
                state.end += length;
            }
            Found::Unknown { kind } => return Err(Damaged::Unknown { at, kind }),
            Found::Bad | Found::End if at < synced || later_batch(rest, state.next) => {
                return Err(Damaged::Record { at });
            }
            Found::Bad | Found::End => break,
        }
    }
    if state.end < synced {
        return Err(Damaged::Record { at: state.end });
    }
    state.attempts.restart();
    Ok(state)
}

impl Replayed {
    fn take(&mut self, record: &Record, sequence: u64) -> Result<(), Damaged> {
        let at = self.end;
        if sequence != self.next {
            return Err(Damaged::Sequence { at, sequence, expected: self.next });
        }
        self.attempts.apply(record).map_err(|source| Damaged::Illegal { at, sequence, source })?;
        self.next += 1;
        Ok(())
    }
}

/// Whether a later batch begins anywhere in `bytes`: then what it follows was synced.
fn later_batch(bytes: &[u8], next: u64) -> bool {
    (1..bytes.len()).any(|at| {
        let found = record::read(bytes.get(at..).unwrap_or_default());
        matches!(found, Found::Whole { first: true, sequence, .. } if sequence >= next)
    })
}
