//! Builds the server, once a target folder.
use super::{NAME, RealPackage, VERSIONS, archive};
use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What makes a build quick. Nobody measures this server, so it need not be.
const QUICK: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "false"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_STRIP", "symbols"),
];

/// What the build of a test may be set to, and this build must not take over.
const FOREIGN: [&str; 6] = [
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "LLVM_PROFILE_FILE",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
];

pub(super) fn packages() -> io::Result<[RealPackage; 2]> {
    let home = target_folder().join("real-service");
    fs::create_dir_all(&home)?;
    // Held until this function ends, so that one process builds and the others wait.
    let lock = File::create(home.join("lock"))?;
    lock.lock()?;
    let [older, newer] = VERSIONS;
    Ok([package(&home, older)?, package(&home, newer)?])
}

/// The folder that this test was built in: below it, and no other folder, may be written to.
fn target_folder() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

/// Gives the package of `version`, built now if it has not been. It appears by a rename: what is there is whole.
fn package(home: &Path, version: &'static str) -> io::Result<RealPackage> {
    let place = home.join(format!("{NAME}-{version}"));
    let package = RealPackage {
        version,
        archive: place.join("srv.tar.gz"),
        program: place.join("bin").join(NAME),
    };
    if place.try_exists()? {
        return Ok(package);
    }
    let draft = home.join(format!("{NAME}-{version}.new"));
    if draft.try_exists()? {
        fs::remove_dir_all(&draft)?;
    }
    install(home, version, &draft)?;
    let packed = archive::pack(version, &draft.join("bin").join(NAME))?;
    fs::write(draft.join("srv.tar.gz"), packed)?;
    fs::rename(draft, place)?;
    Ok(package)
}

fn install(home: &Path, version: &str, root: &Path) -> io::Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["install", "--quiet", "--locked", "--no-track", "--no-default-features"]);
    command.args(["--version", &format!("={version}"), "--root"]).arg(root).arg(NAME);
    for name in FOREIGN {
        command.env_remove(name);
    }
    // One folder for both versions: they share their dependencies.
    command.envs(QUICK).env("CARGO_TARGET_DIR", home.join("build"));
    let output = command.current_dir(home).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "`cargo install` of {version} ended with {}: {said}",
        output.status
    )))
}
