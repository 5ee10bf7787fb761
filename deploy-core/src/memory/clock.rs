use crate::{backend::Clock, time::Timestamp};
use async_trait::async_trait;
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct ManualClock {
    now: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now: watch::Sender::new(now) }
    }

    /// Lets `by` pass, and wakes who has waited long enough.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = now.after(by));
    }

    /// How many wait for a later time.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.now.receiver_count()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, at: Timestamp) {
        if self.now() < at {
            let mut changes = self.now.subscribe();
            // It fails only once the sender is gone, and `self` holds that.
            drop(changes.wait_for(|now| *now >= at).await);
        }
    }
}

/// The clock of the operating system: the only place in the library that reads it.
///
/// It follows the system's clock also where somebody sets that: windows and freezes are about the time on the wall.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

impl SystemClock {
    /// The clock.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the `Clock` that time enters through")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(0).after(since)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the `Clock` that waiting goes through")]
    async fn sleep_until(&self, at: Timestamp) {
        // Short naps, because the clock may be set, and the machine suspended, while somebody waits.
        const NAP: Duration = Duration::from_secs(30);
        loop {
            let left = at.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(NAP)).await;
        }
    }
}

/// The clock of the tokio runtime, which tests can pause: then time jumps to the next wake-up whenever nothing else is to do.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: Timestamp,
    started: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that shows `start` now and goes on from there.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is a `Clock` that time enters through")]
    pub fn at(start: Timestamp) -> Self {
        Self { start, started: tokio::time::Instant::now() }
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        self.start.after(self.started.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        tokio::time::sleep_until(self.started + at.since(self.start)).await;
    }
}
