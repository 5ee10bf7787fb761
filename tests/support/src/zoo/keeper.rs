//! Looks after the animals: lets each loose, ends it, and counts what is left.
use super::{
    ANIMALS, Animal, End, Prints,
    logs::{Kept, check_log, tail},
    oracle,
};
use crate::releases::{Failure, release};
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactStore, AttemptReport, AttemptRequest, Executor, HostRequest, KillReport,
        KillRequest,
    },
    conformance::{permit, sample::name},
    id::Seq,
    plan::PlannedRelease,
    spec::{AbsolutePath, StepName},
};
use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{interval, timeout},
};

/// How many are loose at a time.
const AT_A_TIME: usize = 6;
/// How long one may take, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);
const GRACE: Duration = Duration::from_secs(1);
/// An executor over SSH cannot find it: see the host contract.
const HIDES: &str = "cleans_its_environment";

const DESCRIPTOR: &str = "format = 1
[parameters.UP]
[parameters.ZOO]
[steps.install]
script = 'install.sh'
[steps.fetch]
enabled = false
[steps.rollback]
enabled = false
";

/// Where animals are let loose.
#[derive(Clone, Debug)]
pub struct Keeper {
    /// What runs them.
    pub executor: Arc<dyn Executor>,
    /// Where it finds them.
    pub store: Arc<dyn ArtifactStore>,
    /// Where they run: each as a service of its own, beside the path of this one.
    pub on: HostRequest,
    /// A folder that they may write to.
    pub folder: PathBuf,
    /// Whether what hides is found: that takes control groups, or a parent that inherits orphans.
    pub finds_all: bool,
}

/// What came of a visit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Visit {
    /// How many did as they had to, and left nothing.
    pub tame: usize,
    /// Those that the contract says cannot be found.
    pub hidden: Vec<&'static str>,
    /// What went wrong.
    pub wrong: Vec<String>,
}

impl fmt::Display for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tame, hidden, wrong } = self;
        write!(f, "{tame} scripts tamed, {} hidden, {} went wrong", hidden.len(), wrong.len())?;
        wrong.iter().try_for_each(|it| write!(f, "\n{it}"))
    }
}

impl Keeper {
    /// Lets all loose whose name holds `word`, a few at a time.
    pub async fn visit(&self, word: &str) -> Visit {
        let (places, mut loose) = (Arc::new(Semaphore::new(AT_A_TIME)), JoinSet::new());
        for animal in ANIMALS.iter().filter(|it| it.name.contains(word)) {
            let (keeper, places) = (self.clone(), Arc::clone(&places));
            loose.spawn(async move {
                let _place = places.acquire_owned().await;
                (animal, keeper.look_after(animal).await)
            });
        }
        let mut visit = Visit::default();
        while let Some(done) = loose.join_next().await {
            match done {
                Ok((_, Ok(true))) => visit.tame += 1,
                Ok((animal, Ok(false))) => visit.hidden.push(animal.name),
                Ok((animal, Err(why))) => visit.wrong.push(format!("{}: {why}", animal.name)),
                Err(panic) => visit.wrong.push(panic.to_string()),
            }
        }
        visit.wrong.sort();
        visit
    }

    /// Whether nothing of it was left; an error if that is wrong, or anything else is.
    async fn look_after(&self, animal: &'static Animal) -> Result<bool, Failure> {
        let cage = Cage::new(self, animal).await?;
        let found = timeout(PATIENCE, cage.tame()).await;
        let left = oracle::survivors(&cage.mark)?;
        oracle::end(&cage.mark)?;
        let log = found.map_err(|_elapsed| "it took too long")??;
        check_log(animal, &log)?;
        if left.is_empty() || animal.end == End::With(0) {
            return Ok(true);
        }
        if animal.name == HIDES && !self.finds_all {
            return Ok(false);
        }
        Err(format!("{left:?} are left").into())
    }
}

