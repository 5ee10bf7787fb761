//! A build as it goes.
use crate::{app::App, output::clean, plane::BuildPlane};
use deploy_core::{backend::Clock as _, id::BuildId, memory::SystemClock};
use deploy_wire::{Build, BuildLogLine, Problem, ProblemCode};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often a build is looked at.
const REFRESH: Duration = Duration::from_millis(150);

/// Follows a build of this process to its end, and cancels it when somebody wants this process to end.
pub(super) async fn attend(
    app: &App,
    builds: &dyn BuildPlane,
    id: &BuildId,
) -> Result<Build, Problem> {
    let listen = |kind| {
        signal(kind).map_err(|err| {
            Problem::new(ProblemCode::Internal, format!("signals cannot be listened for: {err}"))
        })
    };
    let (mut ctrl_c, mut terminate, mut hangup) = (
        listen(SignalKind::interrupt())?,
        listen(SignalKind::terminate())?,
        listen(SignalKind::hangup())?,
    );
    let mut lines = |line: &BuildLogLine| app.output.note(clean(&line.text));
    let following = follow(builds, id, true, &mut lines);
    tokio::pin!(following);
    loop {
        tokio::select! {
            done = &mut following => {
                done?;
                return over(builds, id).await;
            }
            _ = ctrl_c.recv() => drop(builds.cancel(id).await?),
            _ = terminate.recv() => drop(builds.cancel(id).await?),
            _ = hangup.recv() => drop(builds.cancel(id).await?),
        }
    }
}

/// Gives the lines of a log as they come; to the build's end, or (without `to_the_end`) those that there are.
pub(super) async fn follow(
    builds: &dyn BuildPlane,
    id: &BuildId,
    to_the_end: bool,
    line: &mut (dyn FnMut(&BuildLogLine) + Send),
) -> Result<(), Problem> {
    let mut lines = builds.log(id, to_the_end).await?;
    while let Some(next) = lines.next().await? {
        line(&next);
    }
    Ok(())
}

/// The build once it is over.
pub(super) async fn over(builds: &dyn BuildPlane, id: &BuildId) -> Result<Build, Problem> {
    let clock = SystemClock::new();
    loop {
        let build = builds.show(id).await?;
        if build.ended_at.is_some() {
            return Ok(build);
        }
        clock.sleep_until(clock.now().after(REFRESH)).await;
    }
}
