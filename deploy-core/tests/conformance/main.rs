//! The kit on the in-memory reference, on its smart pointers, and on every layer around it.
#![cfg(feature = "conformance")]
#![expect(
    clippy::clone_on_ref_ptr,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a clone of an `Arc` is used as a trait object at once, and a failed test panics, also in what tests share"
)]
mod guide;
mod harness;
mod layers;
mod reference;

use deploy_core::{
    backend::{
        AgentRegistry, AnswerStore, ArtifactStore, Authorizer, Builder, Clock, CredentialStore,
        Executor, HostInventory, Journal, LeaseStore, LogStore, Notifier, Scheduler,
        ServiceRegistry,
    },
    layer::{Layered, LimitLayer, RetryLayer, TimeoutLayer, TraceLayer},
    memory::SystemClock,
};
use harness::{Real, Through};
use layers::FailsEveryOther;
use std::{num::NonZeroUsize, sync::Arc, time::Duration};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn retry() -> RetryLayer {
    RetryLayer::new(clock()).with_backoff(Duration::from_millis(1))
}

fn timeout() -> TimeoutLayer {
    TimeoutLayer::new(clock(), Duration::from_secs(30))
}

fn trace() -> TraceLayer {
    TraceLayer::new("memory", clock())
}

fn limit() -> LimitLayer {
    LimitLayer::new(NonZeroUsize::new(2).unwrap())
}

/// All suites, over what `$wrap` makes of a plain backend.
macro_rules! suites {
    ($wrap:expr) => {
        suites! { @ $wrap;
            agent_registry, AgentRegistry, agent_registry_conformance: core, concurrent;
            answer_store, AnswerStore, answer_store_conformance: core, concurrent;
            artifact_store, ArtifactStore, artifact_store_conformance: core, concurrent;
            authorizer, Authorizer, authorizer_conformance: core;
            builder, Builder, builder_conformance: core;
            credential_store, CredentialStore, credential_store_conformance: core, concurrent;
            executor, Executor, executor_conformance: core, durable, concurrent;
            host_inventory, HostInventory, host_inventory_conformance: core, concurrent;
            journal, Journal, journal_conformance: core, concurrent;
            lease_store, LeaseStore, lease_store_conformance: core, concurrent;
            log_store, LogStore, log_store_conformance: core, concurrent;
            notifier, Notifier, notifier_conformance: core;
            scheduler, Scheduler, scheduler_conformance: core;
            service_registry, ServiceRegistry, service_registry_conformance: core, concurrent;
        }
    };
    (@ $wrap:expr; $($name:ident, $Trait:ident, $suite:ident: $($tier:ident),+;)+) => { $(
        mod $name {
            use super::*;
            deploy_core::$suite!(Through::<dyn $Trait>($wrap), $($tier),+);
        }
    )+ };
}

mod plain {
    use super::*;
    suites!(|it| it);
    mod clock {
        use super::*;
        deploy_core::clock_conformance!(Through::<dyn Clock>(|it| it), core);
    }
}

mod system_clock {
    use super::*;
    deploy_core::clock_conformance!(Real, core);
}

mod arc {
    use super::*;
    suites!(|it| Arc::new(it));
    mod clock {
        use super::*;
        deploy_core::clock_conformance!(Through::<dyn Clock>(|it| Arc::new(it)), core);
    }
}

mod boxed {
    use super::*;
    suites!(|it| Arc::new(Box::new(it)));
    mod clock {
        use super::*;
        deploy_core::clock_conformance!(Through::<dyn Clock>(|it| Arc::new(Box::new(it))), core);
    }
}

mod retry_layer {
    use super::*;
    suites!(|it| Arc::new(Layered::new(it, retry())));
}

mod retry_layer_over_a_flaky_backend {
    use super::*;
    suites!(|it| Arc::new(Layered::new(
        Layered::new(it, FailsEveryOther::new()),
        retry().with_retries(100)
    )));
}

mod timeout_layer {
    use super::*;
    suites!(|it| Arc::new(Layered::new(it, timeout())));
}

mod trace_layer {
    use super::*;
    suites!(|it| Arc::new(Layered::new(it, trace())));
}

mod limit_layer {
    use super::*;
    suites!(|it| Arc::new(Layered::new(it, limit())));
}

mod all_layers {
    use super::*;
    suites!(|it| {
        let it = Layered::new(Layered::new(it, limit()), timeout());
        Arc::new(Layered::new(Layered::new(it, retry()), Arc::new(trace())))
    });
}
