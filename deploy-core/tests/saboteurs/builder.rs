use async_trait::async_trait;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactReader, BackendError, BackendResult, Build, BuildFault, BuildLog, BuildOutput,
        BuildRequest, BuildState, Builder, ErrorKind, ListBuilds,
    },
    conformance::{Harness, builder::BuilderHarness, permit, sample},
    id::BuildId,
    memory::{MemoryBuilder, SystemClock},
    spec::{BuildLimits, Source},
};
use std::{io::Cursor, sync::Arc};

sabotages! {
    BuildsAnywhere,
    BuildsEverythingAgain,
    BuildsNothingAgain,
    CancelsNothing,
    GivesOtherBytes,
    GivesWhatWasNotMade,
    GoesOnAfterAFailure,
    HasNoTimeLimit,
    IgnoresPermits,
    MisnamesWhatIsMissing,
    ListsTheOldestFirst,
    LogsWithoutLimit,
    NamesNoFault,
    StartsAllAtOnce,
    TakesAnyRecipe,
}

pub(crate) struct Bad(pub(crate) Sabotage);

impl Harness<dyn Builder> for Bad {
    type Guard = MemoryBuilder;

    async fn fresh(&self) -> (Arc<dyn Builder>, MemoryBuilder) {
        let plain = MemoryBuilder::new(Arc::new(SystemClock::new()));
        (Arc::new(Saboteur(plain.clone(), self.0)), plain)
    }
}

impl BuilderHarness for Bad {
    async fn commit(&self, plain: &MemoryBuilder, input: &str) -> Source {
        let remote = sample::name("https://git.example.com/web");
        plain.commit(&remote, [("input".to_owned(), input.to_owned())].into());
        Source::new(remote)
    }
}

#[derive(Debug)]
struct Saboteur(MemoryBuilder, Sabotage);

impl Saboteur {
    /// What a build is told to be.
    fn told(&self, mut build: Build) -> Build {
        match self.1 {
            Sabotage::BuildsEverythingAgain => build.same_as = None,
            Sabotage::BuildsNothingAgain if build.state == BuildState::Succeeded => {
                build.same_as = Some(sample::name("b1"));
            }
            Sabotage::NamesNoFault => {
                let failure = build.failure.iter_mut();
                failure.for_each(|it| it.fault = BuildFault::Internal);
            }
            Sabotage::StartsAllAtOnce if build.started_at.is_some() => {
                build.started_at = Some(build.queued_at);
            }
            _ => {}
        }
        build
    }
}

#[async_trait]
impl Builder for Saboteur {
    async fn submit(&self, given: &Permit, request: &BuildRequest) -> BackendResult<Build> {
        let mut request = request.clone();
        let mut allowed = given.clone();
        match self.1 {
            Sabotage::BuildsAnywhere => request.on = None,
            Sabotage::GoesOnAfterAFailure => {
                request.recipe.commands.retain(|it| !it.starts_with("exit"));
            }
            Sabotage::HasNoTimeLimit => {
                request.recipe.commands.retain(|it| {
                    request.recipe.limits == BuildLimits::default() || !it.starts_with("sleep")
                });
            }
            Sabotage::IgnoresPermits => allowed = permit(Action::BuildRun, Resource::System).await,
            Sabotage::TakesAnyRecipe if request.recipe.outputs.is_empty() => {
                request.recipe.outputs = [(sample::name("output"), sample::name("output"))].into();
            }
            _ => {}
        }
        self.0.submit(&allowed, &request).await
    }

    async fn build(&self, id: &BuildId) -> BackendResult<Build> {
        match (self.1, self.0.build(id).await) {
            (Sabotage::MisnamesWhatIsMissing, Err(_)) => {
                Err(BackendError::new(ErrorKind::Internal, "build.read"))
            }
            (_, found) => Ok(self.told(found?)),
        }
    }

    async fn builds(&self, request: &ListBuilds) -> BackendResult<Vec<Build>> {
        let mut builds = self.0.builds(request).await?;
        if self.1 == Sabotage::ListsTheOldestFirst {
            builds.reverse();
        }
        Ok(builds)
    }

    async fn cancel(&self, given: &Permit, id: &BuildId) -> BackendResult<Build> {
        match self.1 {
            Sabotage::CancelsNothing => self.0.build(id).await,
            Sabotage::IgnoresPermits => self.0.build(id).await,
            _ => self.0.cancel(given, id).await,
        }
    }

    async fn log(&self, id: &BuildId, offset: u64, limit: usize) -> BackendResult<BuildLog> {
        let limit = if self.1 == Sabotage::LogsWithoutLimit { usize::MAX } else { limit };
        self.0.log(id, offset, limit).await
    }

    async fn open(&self, id: &BuildId, output: BuildOutput) -> BackendResult<ArtifactReader> {
        let bytes: &[u8] = match self.1 {
            Sabotage::GivesOtherBytes => b"other bytes",
            Sabotage::GivesWhatWasNotMade => {
                return match (self.0.open(id, output).await, self.0.build(id).await) {
                    (Err(_), Ok(_)) => Ok(Box::pin(Cursor::new(Vec::new()))),
                    (opened, _) => opened,
                };
            }
            _ => return self.0.open(id, output).await,
        };
        self.0.open(id, output).await?;
        Ok(Box::pin(Cursor::new(bytes)))
    }
}
