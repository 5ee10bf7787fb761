//! Cases for [`Journal`].
use super::Harness;
use crate::{backend::Journal, id::StreamId, rollout::Record};
use std::sync::Arc;

/// Can write what a newer program would have written.
pub trait JournalHarness: Harness<dyn Journal> {
    /// Appends a record whose format this program does not know, as the program that knows it would. A journal whose
    /// `append` refuses such a record needs a way around it here.
    fn plant(
        &self,
        journal: &Arc<dyn Journal>,
        _guard: &Self::Guard,
        stream: &StreamId,
        record: Record,
    ) -> impl Future<Output = ()> + Send {
        async move {
            let head = journal.head(stream).await.unwrap();
            let permit = super::permit(
                crate::access::Action::RolloutControl,
                crate::access::Resource::System,
            )
            .await;
            journal
                .append(&permit, stream, head, &[record])
                .await
                .unwrap();
        }
    }
}

/// One test for each case of [`Journal`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! journal_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => { $( $crate::journal_conformance!(@$tier $harness); )+ };
    (@core $harness:expr) => { $crate::conformance_tests!(journal, $harness;); };
    (@durable $harness:expr) => { $crate::conformance_tests!(journal, $harness;); };
    (@concurrent $harness:expr) => { $crate::conformance_tests!(journal, $harness;); };
}
