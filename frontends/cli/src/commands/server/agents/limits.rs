//! Limits that people set, whichever process they set them by.
use deploy_agent_gateway::Rates;
use deploy_core::backend::Clock;
use deploy_operations::LimitFile;
use deploy_wire::Problem;
use std::{sync::Arc, time::Duration};

/// How often it is looked what other processes have set: a limit is to count within a second.
const LOOK: Duration = Duration::from_millis(500);

/// Has limits count as soon as they are set.
#[derive(Debug)]
pub(super) struct LimitKeeper {
    file: Arc<LimitFile>,
    rates: Rates,
    clock: Arc<dyn Clock>,
}

impl LimitKeeper {
    /// Those in `file` count from the beginning on: one that cannot be read must not open a line that somebody has limited.
    pub(super) async fn open(
        file: Arc<LimitFile>,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Rates), Problem> {
        let rates = Rates::new(file.usual_origin());
        rates.set(file.read().await?);
        Ok((Self { file, rates: rates.clone(), clock }, rates))
    }

    /// Looks again and again, for good.
    pub(super) async fn run(&self) {
        let mut newest = self.file.subscribe();
        let mut is_readable = true;
        loop {
            self.rates.set(newest.borrow_and_update().clone());
            tokio::select! {
                biased;
                // The file is there for as long as this is.
                Ok(()) = newest.changed() => {}
                () = self.clock.sleep_until(self.clock.now().after(LOOK)) => {
                    let read = self.file.read().await;
                    if let Some(problem) = read.as_ref().err().filter(|_| is_readable) {
                        tracing::warn!(reason = %problem, "the limits stay as they were");
                    }
                    is_readable = read.is_ok();
                }
            }
        }
    }
}
