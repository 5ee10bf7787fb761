use crate::{
    app::App,
    commands::host::parse_label,
    output::{Table, plural, styles, when},
};
use clap::{Args, Subcommand};
use deploy_core::id::{LabelKey, LabelValue, TokenId};
use deploy_host::duration;
use deploy_operations::parse::check_address;
use deploy_wire::{Exit, IssuedJoinToken, JoinToken, NewJoinToken, Problem};
use std::{num::NonZeroU32, time::Duration};

/// Join tokens: by them machines become hosts
#[derive(Debug, Subcommand)]
pub(crate) enum JoinTokenCommand {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Makes a join token, and shows this once what is to be pasted on each host
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy host join-token create --label role=web --zone a --ttl 1h --uses 20\n  deploy host join-token create --relay --zone fra\n\n\
    Whoever has the line can make a machine a host with these labels: give it few uses and a short life."
)]
pub(crate) struct Create {
    /// A label of the hosts that it lets in; may be given again
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(LabelKey, LabelValue)>,
    /// For relays of that zone; a machine that enrols by it as a host is one, with the labels `role=relay` and `zone`
    #[arg(long, requires = "zone")]
    relay: bool,
    /// The zone of what it lets in: as `--label zone=ZONE`
    #[arg(long, value_name = "ZONE")]
    zone: Option<LabelValue>,
    /// After what time it is worth nothing
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = duration::parse)]
    ttl: Duration,
    /// How many hosts it lets in
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    uses: NonZeroU32,
    /// Where the hosts find the server [default: as the server says]
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host_port)]
    address: Option<String>,
}

/// Shows join tokens, also those that are worth nothing any more
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host join-token list")]
pub(crate) struct List {}

/// Makes join tokens worth nothing; hosts that they have let in stay
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host join-token revoke 6f1c9a0be2d4f853")]
pub(crate) struct Revoke {
    /// Which join tokens: the first part of each, behind `dplj_`
    #[arg(value_name = "TOKEN", required = true)]
    tokens: Vec<TokenId>,
}

fn parse_host_port(text: &str) -> Result<String, String> {
    let form = || format!("`{}` is no HOST:PORT", text.escape_debug());
    let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
    check_address(host.trim_matches(['[', ']']))?;
    port.parse::<u16>().map(|_| text.to_owned()).map_err(|_number| form())
}

impl JoinTokenCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Create(command) => command.run(app).await,
            Self::List(command) => command.run(app).await,
            Self::Revoke(command) => command.run(app).await,
        }
    }
}

impl Create {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let mut asked = NewJoinToken::default();
        let labels = self.labels.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        asked.labels = labels.collect();
        if let Some(zone) = &self.zone {
            asked.labels.insert("zone".to_owned(), zone.to_string());
        }
        if self.relay {
            asked.labels.insert("role".to_owned(), "relay".to_owned());
        }
        asked.uses = self.uses.get();
        asked.expires_in_secs = Some(self.ttl.as_secs());
        let mut issued = app.plane().await?.create_join_token(&asked).await?;
        issued.server = self.address.or(issued.server);
        app.output.result(&issued, |output| {
            output.line(line(&issued, self.relay));
            let JoinToken { uses, expires_at, .. } = &issued.token;
            let one = if self.relay { "relay" } else { "host" };
            output.note(format_args!(
                "to be pasted on each {one}; good for {} until {}, and shown only now",
                plural(u64::from(*uses), one),
                when(expires_at)
            ));
            if issued.server.is_none() {
                output.note("no server has said yet where it is: put its name in for SERVER");
            }
        });
        Ok(Exit::Succeeded)
    }
}

/// What makes a machine a host, or a relay. The token goes over standard input: it stands in no list of processes.
fn line(issued: &IssuedJoinToken, for_relay: bool) -> String {
    let server = issued.server.as_deref().unwrap_or("SERVER:7444");
    let enrol = if for_relay { "deploy relay enrol" } else { "deploy-agent enrol --install" };
    format!("echo {} | sudo {enrol} --server {server}", issued.secret)
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let tokens = app.plane().await?.join_tokens().await?;
        app.output.result(&tokens, |output| {
            if tokens.is_empty() {
                output.note("no join tokens: `deploy host join-token create` makes one");
                return;
            }
            let mut table = Table::new(["TOKEN", "STATE", "USED", "EXPIRES", "BY", "LABELS"]);
            for it in &tokens {
                let labels = it.labels.iter().map(|(key, value)| format!("{key}={value}"));
                let (style, state) = match &it.refusal {
                    None => (styles::GOOD, "good"),
                    Some(why) => (styles::DIM, why.as_str()),
                };
                table.styled([
                    (styles::PLAIN, it.id.clone()),
                    (style, state.to_owned()),
                    (styles::PLAIN, format!("{} of {}", it.used, it.uses)),
                    (styles::PLAIN, when(&it.expires_at)),
                    (styles::PLAIN, it.created_by.clone()),
                    (styles::PLAIN, labels.collect::<Vec<_>>().join(" ")),
                ]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}

impl Revoke {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        for token in &self.tokens {
            plane.revoke_join_token(token).await?;
        }
        let revoked: Vec<String> = self.tokens.iter().map(ToString::to_string).collect();
        app.output.result(&revoked, |output| {
            for token in &revoked {
                output.line(format_args!("join token {token} lets nobody in any more"));
            }
        });
        Ok(Exit::Succeeded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        for good in ["deploy.example.com:7444", "192.0.2.1:1", "[2001:db8::1]:7444"] {
            assert_eq!(parse_host_port(good).unwrap(), good);
        }
        for bad in ["deploy.example.com", "h:x", ":7444", "a b:1", "-x:1", "h:70000", "h;ls:1"] {
            assert!(parse_host_port(bad).is_err(), "{bad}");
        }
    }
}
