//! What the conformance kit wants steps to do, as shell scripts: for executors that run real processes.
use crate::releases::{Failure, release};
use deploy_core::{
    backend::{ArtifactStore, Resolution},
    conformance::executor::{Act, ScriptedStep},
    plan::PlannedRelease,
    spec::StepName,
};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// A folder in which steps leave their traces, and wait for what lets them go on.
#[derive(Clone, Debug)]
pub struct Traces {
    folder: PathBuf,
}

impl Traces {
    /// In `folder`, which no other host uses.
    #[must_use]
    pub fn of(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The release `id`, whose steps do as `steps` say.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn release(
        &self,
        store: &dyn ArtifactStore,
        id: &str,
        steps: &[ScriptedStep],
    ) -> Result<PlannedRelease, Failure> {
        let files = self.files(steps);
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
        let mark = self.folder.to_string_lossy();
        let release = release(store, id, &files, &[("MARK", &mark)]).await?;
        let mut release = PlannedRelease::from(&release);
        release.steps = steps.iter().map(|it| it.step.clone()).collect();
        release.steps.sort_by_key(|it| it.name);
        Ok(release)
    }

    /// How often `step` was started.
    #[must_use]
    pub fn runs(&self, step: StepName) -> u32 {
        let runs = fs::read(self.runs_of(step)).unwrap_or_default();
        u32::try_from(runs.len()).unwrap_or(u32::MAX)
    }

    /// Lets all steps go on that wait, or will.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn unblock(&self) -> io::Result<()> {
        fs::write(self.folder.join("go"), "")
    }

    /// How many processes there are of steps, and of what they have started: those whose environment names this folder.
    ///
    /// # Errors
    /// If processes cannot be listed.
    pub fn processes(&self) -> io::Result<usize> {
        let mark = format!("P_MARK={}", self.folder.display());
        let marked = |process: &Path| {
            // It may have ended meanwhile.
            let environ = fs::read(process.join("environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|it| it == mark.as_bytes())
        };
        Ok(fs::read_dir("/proc")?.flatten().filter(|it| marked(&it.path())).count())
    }

    /// A descriptor, and its scripts.
    fn files(&self, steps: &[ScriptedStep]) -> BTreeMap<String, String> {
        let mut toml = "format = 1\n[parameters.MARK]\n".to_owned();
        let mut files = BTreeMap::new();
        for scripted in steps {
            let name = scripted.step.name;
            toml.push_str(&format!("[steps.{name}]\nscript = '{name}.sh'\n"));
            files.insert(format!("{name}.sh"), self.script(scripted));
            if let Some(check) = scripted.check {
                toml.push_str(&format!("effect = 'check'\ncheck = '{name}.check.sh'\n"));
                files.insert(format!("{name}.check.sh"), format!("exit {}\n", code(check)));
            }
        }
        let scripted = |name| steps.iter().any(|it| it.step.name == name);
        for name in [StepName::Fetch, StepName::Install, StepName::Rollback] {
            if !scripted(StepName::Run) && !scripted(name) {
                toml.push_str(&format!("[steps.{name}]\nenabled = false\n"));
            }
        }
        files.insert("descriptor.toml".to_owned(), toml);
        files
    }

    fn script(&self, scripted: &ScriptedStep) -> String {
        let mut text = format!("printf x >>'{}'\n", self.runs_of(scripted.step.name).display());
        for act in &scripted.acts {
            text.push_str(&self.act(act));
        }
        text
    }

    fn act(&self, act: &Act) -> String {
        match act {
            Act::Activate => "mkdir -p \"$DEPLOY_RELEASE_DIR\"\n\
                 ln -sfn \"releases/$DEPLOY_RELEASE\" \"$DEPLOY_PATH/new\"\n\
                 mv -T \"$DEPLOY_PATH/new\" \"$DEPLOY_PATH/current\"\n"
                .to_owned(),
            // Not for ever: a test that fails does not come to unblock it.
            Act::Block => format!(
                "n=0\nwhile [ ! -e '{}/go' ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n + 1)); done\n",
                self.folder.display()
            ),
            Act::Exit(code) => format!("exit {code}\n"),
            Act::IgnoreTerm => "trap '' TERM\n".to_owned(),
            Act::LeaveDaemon => "setsid sleep 60 </dev/null >/dev/null 2>&1 &\n".to_owned(),
            Act::Output(name, bytes) => {
                let printed: String = bytes.chunks(1_000).map(printed).collect();
                format!("{{\n:\n{printed}}} >\"$DEPLOY_OUTPUT/{name}\"\n")
            }
            Act::Print(bytes) => bytes.chunks(1_000).map(printed).collect(),
        }
    }

    fn runs_of(&self, step: StepName) -> PathBuf {
        self.folder.join(format!("runs.{step}"))
    }
}

/// Prints any bytes, in octal.
fn printed(bytes: &[u8]) -> String {
    let octal: String = bytes.iter().map(|b| format!("\\{b:03o}")).collect();
    format!("printf '{octal}'\n")
}

const fn code(check: Resolution) -> u8 {
    match check {
        Resolution::CannotTell => 3,
        Resolution::Done => 0,
        Resolution::NotDone => 1,
    }
}
