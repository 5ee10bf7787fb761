//! Stores the output of many attempts in few writes.
use crate::{
    backend::{AttemptLog, Clock, LogChunk, LogStore},
    error::{BackendError, BackendResult, ErrorKind},
    id::{HostName, RolloutId, Seq},
    spec::StepName,
    telemetry::{ERROR_KIND, GENERATION, HOST, STEP, TARGET_BACKEND, TARGET_EFFECT},
};
use async_trait::async_trait;
use std::sync::Arc;
use tokio::{
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

/// Chunks that may wait for the store before whoever writes them has to wait.
const QUEUE: usize = 256;
/// Chunks that go into one write.
const BATCH: usize = 512;

enum Message {
    Chunk(LogChunk),
    Flush(oneshot::Sender<Option<String>>),
}

/// Collects chunks from all attempts of a rollout and stores them together.
#[derive(Debug)]
pub(super) struct LogWriter {
    queue: mpsc::Sender<Message>,
    task: AbortHandle,
}

impl LogWriter {
    pub(super) fn start(store: Arc<dyn LogStore>) -> Self {
        let (queue, inbox) = mpsc::channel(QUEUE);
        let task = tokio::spawn(write(store, inbox)).abort_handle();
        Self { queue, task }
    }

    /// Takes the output of one attempt.
    pub(super) fn attempt(
        &self,
        clock: Arc<dyn Clock>,
        rollout: RolloutId,
        host: HostName,
        generation: Seq,
    ) -> AttemptWriter {
        AttemptWriter { queue: self.queue.clone(), clock, rollout, host, generation }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(store: Arc<dyn LogStore>, mut inbox: mpsc::Receiver<Message>) {
    let mut failed: Option<String> = None;
    let mut messages = Vec::with_capacity(BATCH);
    while inbox.recv_many(&mut messages, BATCH).await > 0 {
        let mut chunks = Vec::new();
        let mut flushes = Vec::new();
        for message in messages.drain(..) {
            match message {
                Message::Chunk(chunk) => chunks.push(chunk),
                Message::Flush(done) => flushes.push(done),
            }
        }
        if !chunks.is_empty()
            && let Err(err) = store.append(&chunks).await
        {
            tracing::warn!(target: TARGET_BACKEND, { { ERROR_KIND } = err.kind().as_str() }, "output could not be stored");
            failed = Some(err.chain());
        }
        for done in flushes {
            let _gone = done.send(failed.clone());
        }
    }
}

/// Takes the output of one attempt.
#[derive(Debug)]
pub(super) struct AttemptWriter {
    queue: mpsc::Sender<Message>,
    clock: Arc<dyn Clock>,
    rollout: RolloutId,
    host: HostName,
    generation: Seq,
}

impl AttemptWriter {
    /// Waits until all that was written is stored.
    pub(super) async fn flush(&self) -> BackendResult<()> {
        let (done, stored) = oneshot::channel();
        self.send(Message::Flush(done)).await?;
        match stored.await {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => {
                Err(BackendError::new(ErrorKind::Unavailable, "log.flush").because(reason))
            }
            Err(_closed) => Err(Self::closed()),
        }
    }

    async fn send(&self, message: Message) -> BackendResult<()> {
        self.queue.send(message).await.map_err(|_closed| Self::closed())
    }

    const fn closed() -> BackendError {
        BackendError::new(ErrorKind::Unavailable, "log.append")
    }
}

#[async_trait]
impl AttemptLog for AttemptWriter {
    async fn write(&self, offset: u64, bytes: &[u8]) -> BackendResult<()> {
        let (rollout, host) = (self.rollout.clone(), self.host.clone());
        let at = self.clock.now();
        self.send(Message::Chunk(LogChunk::new(
            rollout,
            host,
            self.generation,
            offset,
            at,
            bytes.to_vec(),
        )))
        .await
    }

    fn step(&self, step: StepName) {
        tracing::debug!(
            target: TARGET_EFFECT,
            {
                { HOST } = %self.host,
                { GENERATION } = self.generation.get(),
                { STEP } = step.as_str()
            },
            "step begins"
        );
    }
}
