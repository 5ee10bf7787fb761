use super::{Layer, Operation};
use crate::{
    backend::Clock,
    error::{BackendResult, ErrorKind},
    telemetry::{BACKEND, ELAPSED_SECS, ERROR_KIND, OPERATION, TARGET_BACKEND},
};
use std::{borrow::Cow, sync::Arc};
use tracing::Instrument as _;

/// Traces every call: a span around it, and an event when it is over.
///
/// An answer that a caller reckons with (`NotFound`, `Conflict`…) is traced on the level `DEBUG`, as a success is; what
/// somebody has to look after is a `WARN`.
#[derive(Clone, Debug)]
pub struct TraceLayer {
    backend: Cow<'static, str>,
    clock: Arc<dyn Clock>,
}

impl TraceLayer {
    /// Calls the backend `backend` in traces.
    #[must_use]
    pub fn new(backend: impl Into<Cow<'static, str>>, clock: Arc<dyn Clock>) -> Self {
        Self { backend: backend.into(), clock }
    }
}

impl Layer for TraceLayer {
    async fn around<T: Send, F: Future<Output = BackendResult<T>> + Send>(
        &self,
        operation: Operation,
        mut call: impl FnMut() -> F + Send,
    ) -> BackendResult<T> {
        let span = tracing::debug_span!(
            target: TARGET_BACKEND,
            "backend call",
            { BACKEND } = &*self.backend,
            { OPERATION } = operation.name,
        );
        let begun = self.clock.now();
        let done = call().instrument(span.clone()).await;
        let elapsed = self.clock.now().since(begun).as_secs_f64();
        span.in_scope(|| tell(&done, elapsed));
        done
    }
}

fn tell<T>(done: &BackendResult<T>, elapsed: f64) {
    let Err(err) = done else {
        tracing::debug!(
            target: TARGET_BACKEND,
            { { ELAPSED_SECS } = elapsed },
            "backend call done"
        );
        return;
    };
    let kind = err.kind().as_str();
    if is_answer(err.kind()) {
        tracing::debug!(
            target: TARGET_BACKEND,
            { { ELAPSED_SECS } = elapsed, { ERROR_KIND } = kind },
            "backend call refused"
        );
    } else {
        tracing::warn!(
            target: TARGET_BACKEND,
            { { ELAPSED_SECS } = elapsed, { ERROR_KIND } = kind, error = err.chain() },
            "backend call failed"
        );
    }
}

/// Whether an error is an answer of a backend that works.
const fn is_answer(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::AlreadyExists
        | ErrorKind::Conflict
        | ErrorKind::Fenced
        | ErrorKind::InvalidInput
        | ErrorKind::NotFound
        | ErrorKind::PermissionDenied
        | ErrorKind::Unsupported => true,
        ErrorKind::Corrupt
        | ErrorKind::Internal
        | ErrorKind::NoSpace
        | ErrorKind::OutcomeUnknown
        | ErrorKind::RateLimited
        | ErrorKind::Unauthenticated
        | ErrorKind::Unavailable => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::Notification,
        backend::Notifier as _,
        layer::Layered,
        memory::{ManualClock, MemoryNotifier},
        time::Timestamp,
    };
    use std::{
        fmt::{self, Write as _},
        sync::Mutex,
    };
    use tracing::{
        Event, Metadata, Subscriber,
        field::{Field, Visit},
        span::{Attributes, Id, Record},
    };

    /// Writes down spans and events, a line each.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    impl Notes {
        fn take(&self, kind: &str, metadata: &Metadata<'_>, record: impl FnOnce(&mut Line)) {
            let mut line = Line(format!("{kind} {} {}", metadata.level(), metadata.target()));
            record(&mut line);
            self.0.lock().unwrap().push(line.0);
        }
    }

    impl Subscriber for Notes {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.take("span", span.metadata(), |line| span.record(line));
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.take("event", event.metadata(), |line| event.record(line));
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[tokio::test]
    async fn every_call_is_traced_under_constant_names() {
        let notes = Notes::default();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
        let notifier = Layered::new(MemoryNotifier::new(), TraceLayer::new("memory", clock));
        let guard = tracing::subscriber::set_default(notes.clone());
        notifier.notify(&Notification::new("a", "b", "c")).await.unwrap();
        notifier.notify(&Notification::new("", "b", "c")).await.unwrap_err();
        drop(guard);
        let span = "span DEBUG deploy::backend deploy.backend=\"memory\" \
                    deploy.operation=\"notifier.notify\"";
        let done = "event DEBUG deploy::backend message=backend call done elapsed_secs=0.0";
        let refused = "event DEBUG deploy::backend message=backend call refused elapsed_secs=0.0 \
                       error.kind=\"invalid_input\"";
        assert_eq!(*notes.0.lock().unwrap(), [span, done, span, refused]);
    }
}
