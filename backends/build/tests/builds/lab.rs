//! A repository, a builder, and what tests ask of them.
use deploy_build::LocalBuilder;
use deploy_core::{
    access::{Action, Permit, Resource},
    backend::{
        ArtifactReader, Build, BuildFault, BuildOutput, BuildRequest, BuildState, Builder as _,
        Clock as _,
    },
    conformance::permit,
    memory::SystemClock,
    spec::{Recipe, RelativePath, Source},
};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tokio::io::AsyncReadExt as _;

pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) builder: LocalBuilder,
    pub(crate) permit: Permit,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let builder = builder(&dir.path().join("builds"));
        let lab = Self { dir, builder, permit: permit(Action::BuildRun, Resource::System).await };
        fs::create_dir(lab.repository()).unwrap();
        lab.git(&["init", "--quiet", "--initial-branch=main"]);
        lab
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let git = Command::new("git")
            .args([
                "-c",
                "user.name=ann",
                "-c",
                "user.email=ann@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(self.repository())
            .output()
            .unwrap();
        assert!(
            git.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&git.stderr)
        );
        String::from_utf8(git.stdout).unwrap().trim().to_owned()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.repository().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Commits all that is there, and gives the commit's id.
    pub(crate) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn source(&self) -> Source {
        Source::new(format!("file://{}", self.repository().display()).parse().unwrap())
    }

    pub(crate) fn request(&self, revision: &str, recipe: Recipe) -> BuildRequest {
        BuildRequest::new("web".parse().unwrap(), self.source(), revision.parse().unwrap(), recipe)
    }

    pub(crate) async fn submit(&self, revision: &str, recipe: Recipe) -> Build {
        self.builder.submit(&self.permit, &self.request(revision, recipe)).await.unwrap()
    }

    /// Builds `main`, and gives what came of it.
    pub(crate) async fn build(&self, recipe: Recipe) -> Build {
        let build = self.submit("main", recipe).await;
        over(&self.builder, &build).await
    }

    pub(crate) async fn log(&self, build: &Build) -> String {
        let log = self.builder.log(&build.id, 0, 1 << 20).await.unwrap();
        String::from_utf8(log.bytes).unwrap()
    }

    #[track_caller]
    pub(crate) fn fault(build: &Build) -> (BuildFault, String) {
        let failure = build.failure.clone().unwrap_or_else(|| panic!("{build:?}"));
        assert_eq!(build.state, BuildState::Failed);
        (failure.fault, failure.message)
    }

    pub(crate) async fn output(&self, build: &Build, output: BuildOutput) -> Vec<u8> {
        all(self.builder.open(&build.id, output).await.unwrap()).await
    }

    /// Unpacks the package of a build that succeeded, and gives the folder.
    pub(crate) async fn unpacked(&self, build: &Build) -> PathBuf {
        assert_eq!(build.state, BuildState::Succeeded, "{}\n{build:?}", self.log(build).await);
        let (archive, folder) = (
            self.dir.path().join("package"),
            self.dir.path().join(format!("unpacked-{}", build.id)),
        );
        fs::write(&archive, self.output(build, BuildOutput::Package).await).unwrap();
        fs::create_dir(&folder).unwrap();
        let tar =
            Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&folder).status().unwrap();
        assert!(tar.success());
        folder
    }
}

pub(crate) async fn all(mut reader: ArtifactReader) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    bytes
}

pub(crate) fn builder(folder: &Path) -> LocalBuilder {
    LocalBuilder::open(folder, Arc::new(SystemClock::new())).unwrap()
}

pub(crate) fn recipe(commands: &[&str], outputs: &[(&str, &str)]) -> Recipe {
    let path = |it: &str| it.parse::<RelativePath>().unwrap();
    let outputs: BTreeMap<_, _> =
        outputs.iter().map(|(inside, outside)| (path(inside), path(outside))).collect();
    Recipe::new(commands.iter().map(|it| (*it).to_owned()).collect(), outputs)
}

/// A recipe whose one output is what `command` prints.
pub(crate) fn printing(command: &str) -> Recipe {
    recipe(&[&format!("({command}) >out")], &[("out", "out")])
}

/// Waits until a build is over.
pub(crate) async fn over(builder: &LocalBuilder, build: &Build) -> Build {
    until(builder, build, "it is over", |it| it.state.is_over()).await
}

/// Waits until a build is as it should be.
pub(crate) async fn until(
    builder: &LocalBuilder,
    build: &Build,
    what: &str,
    so: impl Fn(&Build) -> bool,
) -> Build {
    let clock = SystemClock::new();
    for _ in 0..6_000 {
        let build = builder.build(&build.id).await.unwrap();
        if so(&build) {
            return build;
        }
        clock.sleep_until(clock.now().after(Duration::from_millis(10))).await;
    }
    panic!("never: {what}");
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}
