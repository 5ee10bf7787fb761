//! The command line, as it is parsed.
use crate::{
    commands::{
        artifact::ArtifactCommand,
        backup::BackupCommand,
        build::{BuildCommand, BuildHere},
        completions::Completions,
        context::ContextCommand,
        demo::Demo,
        descriptor::DescriptorCommand,
        doctor::Doctor,
        host::HostCommand,
        key::KeyCommand,
        limit::LimitCommand,
        plan::PlanCommand,
        relay::RelayCommand,
        release::ReleaseCommand,
        rollout::RolloutCommand,
        run::Run,
        serve::ServeDemo,
        server::Serve,
        service::ServiceCommand,
        status::StatusCommand,
        token::TokenCommand,
    },
    output::{Color, Format},
};
use clap::{Args, Parser, Subcommand, ValueHint};
use std::path::PathBuf;

/// Rolls releases out to fleets of Linux hosts, in waves, and survives crashes.
#[derive(Debug, Parser)]
#[command(
    name = "deploy",
    version,
    arg_required_else_help = true,
    subcommand_required = true,
    disable_help_subcommand = true,
    after_help = "Begin with `deploy demo`: it needs no host and no root. Every command explains itself with `--help`.\n\n\
        Exit codes:\n   0  succeeded\n   1  anything else\n   2  usage: the command line is wrong\n  10  rolled back\n  \
        11  stuck: failed, paused, or waiting for a person\n  12  denied\n  13  conflict"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options for all commands")]
pub(crate) struct GlobalArgs {
    /// Works on this folder, which holds all state, and speaks to no server [env: `DEPLOY_DATA_DIR`] [default: `deploy` in the XDG data folder]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["server", "context"])]
    pub(crate) data_dir: Option<PathBuf>,
    /// Speaks to this server, such as `https://deploy.example.com:7443` [env: `DEPLOY_SERVER`]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url, conflicts_with = "context")]
    pub(crate) server: Option<String>,
    /// Speaks to the server of this context; `deploy context` keeps them [env: `DEPLOY_CONTEXT`]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The certificate of the authority that the server is trusted by, in PEM [env: `DEPLOY_CA`]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,
    /// The file with the token for the server [env: `DEPLOY_TOKEN_FILE`, or `DEPLOY_TOKEN` for the token itself]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// How results are written: for people, or for programs
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
    /// Whether text is coloured; `auto`: on terminals, unless `NO_COLOR` is set
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: Color,
    /// Says nothing but results, warnings and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Logs what happens inside to standard error; twice for more
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// The SSH configuration file to use instead of the usual ones
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ssh_config: Option<PathBuf>,
    /// The file of known host keys to use instead of the usual ones
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) known_hosts: Option<PathBuf>,
    /// Trusts and keeps the key of a host that is seen for the first time; a changed key is still refused
    #[arg(long, global = true)]
    pub(crate) accept_new_host_keys: bool,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(subcommand)]
    Service(ServiceCommand),
    #[command(subcommand)]
    Host(HostCommand),
    #[command(subcommand)]
    Artifact(ArtifactCommand),
    Build(BuildCommand),
    #[command(subcommand)]
    Release(ReleaseCommand),
    #[command(subcommand)]
    Key(KeyCommand),
    #[command(subcommand)]
    Descriptor(DescriptorCommand),
    Plan(PlanCommand),
    #[command(subcommand)]
    Rollout(RolloutCommand),
    #[command(subcommand)]
    Relay(RelayCommand),
    Run(Run),
    Status(StatusCommand),
    Doctor(Doctor),
    #[command(subcommand)]
    Backup(BackupCommand),
    #[command(subcommand)]
    Limit(LimitCommand),
    #[command(subcommand)]
    Token(TokenCommand),
    #[command(subcommand)]
    Context(ContextCommand),
    Serve(Serve),
    Demo(Demo),
    Completions(Completions),
    #[command(hide = true)]
    BuildHere(BuildHere),
    #[command(hide = true)]
    ServeDemo(ServeDemo),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_explained_with_an_example() {
        fn visit(path: &str, command: &clap::Command) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} says nothing about itself");
            if command.has_subcommands() {
                command.get_subcommands().for_each(|it| visit(&path, it));
            } else if !command.is_hide_set() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(path.trim()), "{path} has no example");
            }
            for argument in command.get_arguments().filter(|it| !it.is_hide_set()) {
                assert!(
                    argument.get_help().is_some(),
                    "{path}: {} is not explained",
                    argument.get_id()
                );
            }
        }
        for command in Cli::command().get_subcommands() {
            visit("deploy", command);
        }
    }
}
