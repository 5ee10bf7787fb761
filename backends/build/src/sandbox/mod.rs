//! Where the commands of a build run: in a sandbox, or where there is none as plain processes.
mod bubblewrap;

use crate::{
    ended::{Ended, Halt},
    git::locate,
    log::Log,
    process::{Cgroup, Finished, Launch, run},
    quota::Quota,
};
use bubblewrap::Bubblewrap;
use deploy_core::{
    backend::{BuildFailure, BuildFault, Clock, Isolation},
    spec::{BuildLimits, Recipe},
    time::Timestamp,
};
use rustix::process::Resource;
use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// The shell of commands.
const SHELL: &str = "/bin/sh";
/// Where programs are looked for, unless a recipe says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
/// How long the first try of a sandbox may take.
const PROBE: Duration = Duration::from_secs(10);

/// The folders of one build, as this machine knows them.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The source, in which commands run.
    pub(crate) source: PathBuf,
    /// What the builds of a service may keep for one another.
    pub(crate) cache: PathBuf,
    /// An empty home.
    pub(crate) home: PathBuf,
    pub(crate) temporary: PathBuf,
    /// A file a secret.
    pub(crate) secrets: PathBuf,
}

/// What keeps commands from the machine.
#[derive(Debug)]
pub(crate) enum Sandbox {
    Bubblewrap(Bubblewrap),
    /// Nothing does, and why.
    Missing(String),
}

impl Sandbox {
    /// What works on this machine, found out by trying it.
    pub(crate) async fn probe(tools: &[PathBuf], scratch: &Path, clock: Arc<dyn Clock>) -> Self {
        let Some(program) = locate("bwrap") else {
            return Self::Missing("there is no program `bwrap` (bubblewrap)".to_owned());
        };
        let sandbox = Bubblewrap::new(program, tools);
        match try_it(&sandbox, scratch, clock).await {
            Ok(()) => Self::Bubblewrap(sandbox),
            Err(why) => Self::Missing(format!("`bwrap` does not work here: {why}")),
        }
    }

    pub(crate) const fn isolation(&self) -> Isolation {
        match self {
            Self::Bubblewrap(_) => Isolation::Sandbox,
            Self::Missing(_) => Isolation::Process,
        }
    }

    /// What somebody should know who relies on the build.
    pub(crate) fn warning(&self, recipe: &Recipe) -> Option<String> {
        let Self::Missing(why) = self else { return None };
        let network = if recipe.network {
            ""
        } else {
            ", and the network is open to them although the recipe does not ask for it"
        };
        Some(format!(
            "the commands run without a sandbox ({why}): they see all files of the builder's account{network}"
        ))
    }
}

async fn try_it(sandbox: &Bubblewrap, scratch: &Path, clock: Arc<dyn Clock>) -> Result<(), String> {
    let failed = |err: std::io::Error| err.to_string();
    let folder = |name: &str| {
        let path = scratch.join(name);
        std::fs::create_dir_all(&path).map(|()| path)
    };
    let places = Places {
        source: folder("source").map_err(failed)?,
        cache: folder("cache").map_err(failed)?,
        home: folder("home").map_err(failed)?,
        temporary: folder("tmp").map_err(failed)?,
        secrets: folder("secrets").map_err(failed)?,
    };
    let log = Log::create(&scratch.join("log"), 4_096).map_err(failed)?;
    let halt = Halt::new(Arc::clone(&clock), scratch.join("cancel"));
    let recipe = Recipe::new(Vec::new(), BTreeMap::new());
    let mark = ("DEPLOY_BUILD".to_owned(), format!("probe-{}", scratch.display()));
    let bench = Bench {
        sandbox: &Sandbox::Missing(String::new()),
        places: &places,
        recipe: &recipe,
        given: &[],
        mark: &mark,
        cgroup: &Cgroup::default(),
        quota: None,
        log: &log,
        halt: &halt,
    };
    let launch = bench.launch_in(sandbox, ":");
    match run(&launch, &log, &halt, clock.now().after(PROBE)).await {
        Ok(finished) if finished.status.success() => Ok(()),
        Ok(finished) => {
            Err(finished.said.lines().next_back().unwrap_or("it does not say why").to_owned())
        }
        Err(Ended::Failed(failure)) => Err(failure.message),
        Err(Ended::Cancelled | Ended::TimedOut) => Err("it does not answer".to_owned()),
    }
}

