//! What a step finds in its environment: `docs/host-contract.md` lists it.
use super::Host;
use crate::{account::Account, package::PackageTree, process::tree::MARK, spec::Spec};
use std::path::Path;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The environment of one step, and nothing else is in it.
pub(crate) fn of_step(
    spec: &Spec,
    host: &Host,
    account: &Account,
    work: &Path,
    index: &str,
    step: &str,
) -> Vec<(String, String)> {
    let order = &spec.order;
    let deploy_path = spec.place.deploy_path.as_str();
    let in_work = |name: &str| work.join(name).display().to_string();
    let release_dir = spec.release.as_ref().map(|it| format!("{deploy_path}/releases/{it}"));
    let digest = spec.package.map(|it| it.digest.hex()).unwrap_or_default();
    let is_tree = PackageTree::is_in(work);
    let package =
        if digest.is_empty() || is_tree { String::new() } else { in_work("package.tar.gz") };
    let shell = if account.shell.is_empty() { "/bin/sh" } else { &account.shell };
    let mut environment: Vec<(String, String)> =
        order.environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let fixed: [(&str, String); 27] = [
        ("HOME", account.home.clone()),
        ("USER", account.name.clone()),
        ("LOGNAME", account.name.clone()),
        ("SHELL", shell.to_owned()),
        ("PATH", PATH.to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TMPDIR", in_work("tmp")),
        ("DEPLOY_SERVICE", spec.key.service.to_string()),
        ("DEPLOY_RELEASE", order.release.clone()),
        ("DEPLOY_VERSION", order.version.clone()),
        ("DEPLOY_PREVIOUS_RELEASE", order.previous_release.clone()),
        ("DEPLOY_PREVIOUS_VERSION", order.previous_version.clone()),
        ("DEPLOY_DIRECTION", order.direction.clone()),
        ("DEPLOY_HOST", host.name.clone()),
        ("DEPLOY_STEP", step.to_owned()),
        ("DEPLOY_STEP_KEY", format!("{}.{step}", order.step_key_prefix)),
        ("DEPLOY_GENERATION", order.generation.to_string()),
        ("DEPLOY_PATH", deploy_path.to_owned()),
        ("DEPLOY_RELEASE_DIR", release_dir.unwrap_or_default()),
        ("DEPLOY_SHARED", format!("{deploy_path}/shared")),
        ("DEPLOY_PACKAGE", package),
        ("DEPLOY_PACKAGE_DIGEST", digest),
        ("DEPLOY_DESCRIPTOR_DIR", in_work("descriptor")),
        ("DEPLOY_OUTPUT", in_work("output")),
        ("DEPLOY_LIB", in_work("lib/deployutils.sh")),
        (MARK, spec.mark(index)),
        ("DEPLOY_KEEPS_RELEASE", if order.keeps_release { "yes" } else { "no" }.to_owned()),
    ];
    environment.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    if is_tree {
        let tree = format!("{deploy_path}/releases/{}", PackageTree::name(&order.release));
        environment.push(("DEPLOY_TREE".to_owned(), tree));
    }
    environment
}
