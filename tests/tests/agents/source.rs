//! The source of a real program that somebody else wrote, in two of its released versions, in a git repository.
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Its name on crates.io, and that of the program.
pub(crate) const NAME: &str = "shellharden";

/// Its versions, the older first, and the SHA-256 of each as crates.io has it: cargo compares them.
pub(crate) const VERSIONS: [(&str, &str); 2] = [
    ("4.3.0", "f1218a08095b138c0db1104794e03fed0e31aa6f9281c3b6fb3911d555e108a6"),
    ("4.3.1", "53ecb604d876456ff05cb58bc0e60925b2f851b9ae807011459568d380cc8271"),
];

/// A repository with a tag for each version, and a descriptor in `deploy`.
pub(crate) struct Repository(PathBuf);

impl Repository {
    /// Made in `folder` of what crates.io gives; if that cannot be had, it is said.
    pub(crate) fn fetch(folder: &Path, test: &str) -> Option<Self> {
        let sources: Option<Vec<_>> =
            VERSIONS.iter().map(|(version, sum)| vendor(folder, version, sum)).collect();
        let Some(sources) = sources else {
            eprintln!("SKIPPED {test}: crates.io does not give {NAME}");
            return None;
        };
        let repository = Self(folder.join("repository"));
        fs::create_dir_all(&repository.0).unwrap();
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        for ((version, _), source) in VERSIONS.iter().zip(&sources) {
            repository.commit(version, source);
        }
        Some(repository)
    }

    /// Where git finds it.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.0.display())
    }

    fn commit(&self, version: &str, source: &Path) {
        let work = format!("--work-tree={}", source.display());
        fs::create_dir_all(source.join("deploy")).unwrap();
        fs::write(source.join("deploy/descriptor.toml"), "format = 1\n").unwrap();
        self.git(&[&work, "add", "--all", "--force"]);
        self.git(&[&work, "commit", "--quiet", "-m", version]);
        self.git(&["tag", &format!("v{version}")]);
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.arg("--git-dir").arg(self.0.join(".git")).args(arguments).current_dir(&self.0);
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "ann")
                .env(format!("GIT_{who}_EMAIL"), "ann@example.com");
            git.env(format!("GIT_{who}_DATE"), "2026-01-01T00:00:00Z");
        }
        assert!(git.status().unwrap().success(), "git {arguments:?}");
    }
}

/// The source of a version, which cargo has compared with its checksum.
fn vendor(folder: &Path, version: &str, checksum: &str) -> Option<PathBuf> {
    let package = folder.join(version);
    fs::create_dir_all(package.join("src")).unwrap();
    let registry = "registry+https://github.com/rust-lang/crates.io-index";
    for (file, text) in [
        (
            "Cargo.toml",
            format!(
                "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
                [dependencies]\n{NAME} = \"={version}\"\n"
            ),
        ),
        (
            "Cargo.lock",
            format!(
                "version = 4\n\n[[package]]\nname = \"fetch\"\nversion = \"0.0.0\"\ndependencies = [\n \"{NAME}\",\n]\n\n\
                [[package]]\nname = \"{NAME}\"\nversion = \"{version}\"\nsource = \"{registry}\"\nchecksum = \"{checksum}\"\n"
            ),
        ),
        ("src/lib.rs", String::new()),
    ] {
        fs::write(package.join(file), text).unwrap();
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["vendor", "--quiet", "--locked", "sources"]).current_dir(&package);
    let vendored = cargo.stdin(Stdio::null()).stdout(Stdio::null()).status();
    vendored.is_ok_and(|it| it.success()).then(|| package.join("sources").join(NAME))
}

/// The folder of the compiler that runs here, with its programs in `bin`.
pub(crate) fn toolchain() -> String {
    let said = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}
