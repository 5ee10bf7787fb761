use crate::{
    error::BackendResult,
    id::{HostName, RolloutId, Seq},
    time::Timestamp,
};
use async_trait::async_trait;
use std::fmt;

/// A piece of an attempt's output.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogChunk {
    /// Of which rollout.
    pub rollout: RolloutId,
    /// From which host.
    pub host: HostName,
    /// Of which attempt.
    pub generation: Seq,
    /// Where in the attempt's output it begins.
    pub offset: u64,
    /// When it arrived.
    pub at: Timestamp,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl LogChunk {
    /// `bytes` of the attempt `generation` on `host`, from `offset` on.
    #[must_use]
    pub const fn new(
        rollout: RolloutId,
        host: HostName,
        generation: Seq,
        offset: u64,
        at: Timestamp,
        bytes: Vec<u8>,
    ) -> Self {
        Self { rollout, host, generation, offset, at, bytes }
    }
}

/// Where a reader is: an opaque number that grows in the order in which chunks were stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition(u64);

impl LogPosition {
    /// Before the first chunk.
    pub const START: Self = Self(0);

    /// As a store numbers it.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// As a plain number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Which chunks to read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogQuery {
    /// Of this rollout.
    pub rollout: RolloutId,
    /// Only of this host.
    pub host: Option<HostName>,
    /// Only of this attempt.
    pub generation: Option<Seq>,
    /// After this position.
    pub after: LogPosition,
    /// At most so many.
    pub limit: usize,
}

impl LogQuery {
    /// The first thousand chunks of `rollout`.
    #[must_use]
    pub const fn new(rollout: RolloutId) -> Self {
        Self { rollout, host: None, generation: None, after: LogPosition::START, limit: 1_000 }
    }

    /// Only of `host`.
    #[must_use]
    pub fn with_host(mut self, host: HostName) -> Self {
        self.host = Some(host);
        self
    }

    /// Only of the attempt `generation`.
    #[must_use]
    pub const fn with_generation(mut self, generation: Seq) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Only after `after`.
    #[must_use]
    pub const fn with_after(mut self, after: LogPosition) -> Self {
        self.after = after;
        self
    }

    /// At most `limit`.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

/// Keeps the output of attempts.
///
/// # Contract
/// * Appending a chunk that follows on from what is stored stores it whole.
/// * A chunk that overlaps what is stored adds only what is new: no byte is stored twice.
/// * A chunk that leaves a gap is `Conflict`, and stores nothing.
/// * `length` is where the next chunk of an attempt has to begin; 0 where nothing is stored.
/// * `read` gives chunks in the order in which they were stored, after a position and no more than asked for, and sees every
///   append that has returned; the chunks of one attempt, put together, are its output byte for byte.
/// * What a process has appended is there after it was killed.
///
/// ```
/// use deploy_core::{
///     backend::{LogChunk, LogQuery, LogStore},
///     id::Seq,
///     memory::MemoryLogStore,
///     time::Timestamp,
/// };
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (rollout, host) = ("r1".parse()?, "h1".parse()?);
/// let (generation, now) = (Seq::new(7), Timestamp::from_millis(0));
/// let bytes = b"started\n".to_vec();
/// let chunk = LogChunk::new(rollout, host, generation, 0, now, bytes);
///
/// let logs = MemoryLogStore::new();
/// logs.append(&[chunk.clone(), chunk.clone()]).await?;
/// assert_eq!(logs.length(&chunk.rollout, &chunk.host, generation).await?, 8);
/// assert_eq!(logs.read(&LogQuery::new(chunk.rollout.clone())).await?.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[async_trait]
pub trait LogStore: fmt::Debug + Send + Sync + 'static {
    /// Stores chunks, of any attempts; all of them or, on an error, those before the first bad one.
    async fn append(&self, chunks: &[LogChunk]) -> BackendResult<()>;

    /// How much of an attempt's output is stored.
    async fn length(
        &self,
        rollout: &RolloutId,
        host: &HostName,
        generation: Seq,
    ) -> BackendResult<u64>;

    /// Reads chunks and the position of each.
    async fn read(&self, query: &LogQuery) -> BackendResult<Vec<(LogPosition, LogChunk)>>;
}
