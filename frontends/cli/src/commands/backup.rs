use super::declare_restored::{DeclareRestored, declare, tell_restored};
use crate::{
    app::App,
    backup::{self, Manifest},
    embedded::{self, DataDir, Elsewhere, unusable_database},
    output::{Output, plural, size},
};
use clap::{Args, Subcommand, ValueHint};
use deploy_sql::Database;
use deploy_wire::{Backup, Exit, Problem, ProblemCode, Restored};
use std::path::{Path, PathBuf};

/// Backups of the data folder
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    Create(Create),
    Verify(Verify),
    Restore(Restore),
    DeclareRestored(DeclareRestored),
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
    after_help = "Example:\n  deploy backup restore /var/backups/deploy-2026-11-22 --data-dir /var/lib/deploy\n\n\
    Hosts may have seen more than the backup knows: attempts from now on go before all of that, and rollouts that were under way \
    are paused until somebody has looked what hosts run."
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
            Self::Restore(command) => command.run(app).await,
            Self::DeclareRestored(command) => command.run(app).await,
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
        let document = document(&manifest, &self.folder);
        app.output.result(&document, |output| tell(output, &document, "copied to"));
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
        let document = document(&manifest, &self.folder);
        app.output.result(&document, |output| tell(output, &document, "whole in"));
        Ok(Exit::Succeeded)
    }
}

impl Restore {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let data_dir = app.data_dir()?;
        let unpacked = backup::unpack(&self.folder, &data_dir)?;
        let restored = if unpacked.manifest.has_database() {
            Some(declare_unpacked(app, unpacked.data_dir()?).await?)
        } else {
            None
        };
        let manifest = unpacked.put_in_place()?;
        let document = Backup { restored, ..document(&manifest, data_dir.path()) };
        app.output.result(&document, |output| {
            tell(output, &document, "restored to");
            if let Some(restored) = &document.restored {
                tell_restored(output, restored);
            }
        });
        Ok(Exit::Succeeded)
    }
}

/// Tells the database of a data folder that nobody else uses yet.
async fn declare_unpacked(app: &App, data_dir: DataDir) -> Result<Restored, Problem> {
    let (embedded, database) =
        embedded::open_over(data_dir, &app.global, Elsewhere::default()).await?;
    let declared = declare(&embedded).await;
    database.close().await;
    declared
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

fn document(manifest: &Manifest, folder: &Path) -> Backup {
    let (files, bytes) = manifest.size();
    let (folder, database) = (folder.display().to_string(), manifest.has_database());
    Backup { folder, files, bytes, database, restored: None }
}

fn tell(output: &Output, document: &Backup, done: &str) {
    let (files, bytes) = (plural(document.files, "file"), size(document.bytes));
    output.line(format_args!("{files}, {bytes}: {done} {}", document.folder));
}