/// One animal, let loose.
struct Cage {
    animal: &'static Animal,
    executor: Arc<dyn Executor>,
    request: AttemptRequest,
    permit: Permit,
    mark: String,
    up: PathBuf,
}

impl Cage {
    async fn new(keeper: &Keeper, animal: &'static Animal) -> Result<Self, Failure> {
        let number = RandomState::new().hash_one(animal.name);
        let mark = format!("zoo-{number:016x}-{}", animal.name);
        let up = keeper.folder.join(format!("{}.up", animal.name));
        let files =
            [("descriptor.toml", DESCRIPTOR.as_bytes()), ("install.sh", animal.script.as_bytes())];
        let given = [("ZOO", &*mark), ("UP", &*up.to_string_lossy())];
        let release = release(&*keeper.store, "one", &files, &given).await?;
        let mut on = keeper.on.clone();
        on.service = name(&animal.name.replace('_', "-"));
        on.deploy_path = format!("{}-{}", on.deploy_path, on.service).parse::<AbsolutePath>()?;
        let resource = Resource::Host(on.host.name.clone(), Some(on.service.clone()));
        let permit = permit(Action::HostExecute, resource).await;
        let token = format!("{number:016x}{:016x}", 1);
        let release = PlannedRelease::from(&release);
        let request = AttemptRequest::new(on, name("r1"), Seq::new(1), token, release);
        let executor = Arc::clone(&keeper.executor);
        Ok(Self { animal, executor, request, permit, mark, up })
    }

    /// Runs it to its end, or kills it as soon as it is up, and gives what it printed.
    async fn tame(&self) -> Result<Vec<u8>, Failure> {
        let log = Arc::new(Kept::default());
        let (executor, permit) = (Arc::clone(&self.executor), self.permit.clone());
        let (request, sink) = (self.request.clone(), Arc::clone(&log));
        let mut run = tokio::spawn(async move { executor.run(&permit, &request, &*sink).await });
        if self.animal.end == End::Killed {
            tokio::select! {
                early = &mut run => return Err(format!("it ended early: {early:?}").into()),
                () = self.is_up() => {}
            }
            self.kill().await?;
        }
        let report = run.await??;
        let log = log.bytes()?;
        check_report(self.animal, &report)
            .map_err(|why| format!("{why}, after {:?}", String::from_utf8_lossy(tail(&log))))?;
        Ok(log)
    }

    async fn is_up(&self) {
        let mut ticks = interval(Duration::from_millis(20));
        while !self.up.exists() {
            ticks.tick().await;
        }
    }

    async fn kill(&self) -> Result<(), Failure> {
        let AttemptRequest { on, generation, token, .. } = self.request.clone();
        let mut request = KillRequest::new(on, generation, token);
        request.grace = GRACE;
        match self.executor.kill(&self.permit, &request).await? {
            KillReport::Killed => {}
            other => return Err(format!("the kill came to {other:?}").into()),
        }
        // What is said to be gone is gone now, and not a moment later.
        let left = oracle::survivors(&self.mark)?;
        if left.is_empty() || self.animal.name == HIDES {
            return Ok(());
        }
        Err(format!("{left:?} are left after the kill").into())
    }
}

fn check_report(animal: &Animal, report: &AttemptReport) -> Result<(), String> {
    let failed_with = |wanted: i32| matches!(report, AttemptReport::Failed { step: StepName::Install, code, .. } if *code == wanted);
    let right = match animal.end {
        End::Killed => *report == AttemptReport::Killed,
        End::With(0) if matches!(animal.prints, Prints::Numbers(_)) => {
            *report == AttemptReport::Succeeded
                || matches!(report, AttemptReport::Failed { reason, .. } if reason.contains("more than"))
        }
        End::With(0) => *report == AttemptReport::Succeeded,
        End::With(code) => failed_with(code),
        End::WithOrLost(code) => failed_with(code) || matches!(report, AttemptReport::Lost { .. }),
    };
    if right { Ok(()) } else { Err(format!("it came to {report:?} and not {:?}", animal.end)) }
}
