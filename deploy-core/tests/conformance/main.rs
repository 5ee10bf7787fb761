//! The kit on the in-memory reference, on its smart pointers, and on every layer around it.
#![cfg(feature = "conformance")]
mod harness;

use harness::{Real, Through};

/// The suites of `$Trait`s, over what `$wrap` makes of a plain backend.
macro_rules! suites {
    ($wrap:expr) => {
        suites! { @ $wrap;
            artifact_store_conformance as artifact_store: core, concurrent;
            authorizer_conformance as authorizer: core;
            executor_conformance as executor: core, durable, concurrent;
            host_inventory_conformance as host_inventory: core, concurrent;
            journal_conformance as journal: core, concurrent;
            lease_store_conformance as lease_store: core, concurrent;
            log_store_conformance as log_store: core, concurrent;
            notifier_conformance as notifier: core;
            scheduler_conformance as scheduler: core;
            service_registry_conformance as service_registry: core, concurrent;
        }
    };
    (@ $wrap:expr; $($suite:ident as $name:ident: $($tier:ident),+;)+) => { $(
        mod $name {
            use super::*;
            deploy_core::$suite!(Through($wrap), $($tier),+);
        }
    )+ };
}

mod plain {
    use super::*;
    suites!(|it| it);
    mod clock {
        use super::*;
        deploy_core::clock_conformance!(Through(|it| it), core);
    }
}

mod system_clock {
    use super::*;
    deploy_core::clock_conformance!(Real, core);
}
