use super::{Act, ExecutorHarness, ScriptedStep, scene::Scene};
use crate::{
    backend::{AttemptReport, BackendResult, CollectRequest, Observed, Piece},
    conformance::{refused, sample::name},
    error::ErrorKind,
    id::Seq,
    spec::StepName,
};

impl<H: ExecutorHarness> Scene<'_, H> {
    /// What is to be collected of the attempt `generation`.
    pub(super) fn output(&self, generation: u64, output: &str) -> CollectRequest {
        let on = self.harness.on(&self.guard);
        CollectRequest::new(on, Seq::new(generation), self.token(generation), name(output))
    }

    pub(super) async fn collect(&self, request: &CollectRequest) -> BackendResult<Piece> {
        self.executor.collect(&self.execute, request).await
    }
}

pub(super) fn collects<H: ExecutorHarness>(scene: &Scene<'_, H>) -> bool {
    let host = scene.harness.on(&scene.guard).host;
    scene.executor.capabilities_on(&host).collect
}

/// All bytes that there are, and no piece of them like another.
fn sample_bytes() -> Vec<u8> {
    (0..15_000_u32).flat_map(|it| it.to_be_bytes()).collect()
}

/// > `collect` gives the files that the steps of an attempt have put into the folder `$DEPLOY_OUTPUT`: a piece of one, from an
/// > offset on and no more than asked for, and how large it is. At its end the piece is empty. They are there for as long as the
/// > attempt's result.
pub async fn what_steps_leave_is_collected<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !collects(&scene) {
        return;
    }
    let (bytes, more) = (sample_bytes(), name("b_2.tar.gz"));
    let steps = [
        ScriptedStep::new(StepName::Install, [Act::Output(name("a-1"), bytes.clone())]),
        ScriptedStep::new(StepName::Start, [Act::Output(more, b"more".to_vec()), Act::Exit(3)]),
    ];
    let attempt = scene.attempt(1, &scene.release("one", &steps).await);
    scene.run(&attempt).await.unwrap();
    let newer = scene.release("two", &[ScriptedStep::new(StepName::Install, [])]).await;
    scene.run(&scene.attempt(2, &newer)).await.unwrap();
    let size = bytes.len() as u64;
    let mut got = Vec::new();
    loop {
        let request = scene.output(1, "a-1").from(got.len() as u64).with_limit(25_000);
        let piece = scene.collect(&request).await.unwrap();
        assert!(piece.bytes.len() <= 25_000, "more than was asked for");
        assert_eq!(piece.size, size);
        if piece.bytes.is_empty() {
            break;
        }
        got.extend(piece.bytes);
        assert!(bytes.starts_with(&got), "other bytes than were left");
    }
    assert_eq!(got.len(), bytes.len());
    let more = scene.collect(&scene.output(1, "b_2.tar.gz")).await.unwrap();
    assert_eq!(more, Piece::new(b"more".to_vec(), 4));
}

/// > To collect what is not there is `NotFound`, whether the file is missing, is something else than a file, or the attempt never
/// > started.
pub async fn what_was_not_left_is_not_found<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if !collects(&scene) {
        return;
    }
    refused(scene.collect(&scene.output(7, "a")).await, ErrorKind::NotFound);
    assert_eq!(scene.observed().await, Observed::new(None, Seq::ZERO, None));
    let release = scene.install([Act::Output(name("a"), b"one".to_vec())]).await;
    assert_eq!(scene.run(&scene.attempt(1, &release)).await.unwrap().0, AttemptReport::Succeeded);
    refused(scene.collect(&scene.output(1, "b")).await, ErrorKind::NotFound);
    refused(scene.collect(&scene.output(2, "a")).await, ErrorKind::NotFound);
    assert_eq!(scene.observed().await.fence, Seq::new(1));
    assert_eq!(scene.collect(&scene.output(1, "a")).await.unwrap().bytes, b"one");
}

/// > What the capabilities leave out is `Unsupported`.
pub async fn hosts_that_give_nothing_back_say_so<H: ExecutorHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    if collects(&scene) {
        return;
    }
    refused(scene.collect(&scene.output(1, "a")).await, ErrorKind::Unsupported);
}
