use async_trait::async_trait;
use deploy_core::{
    backend::{BackendResult, Placement, PlacementRequest, Scheduler},
    conformance::Harness,
    memory::SpreadScheduler,
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

sabotages! {
    ChoosesTheFirstGiven,
    ChoosesTwice,
    ForgetsWhatRuns,
    HidesWhatIsMissing,
    KeepsWhatIsGone,
    TakesOneTooMany,
    ThrowsDice,
}

pub(crate) struct Bad(pub(crate) Sabotage);

impl Harness<dyn Scheduler> for Bad {
    type Guard = ();

    async fn fresh(&self) -> (Arc<dyn Scheduler>, ()) {
        (Arc::new(Saboteur { asked: AtomicU64::new(0), sabotage: self.0 }), ())
    }
}

#[derive(Debug)]
struct Saboteur {
    asked: AtomicU64,
    sabotage: Sabotage,
}

#[async_trait]
impl Scheduler for Saboteur {
    async fn place(&self, request: &PlacementRequest) -> BackendResult<Placement> {
        let mut request = request.clone();
        match self.sabotage {
            Sabotage::ForgetsWhatRuns => request.current.clear(),
            Sabotage::TakesOneTooMany => request.count += 1,
            Sabotage::ThrowsDice => request.seed = self.asked.fetch_add(1, SeqCst),
            _ => {}
        }
        let mut placement = SpreadScheduler::new().place(&request).await?;
        let count = placement.chosen.len();
        match self.sabotage {
            Sabotage::ChoosesTheFirstGiven => {
                let given = request.hosts.iter().map(|it| (it.name.clone(), "given".to_owned()));
                placement.chosen = given.take(count).collect();
            }
            Sabotage::ChoosesTwice if count > 1 => {
                let first = placement.chosen[0].clone();
                placement.chosen[count - 1] = first;
            }
            Sabotage::HidesWhatIsMissing => placement.missing = 0,
            Sabotage::KeepsWhatIsGone => {
                let current = request.current.iter().map(|it| (it.clone(), "runs it".to_owned()));
                placement.chosen.splice(..request.current.len().min(count), current.take(count));
            }
            _ => {}
        }
        Ok(placement)
    }
}
