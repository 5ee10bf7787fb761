use async_trait::async_trait;
use deploy_core::{
    backend::{BackendResult, LogChunk, LogPosition, LogQuery, LogStore},
    conformance::{DurableHarness, Harness},
    id::{HostName, RolloutId, Seq},
    memory::MemoryLogStore,
};
use std::sync::Arc;

sabotages! {
    ClosesGaps,
    DropsABatchWithAGap,
    ForgetsAtACrash,
    GivesNewestFirst,
    IgnoresLimits,
    IgnoresPositions,
    KeepsOnlyText,
    MixesUpAttempts,
    StoresBytesTwice,
}

pub(crate) fn is_caught(sabotage: Sabotage) -> bool {
    let harness = Bad(sabotage);
    deploy_core::log_store_conformance!(@core [any_case_fails] harness)
        || deploy_core::log_store_conformance!(@durable [any_case_fails] harness)
}

struct Bad(Sabotage);

impl Harness<dyn LogStore> for Bad {
    type Guard = ();

    async fn fresh(&self) -> (Arc<dyn LogStore>, ()) {
        (Arc::new(Saboteur(MemoryLogStore::new(), self.0)), ())
    }
}

impl DurableHarness<dyn LogStore> for Bad {
    async fn reopen(&self, logs: Arc<dyn LogStore>, (): &()) -> Arc<dyn LogStore> {
        if self.0 == Sabotage::ForgetsAtACrash { self.fresh().await.0 } else { logs }
    }
}

#[derive(Debug)]
struct Saboteur(MemoryLogStore, Sabotage);

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
