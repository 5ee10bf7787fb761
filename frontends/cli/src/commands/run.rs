use super::rollout::{CarryOut, Work, carry_out};
use crate::{app::App, files::Source};
use clap::{Args, ValueHint};
use deploy_core::{
    id::AccountName,
    spec::{AbsolutePath, Limit, Selector, Waves},
};
use deploy_host::{duration, quote::quote};
use deploy_wire::{Exit, NewRun, Problem};
use std::{num::NonZeroU32, path::PathBuf, time::Duration};

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
        let mut run = NewRun::new(self.selector.to_string(), self.script()?);
        run.account = self.account.map(|it| it.to_string());
        run.timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        run.waves = self.waves.to_string();
        run.max_parallel = self.max_parallel.get();
        run.max_failed = self.max_failed.to_string();
        run.path = self.path.to_string();
        let plane = app.plane().await?;
        let plan = plane.plan_run(&run).await?;
        let how = CarryOut { yes: self.yes, logs: true, ..CarryOut::default() };
        let work = Work::Run(Box::new(run));
        let (exit, id) = carry_out(app, &*plane, plan, work, how).await?;
        let Some(id) = id else { return Ok(exit) };
        // That something was allowed to go wrong does not make it right.
        let state = plane.rollout(&id, false).await.map(|it| it.state);
        let debt = state.is_ok_and(|it| it == "succeeded_with_debt");
        Ok(if debt { Exit::Other } else { exit })
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
}
