//! Which control plane a command speaks to: this program's own, or a server, and with which token.
mod file;
mod secret;

pub(crate) use file::{Contexts, Entry};
pub(crate) use secret::{check as check_token, read_token};

use crate::{
    cli::GlobalArgs,
    problem::{io_problem, usage},
};
use deploy_wire::{Problem, ProblemCode};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// Where commands go.
#[derive(Debug)]
pub(crate) enum Destination {
    /// To this program's own control plane, over a data folder.
    Own,
    Server(ServerChoice),
}

/// A server, and how to speak to it.
#[derive(Debug)]
pub(crate) struct ServerChoice {
    /// The context that says it, if one does.
    pub(crate) context: Option<String>,
    pub(crate) url: String,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) token: TokenSource,
}

/// Where a token comes from. It is read when it is needed, and shown to nobody but the server.
pub(crate) enum TokenSource {
    /// Nobody says it.
    None,
    File(PathBuf),
    /// It is said, here: by a variable, or by the configuration.
    Text(String),
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text(…)"),
        }
    }
}

/// Looks up variables of the environment; what is empty is not there.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The environment of this process.
pub(crate) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|it| !it.is_empty())
}

/// Where commands go. What is nearer to the command wins: options, then variables, then the configuration file.
pub(crate) fn choose(
    global: &GlobalArgs,
    variables: Variables<'_>,
) -> Result<Destination, Problem> {
    let variable = |name| text_of(name, variables);
    if global.data_dir.is_some() {
        return own(global);
    }
    if let Some(url) = &global.server {
        return by_url(url.clone(), global, variables);
    }
    if let Some(name) = &global.context {
        return by_context(name, global, variables);
    }
    if let Some(url) = variable("DEPLOY_SERVER")? {
        return by_url(url, global, variables);
    }
    if let Some(name) = variable("DEPLOY_CONTEXT")? {
        return by_context(&name, global, variables);
    }
    if variables("DEPLOY_DATA_DIR").is_some() {
        return own(global);
    }
    match Contexts::read(variables)?.current {
        Some(name) => by_context(&name, global, variables),
        None => own(global),
    }
}

fn own(global: &GlobalArgs) -> Result<Destination, Problem> {
    for (option, given) in [("--ca", &global.ca), ("--token-file", &global.token_file)] {
        if given.is_some() {
            let message =
                format!("{option} is for a server, and this command goes to the data folder");
            return Err(
                usage(message).with_hint("`--server URL` or `--context NAME` names a server")
            );
        }
    }
    Ok(Destination::Own)
}

fn by_url(
    url: String,
    global: &GlobalArgs,
    variables: Variables<'_>,
) -> Result<Destination, Problem> {
    let ca = ca_of(global, variables);
    let token = given_token(global, variables)?.unwrap_or(TokenSource::None);
    Ok(Destination::Server(ServerChoice { context: None, url, ca, token }))
}

fn by_context(
    name: &str,
    global: &GlobalArgs,
    variables: Variables<'_>,
) -> Result<Destination, Problem> {
    let mut contexts = Contexts::read(variables)?;
    let entry = contexts.entries.remove(name).ok_or_else(|| contexts.unknown(name))?;
    let token = match (given_token(global, variables)?, entry.token_file, entry.token) {
        (Some(given), _, _) => given,
        (None, Some(file), _) => TokenSource::File(contexts.beside(&file)),
        (None, None, Some(text)) => TokenSource::Text(text),
        (None, None, None) => TokenSource::None,
    };
    let ca = ca_of(global, variables).or_else(|| entry.ca.as_deref().map(|it| contexts.beside(it)));
    let context = Some(name.to_owned());
    Ok(Destination::Server(ServerChoice { context, url: entry.server, ca, token }))
}

fn ca_of(global: &GlobalArgs, variables: Variables<'_>) -> Option<PathBuf> {
    global.ca.clone().or_else(|| variables("DEPLOY_CA").map(PathBuf::from))
}

/// The token that a command or its surroundings name.
fn given_token(
    global: &GlobalArgs,
    variables: Variables<'_>,
) -> Result<Option<TokenSource>, Problem> {
    if let Some(file) = &global.token_file {
        return Ok(Some(TokenSource::File(file.clone())));
    }
    if let Some(text) = text_of("DEPLOY_TOKEN", variables)? {
        return Ok(Some(TokenSource::Text(text)));
    }
    Ok(variables("DEPLOY_TOKEN_FILE").map(|it| TokenSource::File(it.into())))
}

/// The text of a variable. What it says is in no message: it may be a secret.
fn text_of(name: &str, variables: Variables<'_>) -> Result<Option<String>, Problem> {
    let text = variables(name).map(OsString::into_string).transpose();
    text.map_err(|_| usage(format_args!("{name} is not text in UTF-8")))
}

impl ServerChoice {
    /// What to connect to.
    pub(crate) fn server(&self) -> Result<deploy_client::Server, Problem> {
        let token = match &self.token {
            TokenSource::Text(text) => check_token(text, "the token")?,
            TokenSource::File(path) => read_token(path)?,
            TokenSource::None => {
                let message = format!("there is no token for {}", self.url);
                return Err(Problem::new(ProblemCode::Unauthenticated, message).with_hint(
                    "`DEPLOY_TOKEN` or `--token-file FILE` names one, or `deploy context set` keeps it",
                ));
            }
        };
        let server = deploy_client::Server::new(self.url.as_str(), token);
        Ok(match &self.ca {
            Some(path) => server.with_authority(read_ca(path)?),
            None => server,
        })
    }
}

/// The certificate of an authority, in PEM.
pub(crate) fn read_ca(path: &Path) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|err| io_problem(path.display(), &err))
}

#[cfg(test)]
mod tests;
