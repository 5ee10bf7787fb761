use crate::{
    app::App,
    contexts::{
        Contexts, Destination, Entry, TokenSource, check_token, environment, read_ca, read_token,
    },
    files::Source,
    output::Table,
    problem::{io_problem, usage},
};
use clap::{Args, Subcommand};
use deploy_client::{Client, Server};
use deploy_wire::{Context, Exit, Problem};
use std::path::{Path, PathBuf};

/// The most that is read of standard input for a token, in bytes.
const LONGEST: u64 = 4_096;

/// Contexts: servers by name, so that commands need not say each time where they go
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    List(List),
    Use(Use),
    Set(Set),
    Remove(Remove),
    Current(Current),
}

/// Shows all contexts
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy context list")]
pub(crate) struct List {}

/// Makes commands go to a context's server from now on
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  deploy context use production\n  deploy context use --none")]
pub(crate) struct Use {
    /// Which context
    #[arg(value_name = "NAME", required_unless_present = "none")]
    name: Option<String>,
    /// None: commands go to this machine's own data folder
    #[arg(long, conflicts_with = "name")]
    none: bool,
}

/// Adds a context, or changes one. The first is used from then on
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy context set production --server https://deploy.example.com:7443 --ca ca.pem --token-file ~/.config/deploy/token\n  \
    deploy context set production --token-stdin < token\n\n\
    `--server`, `--ca` and `--token-file` are the options for all commands: here they are what is kept. What is not given stays as it is.\n\
    A token is never an argument: everybody on the machine could read it."
)]
pub(crate) struct Set {
    /// Its name
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: String,
    /// Reads the token from standard input, and keeps it
    #[arg(long, conflicts_with = "token_file")]
    token_stdin: bool,
}

/// Removes a context
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy context remove staging")]
pub(crate) struct Remove {
    /// Which context
    #[arg(value_name = "NAME")]
    name: String,
}

/// Shows where commands go now
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy context current")]
pub(crate) struct Current {}

fn parse_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let valid = !text.is_empty() && text.len() <= 63 && text.chars().all(fits);
    match valid {
        true => Ok(text.to_owned()),
        false => Err("a name has 1 to 63 letters, digits, `-`, `_` and `.`".to_owned()),
    }
}

impl ContextCommand {
    pub(crate) fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::List(_) => list(app),
            Self::Use(command) => command.run(app),
            Self::Set(command) => command.run(app),
            Self::Remove(command) => command.run(app),
            Self::Current(_) => current(app),
        }
    }
}

fn list(app: &App) -> Result<Exit, Problem> {
    let contexts = Contexts::read(&environment)?;
    let documents: Vec<_> =
        contexts.entries.iter().map(|(name, it)| document(&contexts, name, it)).collect();
    app.output.result(&documents, |output| {
        if documents.is_empty() {
            output.note("no contexts yet: `deploy context set` makes one");
            return;
        }
        let mut table = Table::new(["", "CONTEXT", "SERVER", "TOKEN"]);
        for it in &documents {
            let sign = if it.current { "*" } else { "" };
            let name = it.name.clone().unwrap_or_default();
            let token = it.token.clone().unwrap_or_else(|| "none".to_owned());
            table.row([sign.to_owned(), name, it.server.clone().unwrap_or_default(), token]);
        }
        output.table(&table);
    });
    Ok(Exit::Succeeded)
}

fn document(contexts: &Contexts, name: &str, entry: &Entry) -> Context {
    let path = |it: &PathBuf| contexts.beside(it).display().to_string();
    let token = match (&entry.token_file, &entry.token) {
        (Some(file), _) => Some(path(file)),
        (None, Some(_)) => Some("stored".to_owned()),
        (None, None) => None,
    };
    Context {
        name: Some(name.to_owned()),
        server: Some(entry.server.clone()),
        data_dir: None,
        ca: entry.ca.as_ref().map(path),
        token,
        current: contexts.current.as_deref() == Some(name),
    }
}

impl Use {
    fn run(self, app: &App) -> Result<Exit, Problem> {
        let mut contexts = Contexts::read(&environment)?;
        if let Some(name) = self.name.as_ref().filter(|it| !contexts.entries.contains_key(*it)) {
            return Err(contexts.unknown(name));
        }
        contexts.current = self.name.filter(|_| !self.none);
        contexts.write()?;
        current(app)
    }
}

