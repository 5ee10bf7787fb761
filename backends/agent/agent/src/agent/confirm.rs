//! The orders that bring a verdict about.
use super::{
    Host, answers,
    answers::{failing, invalid},
    questions::KILL_WITHIN,
};
use crate::{
    attempt::{Attempt, AttemptKey, State},
    spec::{Place, check_token},
    time::uptime,
    verdict::{Verdict, Why},
};
use deploy_agent_protocol::v1::{Confirm, NeverStarted, Refused, Reverting, answer::Kind};
use tokio::{task::spawn_blocking, time::timeout};

impl Host {
    pub(super) async fn confirm(&self, confirm: &Confirm) -> Result<Kind, Refused> {
        let place = Place::parse(confirm.place.as_ref())?;
        let key = place.attempt(confirm.generation)?;
        check_token(&confirm.token)?;
        let attempt = match self.attempt(&key).await? {
            Some(it) if it.token != confirm.token => {
                return Err(invalid("an attempt of that generation has another token"));
            }
            Some(it) => it,
            None => return Ok(Kind::NeverStarted(NeverStarted::default())),
        };
        match (attempt.state, self.decide(&key, Verdict::Keep).await?) {
            (State::Exited { end, .. }, _) => Ok(answers::end(end)),
            (_, Some(Verdict::Keep)) => self.kept(&key).await,
            (_, Some(Verdict::Revert(_)) | None) => {
                Ok(answers::running(self.folder(&key).last_begun()))
            }
        }
    }

    /// Has the host go back from an attempt that waits to be confirmed; `None` if it does not wait.
    pub(super) async fn take_back(&self, key: &AttemptKey) -> Result<Option<Kind>, Refused> {
        match self.decide(key, Verdict::Revert(Why::Kill)).await? {
            Some(Verdict::Keep) => self.kept(key).await.map(Some),
            Some(Verdict::Revert(_)) => Ok(Some(Kind::Reverting(Reverting {}))),
            None => Ok(None),
        }
    }

    /// Takes the verdict on an attempt that waits for it, unless it has one; gives the one it has. What the time says comes first, also where the shim has not
    /// looked at the clock yet.
    async fn decide(&self, key: &AttemptKey, verdict: Verdict) -> Result<Option<Verdict>, Refused> {
        let folder = self.folder(key);
        let Some(waiting) = folder.waiting() else { return Ok(folder.verdict()) };
        let verdict = waiting.overdue(uptime(), &self.boot_id).unwrap_or(verdict);
        let of = folder.clone();
        let taken = spawn_blocking(move || of.take_verdict(verdict)).await.map_err(failing)?;
        let taken = taken.map_err(failing)?;
        folder.ring();
        self.wake(&folder);
        Ok(Some(taken))
    }

    /// The end of an attempt that stays: the shim writes it at once.
    async fn kept(&self, key: &AttemptKey) -> Result<Kind, Refused> {
        let ended = async {
            if let Some(mut news) = self.listener(key) {
                while news.changed().await.is_ok() {}
            }
        };
        // Whoever asked asks again.
        timeout(KILL_WITHIN, ended).await.map_err(|_elapsed| slow())?;
        match self.attempt(key).await? {
            Some(Attempt { state: State::Exited { end, .. }, .. }) => Ok(answers::end(end)),
            _ => Err(slow()),
        }
    }
}

fn slow() -> Refused {
    failing("the attempt stays, and its end is not written down yet")
}
