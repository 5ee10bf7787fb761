//! What every command has: where it writes to, and the control plane that it speaks to.
pub(crate) use crate::embedded::Embedded;
use crate::{
    cli::GlobalArgs,
    contexts::{Destination, ServerChoice, choose, environment},
    embedded::{self, DataDir},
    output::Output,
    plane::{OwnPlane, Plane, RemotePlane},
};
use deploy_client::Client;
use deploy_wire::{Problem, ProblemCode};
use std::{path::PathBuf, sync::Arc};

/// One run of the program.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) output: Arc<Output>,
    pub(crate) global: GlobalArgs,
}

impl App {
    /// The data folder, whether it is there or not.
    pub(crate) fn data_dir(&self) -> Result<DataDir, Problem> {
        let variable = || environment("DEPLOY_DATA_DIR").map(PathBuf::from);
        DataDir::locate(self.global.data_dir.clone().or_else(variable).as_deref())
    }

    /// Where commands go.
    pub(crate) fn destination(&self) -> Result<Destination, Problem> {
        choose(&self.global, &environment)
    }

    /// The control plane that commands speak to.
    pub(crate) async fn plane(&self) -> Result<Box<dyn Plane>, Problem> {
        Ok(match self.destination()? {
            Destination::Own => Box::new(OwnPlane::new(self.open_here().await?)),
            Destination::Server(choice) => Box::new(self.connect(&choice)?),
        })
    }

    /// The control plane on a server. Nothing is sent yet.
    pub(crate) fn connect(&self, choice: &ServerChoice) -> Result<RemotePlane, Problem> {
        let client = Client::new(choice.server()?).map_err(|err| {
            let problem = Problem::from(err).with_context("server", &choice.url);
            match choice.ca {
                None => problem.with_hint("`--ca FILE` names the certificate of the authority to trust: the server's `tls/ca.pem`"),
                Some(_) => problem,
            }
        })?;
        Ok(RemotePlane::new(client, choice.url.clone(), Arc::clone(&self.output)))
    }

    /// Opens the platform over the data folder, which is made if it is missing. For commands that no server offers.
    pub(crate) async fn open(&self) -> Result<Embedded, Problem> {
        if let Destination::Server(choice) = self.destination()? {
            return Err(only_here(&choice.url));
        }
        self.open_here().await
    }

    async fn open_here(&self) -> Result<Embedded, Problem> {
        embedded::open(self.data_dir()?, &self.global).await
    }

    /// Refuses to be sent to a server, in a command that is for this machine whatever the surroundings say.
    pub(crate) fn stay_here(&self) -> Result<(), Problem> {
        match (&self.global.server, &self.global.context) {
            (Some(server), _) => Err(only_here(server)),
            (None, Some(context)) => Err(only_here(context)),
            (None, None) => Ok(()),
        }
    }
}

fn only_here(server: &str) -> Problem {
    let message = format!("this command works on this machine alone, and does not go to {server}");
    Problem::new(ProblemCode::Unsupported, message)
        .with_hint("run it where the data is, with `--data-dir DIR`")
}
