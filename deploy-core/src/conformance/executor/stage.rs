use super::{Act, ExecutorHarness, ScriptedStep, scene::Scene};
use crate::{
    backend::{
        AttemptReport, AttemptRequest, BackendResult, ErrorKind, Observed, StageReport,
        StageRequest,
    },
    conformance::{refused, sample::name},
    id::Seq,
    spec::StepName,
};

impl<H: ExecutorHarness> Scene<'_, H> {
    async fn stage(&self, attempt: &AttemptRequest) -> BackendResult<StageReport> {
        let request = StageRequest::new(attempt.on.clone(), attempt.artifacts());
        self.executor.stage(&self.execute, &request).await
    }

    /// The first attempt at a release that was on no host before.
    async fn fresh_attempt(&self) -> AttemptRequest {
        let steps = [ScriptedStep::new(StepName::Install, [Act::Activate])];
        self.attempt(1, &self.release("one", &steps).await)
    }
}

fn stages<H: ExecutorHarness>(scene: &Scene<'_, H>) -> bool {
    let host = scene.harness.on(&scene.guard).host;
    scene.executor.capabilities_on(&host).stage
}

/// > It starts nothing, raises no fence
pub async fn what_is_staged_does_not_run<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !stages(&scene) {
        return;
    }
    let attempt = scene.fresh_attempt().await;
    scene.stage(&attempt).await.unwrap();
    assert_eq!(scene.observed().await, Observed::new(None, Seq::ZERO, None));
    assert_eq!(scene.runs(StepName::Install).await, 0);
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::Succeeded);
    assert_eq!(scene.observed().await.release, Some(name("one")));
    assert_eq!(scene.runs(StepName::Install).await, 1);
}

/// > `stage` has the host fetch and verify what it will need, and answers once it has all of it. […] asked again fetches only
/// > what is missing.
pub async fn what_is_there_is_not_fetched_again<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !stages(&scene) {
        return;
    }
    let attempt = scene.fresh_attempt().await;
    let size: u64 = attempt.artifacts().iter().map(|it| it.size).sum();
    assert_eq!(scene.stage(&attempt).await.unwrap().fetched, size);
    assert_eq!(scene.stage(&attempt).await.unwrap().fetched, 0);
    let steps = [ScriptedStep::new(StepName::Install, [Act::Activate, Act::Print(b"2".to_vec())])];
    let mut both = attempt.artifacts();
    let other = scene.attempt(2, &scene.release("two", &steps).await).artifacts();
    let missing: u64 = other.iter().filter(|it| !both.contains(it)).map(|it| it.size).sum();
    both.extend(other);
    let request = StageRequest::new(attempt.on.clone(), both);
    let staged = scene.executor.stage(&scene.execute, &request).await.unwrap();
    assert_eq!(staged.fetched, missing);
}

/// > What the capabilities leave out is `Unsupported`.
pub async fn hosts_that_stage_nothing_say_so<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if stages(&scene) {
        return;
    }
    let attempt = scene.fresh_attempt().await;
    refused(scene.stage(&attempt).await, ErrorKind::Unsupported);
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::Succeeded);
}
