//! Cases for [`Notifier`].
use super::{Harness, eventually, race};
use crate::backend::{Notification, Notifier};
use std::sync::Arc;

/// Sees what people are told.
///
/// ```
/// # use deploy_core::{backend::{Notification, Notifier}, conformance::Harness, memory::MemoryNotifier};
/// # use std::sync::Arc;
/// use deploy_core::conformance::notifier::NotifierHarness;
/// # struct InMemory;
/// # impl Harness<dyn Notifier> for InMemory {
/// #     type Guard = Arc<MemoryNotifier>;
/// #     async fn fresh(&self) -> (Arc<dyn Notifier>, Arc<MemoryNotifier>) {
/// #         let notifier = Arc::new(MemoryNotifier::new());
/// #         (notifier.clone(), notifier)
/// #     }
/// # }
///
/// impl NotifierHarness for InMemory {
///     async fn delivered(&self, notifier: &Arc<MemoryNotifier>) -> Vec<Notification> {
///         notifier.delivered()
///     }
/// }
///
/// deploy_core::notifier_conformance!(InMemory, core);
/// ```
pub trait NotifierHarness: Harness<dyn Notifier> {
    /// All that was delivered so far.
    fn delivered(&self, guard: &Self::Guard) -> impl Future<Output = Vec<Notification>> + Send;
}

fn about(key: &str) -> Notification {
    Notification::new(key, format!("{key} happened"), "line one\nline two: ä, \", \\, <b>")
}

async fn arrived<H: NotifierHarness>(
    harness: &H,
    guard: &H::Guard,
    count: usize,
) -> Vec<Notification> {
    eventually("what was accepted is delivered", || async {
        harness.delivered(guard).await.len() >= count
    })
    .await;
    harness.delivered(guard).await
}

/// > A notification that was accepted is delivered at least once.
pub async fn what_is_accepted_is_delivered<H: NotifierHarness>(harness: &H) {
    let (notifier, guard) = harness.fresh().await;
    for key in ["a", "b"] {
        notifier.notify(&about(key)).await.unwrap();
    }
    let delivered = arrived(harness, &guard, 2).await;
    assert!(delivered.contains(&about("a")) && delivered.contains(&about("b")), "{delivered:?}");
}

/// > A second one with the same key is accepted and not delivered again.
pub async fn the_same_key_is_delivered_once<H: NotifierHarness>(harness: &H) {
    let (notifier, guard) = harness.fresh().await;
    let told = (0..4).map(|_| {
        let notifier = Arc::clone(&notifier);
        async move { notifier.notify(&about("a")).await }
    });
    for done in race(told).await {
        done.unwrap();
    }
    notifier.notify(&Notification::new("a", "told again", "in other words")).await.unwrap();
    notifier.notify(&about("b")).await.unwrap();
    let delivered = arrived(harness, &guard, 2).await;
    let about_a = delivered.iter().filter(|it| it.key == "a").count();
    assert_eq!((about_a, delivered.len()), (1, 2), "{delivered:?}");
}

/// One test for each case of [`Notifier`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! notifier_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::notifier_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            notifier, $harness;
            what_is_accepted_is_delivered
            the_same_key_is_delivered_once
        }
    };
}
