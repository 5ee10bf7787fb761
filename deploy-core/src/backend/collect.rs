use super::HostRequest;
use crate::id::{OutputName, Seq};

/// Which piece of what an attempt has left to collect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CollectRequest {
    /// Which service on which host.
    pub on: HostRequest,
    /// Which attempt.
    pub generation: Seq,
    /// The attempt's token.
    pub token: String,
    /// Which file.
    pub output: OutputName,
    /// The first byte of it that is wanted.
    pub offset: u64,
    /// How many bytes are wanted at most.
    pub limit: usize,
}

impl CollectRequest {
    /// The most that is given at a time, in bytes, however much is wanted.
    pub const LARGEST_PIECE: usize = 4 << 20;

    /// The beginning of `output` of the attempt `generation` with `token`.
    #[must_use]
    pub const fn new(on: HostRequest, generation: Seq, token: String, output: OutputName) -> Self {
        Self { on, generation, token, output, offset: 0, limit: Self::LARGEST_PIECE }
    }

    /// From `offset` on.
    #[must_use]
    pub const fn from(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// At most `limit` bytes.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// A piece of a file that an attempt has left to collect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// The bytes, from the offset that was asked for. Fewer than were wanted are not the end, unless there are none.
    pub bytes: Vec<u8>,
    /// How large the file is, in bytes.
    pub size: u64,
}

impl Piece {
    /// `bytes` of a file of `size` bytes.
    #[must_use]
    pub const fn new(bytes: Vec<u8>, size: u64) -> Self {
        Self { bytes, size }
    }
}
