use super::server;
use crate::{
    app::App,
    embedded::{self, DataDir, Elsewhere, Embedded, gone},
    output::Output,
    problem::{IntoProblem as _, OrProblem as _},
};
use clap::{Args, ValueHint};
use deploy_core::{backend::Lease, engine::PlatformError, error::ErrorKind, id::RolloutId};
use deploy_wire::{Exit, Problem, ProblemCode, Restored};
use std::path::PathBuf;

/// Says that the database was brought back to an earlier state, by other means than `deploy backup restore`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy backup declare-restored --config /etc/deploy/server.toml\n  \
    deploy backup declare-restored --database postgres://deploy@db.example.com/deploy\n\n\
    For a PostgreSQL database after `pg_restore`, or after a failover to a standby that lacks the last commits; with all servers stopped. \
    Attempts from now on go before all that hosts may have seen since, and rollouts that were under way are paused until somebody has \
    looked what hosts run. `deploy backup restore` says it by itself."
)]
pub(crate) struct DeclareRestored {
    /// The configuration file of the server
    #[arg(long, env = "DEPLOY_SERVE_CONFIG", hide_env_values = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// The PostgreSQL database, without a password; otherwise the one that the server is configured for, or that of the data folder
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl DeclareRestored {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let url = server::database_url(self.config.as_deref(), self.database)?;
        let data_dir = app.data_dir()?;
        if url.is_none() && !data_dir.database().exists() {
            return Err(no_database(&data_dir));
        }
        let elsewhere = Elsewhere { database: url.as_deref(), ..Elsewhere::default() };
        let (embedded, database) = embedded::open_over(data_dir, &app.global, elsewhere).await?;
        let declared = declare_idle(&embedded).await;
        database.close().await;
        let restored = declared?;
        app.output.result(&restored, |output| tell_restored(output, &restored));
        Ok(Exit::Succeeded)
    }
}

/// As [`declare`], where nobody drives a rollout.
async fn declare_idle(embedded: &Embedded) -> Result<Restored, Problem> {
    let journal = &embedded.parts().journal;
    let all = journal.rollouts(None, usize::MAX).await.or_problem()?;
    for open in all.into_iter().filter(|it| it.last.is_none()) {
        let lease = embedded.platform.driver_of(&open.rollout).await.or_problem()?;
        let now = embedded.parts().clock.now();
        if let Some(lease) = lease.filter(|it| it.expires_at > now && !gone(&it.holder)) {
            return Err(driven(&open.rollout, &lease));
        }
    }
    declare(embedded).await
}

/// Tells the platform that it was brought back to an earlier state.
pub(super) async fn declare(embedded: &Embedded) -> Result<Restored, Problem> {
    let declared = embedded.platform.declare_restored(&embedded.principal).await;
    let declared = declared.map_err(|err| match &err {
        PlatformError::Backend(backend) if backend.kind() == ErrorKind::Conflict => {
            err.into_problem().with_hint(
                "the clock of this machine is behind that of the one where this was said before: set it",
            )
        }
        _ => err.into_problem(),
    })?;
    let paused = declared.paused.iter().map(ToString::to_string).collect();
    Ok(Restored { floor: declared.floor.get(), paused })
}

pub(super) fn tell_restored(output: &Output, restored: &Restored) {
    output.line(format_args!("attempts from now on have generations above {}", restored.floor));
    for rollout in &restored.paused {
        output.line(format_args!("{rollout} was under way, and is paused"));
    }
    if !restored.paused.is_empty() {
        output.note(
            "hosts may have gone further than these rollouts know: look with `deploy status SERVICE --refresh`, \
             take out what is done with `deploy rollout skip`, then `deploy rollout resume` or `abort`",
        );
    }
}

fn no_database(data_dir: &DataDir) -> Problem {
    let message = format!("there is no database in {}", data_dir.path().display());
    Problem::new(ProblemCode::NotFound, message).with_hint(
        "`--config FILE` or `--database URL` says which PostgreSQL database, `--data-dir DIR` where another data folder is",
    )
}

fn driven(rollout: &RolloutId, lease: &Lease) -> Problem {
    let message = format!("rollout {rollout} is being driven, until {} at least", lease.expires_at);
    Problem::new(ProblemCode::InProgress, message)
        .with_hint("stop all servers first; one that was killed is let go of after 15 seconds")
        .with_context("rollout", rollout)
        .with_context("holder", &lease.holder)
}
