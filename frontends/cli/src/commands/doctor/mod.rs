mod here;
mod server;

use crate::{app::App, contexts::Destination, output::styles};
use clap::Args;
use deploy_wire::{DoctorCheck, DoctorReport, Exit, Problem, ProblemCode};

/// Looks for what keeps this installation from working, or the server that commands go to
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy doctor\n  deploy doctor --context production")]
pub(crate) struct Doctor {}

impl Doctor {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let checks = match app.destination()? {
            Destination::Own => here::checks(app).await?,
            Destination::Server(choice) => server::checks(app, &choice).await,
        };
        let report =
            DoctorReport { healthy: checks.iter().all(|it| it.result != "failed"), checks };
        app.output.result(&report, |output| {
            for check in &report.checks {
                let (style, sign) = match check.result.as_str() {
                    "ok" => (styles::GOOD, "ok     "),
                    "warning" => (styles::WARNING, "warning"),
                    _ => (styles::FAILURE, "failed "),
                };
                output.line(format_args!(
                    "{} {}: {}",
                    output.paint(style, sign),
                    check.name,
                    check.detail
                ));
                if let Some(hint) = &check.hint {
                    output.line(output.paint(styles::DIM, format_args!("        {hint}")));
                }
            }
        });
        if report.healthy {
            return Ok(Exit::Succeeded);
        }
        Err(Problem::new(ProblemCode::Unhealthy, "something is wrong: see above"))
    }
}

pub(super) fn ok(name: &str, detail: impl Into<String>) -> DoctorCheck {
    DoctorCheck {
        name: name.to_owned(),
        result: "ok".to_owned(),
        detail: detail.into(),
        hint: None,
    }
}

pub(super) fn wrong(
    name: &str,
    result: &str,
    detail: impl Into<String>,
    hint: impl Into<String>,
) -> DoctorCheck {
    DoctorCheck {
        name: name.to_owned(),
        result: result.to_owned(),
        detail: detail.into(),
        hint: Some(hint.into()),
    }
}
