//! Cases for [`Clock`].
use super::Harness;
use crate::{backend::Clock, time::Timestamp};
use std::{future::poll_fn, pin::Pin, sync::Arc, task::Poll, time::Duration};
use tokio::{sync::oneshot, time::timeout};

/// Can let time pass.
///
/// ```
/// # use deploy_core::{backend::Clock, conformance::Harness, memory::ManualClock, time::Timestamp};
/// # use std::{sync::Arc, time::Duration};
/// use deploy_core::conformance::clock::ClockHarness;
/// # struct Manual;
/// # impl Harness<dyn Clock> for Manual {
/// #     type Guard = Arc<ManualClock>;
/// #     async fn fresh(&self) -> (Arc<dyn Clock>, Arc<ManualClock>) {
/// #         let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_000)));
/// #         (clock.clone(), clock)
/// #     }
/// # }
///
/// impl ClockHarness for Manual {
///     async fn pass(&self, clock: &Arc<ManualClock>, by: Duration) {
///         clock.advance(by);
///     }
/// }
///
/// deploy_core::clock_conformance!(Manual, core);
/// ```
pub trait ClockHarness: Harness<dyn Clock> {
    /// Lets at least `by` pass on the clock, with everything that waits for it woken.
    fn pass(&self, guard: &Self::Guard, by: Duration) -> impl Future<Output = ()> + Send;
}

/// How long a case waits for what should come at once.
const SOON: Duration = Duration::from_secs(10);
const NAP: Duration = Duration::from_millis(100);

/// > `now` never goes back by itself
pub async fn now_never_goes_back<H: ClockHarness>(harness: &H) {
    let (clock, guard) = harness.fresh().await;
    let mut last = clock.now();
    for _ in 0..20 {
        for _ in 0..100 {
            let now = clock.now();
            assert!(now >= last, "{now} after {last}");
            last = now;
        }
        harness.pass(&guard, Duration::from_millis(5)).await;
        assert!(clock.now() >= last.after(Duration::from_millis(5)), "no time has passed");
    }
}

/// > `sleep_until` returns once `now` has reached the instant, and at once for the past.
pub async fn sleep_ends_when_it_is_time<H: ClockHarness>(harness: &H) {
    let (clock, guard) = harness.fresh().await;
    let start = clock.now();
    for past in [Timestamp::from_millis(0), start] {
        timeout(SOON, clock.sleep_until(past)).await.expect("the past is over");
    }
    let mut sleepers = Vec::new();
    for naps in [3, 1, 2] {
        let end = start.after(NAP * naps);
        let mut sleep = clock.sleep_until(end);
        assert!(poll_once(&mut sleep).await.is_pending(), "a sleep was over before it began");
        sleepers.push((end, sleep));
    }
    for _ in 0..3 {
        harness.pass(&guard, NAP).await;
    }
    for (end, sleep) in sleepers {
        timeout(SOON, sleep).await.expect("time has passed, and nobody woke");
        assert!(clock.now() >= end, "woke at {}, before {end}", clock.now());
    }
}

async fn poll_once<F: Future + Unpin + Send>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}

/// > `sleep_until` returns once `now` has reached the instant
pub async fn sleep_does_not_end_early<H: ClockHarness>(harness: &H) {
    let (clock, guard) = harness.fresh().await;
    let end = clock.now().after(Duration::from_secs(3_600));
    let sleeper = {
        let clock = Arc::clone(&clock);
        tokio::spawn(async move { clock.sleep_until(end).await })
    };
    harness.pass(&guard, NAP).await;
    assert!(timeout(NAP, sleeper).await.is_err(), "an hour was over after a moment");
}

/// > Dropping the future of `sleep_until` ends the wait.
pub async fn dropping_a_sleep_ends_it<H: ClockHarness>(harness: &H) {
    let (clock, guard) = harness.fresh().await;
    let (held, released) = oneshot::channel::<()>();
    let end = clock.now().after(NAP);
    let sleeper = {
        let clock = Arc::clone(&clock);
        tokio::spawn(async move {
            let _held = held;
            clock.sleep_until(end.after(Duration::from_secs(3_600))).await;
        })
    };
    tokio::task::yield_now().await;
    sleeper.abort();
    let ended = timeout(SOON, released).await.expect("who was to sleep an hour goes on sleeping");
    assert!(ended.is_err(), "the sleep was not dropped");
    harness.pass(&guard, NAP).await;
    timeout(SOON, clock.sleep_until(end)).await.expect("the clock has gone on");
}

/// One test for each case of [`Clock`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! clock_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::clock_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            clock, $harness;
            now_never_goes_back
            sleep_ends_when_it_is_time
            sleep_does_not_end_early
            dropping_a_sleep_ends_it
        }
    };
}
