use super::lock;
use crate::{
    backend::{LogChunk, LogPosition, LogQuery, LogStore},
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, RolloutId, Seq},
};
use async_trait::async_trait;
use std::{collections::BTreeMap, sync::Mutex};

/// Keeps the output of attempts in memory.
#[derive(Debug, Default)]
pub struct MemoryLogStore {
    state: Mutex<State>,
}

type Attempt = (RolloutId, HostName, Seq);

#[derive(Debug, Default)]
struct State {
    /// A chunk's position is its place here plus one.
    chunks: Vec<LogChunk>,
    lengths: BTreeMap<Attempt, u64>,
}

impl MemoryLogStore {
    /// A store without chunks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl LogStore for MemoryLogStore {
    async fn append(&self, chunks: &[LogChunk]) -> BackendResult<()> {
        let mut state = lock(&self.state);
        chunks.iter().try_for_each(|chunk| state.append(chunk))
    }

    async fn length(
        &self,
        rollout: &RolloutId,
        host: &HostName,
        generation: Seq,
    ) -> BackendResult<u64> {
        let attempt = (rollout.clone(), host.clone(), generation);
        Ok(lock(&self.state).lengths.get(&attempt).copied().unwrap_or(0))
    }

    async fn read(&self, query: &LogQuery) -> BackendResult<Vec<(LogPosition, LogChunk)>> {
        let state = lock(&self.state);
        let positions = (query.after.get().saturating_add(1)..).map(LogPosition::new);
        let start = usize::try_from(query.after.get()).unwrap_or(usize::MAX);
        let after = positions.zip(state.chunks.iter().skip(start));
        let asked = after.filter(|(_, chunk)| wanted(query, chunk));
        Ok(asked.take(query.limit).map(|(position, chunk)| (position, chunk.clone())).collect())
    }
}

impl State {
    fn append(&mut self, chunk: &LogChunk) -> BackendResult<()> {
        let attempt = (chunk.rollout.clone(), chunk.host.clone(), chunk.generation);
        let length = self.lengths.entry(attempt).or_default();
        let Some(known) = length.checked_sub(chunk.offset) else {
            return Err(BackendError::new(ErrorKind::Conflict, "log.append")
                .with("host", &chunk.host)
                .with("generation", chunk.generation)
                .with("offset", chunk.offset)
                .with("length", *length));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let new = chunk.bytes.get(known..).unwrap_or_default();
        if !new.is_empty() {
            self.chunks.push(LogChunk { offset: *length, bytes: new.to_vec(), ..chunk.clone() });
            *length = length.saturating_add(u64::try_from(new.len()).unwrap_or(u64::MAX));
        }
        Ok(())
    }
}

fn wanted(query: &LogQuery, chunk: &LogChunk) -> bool {
    chunk.rollout == query.rollout
        && query.host.as_ref().is_none_or(|host| chunk.host == *host)
        && query.generation.is_none_or(|generation| chunk.generation == generation)
}
