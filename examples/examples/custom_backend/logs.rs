use crate::support::lock;
use async_trait::async_trait;
use deploy_core::{
    backend::{BackendError, BackendResult, ErrorKind, LogChunk, LogPosition, LogQuery, LogStore},
    id::{HostName, RolloutId, Seq},
};
use std::sync::Mutex;

/// Keeps chunks in a list; a chunk's position is its place in it, counted from 1.
#[derive(Debug, Default)]
pub(crate) struct ListLogs {
    chunks: Mutex<Vec<LogChunk>>,
}

#[async_trait]
impl LogStore for ListLogs {
    async fn append(&self, chunks: &[LogChunk]) -> BackendResult<()> {
        let mut stored = lock(&self.chunks);
        for chunk in chunks {
            let length = length(&stored, &chunk.rollout, &chunk.host, chunk.generation);
            let known = length.checked_sub(chunk.offset).ok_or_else(|| {
                BackendError::new(ErrorKind::Conflict, "log.append")
                    .with("host", &chunk.host)
                    .with("offset", chunk.offset)
                    .with("length", length)
            })?;
            let known = usize::try_from(known).unwrap_or(usize::MAX);
            if let Some(new) = chunk.bytes.get(known..).filter(|it| !it.is_empty()) {
                let mut new_chunk = chunk.clone();
                (new_chunk.offset, new_chunk.bytes) = (length, new.to_vec());
                stored.push(new_chunk);
            }
        }
        Ok(())
    }

    async fn length(
        &self,
        rollout: &RolloutId,
        host: &HostName,
        generation: Seq,
    ) -> BackendResult<u64> {
        Ok(length(&lock(&self.chunks), rollout, host, generation))
    }

    async fn read(&self, query: &LogQuery) -> BackendResult<Vec<(LogPosition, LogChunk)>> {
        let stored = lock(&self.chunks);
        let positions = (1..).map(LogPosition::new);
        let asked = positions.zip(stored.iter()).filter(|(position, it)| {
            *position > query.after
                && it.rollout == query.rollout
                && query.host.as_ref().is_none_or(|host| it.host == *host)
                && query.generation.is_none_or(|generation| it.generation == generation)
        });
        Ok(asked.take(query.limit).map(|(position, it)| (position, it.clone())).collect())
    }
}

/// Where the newest chunk of an attempt ends.
fn length(chunks: &[LogChunk], rollout: &RolloutId, host: &HostName, generation: Seq) -> u64 {
    let wanted = (rollout, host, generation);
    let newest = chunks.iter().rfind(|it| (&it.rollout, &it.host, it.generation) == wanted);
    newest.map_or(0, |it| it.offset + u64::try_from(it.bytes.len()).unwrap_or(u64::MAX))
}
