//! What there is of releases.
use crate::{
    app::App,
    output::{Output, Table, styles, when},
};
use clap::Args;
use deploy_core::id::{ReleaseId, ServiceName};
use deploy_wire::{Exit, Problem, Release};

/// Shows the releases of a service, newest first
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy release list web")]
pub(crate) struct List {
    /// Of which service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
    /// How many to show
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
}

/// Shows a release
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy release show web-1.4.2")]
pub(crate) struct Show {
    /// Which release
    #[arg(value_name = "RELEASE")]
    id: ReleaseId,
}

/// Shows what differs between two releases
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy release diff web-1.4.1 web-1.4.2")]
pub(crate) struct Diff {
    /// The one
    #[arg(value_name = "FROM")]
    from: ReleaseId,
    /// The other
    #[arg(value_name = "TO")]
    to: ReleaseId,
}

impl List {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let documents = app.plane().await?.releases(&self.service, self.limit).await?;
        app.output.result(&documents, |output| {
            let mut table = Table::new(["RELEASE", "VERSION", "MADE AT", "BY", "FROM"]);
            for it in &documents {
                let made_at = when(&it.created_at);
                table.row([&it.id, &it.version, &made_at, &it.created_by, &it.provenance]);
            }
            if table.is_empty() {
                output.note("no releases yet: `deploy release create` makes one");
            } else {
                output.table(&table);
            }
        });
        Ok(Exit::Succeeded)
    }
}

impl Show {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let release = app.plane().await?.release(&self.id).await?;
        app.output.result(&release, |output| show(output, &release));
        Ok(Exit::Succeeded)
    }
}

fn show(output: &Output, release: &Release) {
    let (back, steps): (Vec<_>, Vec<_>) =
        release.steps.iter().map(|it| it.name.as_str()).partition(|it| *it == "rollback");
    let steps = match back.is_empty() {
        true => steps.join(" → "),
        false => format!("{}; back: rollback", steps.join(" → ")),
    };
    let made = format!("{} by {}", when(&release.created_at), release.created_by);
    let none = || "none".to_owned();
    for (name, value) in [
        ("release", release.id.clone()),
        ("service", release.service.clone()),
        ("version", release.version.clone()),
        ("package", release.package.clone().unwrap_or_else(none)),
        ("descriptor", release.descriptor.clone()),
        ("steps", steps),
        ("made", made),
        ("from", release.provenance.clone()),
    ] {
        if value.is_empty() {
            continue;
        }
        output.line(format_args!(
            "{} {value}",
            output.paint(styles::DIM, format_args!("{name:<10}"))
        ));
    }
    for (name, value) in &release.parameters {
        let name = output.paint(styles::DIM, format_args!("P_{name}"));
        output.line(format_args!("{name} {}", crate::output::clean(value)));
    }
}

impl Diff {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let diff = app.plane().await?.release_diff(&self.from, &self.to).await?;
        app.output.result(&diff, |output| {
            output.line(
                output.paint(styles::HEADER, format_args!("--- {}\n+++ {}", diff.from, diff.to)),
            );
            for change in &diff.changes {
                if let Some(was) = &change.from {
                    output.line(
                        output.paint(styles::FAILURE, format_args!("- {}: {was}", change.field)),
                    );
                }
                if let Some(is) = &change.to {
                    output
                        .line(output.paint(styles::GOOD, format_args!("+ {}: {is}", change.field)));
                }
            }
            if diff.changes.is_empty() {
                output.note("they bring the same");
            }
        });
        Ok(Exit::Succeeded)
    }
}
