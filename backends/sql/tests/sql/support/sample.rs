//! Values for tests.
pub(crate) use deploy_core::conformance::sample::{
    at, first, host, last, middle, name, release, service, stream,
};

use deploy_core::{
    id::Seq,
    rollout::{Event, Record},
};

/// The record at `seq` of the rollout `r1`, whatever comes before it.
pub(crate) fn record(seq: u64) -> Record {
    match seq {
        1 => first(1, "r1"),
        _ => Record::new(
            Seq::new(seq),
            at(seq),
            name("r1"),
            Event::AttemptFound { host: name("h1"), generation: Seq::new(seq) },
        ),
    }
}
