//! The conformance kit on real processes of this machine.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
mod support;

use deploy_core::{
    backend::{Executor, HostRequest, Resolution},
    conformance::{
        ConcurrentHarness, DurableHarness, Harness,
        executor::{Act, ExecutorHarness, ScriptedStep},
    },
    plan::PlannedRelease,
    spec::StepName,
};
use std::{fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};
use support::Fixture;

/// A host that is a folder, reached over connections that can be cut.
struct Local;

impl Harness<dyn Executor> for Local {
    type Guard = Fixture;

    async fn fresh(&self) -> (Arc<dyn Executor>, Fixture) {
        let fixture = Fixture::new();
        (Arc::<_>::clone(&fixture.executor) as _, fixture)
    }
}

impl DurableHarness<dyn Executor> for Local {
    async fn reopen(&self, executor: Arc<dyn Executor>, guard: &Fixture) -> Arc<dyn Executor> {
        guard.scissors.cut();
        drop(executor);
        self.another(guard).await
    }
}

impl ConcurrentHarness<dyn Executor> for Local {
    async fn another(&self, guard: &Fixture) -> Arc<dyn Executor> {
        Arc::new(guard.new_executor(Duration::from_secs(20)))
    }
}

impl ExecutorHarness for Local {
    fn on(&self, guard: &Fixture) -> HostRequest {
        guard.on()
    }

    async fn release(&self, guard: &Fixture, id: &str, steps: &[ScriptedStep]) -> PlannedRelease {
        let outside = guard.dir.path();
        let mut toml = "format = 1\n[parameters.MARK]\n".to_owned();
        let mut files = Vec::new();
        for scripted in steps {
            let name = scripted.step.name;
            writeln!(toml, "[steps.{name}]\nscript = '{name}.sh'").unwrap();
            files.push((format!("{name}.sh"), script(scripted, outside)));
            if let Some(check) = scripted.check {
                writeln!(toml, "effect = 'check'\ncheck = '{name}.check.sh'").unwrap();
                files.push((format!("{name}.check.sh"), format!("exit {}\n", code(check))));
            }
        }
        if steps.iter().all(|it| it.step.name != StepName::Run) {
            for name in [StepName::Fetch, StepName::Install, StepName::Rollback] {
                if steps.iter().all(|it| it.step.name != name) {
                    writeln!(toml, "[steps.{name}]\nenabled = false").unwrap();
                }
            }
        }
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let mark = outside.to_str().unwrap();
        let mut release = guard.release(id, &toml, &files, None, &[("MARK", mark)]).await;
        release.steps = steps.iter().map(|it| it.step.clone()).collect();
        release.steps.sort_by_key(|it| it.name);
        release
    }

    async fn runs(&self, guard: &Fixture, step: StepName) -> u32 {
        let runs = fs::read(guard.dir.path().join(format!("runs.{step}"))).unwrap_or_default();
        u32::try_from(runs.len()).unwrap()
    }

    async fn unblock(&self, guard: &Fixture) {
        fs::write(guard.dir.path().join("go"), "").unwrap();
    }

    /// Those whose environment holds the mark of this host: steps and all that they have started.
    async fn processes(&self, guard: &Fixture) -> usize {
        let mark = format!("P_MARK={}", guard.dir.path().display());
        let marked = |path: &Path| {
            let environ = fs::read(path.join("environ")).unwrap_or_default();
            environ.split(|b| *b == 0).any(|it| it == mark.as_bytes())
        };
        fs::read_dir("/proc").unwrap().filter(|it| marked(&it.as_ref().unwrap().path())).count()
    }

    async fn cut(&self, guard: &Fixture) {
        guard.scissors.cut();
    }
}

fn code(check: Resolution) -> u8 {
    match check {
        Resolution::CannotTell => 3,
        Resolution::Done => 0,
        Resolution::NotDone => 1,
    }
}

fn script(scripted: &ScriptedStep, outside: &Path) -> String {
    let outside = outside.display();
    let mut text = format!("printf x >>'{outside}/runs.{}'\n", scripted.step.name);
    for act in &scripted.acts {
        match act {
            Act::Activate => text.push_str(
                "mkdir -p \"$DEPLOY_RELEASE_DIR\"\nln -sfn \"releases/$DEPLOY_RELEASE\" \"$DEPLOY_PATH/current.new\"\n\
                 mv -T \"$DEPLOY_PATH/current.new\" \"$DEPLOY_PATH/current\"\n",
            ),
            Act::Block => {
                writeln!(text, "n=0\nwhile [ ! -e '{outside}/go' ] && [ $n -lt 1200 ]; do sleep 0.05; n=$((n + 1)); done")
                    .unwrap();
            }
            Act::Exit(code) => writeln!(text, "exit {code}").unwrap(),
            Act::IgnoreTerm => text.push_str("trap '' TERM\n"),
            Act::LeaveDaemon => text.push_str("setsid sleep 60 </dev/null >/dev/null 2>&1 &\n"),
            Act::Print(bytes) => {
                for piece in bytes.chunks(1_000) {
                    let octal: String = piece.iter().map(|b| format!("\\{b:03o}")).collect();
                    writeln!(text, "printf '{octal}'").unwrap();
                }
            }
        }
    }
    text
}

mod executor {
    deploy_core::executor_conformance!(super::Local, core, durable, concurrent);
}
