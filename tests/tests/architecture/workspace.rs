//! What cargo knows of the workspace.
use serde_json::Value;
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

/// What is released runs on Linux; what only other systems need is not looked at.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn cargo(arguments: &[&str]) -> String {
    let cargo = Command::new(env!("CARGO")).current_dir(root()).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&cargo.stderr);
    assert!(cargo.status.success(), "cargo {}: {said}", arguments.join(" "));
    String::from_utf8(cargo.stdout).unwrap()
}

/// The names of all packages that `package` is built from, itself included.
pub(crate) fn tree(package: &str, features: &[&str]) -> BTreeSet<String> {
    let fixed = ["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--no-dedupe"];
    let chosen = ["--target", PLATFORM, "--package", package];
    let lines = cargo(&[&fixed[..], &chosen, features].concat());
    lines.lines().filter_map(|it| it.split(' ').next()).map(str::to_owned).collect()
}

/// A package, of the workspace or not.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) licence: String,
    /// The folder of its manifest, seen from the root; `None` for packages from elsewhere.
    pub(crate) folder: Option<PathBuf>,
    /// What it names as a dependency outside its tests.
    pub(crate) dependencies: BTreeSet<String>,
    /// Its features that are on in this workspace.
    pub(crate) features: BTreeSet<String>,
}

impl Package {
    fn new(package: &Value, nodes: &[Value]) -> Self {
        let manifest = Path::new(text(package, "manifest_path"));
        let folder = manifest.parent().and_then(|it| it.strip_prefix(root()).ok());
        let shipped = list(package, "dependencies").iter().filter(|it| it["kind"] != "dev");
        let node = nodes.iter().find(|it| it["id"] == package["id"]).unwrap();
        Self {
            name: text(package, "name").to_owned(),
            licence: package["license"].as_str().unwrap_or_default().to_owned(),
            folder: folder.map(Path::to_owned),
            dependencies: shipped.map(|it| text(it, "name").to_owned()).collect(),
            features: list(node, "features")
                .iter()
                .map(|it| it.as_str().unwrap().to_owned())
                .collect(),
        }
    }

    pub(crate) fn is_in(&self, folder: &str) -> bool {
        self.folder.as_ref().is_some_and(|it| it.starts_with(folder))
    }
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

/// All packages that anything in the workspace is built from.
pub(crate) fn packages() -> Vec<Package> {
    let metadata =
        cargo(&["metadata", "--locked", "--format-version", "1", "--filter-platform", PLATFORM]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let nodes = list(&metadata["resolve"], "nodes");
    list(&metadata, "packages").iter().map(|it| Package::new(it, nodes)).collect()
}

/// The members of the workspace.
pub(crate) fn members() -> Vec<Package> {
    let members: Vec<_> = packages().into_iter().filter(|it| it.folder.is_some()).collect();
    assert!(members.len() > 10, "only {} members were found", members.len());
    members
}
