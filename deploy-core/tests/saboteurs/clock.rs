use async_trait::async_trait;
use deploy_core::{
    backend::Clock,
    conformance::{Harness, clock::ClockHarness, sample},
    memory::ManualClock,
    time::Timestamp,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

sabotages! {
    GoesBack,
    NeverWakes,
    StandsStill,
    WaitsForThePast,
    WakesAtOnce,
}

pub(crate) struct Bad(pub(crate) Sabotage);

impl Harness<dyn Clock> for Bad {
    type Guard = Arc<ManualClock>;

    async fn fresh(&self) -> (Arc<dyn Clock>, Arc<ManualClock>) {
        let plain = Arc::new(ManualClock::at(sample::at(100)));
        let asked = AtomicU64::new(0);
        (Arc::new(Saboteur { plain: plain.clone(), asked, sabotage: self.0 }), plain)
    }
}

impl ClockHarness for Bad {
    async fn pass(&self, clock: &Arc<ManualClock>, by: Duration) {
        clock.advance(by);
        tokio::task::yield_now().await;
    }
}

#[derive(Debug)]
struct Saboteur {
    plain: Arc<ManualClock>,
    asked: AtomicU64,
    sabotage: Sabotage,
}

#[async_trait]
impl Clock for Saboteur {
    fn now(&self) -> Timestamp {
        let now = self.plain.now();
        match self.sabotage {
            Sabotage::GoesBack => {
                let back = self.asked.fetch_add(1, SeqCst) % 7;
                Timestamp::from_millis(now.as_millis().saturating_sub(back))
            }
            Sabotage::StandsStill => sample::at(100),
            _ => now,
        }
    }

    async fn sleep_until(&self, at: Timestamp) {
        match self.sabotage {
            Sabotage::NeverWakes if at > self.now() => std::future::pending().await,
            Sabotage::WaitsForThePast if at <= self.now() => std::future::pending().await,
            Sabotage::WakesAtOnce => {}
            _ => self.plain.sleep_until(at).await,
        }
    }
}
