use crate::{app::App, cli::Cli};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use deploy_wire::{Exit, Problem};

/// Prints what makes a shell complete this command line
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy completions bash > ~/.local/share/bash-completion/completions/deploy"
)]
pub(crate) struct Completions {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, app: &App) -> Result<Exit, Problem> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "deploy", &mut script);
        app.output.bytes(&script);
        Ok(Exit::Succeeded)
    }
}
