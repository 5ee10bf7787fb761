use crate::{
    app::App,
    backup::{self, Manifest},
    embedded::{DataDir, unusable_database},
    output::{plural, size},
};
use clap::{Args, Subcommand, ValueHint};
use deploy_sql::Database;
use deploy_wire::{Backup, Exit, Problem, ProblemCode};
use std::path::{Path, PathBuf};

/// Backups of the data folder
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    Create(Create),
    Verify(Verify),
    Restore(Restore),
}

/// Copies the data folder as it is, also while a server and rollouts use it
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy backup create /var/backups/deploy-2026-11-22\n\n\
    What is copied holds keys: keep it as safe as the data folder. docs/operations.md says what to do about PostgreSQL.")]
pub(crate) struct Create {
    /// The folder that is made for it
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

/// Reads a backup whole, and says whether it is what was backed up
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy backup verify /var/backups/deploy-2026-11-22")]
pub(crate) struct Verify {
    /// The backup
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

/// Makes a data folder from a backup; one that is not empty is left alone
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy backup restore /var/backups/deploy-2026-11-22 --data-dir /var/lib/deploy"
)]
pub(crate) struct Restore {
    /// The backup
    #[arg(value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    folder: PathBuf,
}

impl BackupCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Create(command) => command.run(app).await,
            Self::Verify(command) => command.run(app),
            Self::Restore(command) => command.run(app),
        }
    }
}

impl Create {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let data_dir = app.data_dir()?;
        if !data_dir.path().is_dir() {
            let message = format!("there is no data folder {}", data_dir.path().display());
            return Err(Problem::new(ProblemCode::NotFound, message)
                .with_hint("`--data-dir DIR` says where it is"));
        }
        let database = database(&data_dir).await?;
        let manifest = backup::create(&data_dir, database.as_ref(), &self.folder).await?;
        tell(app, &manifest, &self.folder, "copied to");
        if !manifest.has_database() {
            app.output.warn(
                "the data folder has no database, so none is in the backup: `pg_dump` copies one on PostgreSQL, and that before this",
            );
        }
        Ok(Exit::Succeeded)
    }
}

impl Verify {
    fn run(self, app: &App) -> Result<Exit, Problem> {
        let manifest = backup::verify(&self.folder)?;
        tell(app, &manifest, &self.folder, "whole in");
        Ok(Exit::Succeeded)
    }
}

impl Restore {
    fn run(self, app: &App) -> Result<Exit, Problem> {
        let data_dir = app.data_dir()?;
        let manifest = backup::restore(&self.folder, &data_dir)?;
        tell(app, &manifest, data_dir.path(), "restored to");
        Ok(Exit::Succeeded)
    }
}

/// The database in the folder, if there is one: a server may have its own elsewhere.
async fn database(data_dir: &DataDir) -> Result<Option<Database>, Problem> {
    let file = data_dir.database();
    if !file.exists() && !file.with_extension("logs.db").exists() {
        return Ok(None);
    }
    let database = Database::open_sqlite(file).await;
    Ok(Some(database.map_err(|err| unusable_database(data_dir, &err))?))
}

fn tell(app: &App, manifest: &Manifest, folder: &Path, done: &str) {
    let (files, bytes) = manifest.size();
    let folder = folder.display().to_string();
    let document = Backup { folder, files, bytes, database: manifest.has_database() };
    app.output.result(&document, |output| {
        let (files, bytes) = (plural(files, "file"), size(bytes));
        output.line(format_args!("{files}, {bytes}: {done} {}", document.folder));
    });
}