impl Set {
    fn run(self, app: &App) -> Result<Exit, Problem> {
        let mut contexts = Contexts::read(&environment)?;
        let mut entry = contexts.entries.remove(&self.name).unwrap_or_default();
        if let Some(server) = &app.global.server {
            entry.server.clone_from(server);
        }
        if let Some(ca) = &app.global.ca {
            entry.ca = Some(whole(ca)?);
        }
        if let Some(file) = &app.global.token_file {
            read_token(file)?;
            (entry.token_file, entry.token) = (Some(whole(file)?), None);
        }
        if self.token_stdin {
            let text = Source::read(Path::new("-"), LONGEST)?;
            let token = check_token(text.text(), "standard input")?;
            (entry.token_file, entry.token) = (None, Some(token));
        }
        if entry.server.is_empty() {
            return Err(usage("a new context needs a server").with_hint("`--server URL` names it"));
        }
        usable(&contexts, &entry)?;
        let shown = document(&contexts, &self.name, &entry);
        contexts.current.get_or_insert_with(|| self.name.clone());
        contexts.entries.insert(self.name, entry);
        contexts.write()?;
        let current = contexts.current == shown.name;
        let shown = Context { current, ..shown };
        app.output.result(&shown, |output| say(output, &shown));
        Ok(Exit::Succeeded)
    }
}

/// A path that means the same wherever it is read.
fn whole(path: &Path) -> Result<PathBuf, Problem> {
    std::path::absolute(path).map_err(|err| io_problem(path.display(), &err))
}

/// Refuses an entry that could never work. Nothing is sent.
fn usable(contexts: &Contexts, entry: &Entry) -> Result<(), Problem> {
    let server = Server::new(entry.server.as_str(), "none");
    let server = match &entry.ca {
        Some(ca) => server.with_authority(read_ca(&contexts.beside(ca))?),
        None => server,
    };
    Client::new(server).map(drop).map_err(|err| {
        let problem = Problem::from(err).with_context("server", &entry.server);
        problem.with_hint("`--server URL` names the server, `--ca FILE` the certificate of the authority that it is trusted by")
    })
}

impl Remove {
    fn run(self, app: &App) -> Result<Exit, Problem> {
        let mut contexts = Contexts::read(&environment)?;
        let Some(entry) = contexts.entries.remove(&self.name) else {
            return Err(contexts.unknown(&self.name));
        };
        let was = document(&contexts, &self.name, &entry);
        contexts.current = contexts.current.take().filter(|it| *it != self.name);
        contexts.write()?;
        let removed = Context { current: false, ..was };
        app.output.result(&removed, |output| {
            output.line(format_args!("context {} is gone", self.name));
            if let Some(file) = &entry.token_file {
                output.note(format_args!("its token is still in {}", file.display()));
            }
        });
        Ok(Exit::Succeeded)
    }
}

fn current(app: &App) -> Result<Exit, Problem> {
    let shown = match app.destination()? {
        Destination::Own => Context {
            name: None,
            server: None,
            data_dir: Some(app.data_dir()?.path().display().to_string()),
            ca: None,
            token: None,
            current: true,
        },
        Destination::Server(choice) => Context {
            name: choice.context,
            server: Some(choice.url),
            data_dir: None,
            ca: choice.ca.map(|it| it.display().to_string()),
            token: match choice.token {
                TokenSource::None => None,
                TokenSource::File(path) => Some(path.display().to_string()),
                TokenSource::Text(_) => Some("stored".to_owned()),
            },
            current: true,
        },
    };
    app.output.result(&shown, |output| say(output, &shown));
    Ok(Exit::Succeeded)
}

fn say(output: &crate::output::Output, shown: &Context) {
    match (&shown.name, &shown.server) {
        (Some(name), Some(server)) => output.line(format_args!("{name}: {server}")),
        (None, Some(server)) => output.line(server),
        (_, None) => {
            let folder = shown.data_dir.as_deref().unwrap_or_default();
            output.line(format_args!("this machine: {folder}"));
        }
    }
    if shown.server.is_some() && shown.token.is_none() {
        output.note("it has no token: `--token-file FILE` or `DEPLOY_TOKEN` names one");
    }
}
