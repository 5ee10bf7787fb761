//! What can be put around any backend: retries, time limits, traces, a limit on concurrency.
//!
//! A [`Layer`] is written once, against an [`Operation`]; [`Layered`] puts it around every method of every trait, and is
//! itself a backend that passes the same conformance kit. Layers nest: the innermost is nearest the backend.
//!
//! ```
//! use deploy_core::{
//!     backend::Journal,
//!     layer::{Layered, RetryLayer, TimeoutLayer},
//!     memory::{MemoryJournal, SystemClock},
//! };
//! use std::{sync::Arc, time::Duration};
//!
//! let clock = Arc::new(SystemClock::new());
//! let journal = Layered::new(MemoryJournal::new(), TimeoutLayer::new(clock.clone(), Duration::from_secs(5)));
//! let journal: Arc<dyn Journal> = Arc::new(Layered::new(journal, RetryLayer::new(clock)));
//! # let _ = journal;
//! ```
mod executor;
mod identity;
mod limit;
mod pointer;
mod retry;
mod scope;
mod stores;
mod timeout;
mod trace;

pub use limit::LimitLayer;
pub use retry::RetryLayer;
pub use scope::ScopedAuthorizer;
pub use timeout::TimeoutLayer;
pub use trace::TraceLayer;

use crate::error::{BackendError, BackendResult, ErrorKind};
use std::{fmt, pin::Pin, sync::Arc, time::Duration};

/// Something around every call of a backend.
///
/// ```
/// use deploy_core::{
///     backend::Journal,
///     error::BackendResult,
///     id::StreamId,
///     layer::{Layer, Layered, Operation},
///     memory::MemoryJournal,
/// };
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
///
/// /// Counts calls.
/// #[derive(Debug, Default)]
/// struct Calls(AtomicU32);
///
/// impl Layer for Calls {
///     async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
///         &self,
///         _operation: Operation,
///         mut call: impl FnMut() -> F + Send,
///     ) -> BackendResult<T> {
///         self.0.fetch_add(1, Ordering::Relaxed);
///         call().await
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let calls = Arc::new(Calls::default());
/// let journal = Layered::new(MemoryJournal::new(), Arc::clone(&calls));
/// journal.head(&StreamId::Service("web".parse()?)).await?;
/// assert_eq!(calls.0.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub trait Layer: fmt::Debug + Send + Sync + 'static {
    /// Makes `operation` happen by `call`, more than once only if [`Operation::repeatable`] says that it may.
    fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        call: impl FnMut() -> F + Send,
    ) -> impl Future<Output = BackendResult<T>> + Send;
}

impl<L: Layer> Layer for Arc<L> {
    fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        call: impl FnMut() -> F + Send,
    ) -> impl Future<Output = BackendResult<T>> + Send {
        (**self).around(operation, call)
    }
}

/// What is asked of a backend, as far as a layer has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Such as `journal.append`.
    pub name: &'static str,
    /// Whether it changes anything.
    pub kind: OperationKind,
    /// How much time of its own it was given, beyond what a call takes; [`Duration::MAX`] where it takes as long as it takes.
    pub own_time: Duration,
    /// Whether it can be called again. One that consumes a body cannot.
    pub repeatable: bool,
}

/// Whether an operation changes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "complete by definition")]
pub enum OperationKind {
    /// It changes nothing: without an answer, nothing has happened.
    Read,
    /// It may change something: without an answer, nobody knows.
    Write,
}

impl Operation {
    /// One that changes nothing.
    #[must_use]
    pub const fn read(name: &'static str) -> Self {
        Self { name, kind: OperationKind::Read, own_time: Duration::ZERO, repeatable: true }
    }

    /// One that may change something.
    #[must_use]
    pub const fn write(name: &'static str) -> Self {
        Self { name, kind: OperationKind::Write, own_time: Duration::ZERO, repeatable: true }
    }

    /// That was given `own_time`.
    #[must_use]
    pub const fn taking(mut self, own_time: Duration) -> Self {
        self.own_time = own_time;
        self
    }

    /// That takes as long as it takes.
    #[must_use]
    pub const fn unbounded(self) -> Self {
        self.taking(Duration::MAX)
    }

    /// That must not be called again.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }

    /// Whether it takes as long as it takes.
    #[must_use]
    pub const fn is_unbounded(&self) -> bool {
        self.own_time.as_nanos() == Duration::MAX.as_nanos()
    }
}

/// A backend with a layer around every call.
///
/// What a call hands out (the reader of an artifact, the writes to an [`AttemptLog`](crate::backend::AttemptLog)) is not
/// inside the layer.
#[derive(Clone, Debug)]
pub struct Layered<B, L> {
    backend: B,
    layer: L,
}

impl<B, L: Layer> Layered<B, L> {
    /// `layer` around `backend`.
    #[must_use]
    pub const fn new(backend: B, layer: L) -> Self {
        Self { backend, layer }
    }
}

/// Makes something callable of a future that can be awaited only once.
fn only_once<'a, T: Send + 'a>(
    operation: Operation,
    call: impl Future<Output = BackendResult<T>> + Send + 'a,
) -> impl FnMut() -> Pin<Box<dyn Future<Output = BackendResult<T>> + Send + 'a>> + Send {
    let mut call = Some(call);
    move || {
        let call = call.take();
        Box::pin(async move {
            let spent = || BackendError::new(ErrorKind::Internal, operation.name);
            let call = call.ok_or_else(|| spent().with("reason", "a layer has called it twice"))?;
            call.await
        })
    }
}
