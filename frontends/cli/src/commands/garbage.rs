use crate::{
    app::App,
    output::{Output, plural, size, styles},
    problem::usage,
};
use clap::Args;
use deploy_host::duration;
use deploy_wire::{Exit, Garbage, GarbageToCollect, Problem};
use std::time::Duration;

/// Removes old versions that no release, no rollout and no pin needs
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  deploy artifact gc --keep 10 --dry-run\n  deploy artifact gc --keep 10 --older-than 30d\n  \
    deploy artifact gc --keep 10 --keep-releases 20 --older-than 90d\n\n\
    A release keeps its package and its descriptor for ever, unless --keep-releases says how many of each service do. Those that hosts run,\n\
    ran before, or are about to run stay always, and so does what is pinned or what a channel leads to."
)]
pub(crate) struct Gc {
    /// How many of the newest versions of each repository stay
    #[arg(long, value_name = "N")]
    keep: usize,
    /// How many of the newest releases of each service stay installable [default: all of them]
    #[arg(long, value_name = "N")]
    keep_releases: Option<u64>,
    /// Keeps what was put or made within this time as well, such as `30d`
    #[arg(long, value_name = "DURATION", value_parser = duration::parse)]
    older_than: Option<Duration>,
    /// Says what would go, and removes nothing
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub(super) async fn run(self, app: &App) -> Result<Exit, Problem> {
        if self.keep == 0 {
            return Err(usage(
                "--keep 0 would remove every version that no release needs: keep at least 1",
            ));
        }
        if self.keep_releases == Some(0) {
            return Err(usage(
                "--keep-releases 0 would retire every release before it is rolled out: keep at least 1",
            ));
        }
        let keep = u64::try_from(self.keep).unwrap_or(u64::MAX);
        let older_than_s = self.older_than.map_or(0, |it| it.as_secs());
        let asked = GarbageToCollect {
            keep,
            keep_releases: self.keep_releases,
            older_than_s,
            dry_run: self.dry_run,
        };
        let garbage = app.plane().await?.collect_garbage(&asked).await?;
        app.output.result(&garbage, |output| show(output, &garbage));
        Ok(Exit::Succeeded)
    }
}

fn show(output: &Output, garbage: &Garbage) {
    for it in &garbage.entries {
        let line = format_args!("- {} {} {}", it.kind, it.repository, it.version);
        output.line(output.paint(styles::FAILURE, line));
    }
    for id in &garbage.retired {
        output.line(
            output.paint(styles::DIM, format_args!("  release {id} is not installable any more")),
        );
    }
    let count = |of: usize| u64::try_from(of).unwrap_or(u64::MAX);
    let removed = if garbage.dry_run { "would remove" } else { "removed" };
    let mut said = format!(
        "{removed} {} and {}, {} in all",
        plural(count(garbage.entries.len()), "version"),
        plural(garbage.interrupted, "interrupted upload"),
        size(garbage.bytes)
    );
    if !garbage.held.is_empty() {
        let held = plural(count(garbage.held.len()), "old version");
        said.push_str(&format!("; still needed: {held}"));
    }
    output.line(said);
    if garbage.dry_run {
        output.note("nothing was removed: this was a dry run");
    }
}
