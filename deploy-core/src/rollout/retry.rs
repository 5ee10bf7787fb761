//! Whether an attempt is followed by another, and when.
use super::{AttemptEnd, Rollout, TaskState, state::TargetIx};
use crate::{id::Seq, spec::Direction, time::Timestamp};
use std::time::Duration;

/// Tries of an idempotent step after an unknown outcome, beyond the retries that the strategy allows.
const EXTRA_TRIES: u32 = 3;

impl Rollout {
    /// When an attempt that ended like this is followed by another; `None` if it is not.
    pub(super) fn retry_at(
        &self,
        ix: TargetIx,
        direction: Direction,
        end: &AttemptEnd,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let task = self.slot(direction, ix)?;
        let stopped = self.aborting.is_some() || direction != self.direction;
        if stopped || task.state == TaskState::Killing {
            return None;
        }
        let retries = self.plan().strategy.retries.retries;
        let allowed = match end {
            AttemptEnd::ResolvedDone { .. } => return Some(now),
            AttemptEnd::ResolvedNotDone { .. } => retries.saturating_add(EXTRA_TRIES),
            AttemptEnd::Failed { .. }
            | AttemptEnd::TimedOut { .. }
            | AttemptEnd::Unreachable { .. } => retries,
            AttemptEnd::KillFailed { .. }
            | AttemptEnd::Killed
            | AttemptEnd::Lost { .. }
            | AttemptEnd::NoAnswer { .. }
            | AttemptEnd::RevertFailed { .. }
            | AttemptEnd::SelfReverted { .. }
            | AttemptEnd::Succeeded => return None,
        };
        let same = end.step().is_none_or(|it| it == task.first_step);
        let tries = if same { task.tries } else { 1 };
        (tries <= allowed).then(|| now.after(self.backoff(tries, task.generation)))
    }

    fn backoff(&self, tries: u32, generation: Seq) -> Duration {
        let retries = self.plan().strategy.retries;
        let doubled = 2_u32.saturating_pow(tries.saturating_sub(1));
        let wait = retries.backoff.saturating_mul(doubled).min(retries.max_backoff);
        wait.saturating_add(self.chance(generation.get(), wait / 10))
    }

    /// A wait of up to `most`, from the plan's seed and something that tells this draw from others.
    pub(super) fn chance(&self, salt: u64, most: Duration) -> Duration {
        let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        // The mixing function of SplitMix64 (Steele, Lea, Flood 2014).
        let mut z = self.plan().seed ^ salt.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        Duration::from_millis(z.checked_rem(most.saturating_add(1)).unwrap_or(0))
    }
}
