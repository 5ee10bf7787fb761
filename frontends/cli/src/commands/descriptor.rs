use crate::{
    app::App,
    output::{Table, plural},
    packages::read_descriptor,
};
use clap::{Args, Subcommand, ValueHint};
use deploy_host::{descriptor::default_descriptor, duration};
use deploy_wire::{Exit, Problem, Step};
use std::path::PathBuf;

/// Descriptors: how a release is put on a host
#[derive(Debug, Subcommand)]
pub(crate) enum DescriptorCommand {
    Check(Check),
    ShowDefault(ShowDefault),
}

/// Says whether a descriptor holds together, and which steps it has
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy descriptor check ./descriptor")]
pub(crate) struct Check {
    /// Its folder, its `descriptor.toml`, or its archive
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    path: PathBuf,
}

/// Prints the default descriptor, with a comment on everything that can be said in one
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy descriptor show-default > descriptor.toml")]
pub(crate) struct ShowDefault {}

impl DescriptorCommand {
    pub(crate) fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Check(command) => command.run(app),
            Self::ShowDefault(_) => {
                app.output.raw(format_args!("{}", default_descriptor()));
                Ok(Exit::Succeeded)
            }
        }
    }
}

impl Check {
    fn run(self, app: &App) -> Result<Exit, Problem> {
        let (bundle, _) = read_descriptor(&self.path)?;
        let steps = bundle.descriptor.steps();
        let documents: Vec<_> = steps.iter().map(Step::from).collect();
        app.output.result(&documents, |output| {
            let mut table = Table::new(["STEP", "TIMEOUT", "EFFECT"]);
            for (step, document) in steps.iter().zip(&documents) {
                let timeout = duration::format(step.timeout);
                table.row([document.name.clone(), timeout, document.effect.clone()]);
            }
            output.table(&table);
            let files = u64::try_from(bundle.files.len()).unwrap_or(u64::MAX);
            output.note(format_args!("the descriptor is good: {}", plural(files, "file")));
        });
        Ok(Exit::Succeeded)
    }
}
