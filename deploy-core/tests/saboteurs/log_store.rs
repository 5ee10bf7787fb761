use async_trait::async_trait;
use deploy_core::{
    backend::{BackendResult, LogChunk, LogPosition, LogQuery, LogStore},
    conformance::Harness,
    id::{HostName, RolloutId, Seq},
    memory::MemoryLogStore,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

sabotages! {
    ClosesGaps,
    DropsABatchWithAGap,
    ForgetsAtACrash,
    GivesNewestFirst,
    IgnoresLimits,
    IgnoresPositions,
    IsAlone,
    KeepsOnlyText,
    MixesUpAttempts,
    StoresBytesTwice,
    TrustsItsOwnCount,
}

saboteurs!(LogStore, Arc<MemoryLogStore>);

fn state(_: Sabotage) -> Arc<MemoryLogStore> {
    Arc::new(MemoryLogStore::new())
}

fn open(sabotage: Sabotage, plain: &Arc<MemoryLogStore>) -> Arc<dyn LogStore> {
    Arc::new(Saboteur(plain.clone(), sabotage, Mutex::default()))
}

/// The last is how much of each attempt it has stored itself.
#[derive(Debug)]
struct Saboteur(Arc<MemoryLogStore>, Sabotage, Mutex<BTreeMap<Attempt, u64>>);

type Attempt = (RolloutId, HostName, Seq);

impl Saboteur {
    /// What is new of a chunk, by a count that knows nothing of other writers, put where the output ends.
    fn recount(&self, chunk: &mut LogChunk, length: u64) {
        let attempt = (chunk.rollout.clone(), chunk.host.clone(), chunk.generation);
        let mut counts = self.2.lock().unwrap();
        let count = counts.entry(attempt).or_default();
        let end = chunk.offset + u64::try_from(chunk.bytes.len()).unwrap();
        if let Some(known) = count.checked_sub(chunk.offset) {
            let known = usize::try_from(known).unwrap().min(chunk.bytes.len());
            chunk.bytes.drain(..known);
            chunk.offset = length;
            *count = end.max(*count);
        }
    }
}

#[async_trait]
impl LogStore for Saboteur {
    async fn append(&self, chunks: &[LogChunk]) -> BackendResult<()> {
        for chunk in chunks {
            let mut chunk = chunk.clone();
            let length = self.0.length(&chunk.rollout, &chunk.host, chunk.generation).await?;
            match self.1 {
                Sabotage::ClosesGaps => chunk.offset = chunk.offset.min(length),
                Sabotage::DropsABatchWithAGap if chunks.len() == 3 => {
                    return self.0.append(&chunks[1..]).await;
                }
                Sabotage::KeepsOnlyText => {
                    chunk.bytes = String::from_utf8_lossy(&chunk.bytes).into_owned().into_bytes();
                }
                Sabotage::TrustsItsOwnCount => self.recount(&mut chunk, length),
                Sabotage::StoresBytesTwice if chunk.offset < length => chunk.offset = length,
                _ => {}
            }
            self.0.append(&[chunk]).await?;
        }
        Ok(())
    }

    async fn length(
        &self,
        rollout: &RolloutId,
        host: &HostName,
        generation: Seq,
    ) -> BackendResult<u64> {
        if self.1 != Sabotage::MixesUpAttempts {
            return self.0.length(rollout, host, generation).await;
        }
        let chunks = self.0.read(&LogQuery::new(rollout.clone())).await?;
        Ok(chunks.iter().map(|(_, chunk)| u64::try_from(chunk.bytes.len()).unwrap()).sum())
    }

    async fn read(&self, query: &LogQuery) -> BackendResult<Vec<(LogPosition, LogChunk)>> {
        let mut query = query.clone();
        match self.1 {
            Sabotage::IgnoresLimits => query.limit = usize::MAX,
            Sabotage::IgnoresPositions => query.after = LogPosition::START,
            _ => {}
        }
        let mut chunks = self.0.read(&query).await?;
        if self.1 == Sabotage::GivesNewestFirst {
            chunks.reverse();
        }
        Ok(chunks)
    }
}
