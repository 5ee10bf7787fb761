use super::{
    artifact::put,
    rollout::{CarryOut, carry_out, seed},
};
use crate::{
    app::{App, Embedded},
    files::Source,
    packages::Packed,
    problem::{OrProblem as _, invalid, io_problem, usage},
};
use clap::{Args, ValueHint};
use deploy_core::{
    backend::ArtifactKind,
    digest::Digest,
    engine::PlanRun,
    id::{AccountName, ServiceName},
    rollout::Outcome,
    spec::{AbsolutePath, Limit, OnFailure, Release, Selector, Service, Strategy, Waves},
};
use deploy_host::{
    archive::{Limits, PackedFile, pack_files},
    descriptor, duration,
    quote::quote,
};
use deploy_wire::{Exit, Problem};
use std::{
    io::{Seek as _, Write as _},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

/// The largest script, in bytes.
const LARGEST_SCRIPT: u64 = 1 << 20;

/// Runs a script or a command on hosts, with the controls of a rollout
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy run role=web -- uptime\n  deploy run 'role=web,zone=a' -- 'df -h / | tail -1'\n  \
    deploy run role=db --script vacuum.sh --waves 1,*2 --timeout 30m\n\n\
    One argument after `--` is a command line for `sh`; several are a command and its arguments, and no shell touches them.\n\
    It ends with 0 only if it went well on every host."
)]
pub(crate) struct Run {
    /// On which hosts
    #[arg(value_name = "SELECTOR")]
    selector: Selector,
    /// A script for `sh`, or with a `#!` line of its own; `-` is standard input
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "command")]
    script: Option<PathBuf>,
    /// A command
    #[arg(value_name = "COMMAND", last = true, required_unless_present = "script")]
    command: Vec<String>,
    /// As which account [default: the one that logs in]
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<AccountName>,
    /// How long it may take on a host
    #[arg(long, default_value = "5m", value_name = "DURATION", value_parser = parse_duration)]
    timeout: Duration,
    /// How hosts follow one another, such as `1,10%,*2`
    #[arg(long, default_value = "100%", value_name = "WAVES")]
    waves: Waves,
    /// On how many hosts of a wave at a time
    #[arg(long, default_value = "50", value_name = "N")]
    max_parallel: NonZeroU32,
    /// On how many hosts it may go wrong, in each way, before it starts on no more
    #[arg(long, default_value = "100%", value_name = "LIMIT")]
    max_failed: Limit,
    /// A folder on the hosts that the account can write to; what ran and what it printed stays there
    #[arg(long, default_value = "/var/tmp", value_name = "PATH")]
    path: AbsolutePath,
    /// Starts without asking; in a pipe nobody is asked anyway
    #[arg(short, long)]
    yes: bool,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|err| err.to_string())
}

impl Run {
    pub(crate) async fn run(self, app: &App) -> Result<Exit, Problem> {
        let script = self.script()?;
        let embedded = app.open().await?;
        let id = new_id(&embedded)?;
        let release = release(&embedded, &id, &script, self.timeout).await?;
        let service = self.service(&embedded, &id)?;
        let request = PlanRun::new(service, release, seed(&embedded, None));
        let planned =
            embedded.platform.plan_run(&embedded.principal, request).await.or_problem()?;
        let how = CarryOut { yes: self.yes, logs: true, ..CarryOut::default() };
        let exit = carry_out(app, &embedded, planned.0, Some(&planned.1), how).await?;
        // That something was allowed to go wrong does not make it right.
        let rollout = embedded.platform.load(&id.clone().into()).await;
        let outcome = rollout.ok().and_then(|it| it.outcome());
        Ok(if outcome == Some(Outcome::SucceededWithDebt) { Exit::Other } else { exit })
    }

    fn script(&self) -> Result<String, Problem> {
        match (&self.script, self.command.as_slice()) {
            (Some(path), _) => Ok(Source::read(path, LARGEST_SCRIPT)?.text().to_owned()),
            (None, [line]) => Ok(format!("{line}\n")),
            (None, words) => {
                let words: Vec<_> = words.iter().map(|it| quote(it)).collect();
                Ok(format!("exec {}\n", words.join(" ")))
            }
        }
    }

    /// A service for this run alone.
    fn service(&self, embedded: &Embedded, id: &ServiceName) -> Result<Service, Problem> {
        let path = format!("{}/deploy-{id}", self.path).parse().map_err(usage)?;
        let mut strategy = Strategy::new();
        strategy.waves = self.waves.clone();
        strategy.max_parallel = Some(self.max_parallel);
        strategy.on_failure = OnFailure::Abort;
        let budget = &mut strategy.failure_budget.rollout;
        budget.max_failed = self.max_failed;
        budget.max_timed_out = self.max_failed;
        budget.max_unreachable = self.max_failed;
        budget.max_unknown = self.max_failed;
        strategy.progress_deadline = self.timeout.saturating_mul(2).max(strategy.progress_deadline);
        let owner = embedded.principal.clone();
        let mut service = Service::new(id.clone(), owner, path, self.selector.clone());
        service.account.clone_from(&self.account);
        Ok(service.with_strategy(strategy))
    }
}

/// A name for a run: when it was started.
fn new_id(embedded: &Embedded) -> Result<ServiceName, Problem> {
    let now = embedded.parts().clock.now().to_string();
    let digits: String = now.chars().filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at_checked(8).unwrap_or((&digits, ""));
    format!("run-{day}-{time}").parse().map_err(usage)
}

/// What runs: a descriptor with the one step `run`.
async fn release(
    embedded: &Embedded,
    id: &ServiceName,
    script: &str,
    timeout: Duration,
) -> Result<Release, Problem> {
    let timeout = duration::format(timeout);
    let text = format!("format = 1\n\n[steps.run]\nscript = \"run.sh\"\ntimeout = \"{timeout}\"\n");
    let executable = script.starts_with("#!");
    let files = [
        PackedFile { path: descriptor::FILE_NAME, executable: false, bytes: text.as_bytes() },
        PackedFile { path: "run.sh", executable, bytes: script.as_bytes() },
    ];
    let bytes = pack_files(files, Limits::DESCRIPTOR, Vec::new()).map_err(invalid)?;
    let bundle = descriptor::read(&bytes).map_err(invalid)?;
    let packed = packed(&bytes).map_err(|err| io_problem("the script cannot be packed", &err))?;
    let (repository, version) =
        ("runs".parse().map_err(usage)?, id.as_str().parse().map_err(usage)?);
    let entry = put(embedded, packed, ArtifactKind::Descriptor, repository, version).await?;
    let artifact = deploy_core::spec::ArtifactRef::new(entry.meta.digest, entry.meta.size);
    let (release_id, version) =
        (id.as_str().parse().map_err(usage)?, id.as_str().parse().map_err(usage)?);
    let now = embedded.parts().clock.now();
    let steps = bundle.descriptor.steps();
    let principal = embedded.principal.clone();
    Ok(Release::new(release_id, id.clone(), version, artifact, steps, now, principal))
}

fn packed(bytes: &[u8]) -> std::io::Result<Packed> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Ok(Packed { file, digest: Digest::of(bytes), size })
}
