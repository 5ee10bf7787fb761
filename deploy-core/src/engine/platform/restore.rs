//! What has to be said once of a database that was brought back to an earlier state.
use super::{Command, Platform};
use crate::{
    access::{Action, Resource},
    engine::PlatformError,
    id::{Principal, RolloutId, Seq},
    time::Timestamp,
};

/// The positions that a millisecond is good for: more than any stream has records in one. So whatever a stream wrote before an
/// instant lies below that instant's floor, also what it wrote above the floor of a restore before; and until the year 2248 every
/// position is a whole number in JSON, which has 53 bits for them.
const IN_A_MILLISECOND: u64 = 1_024;

const NOTE: &str =
    "the database was brought back to an earlier state: look what hosts run, then resume or abort";

/// What became of a platform that was brought back to an earlier state.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Whatever is appended from here on, and every attempt made from here on, is above this.
    pub floor: Seq,
    /// The rollouts that were under way, and wait for a person now; newest first.
    pub paused: Vec<RolloutId>,
}

impl Platform {
    /// Takes it that the journal was brought back to an earlier state, so that hosts may have seen attempts that it knows nothing of.
    ///
    /// All positions that those can have had as generations are given up. Rollouts that were under way are paused: hosts that they
    /// have reached since would be told again. To say this twice is once too often, and does no harm.
    ///
    /// It is to be said before rollouts are driven again: what a driver starts until then, hosts may refuse.
    ///
    /// # Errors
    /// If `principal` may not control all rollouts, the clock is behind one that has said this before, or the journal fails.
    pub async fn declare_restored(&self, principal: &Principal) -> Result<Restored, PlatformError> {
        let permit = self.permit(principal, Action::RolloutControl, Resource::System).await?;
        let floor = floor_at(self.parts.clock.now());
        self.parts.journal.raise_floor(&permit, floor).await?;
        let mut paused = Vec::new();
        let all = self.parts.journal.rollouts(None, usize::MAX).await?;
        for at in all.into_iter().filter(|it| it.last.is_none()) {
            let pause = Command::Pause { note: NOTE.to_owned() };
            match self.command(principal, &at.rollout, pause).await {
                Ok(_) => paused.push(at.rollout),
                // It starts nothing as it is.
                Err(PlatformError::Refused(_)) => {}
                Err(err) => return Err(err),
            }
        }
        Ok(Restored { floor, paused })
    }
}

/// Above everything that a stream can have been written before `now`.
const fn floor_at(now: Timestamp) -> Seq {
    Seq::new(now.as_millis().saturating_mul(IN_A_MILLISECOND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026 to 2200, in milliseconds.
    fn instants() -> impl Strategy<Value = u64> {
        1_767_225_600_000_u64..7_258_118_400_000
    }

    proptest! {
        #[test]
        fn a_floor_is_above_all_that_was_written_since_the_one_before(
            then in instants(), since in 1..1_000_000_000_u64, rate in 0..=1_000_u64,
        ) {
            let floor = floor_at(Timestamp::from_millis(then));
            let written = floor.get() + rate * since;
            prop_assert!(floor_at(Timestamp::from_millis(then + since)).get() > written);
        }

        #[test]
        fn json_has_every_position(now in instants()) {
            prop_assert!(floor_at(Timestamp::from_millis(now)).get() < 1 << 53);
        }
    }
}
