//! The shell texts that travel to hosts, and the commands that call them.
use crate::transport::HostCommand;
use deploy_core::spec::StepName;

/// What every call but `start` is fed on standard input, and what `start` unpacks and becomes.
pub(crate) const LAUNCHER: &str = include_str!("sh/launcher.sh");
/// DeployUtils: what default steps are made of, and custom scripts may use.
pub const LIBRARY: &str = include_str!("sh/deployutils.sh");
const BOOT: &str = include_str!("sh/boot.sh");

/// The default script for a step, where there is one.
#[must_use]
pub const fn default_step(name: StepName) -> Option<&'static str> {
    Some(match name {
        StepName::Fetch => include_str!("sh/steps/fetch.sh"),
        StepName::Install => include_str!("sh/steps/install.sh"),
        StepName::Rollback => include_str!("sh/steps/rollback.sh"),
        StepName::Start => include_str!("sh/steps/start.sh"),
        StepName::Stop => include_str!("sh/steps/stop.sh"),
        StepName::Verify => include_str!("sh/steps/verify.sh"),
        _ => return None,
    })
}

/// Runs `boot.sh`, which takes an attempt from its standard input.
pub(crate) fn start_command(
    control: &str,
    generation: u64,
    token: &str,
    package: &str,
    offset: u64,
    offer: Vec<String>,
) -> HostCommand {
    let arguments = [control, &generation.to_string(), token, package, &offset.to_string()];
    let arguments = arguments.into_iter().map(str::to_owned).chain(offer).collect();
    HostCommand::new(BOOT.to_owned()).with_arguments(arguments)
}

/// Runs the launcher, which comes in on standard input.
pub(crate) fn launcher_command(verb: &str, arguments: &[&str]) -> HostCommand {
    let words = [verb].iter().chain(arguments).map(|it| (*it).to_owned()).collect();
    HostCommand::new(r#"exec sh -s -- "$@""#.to_owned()).with_arguments(words)
}
