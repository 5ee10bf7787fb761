use crate::{
    app::App,
    output::{Table, when},
    problem::usage,
};
use clap::{Args, Subcommand};
use deploy_core::{
    access::Action,
    id::{Principal, ServiceName, TokenId},
    spec::Selector,
};
use deploy_host::duration;
use deploy_wire::{Exit, NewToken, Problem, Token};
use std::time::Duration;

/// Tokens: who may speak to a server, and what they may do there
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Makes a token; its secret is shown this once
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy token create ci --allow artifact_write --allow service_write --service web --note 'the build server'\n  \
    deploy token create ann --allow-everything --expires 365d\n\n\
    A token without any action is for reading. Nobody can make one that allows more than their own."
)]
pub(crate) struct Create {
    /// Who acts with it
    #[arg(value_name = "PRINCIPAL")]
    principal: Principal,
    /// An action that it allows, such as `rollout_control`; may be given again
    #[arg(long, value_name = "ACTION", value_parser = parse_action)]
    allow: Vec<Action>,
    /// Allows every action
    #[arg(long, conflicts_with = "allow")]
    allow_everything: bool,
    /// Only for this service; may be given again
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<ServiceName>,
    /// Only on the hosts that it selects
    #[arg(long, value_name = "SELECTOR")]
    hosts: Option<Selector>,
    /// After how long it expires
    #[arg(long, default_value = "90d", value_name = "DURATION", value_parser = parse_duration)]
    expires: Duration,
    /// What it is for
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
}

/// Shows tokens, also those that are worth nothing any more
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy token list")]
pub(crate) struct List {}

/// Revokes tokens; at once, and for good
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy token revoke 0123456789abcdef")]
pub(crate) struct Revoke {
    /// Which: their ids
    #[arg(value_name = "TOKEN", required = true)]
    tokens: Vec<TokenId>,
}

fn parse_action(text: &str) -> Result<Action, String> {
    let found = Action::ALL.into_iter().find(|it| it.as_str() == text);
    found.ok_or_else(|| format!("there are {}", Action::ALL.map(Action::as_str).join(", ")))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|err| err.to_string())
}

impl TokenCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Create(command) => command.run(app).await,
            Self::List(_) => list(app).await,
            Self::Revoke(command) => command.run(app).await,
        }
    }
}

impl Create {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let allowed = match self.allow_everything {
            true => Action::ALL.to_vec(),
            false => self.allow,
        };
        if self.expires.as_secs() == 0 {
            return Err(usage("--expires must be a second or longer"));
        }
        let services = self.services.iter().map(ToString::to_string).collect();
        let asked = NewToken {
            principal: self.principal.to_string(),
            note: self.note,
            actions: allowed.into_iter().map(|it| it.as_str().to_owned()).collect(),
            services: Some(services).filter(|it: &Vec<String>| !it.is_empty()),
            hosts: self.hosts.map(|it| it.to_string()),
            expires_in_secs: Some(self.expires.as_secs()),
        };
        let issued = app.plane().await?.create_token(asked).await?;
        app.output.result(&issued, |output| {
            output.line(&issued.secret);
            let Token { id, principal, expires_at, .. } = &issued.token;
            output.note(format_args!(
                "token {id} speaks for {principal} until {}; it is shown only now",
                when(expires_at)
            ));
        });
        Ok(Exit::Succeeded)
    }
}

async fn list(app: &App) -> Result<Exit, Problem> {
    let tokens = app.plane().await?.tokens().await?;
    app.output.result(&tokens, |output| {
        if tokens.is_empty() {
            output.note("no tokens yet: `deploy token create` makes one");
            return;
        }
        let mut table =
            Table::new(["TOKEN", "PRINCIPAL", "ALLOWS", "UNTIL", "LAST USED", "NOTE"]).wrapping();
        for it in &tokens {
            let until = match &it.revoked_at {
                Some(at) => format!("revoked {}", when(at)),
                None => when(&it.expires_at),
            };
            let used = it.last_used_at.as_ref().map_or_else(|| "never".to_owned(), |at| when(at));
            table.row([
                it.id.clone(),
                it.principal.clone(),
                allows(it),
                until,
                used,
                it.note.clone(),
            ]);
        }
        output.table(&table);
    });
    Ok(Exit::Succeeded)
}

/// What a token allows, in a few words.
fn allows(token: &Token) -> String {
    let mut allows = match token.actions.len() {
        0 => "reading".to_owned(),
        all if all == Action::ALL.len() => "everything".to_owned(),
        _ => token.actions.join(" "),
    };
    if let Some(services) = &token.services {
        allows.push_str(&format!(" for {}", services.join(", ")));
    }
    if let Some(hosts) = &token.hosts {
        allows.push_str(&format!(" on {hosts}"));
    }
    allows
}

impl Revoke {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        for token in &self.tokens {
            plane.revoke_token(token.as_str()).await?;
        }
        let revoked: Vec<_> = self.tokens.iter().map(ToString::to_string).collect();
        app.output.result(&revoked, |output| {
            for token in &revoked {
                output.line(format_args!("token {token} is worth nothing any more"));
            }
        });
        Ok(Exit::Succeeded)
    }
}
