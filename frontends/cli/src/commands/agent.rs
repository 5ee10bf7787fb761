use crate::{
    app::App,
    output::{Style, Table, list, size, styles, when},
};
use clap::{Args, Subcommand};
use deploy_core::id::HostName;
use deploy_wire::{Agent, AgentDecision, Exit, Problem};

/// Agents: the programs on hosts that connect by themselves
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    List(List),
    Show(Show),
    Accept(Accept),
    Revoke(Revoke),
    Remove(Remove),
}

/// Shows agents, and whether they are there
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host agent list")]
pub(crate) struct List {}

/// Shows the agent of a host
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host agent show web-1")]
pub(crate) struct Show {
    /// Which host
    #[arg(value_name = "HOST")]
    host: HostName,
}

/// Lets an agent in that was quarantined or revoked: of two machines with one key the one that stays
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host agent accept web-1\n\n\
    Of a machine that was copied, shut the copy down first, or give it a key of its own: remove `credentials.toml` there, and enrol it.")]
pub(crate) struct Accept {
    /// Which host
    #[arg(value_name = "HOST")]
    host: HostName,
}

/// Keeps the agents of hosts out: at once, and until somebody accepts them again
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host agent revoke web-1 --reason \"sold\"")]
pub(crate) struct Revoke {
    /// Which hosts
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<HostName>,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Forgets agents, so that their machines can enrol as new ones; the hosts stay in the inventory
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy host agent remove web-1")]
pub(crate) struct Remove {
    /// Which hosts
    #[arg(value_name = "HOST", required = true)]
    hosts: Vec<HostName>,
}

impl AgentCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::List(command) => command.run(app).await,
            Self::Show(command) => command.run(app).await,
            Self::Accept(command) => command.run(app).await,
            Self::Revoke(command) => command.run(app).await,
            Self::Remove(command) => command.run(app).await,
        }
    }
}

impl List {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let all = app.plane().await?.agents().await?;
        app.output.result(&all, |output| {
            if all.is_empty() {
                output.note("no agents: `deploy host join-token create` is how they come in");
                return;
            }
            let mut table = Table::new(["HOST", "STATE", "SEEN", "VERSION", "OS", "ADDRESSES"]);
            for it in &all {
                let facts = &it.facts;
                table.styled([
                    (styles::PLAIN, it.host.clone()),
                    state(it),
                    (styles::DIM, it.last_seen_at.as_deref().map(when).unwrap_or_default()),
                    (styles::PLAIN, facts.agent_version.clone().unwrap_or_default()),
                    (styles::PLAIN, facts.os.clone().unwrap_or_default()),
                    (styles::PLAIN, list(&facts.addresses, 2)),
                ]);
            }
            output.table(&table);
        });
        Ok(Exit::Succeeded)
    }
}

/// Whether an agent is there, in a word.
fn state(agent: &Agent) -> (Style, String) {
    let (style, word) = match (agent.state.as_str(), agent.connected) {
        ("active", Some(true)) => (styles::GOOD, "connected"),
        ("active", Some(false)) => (styles::FAILURE, "away"),
        ("active", None) => (styles::PLAIN, "active"),
        (kept_out, _) => (styles::FAILURE, kept_out),
    };
    (style, word.to_owned())
}

impl Show {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let agent = app.plane().await?.agent(&self.host).await?;
        app.output.result(&agent, |output| {
            let facts = &agent.facts;
            let (_, state) = state(&agent);
            let number = |it: Option<u32>| it.map(|it| it.to_string());
            for (name, value) in [
                ("host", Some(agent.host.clone())),
                ("state", Some(state)),
                ("reason", agent.reason.clone()),
                ("seen", agent.last_seen_at.as_deref().map(when)),
                ("enrolled", Some(when(&agent.enrolled_at))),
                ("by token", Some(agent.enrolled_with.clone())),
                ("machine", Some(agent.natural_key.clone())),
                ("key", Some(agent.key.clone())),
                ("version", facts.agent_version.clone()),
                ("os", facts.os.clone()),
                ("kernel", facts.kernel.clone()),
                ("processor", facts.architecture.clone()),
                ("cpus", number(facts.cpus)),
                ("memory", facts.memory_bytes.map(size)),
                ("disk", facts.disk_bytes.map(size)),
                ("addresses", Some(facts.addresses.join(" ")).filter(|it| !it.is_empty())),
            ] {
                if let Some(value) = value {
                    let name = output.paint(styles::DIM, format!("{name:10}"));
                    output.line(format_args!("{name} {value}"));
                }
            }
        });
        Ok(Exit::Succeeded)
    }
}

impl Accept {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let decided = plane.decide_agent(&self.host, &AgentDecision::Accept).await?;
        app.output.result(&decided, |output| {
            output.line(format_args!("the agent of {} is let in", decided.host));
        });
        Ok(Exit::Succeeded)
    }
}

impl Revoke {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        let decision = AgentDecision::Revoke { reason: self.reason };
        let mut revoked = Vec::new();
        for host in &self.hosts {
            revoked.push(plane.decide_agent(host, &decision).await?);
        }
        app.output.result(&revoked, |output| {
            for it in &revoked {
                output.line(format_args!("the agent of {} is kept out", it.host));
            }
        });
        Ok(Exit::Succeeded)
    }
}

impl Remove {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let plane = app.plane().await?;
        for host in &self.hosts {
            plane.remove_agent(host).await?;
        }
        let removed: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        app.output.result(&removed, |output| {
            for host in &removed {
                output.line(format_args!("the agent of {host} is forgotten"));
            }
        });
        Ok(Exit::Succeeded)
    }
}
