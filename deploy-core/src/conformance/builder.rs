//! Cases for [`Builder`].
use super::{Harness, eventually, permit, refused, sample};
use crate::{
    access::{Action, Permit, Resource},
    backend::{Build, BuildFault, BuildOutput, BuildRequest, BuildState, Builder, ListBuilds},
    digest::Digest,
    error::ErrorKind,
    id::BuildId,
    spec::{BuildLimits, Recipe, Source},
};
use sample::name;
use std::{sync::Arc, time::Duration};
use tokio::io::AsyncReadExt as _;

/// Has a source that can be built. Commands of cases are `cp FROM TO`, `echo WORD`, `exit CODE` and `sleep SECONDS`, as `sh` has them.
///
/// ```
/// # use deploy_core::{backend::Builder, conformance::Harness, memory::{MemoryBuilder, SystemClock}, spec::Source};
/// # use std::sync::Arc;
/// use deploy_core::conformance::builder::BuilderHarness;
/// # struct InMemory;
/// # impl Harness<dyn Builder> for InMemory {
/// #     type Guard = MemoryBuilder;
/// #     async fn fresh(&self) -> (Arc<dyn Builder>, MemoryBuilder) {
/// #         let builder = MemoryBuilder::new(Arc::new(SystemClock::new()));
/// #         (Arc::new(builder.clone()), builder)
/// #     }
/// # }
///
/// impl BuilderHarness for InMemory {
///     async fn commit(&self, builder: &MemoryBuilder, input: &str) -> Source {
///         let source = Source::new("https://git.example.com/web".parse().unwrap());
///         builder.commit(&source.remote, [("input".to_owned(), input.to_owned())].into());
///         source
///     }
/// }
///
/// deploy_core::builder_conformance!(InMemory, core);
/// ```
pub trait BuilderHarness: Harness<dyn Builder> {
    /// Makes `main` of a source, which is always the same, a commit whose only file is `input`, with this text in it.
    fn commit(&self, guard: &Self::Guard, input: &str) -> impl Future<Output = Source> + Send;
}

/// A builder, its source, and somebody who may build.
struct Scene<'a, H: BuilderHarness> {
    harness: &'a H,
    guard: H::Guard,
    builder: Arc<dyn Builder>,
    source: Source,
    permit: Permit,
}

impl<'a, H: BuilderHarness> Scene<'a, H> {
    async fn new(harness: &'a H) -> Self {
        let (builder, guard) = harness.fresh().await;
        let source = harness.commit(&guard, "one").await;
        let permit = permit(Action::BuildRun, Resource::Service(name("web"))).await;
        Self { harness, guard, builder, source, permit }
    }

    fn request(&self, commands: &[&str]) -> BuildRequest {
        let commands = commands.iter().map(|it| (*it).to_owned()).collect();
        let recipe = Recipe::new(commands, [(name("output"), name("output"))].into());
        BuildRequest::new(name("web"), self.source.clone(), name("main"), recipe)
    }

    async fn submit(&self, commands: &[&str]) -> Build {
        self.builder.submit(&self.permit, &self.request(commands)).await.unwrap()
    }

    async fn over(&self, build: &Build) -> Build {
        let so = || async { self.builder.build(&build.id).await.unwrap().state.is_over() };
        eventually("the build is over", so).await;
        self.builder.build(&build.id).await.unwrap()
    }

    async fn build(&self, commands: &[&str]) -> Build {
        self.over(&self.submit(commands).await).await
    }

    /// The lines that the commands of a build have printed, without what the builder itself says.
    async fn printed(&self, build: &Build) -> Vec<String> {
        let log = self.builder.log(&build.id, 0, 1 << 20).await.unwrap();
        assert!(log.is_last, "the log of a build that is over has no end");
        let text = String::from_utf8(log.bytes).unwrap();
        text.lines().filter(|it| !it.starts_with("== ")).map(str::to_owned).collect()
    }
}

const COPY: &str = "cp input output";

/// > `submit` takes a build in and answers at once; from then on `build` and `builds` show it, the newest first.
pub async fn what_was_submitted_is_shown<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let one = scene.submit(&["sleep 1", COPY]).await;
    assert_eq!((one.state, &one.request), (BuildState::Queued, &scene.request(&["sleep 1", COPY])));
    let two = scene.submit(&[COPY]).await;
    assert_eq!(scene.builder.build(&two.id).await.unwrap().request, two.request);
    let ids = |builds: Vec<Build>| builds.into_iter().map(|it| it.id).collect::<Vec<_>>();
    let all = scene.builder.builds(&ListBuilds::default()).await.unwrap();
    assert_eq!(ids(all), [two.id.clone(), one.id]);
    let newest = scene.builder.builds(&ListBuilds::default().with_limit(1)).await.unwrap();
    assert_eq!(ids(newest), [two.id]);
    let others = ListBuilds::default().with_service(name("api"));
    assert_eq!(ids(scene.builder.builds(&others).await.unwrap()), []);
}