/// Where the commands of one build run.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) places: &'a Places,
    pub(crate) recipe: &'a Recipe,
    /// What the builder itself puts into the environment.
    pub(crate) given: &'a [(&'static str, String)],
    pub(crate) mark: &'a (String, String),
    pub(crate) cgroup: &'a Cgroup,
    /// How much all commands together may write.
    pub(crate) quota: Option<&'a Quota>,
    pub(crate) log: &'a Log,
    pub(crate) halt: &'a Halt,
}

impl Bench<'_> {
    /// Runs all commands, until the first that does not end well.
    pub(crate) async fn work(&self, deadline: Timestamp) -> Result<(), Ended> {
        for (at, command) in self.recipe.commands.iter().enumerate() {
            self.log.say(format_args!("$ {}", command.lines().next().unwrap_or_default()));
            let launch = match self.sandbox {
                Sandbox::Bubblewrap(it) => self.launch_in(it, command),
                Sandbox::Missing(_) => self.launch_plainly(command),
            };
            let finished = run(&launch, self.log, self.halt, deadline).await?;
            // What is written fast is written between two looks, and a command may have failed of it.
            if let Some(quota) = self.quota {
                quota.check().await?;
            }
            if !finished.status.success() {
                return Err(failed(at, command, &finished));
            }
        }
        Ok(())
    }

    fn launch_in(&self, sandbox: &Bubblewrap, command: &str) -> Launch {
        let environment = self.environment(&bubblewrap::places());
        let arguments = sandbox.arguments(
            self.places,
            &environment,
            self.recipe.network,
            &[SHELL, "-e", "-c", command],
        );
        // What starts the sandbox is outside of it, so nothing of the recipe is in its environment.
        let outside = vec![("PATH".into(), PATH.into())];
        self.launch(sandbox.program(), arguments, outside)
    }

    fn launch_plainly(&self, command: &str) -> Launch {
        let environment = self.environment(self.places);
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        self.launch(
            Path::new(SHELL),
            ["-e", "-c", command].map(OsString::from).to_vec(),
            environment.collect(),
        )
    }

    fn launch(
        &self,
        program: &Path,
        arguments: Vec<OsString>,
        environment: Vec<(OsString, OsString)>,
    ) -> Launch {
        Launch {
            program: program.to_owned(),
            arguments,
            environment,
            folder: self.places.source.clone(),
            bounds: bounds(&self.recipe.limits, self.cgroup),
            mark: self.mark.clone(),
            cgroup: self.cgroup.clone(),
            quota: self.quota.cloned(),
            capture: None,
        }
    }

    /// The environment of commands that know their folders as `places`.
    fn environment(&self, places: &Places) -> BTreeMap<String, String> {
        let path = |it: &Path| it.display().to_string();
        let fixed = [
            ("DEPLOY_CACHE", path(&places.cache)),
            ("DEPLOY_SECRETS", path(&places.secrets)),
            ("HOME", path(&places.home)),
            ("LANG", "C.UTF-8".to_owned()),
            ("PATH", PATH.to_owned()),
            ("TMPDIR", path(&places.temporary)),
            ("TZ", "UTC".to_owned()),
        ];
        let given = self.given.iter().map(|(name, value)| (*name, value.clone()));
        let mut all: BTreeMap<String, String> =
            fixed.into_iter().chain(given).map(|(name, value)| (name.to_owned(), value)).collect();
        all.extend(
            self.recipe.environment.iter().map(|(name, value)| (name.to_string(), value.clone())),
        );
        all
    }
}

/// What each process may take, where no control group bounds all of them together.
fn bounds(limits: &BuildLimits, cgroup: &Cgroup) -> Vec<(Resource, u64)> {
    let mut bounds = vec![(Resource::Core, 0), (Resource::Fsize, limits.disk.get())];
    if let Some(memory) = limits.memory.filter(|_| !cgroup.bounds_memory) {
        bounds.push((Resource::Data, memory.get()));
    }
    if !cgroup.bounds_processes {
        bounds.push((Resource::Nproc, limits.processes.get()));
    }
    bounds
}

fn failed(at: usize, command: &str, finished: &Finished) -> Ended {
    let shown: String = command.lines().next().unwrap_or_default().chars().take(120).collect();
    let message = format!("command {} (`{shown}`) ended with {}", at + 1, finished.status);
    BuildFailure::new(BuildFault::CommandFailed, message).into()
}
