//! What the journal says, and how that is written.
//!
//! A record is `length u32 | CRC-32C u32 | kind u8 | sequence number u64 | payload`, little-endian; the checksum is over all that follows it. The
//! highest bit of the kind is set on the first record of those that were written and synced at one go.
use crate::attempt::{AttemptKey, End};
use crc::{CRC_32_ISCSI, Crc};
use deploy_agent_protocol::v1;
use deploy_core::id::ServiceName;
use prost::Message;

/// The length of what precedes a payload.
pub(super) const HEADER: usize = 17;
/// The longest payload: an exit record with all its survivors is far shorter.
const LONGEST: usize = 64 << 10;
/// On the first record of a batch.
const FIRST: u8 = 0x80;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// A fact about attempts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    /// An order to start it was accepted, which raises the fence to its generation.
    Accepted { attempt: AttemptKey, token: String },
    /// Its end was confirmed.
    Closed { attempt: AttemptKey },
    /// It has ended.
    Exited { attempt: AttemptKey, end: End },
    /// Nothing of the service is accepted up to this generation.
    Fence { service: ServiceName, generation: u64 },
    /// Its whole log is durable where it was sent.
    LogStored { attempt: AttemptKey },
    /// Its shim is about to be started.
    Starting { attempt: AttemptKey, boot_id: String, cgroup: String },
    /// It was accepted, was not started, and never will be.
    Withdrawn { attempt: AttemptKey },
}

/// The payloads of all kinds of records: each uses what it needs.
#[derive(Clone, PartialEq, Message)]
struct Payload {
    #[prost(string, tag = "1")]
    service: String,
    #[prost(uint64, tag = "2")]
    generation: u64,
    #[prost(string, tag = "3")]
    token: String,
    #[prost(string, tag = "4")]
    boot_id: String,
    #[prost(string, tag = "5")]
    cgroup: String,
    #[prost(message, optional, tag = "6")]
    ended: Option<v1::Ended>,
    #[prost(message, optional, tag = "7")]
    died: Option<v1::Died>,
}

impl Record {
    const fn kind(&self) -> u8 {
        match self {
            Self::Accepted { .. } => 1,
            Self::Starting { .. } => 2,
            Self::Exited { .. } => 3,
            Self::Closed { .. } => 4,
            Self::Fence { .. } => 5,
            Self::Withdrawn { .. } => 6,
            Self::LogStored { .. } => 7,
        }
    }

    fn payload(&self) -> Payload {
        let of = |attempt: &AttemptKey| Payload {
            service: attempt.service.to_string(),
            generation: attempt.generation,
            ..Payload::default()
        };
        match self {
            Self::Accepted { attempt, token } => Payload { token: token.clone(), ..of(attempt) },
            Self::Closed { attempt }
            | Self::LogStored { attempt }
            | Self::Withdrawn { attempt } => of(attempt),
            Self::Exited { attempt, end: End::Died(died) } => {
                Payload { died: Some(died.clone()), ..of(attempt) }
            }
            Self::Exited { attempt, end: End::Ended(ended) } => {
                Payload { ended: Some(ended.clone()), ..of(attempt) }
            }
            Self::Fence { service, generation } => Payload {
                service: service.to_string(),
                generation: *generation,
                ..Payload::default()
            },
            Self::Starting { attempt, boot_id, cgroup } => {
                Payload { boot_id: boot_id.clone(), cgroup: cgroup.clone(), ..of(attempt) }
            }
        }
    }

    fn of(kind: u8, payload: Payload) -> Option<Self> {
        let service: ServiceName = payload.service.parse().ok()?;
        let generation = payload.generation;
        let attempt = AttemptKey { service: service.clone(), generation };
        Some(match kind {
            1 => Self::Accepted { attempt, token: payload.token },
            2 => Self::Starting { attempt, boot_id: payload.boot_id, cgroup: payload.cgroup },
            3 => {
                let died = payload.died.map(End::Died);
                Self::Exited { attempt, end: died.or_else(|| payload.ended.map(End::Ended))? }
            }
            4 => Self::Closed { attempt },
            5 => Self::Fence { service, generation },
            6 => Self::Withdrawn { attempt },
            7 => Self::LogStored { attempt },
            _ => return None,
        })
    }

    /// Appends the record, as the first of a batch or not.
    pub(super) fn write(&self, sequence: u64, first: bool, out: &mut Vec<u8>) {
        let payload = self.payload().encode_to_vec();
        let kind = self.kind() | if first { FIRST } else { 0 };
        let checked = [&[kind][..], &sequence.to_le_bytes(), &payload].concat();
        // A payload is made of names and texts that were bounded when they came in.
        out.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(CRC.checksum(&checked).to_le_bytes());
        out.extend(checked);
    }
}

/// What stands at a place of a segment.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// Nothing that holds together.
    Bad,
    /// Nothing: the segment ends here.
    End,
    /// A record that was written whole by a newer agent, or makes no sense.
    Unknown { kind: u8 },
    /// A record.
    Whole { record: Record, sequence: u64, first: bool, length: usize },
}

/// Reads the record that `bytes` begin with.
pub(super) fn read(bytes: &[u8]) -> Found {
    if bytes.iter().take(HEADER).all(|b| *b == 0) {
        return if bytes.iter().all(|b| *b == 0) { Found::End } else { Found::Bad };
    }
    let Some((kind, sequence, payload)) = whole(bytes) else { return Found::Bad };
    let record = Payload::decode(payload).ok();
    match record.and_then(|it| Record::of(kind & !FIRST, it)) {
        Some(record) => Found::Whole {
            record,
            sequence,
            first: kind & FIRST != 0,
            length: HEADER + payload.len(),
        },
        None => Found::Unknown { kind: kind & !FIRST },
    }
}

/// Kind, sequence number and payload of the record that `bytes` begin with, if its checksum is right.
fn whole(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    if length > LONGEST {
        return None;
    }
    let sum = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let checked = bytes.get(8..HEADER.checked_add(length)?)?;
    if CRC.checksum(checked) != sum {
        return None;
    }
    let (kind, rest) = checked.split_first()?;
    let (sequence, payload) = rest.split_first_chunk()?;
    Some((*kind, u64::from_le_bytes(*sequence), payload))
}