/// > A build that succeeded says which commit its revision named, and `open` gives what its report says, byte for byte.
pub async fn outputs_are_what_the_report_says<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let made = scene.build(&[COPY]).await;
    assert_eq!(made.state, BuildState::Succeeded, "{made:?}");
    assert!(made.commit.is_some() && made.started_at.is_some() && made.ended_at.is_some());
    let report = made.report.unwrap();
    for output in [BuildOutput::Package, BuildOutput::Provenance] {
        let mut bytes = Vec::new();
        let mut reader = scene.builder.open(&made.id, output).await.unwrap();
        reader.read_to_end(&mut bytes).await.unwrap();
        let artifact = report.artifact(output).unwrap();
        assert_eq!((Digest::of(&bytes), bytes.len() as u64), (artifact.digest, artifact.size));
    }
}

/// > The same commit by the same recipe is built once
pub async fn the_same_is_built_once<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let one = scene.build(&[COPY, "echo one"]).await;
    let two = scene.build(&[COPY, "echo one"]).await;
    assert_eq!(
        (two.state, two.same_as, &two.report),
        (BuildState::Succeeded, Some(one.id), &one.report)
    );
    assert!(
        !scene
            .printed(&scene.builder.build(&two.id).await.unwrap())
            .await
            .contains(&"one".to_owned())
    );
}

/// > Another commit, or another recipe, is another build.
pub async fn another_source_or_recipe_is_built<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let one = scene.build(&[COPY]).await;
    let other_recipe = scene.build(&[COPY, "echo more"]).await;
    assert_eq!((other_recipe.state, other_recipe.same_as), (BuildState::Succeeded, None));
    scene.harness.commit(&scene.guard, "two").await;
    let other_commit = scene.build(&[COPY]).await;
    assert_eq!((other_commit.state, &other_commit.same_as), (BuildState::Succeeded, &None));
    assert_ne!(other_commit.commit, one.commit);
    let package = |it: &Build| it.report.as_ref().unwrap().package;
    assert_ne!(package(&other_commit), package(&one));
}

/// > Commands run in order, and the first that fails ends the build. What failed is built again when it is asked for again.
pub async fn the_first_failure_ends_a_build<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    for _ in 0..2 {
        let made = scene.build(&["echo one", "echo two", "exit 3", "echo three"]).await;
        assert_eq!((made.state, &made.same_as, &made.report), (BuildState::Failed, &None, &None));
        assert_eq!(made.failure.as_ref().unwrap().fault, BuildFault::CommandFailed);
        assert_eq!(scene.printed(&made).await, ["one", "two"]);
    }
}

/// > A revision that is not there is `RevisionUnknown`, an output that is not there `OutputMissing`.
pub async fn what_is_missing_is_named<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let mut elsewhere = scene.request(&[COPY]);
    elsewhere.revision = name("elsewhere");
    let build = scene.builder.submit(&scene.permit, &elsewhere).await.unwrap();
    let fault = |it: Build| it.failure.map(|it| it.fault);
    assert_eq!(fault(scene.over(&build).await), Some(BuildFault::RevisionUnknown));
    assert_eq!(fault(scene.build(&["echo nothing"]).await), Some(BuildFault::OutputMissing));
}

/// > `log` gives what was printed, in order, from an offset on and no more than asked for, and says once nothing comes any more.
pub async fn a_log_is_read_in_pieces<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let running = scene.submit(&["echo one", "sleep 1", "echo two", COPY]).await;
    let first = scene.builder.log(&running.id, 0, 1 << 20).await.unwrap();
    assert!(!first.is_last, "more comes");
    let over = scene.over(&running).await;
    let whole = scene.builder.log(&over.id, 0, 1 << 20).await.unwrap();
    assert!(whole.is_last && whole.bytes.starts_with(&first.bytes));
    let mut pieces: Vec<u8> = Vec::new();
    loop {
        let piece = scene.builder.log(&over.id, pieces.len() as u64, 3).await.unwrap();
        assert!(piece.bytes.len() <= 3, "more than was asked for");
        pieces.extend_from_slice(&piece.bytes);
        if piece.is_last {
            break;
        }
        assert!(!piece.bytes.is_empty(), "nothing came, and it was not the last");
    }
    assert_eq!(pieces, whole.bytes);
    assert_eq!(scene.printed(&over).await, ["one", "two"]);
}

/// > Builds of a service begin in the order in which they came, one after another.
pub async fn builds_of_a_service_go_in_turn<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let mut builds = Vec::new();
    for word in ["one", "two", "three"] {
        builds.push(scene.submit(&[&format!("echo {word}"), "sleep 1", COPY]).await);
    }
    let mut before = None;
    for build in builds {
        let build = scene.over(&build).await;
        assert!(build.started_at >= before, "it began before the one before was over");
        before = build.ended_at;
    }
}

