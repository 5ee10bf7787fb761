//! Rollouts as a person follows them: driven or watched, live or line by line.
mod background;
mod follow;
mod interrupt;
mod progress;
mod view;

pub(crate) use background::hand_over;
pub(crate) use deploy_operations::{LogTail, Tail};
pub(crate) use follow::{Follow, Role};

use crate::{
    app::Embedded,
    embedded::{gone, own_name},
    problem::OrProblem as _,
};
use deploy_core::{id::RolloutId, rollout::Outcome};
use deploy_wire::{Exit, Problem};

/// What a process ends with after a rollout that ended like this.
pub(crate) const fn exit_of(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Failed => Exit::Stuck,
        Outcome::RolledBack => Exit::RolledBack,
        Outcome::Succeeded | Outcome::SucceededWithDebt => Exit::Succeeded,
        _ => Exit::Other,
    }
}

/// The rollout that `named` means: its id, or the newest one of a service.
pub(crate) async fn find(embedded: &Embedded, named: &str) -> Result<RolloutId, Problem> {
    embedded.operations().find_rollout(named).await
}

/// Who drives a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DriverNow {
    /// A process that may be alive.
    Alive(String),
    /// A process that is known to be gone, and whose lease still stands.
    Gone(String),
    Nobody,
}

/// Who drives a rollout, apart from this process.
pub(crate) async fn driver_of(
    embedded: &Embedded,
    rollout: &RolloutId,
) -> Result<DriverNow, Problem> {
    let lease = embedded.platform.driver_of(rollout).await.or_problem()?;
    let now = embedded.parts().clock.now();
    Ok(match lease.filter(|it| it.expires_at > now) {
        None => DriverNow::Nobody,
        Some(lease) if lease.holder == own_name() => DriverNow::Nobody,
        Some(lease) if gone(&lease.holder) => DriverNow::Gone(lease.holder),
        Some(lease) => DriverNow::Alive(lease.holder),
    })
}
