use async_trait::async_trait;
use deploy_core::{backend::Clock, time::Timestamp};
use std::time::{Instant, SystemTime};

/// Takes the time once, and goes on from there steadily, whatever is done to the clock of the system.
#[derive(Debug)]
pub(crate) struct SteadyClock {
    start: Timestamp,
    started: Instant,
}

impl SteadyClock {
    #[expect(clippy::disallowed_methods, reason = "this is a `Clock` that time enters through")]
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: Timestamp::from_millis(0).after(since), started: Instant::now() }
    }
}

#[async_trait]
impl Clock for SteadyClock {
    fn now(&self) -> Timestamp {
        self.start.after(self.started.elapsed())
    }

    async fn sleep_until(&self, at: Timestamp) {
        let end = self.started + at.since(self.start);
        tokio::time::sleep_until(end.into()).await;
    }
}
