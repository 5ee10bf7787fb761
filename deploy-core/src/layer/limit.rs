use super::{Layer, Operation};
use crate::error::{BackendError, BackendResult, ErrorKind};
use std::{num::NonZeroUsize, sync::Arc};
use tokio::sync::Semaphore;

/// Lets only so many calls through at a time; the others wait in line. Clones share the limit.
///
/// Calls that take as long as they take are counted apart from the others: a kill must not wait in line behind the attempts
/// that it is to end.
#[derive(Clone, Debug)]
pub struct LimitLayer {
    bounded: Arc<Semaphore>,
    unbounded: Arc<Semaphore>,
}

impl LimitLayer {
    /// `limit` calls of either sort at a time.
    #[must_use]
    pub fn new(limit: NonZeroUsize) -> Self {
        let slots = || Arc::new(Semaphore::new(limit.get().min(Semaphore::MAX_PERMITS)));
        Self { bounded: slots(), unbounded: slots() }
    }
}

impl Layer for LimitLayer {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        mut call: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        let slots = if operation.is_unbounded() { &self.unbounded } else { &self.bounded };
        let slot = slots.acquire().await;
        let _slot = slot
            .map_err(|err| BackendError::new(ErrorKind::Internal, operation.name).because(err))?;
        call().await
    }
}
