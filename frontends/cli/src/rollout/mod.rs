//! Rollouts as a person follows them: driven or watched, live or line by line.
mod background;
mod driving;
mod follow;
mod interrupt;
mod lines;
mod progress;
mod view;

pub(crate) use background::hand_over;
pub(crate) use driving::{DriverNow, Role, driver_of};
pub(crate) use follow::Follow;
pub(crate) use lines::{Lines, prefixed};

use deploy_wire::{Exit, Rollout};

/// What a process ends with after a rollout that is over; `None` for one that is not.
pub(crate) fn exit_of(rollout: &Rollout) -> Option<Exit> {
    rollout.ended_at.as_ref()?;
    Some(match rollout.state.as_str() {
        "failed" => Exit::Stuck,
        "rolled_back" => Exit::RolledBack,
        "succeeded" | "succeeded_with_debt" => Exit::Succeeded,
        _ => Exit::Other,
    })
}

/// Whether a person has to let the next wave go.
pub(crate) fn awaits_confirm(rollout: &Rollout) -> bool {
    rollout.waves.iter().any(|it| it.state == "awaiting_confirm")
}

/// What to do about a rollout that nobody drives.
pub(crate) fn how_to_go_on(id: &str) -> String {
    format!("`deploy rollout resume {id}` goes on from where it is")
}

/// What somebody can do about a rollout that waits for that; `None` if it does not.
pub(crate) fn how_a_person_goes_on(rollout: &Rollout) -> Option<String> {
    if !rollout.waits_for_person {
        return None;
    }
    let id = &rollout.id;
    if awaits_confirm(rollout) {
        return Some(format!(
            "`deploy rollout confirm {id}` lets the next wave go, `rollback {id}` goes back, `abort {id}` ends it"
        ));
    }
    let again = match rollout.attention.is_empty() {
        true => String::new(),
        false => format!("`retry {id} --failed` tries hosts in trouble again, "),
    };
    Some(format!(
        "`deploy rollout resume {id}` goes on, {again}`rollback {id}` goes back, `abort {id}` ends it"
    ))
}
