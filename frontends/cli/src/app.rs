//! What every command has: where it writes to, and the platform over this machine's own backends.
pub(crate) use crate::embedded::Embedded;
use crate::{
    cli::GlobalArgs,
    embedded::{self, DataDir},
    output::Output,
};
use deploy_wire::Problem;
use std::sync::Arc;

/// One run of the program.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) output: Arc<Output>,
    pub(crate) global: GlobalArgs,
}

impl App {
    /// The data folder, whether it is there or not.
    pub(crate) fn data_dir(&self) -> Result<DataDir, Problem> {
        DataDir::locate(self.global.data_dir.as_deref())
    }

    /// Opens the platform over the data folder, which is made if it is missing.
    pub(crate) async fn open(&self) -> Result<Embedded, Problem> {
        embedded::open(self.data_dir()?, &self.global).await
    }
}
