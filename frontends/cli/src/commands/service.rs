use crate::{
    app::App,
    files::{Source, parse_service},
    output::{Output, Table, styles},
    plane::Plane,
};
use clap::{Args, Subcommand, ValueHint};
use deploy_core::id::ServiceName;
use deploy_host::duration;
use deploy_wire::{Exit, Problem, ProblemCode, Service, ServiceSpec};
use std::{path::PathBuf, time::Duration};

/// The largest service file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Services: what is deployed, where to, and how
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    Apply(Apply),
    List(List),
    Show(Show),
    History(History),
}

/// Adds a service, or changes it to what a file says
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  deploy service apply service.toml\n\ndocs/files.md describes the file."
)]
pub(crate) struct Apply {
    /// The service file; `-` is standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

/// Shows all services
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy service list --output json")]
pub(crate) struct List {}

/// Shows a service
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy service show web")]
pub(crate) struct Show {
    /// Which service
    #[arg(value_name = "SERVICE")]
    name: ServiceName,
}

/// Shows what a service was before, newest first
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  deploy service history web --limit 3")]
pub(crate) struct History {
    /// Which service
    #[arg(value_name = "SERVICE")]
    name: ServiceName,
    /// How many values to show
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
}

impl ServiceCommand {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        match self {
            Self::Apply(command) => command.run(app).await,
            Self::List(_) => list(app).await,
            Self::Show(command) => command.run(app).await,
            Self::History(command) => command.run(app).await,
        }
    }
}

impl Apply {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let service = parse_service(&Source::read(&self.file, LARGEST)?)?;
        let plane = app.plane().await?;
        let (applied, said) = apply(&*plane, &service.name, &spec(&service)).await?;
        app.output.result(&applied, |output| {
            let Service { name, revision, .. } = &applied;
            output.line(format_args!("service {name} {said} (revision {revision})"));
        });
        Ok(Exit::Succeeded)
    }
}

/// Adds a service, or changes it, and says which.
async fn apply(
    plane: &dyn Plane,
    name: &ServiceName,
    spec: &ServiceSpec,
) -> Result<(Service, &'static str), Problem> {
    let there = match plane.service(name).await {
        Ok(there) => there,
        Err(problem) if problem.code == ProblemCode::NotFound => {
            return Ok((plane.put_service(name, spec, None).await?, "is new"));
        }
        Err(problem) => return Err(problem),
    };
    if said_by(&there) == *spec {
        return Ok((there, "is like that already"));
    }
    let changed = plane.put_service(name, spec, Some(there.revision)).await?;
    Ok((changed, "is changed"))
}

fn spec(service: &deploy_core::spec::Service) -> ServiceSpec {
    said_by(&Service::new(service, 0))
}

/// What a service is said to be by its document.
fn said_by(service: &Service) -> ServiceSpec {
    ServiceSpec {
        owner: service.owner.clone(),
        deploy_path: service.deploy_path.clone(),
        account: service.account.clone(),
        selector: service.selector.clone(),
        count: service.count,
        strategy: service.strategy.clone(),
        repair: service.repair.clone(),
        build: service.build.clone(),
    }
}

async fn list(app: &App) -> Result<Exit, Problem> {
    let documents = app.plane().await?.services().await?;
    app.output.result(&documents, |output| {
        if documents.is_empty() {
            output.note("no services yet: `deploy service apply FILE` adds one");
            return;
        }
        let mut table = Table::new(["SERVICE", "OWNER", "SELECTOR", "PATH", "REVISION"]);
        for it in &documents {
            let revision = it.revision.to_string();
            table.row([&it.name, &it.owner, &it.selector, &it.deploy_path, &revision]);
        }
        output.table(&table);
    });
    Ok(Exit::Succeeded)
}

impl Show {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let service = app.plane().await?.service(&self.name).await?;
        app.output.result(&service, |output| show(output, &service));
        Ok(Exit::Succeeded)
    }
}

impl History {
    async fn run(self, app: &App) -> Result<Exit, Problem> {
        let history = app.plane().await?.history(&self.name, self.limit).await?;
        app.output.result(&history, |output| {
            for (at, service) in history.iter().enumerate() {
                if at > 0 {
                    output.line("");
                }
                output.line(
                    output.paint(styles::HEADER, format_args!("revision {}", service.revision)),
                );
                show(output, service);
            }
        });
        Ok(Exit::Succeeded)
    }
}

/// `debt within 7d, drift: report`.
fn repair(service: &Service) -> String {
    let debt = service.repair.debt_ms.map(|it| duration::format(Duration::from_millis(it)));
    let debt = debt.map_or_else(|| "no debt".to_owned(), |it| format!("debt within {it}"));
    format!("{debt}, drift: {}", service.repair.drift)
}

fn show(output: &Output, service: &Service) {
    let strategy = &service.strategy;
    let budget = &strategy.failure_budget.rollout;
    let account = service.account.as_deref().unwrap_or("the account that logs in");
    let count = service.count.map_or_else(|| "all".to_owned(), |it| it.to_string());
    let parallel =
        strategy.max_parallel.map_or_else(|| "the whole wave".to_owned(), |it| it.to_string());
    let order = match strategy.order.labels.as_slice() {
        [] => strategy.order.by.clone(),
        labels => format!("{} by {}", strategy.order.by, labels.join(", ")),
    };
    let when =
        if strategy.windows.is_empty() { "always".to_owned() } else { strategy.windows.join("; ") };
    for (name, value) in [
        ("service", service.name.clone()),
        ("owner", service.owner.clone()),
        ("path", service.deploy_path.clone()),
        ("account", account.to_owned()),
        ("hosts", format!("{count} of {}", service.selector)),
        ("waves", format!("{}, at a time {parallel}", strategy.waves.join(", "))),
        ("order", order),
        ("confirm", strategy.confirm.clone()),
        (
            "allowed",
            format!(
                "{} failed, {} timed out, {} unreachable, {} unknown; then {}",
                budget.max_failed,
                budget.max_timed_out,
                budget.max_unreachable,
                budget.max_unknown,
                strategy.on_failure
            ),
        ),
        ("when", when),
        ("repair", repair(service)),
        (
            "built of",
            service
                .build
                .as_ref()
                .map_or_else(|| "nothing here".to_owned(), |it| it.remote.clone()),
        ),
    ] {
        output
            .line(format_args!("{} {value}", output.paint(styles::DIM, format_args!("{name:<9}"))));
    }
}
