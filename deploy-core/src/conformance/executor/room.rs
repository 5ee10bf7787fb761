use super::{Act, ExecutorHarness, ScriptedStep, scene::Scene};
use crate::{
    backend::{AttemptReport, AttemptRequest, BackendResult, Observed},
    conformance::{refused, sample::name},
    error::ErrorKind,
    id::Seq,
    plan::DiskRoom,
    spec::StepName,
};

impl<H: ExecutorHarness> Scene<'_, H> {
    pub(super) async fn room(&self, attempt: &AttemptRequest) -> BackendResult<Vec<DiskRoom>> {
        self.executor.room(&self.observe, attempt).await
    }

    async fn activating(&self) -> AttemptRequest {
        let steps = [ScriptedStep::new(StepName::Install, [Act::Activate])];
        self.attempt(1, &self.release("one", &steps).await)
    }
}

pub(super) fn tells_room<H: ExecutorHarness>(scene: &Scene<'_, H>) -> bool {
    let host = scene.harness.on(&scene.guard).host;
    scene.executor.capabilities_on(&host).room
}

fn needed(disks: &[DiskRoom]) -> u64 {
    disks.iter().map(|it| it.needed_bytes).sum()
}

/// > `room` says what an attempt that was not started would take of each file system of its host, and what is free there. What is
/// > there already is not counted. It starts nothing, raises no fence, and looks neither at the attempt's generation nor at its
/// > token.
pub async fn asking_for_room_takes_none<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !tells_room(&scene) {
        return;
    }
    let attempt = scene.activating().await;
    let before = scene.room(&attempt).await.unwrap();
    assert!(!before.is_empty(), "no file system is named");
    assert!(before.iter().all(|it| !it.is_short()), "{before:?}");
    let mut later = attempt.clone();
    (later.generation, later.token) = (Seq::new(9), scene.token(9));
    assert_eq!(needed(&scene.room(&later).await.unwrap()), needed(&before));
    assert_eq!(scene.observed().await, Observed::new(None, Seq::ZERO, None));
    assert_eq!(scene.runs(StepName::Install).await, 0);
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::Succeeded);
    assert_eq!(scene.observed().await.release, Some(name("one")));
    let after = scene.room(&later).await.unwrap();
    let (size, less) = (attempt.release.descriptor.size, needed(&before) - needed(&after));
    // Of a host that needs nothing any more less may have to stay free.
    assert!(less >= size, "what is there is counted: {less} of {size}");
    assert_eq!(scene.observed().await.fence, Seq::new(1));
}

/// > What `room` finds to be missing makes `run` of the attempt `NoSpace`, before anything of it is fetched.
pub async fn what_has_no_room_is_refused<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !tells_room(&scene) || !harness.fill(&scene.guard).await {
        return;
    }
    let attempt = scene.activating().await;
    let disks = scene.room(&attempt).await.unwrap();
    let missing: u64 = disks.iter().map(DiskRoom::missing_bytes).sum();
    assert!(missing > 0 && disks.iter().any(DiskRoom::is_short), "{disks:?}");
    refused(scene.run(&attempt).await, ErrorKind::NoSpace);
    assert_eq!(needed(&scene.room(&attempt).await.unwrap()), needed(&disks), "some was fetched");
    assert_eq!(scene.runs(StepName::Install).await, 0);
}

/// > What the capabilities leave out is `Unsupported`.
pub async fn hosts_that_tell_no_room_say_so<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if tells_room(&scene) {
        return;
    }
    let attempt = scene.activating().await;
    refused(scene.room(&attempt).await, ErrorKind::Unsupported);
    assert_eq!(scene.run(&attempt).await.unwrap().0, AttemptReport::Succeeded);
}