/// > `cancel` keeps a build from beginning, or ends what it does; a build that is over stays what it is, which is no error.
pub async fn a_build_can_be_cancelled<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let running = scene.submit(&["sleep 1000"]).await;
    let so =
        || async { scene.builder.build(&running.id).await.unwrap().state == BuildState::Building };
    eventually("it runs", so).await;
    let waiting = scene.submit(&[COPY]).await;
    scene.builder.cancel(&scene.permit, &waiting.id).await.unwrap();
    let waiting = scene.over(&waiting).await;
    assert_eq!((waiting.state, waiting.started_at), (BuildState::Cancelled, None));
    scene.builder.cancel(&scene.permit, &running.id).await.unwrap();
    assert_eq!(scene.over(&running).await.state, BuildState::Cancelled);
    let made = scene.build(&[COPY]).await;
    scene.builder.cancel(&scene.permit, &made.id).await.unwrap();
    assert_eq!(scene.builder.build(&made.id).await.unwrap(), made);
}

/// > Commands that take longer than the recipe allows are ended, and the build is `TimedOut`.
pub async fn a_build_has_its_time<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let mut request = scene.request(&["sleep 1000", COPY]);
    let limits = BuildLimits { time: Duration::from_millis(300), ..BuildLimits::default() };
    request.recipe = request.recipe.with_limits(limits);
    let build = scene.builder.submit(&scene.permit, &request).await.unwrap();
    assert_eq!(scene.over(&build).await.state, BuildState::TimedOut);
}

/// > A recipe that cannot be carried out is `InvalidInput`, and no build.
pub async fn an_impossible_recipe_is_no_build<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let mut request = scene.request(&[COPY]);
    request.recipe.outputs.clear();
    refused(scene.builder.submit(&scene.permit, &request).await, ErrorKind::InvalidInput);
    assert!(scene.builder.builds(&ListBuilds::default()).await.unwrap().is_empty());
}

/// > So is a request for hosts that are not there, or that a builder without hosts gets.
pub async fn no_hosts_build_nothing<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let request = scene.request(&[COPY]).with_on(Some(name("nobody=here")));
    refused(scene.builder.submit(&scene.permit, &request).await, ErrorKind::InvalidInput);
    assert!(scene.builder.builds(&ListBuilds::default()).await.unwrap().is_empty());
}

/// > A build that is not there is `NotFound`
pub async fn what_is_not_there_is_not_found<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let none: BuildId = name("b4711");
    refused(scene.builder.build(&none).await, ErrorKind::NotFound);
    refused(scene.builder.cancel(&scene.permit, &none).await, ErrorKind::NotFound);
    refused(scene.builder.log(&none, 0, 10).await, ErrorKind::NotFound);
    let opened = scene.builder.open(&none, BuildOutput::Package).await.map(drop);
    refused(opened, ErrorKind::NotFound);
}

/// > so is an output that a build has not made.
pub async fn what_was_not_made_is_not_found<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let (failed, made) = (scene.build(&["exit 1"]).await, scene.build(&[COPY]).await);
    for (build, output) in [(failed, BuildOutput::Package), (made, BuildOutput::Descriptor)] {
        refused(scene.builder.open(&build.id, output).await.map(drop), ErrorKind::NotFound);
    }
}

/// > A permit for another action or service is `PermissionDenied`: `submit` and `cancel` take `BuildRun` on the service.
pub async fn a_permit_is_asked_for<H: BuilderHarness>(harness: &H) {
    let scene = Scene::new(harness).await;
    let build = scene.submit(&["sleep 1", COPY]).await;
    for permit in [
        permit(Action::ServiceWrite, Resource::Service(name("web"))).await,
        permit(Action::BuildRun, Resource::Service(name("api"))).await,
    ] {
        let submitted = scene.builder.submit(&permit, &scene.request(&[COPY])).await;
        refused(submitted, ErrorKind::PermissionDenied);
        let cancelled = scene.builder.cancel(&permit, &build.id).await;
        refused(cancelled, ErrorKind::PermissionDenied);
    }
    assert_eq!(scene.over(&build).await.state, BuildState::Succeeded);
}

/// One test for each case of [`Builder`]; see [`conformance`](crate::conformance).
#[macro_export]
macro_rules! builder_conformance {
    ($harness:expr, $($tier:ident),+ $(,)?) => {
        $( $crate::builder_conformance!(@$tier [$crate::conformance_tests] $harness); )+
    };
    (@core [$($then:tt)+] $harness:expr) => {
        $($then)+! {
            builder, $harness;
            what_was_submitted_is_shown
            outputs_are_what_the_report_says
            the_same_is_built_once
            another_source_or_recipe_is_built
            the_first_failure_ends_a_build
            what_is_missing_is_named
            a_log_is_read_in_pieces
            builds_of_a_service_go_in_turn
            a_build_can_be_cancelled
            a_build_has_its_time
            an_impossible_recipe_is_no_build
            no_hosts_build_nothing
            what_is_not_there_is_not_found
            what_was_not_made_is_not_found
            a_permit_is_asked_for
        }
    };
}
