use crate::{
    documents,
    narrate::{Narrator, Tone},
    problem::OrProblem as _,
};
use deploy_core::{
    backend::RolloutRef,
    engine::{Parts, PlatformError},
    id::{RolloutId, Seq},
    rollout::{Record, Rollout},
};
use deploy_wire::{self as wire, Problem, RolloutEvent};

/// How many records are read at a time.
const PAGE: usize = 1_024;

/// What happens in a rollout, one event after another.
///
/// It reads a rollout from its beginning, whatever is asked for: a sentence about a record depends on those before it.
#[derive(Debug)]
pub struct EventFeed {
    at: RolloutRef,
    narrator: Narrator,
    rollout: Option<Rollout>,
    /// Events up to this one were told before.
    told: Seq,
}

impl EventFeed {
    /// The events of a rollout after the one at `after`.
    ///
    /// # Errors
    /// If there is no such rollout.
    pub async fn open(parts: &Parts, id: &RolloutId, after: Seq) -> Result<Self, Problem> {
        let at = parts.journal.rollout(id).await.or_problem()?;
        Ok(Self { at, narrator: Narrator::default(), rollout: None, told: after })
    }

    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.rollout.as_ref().is_some_and(|it| it.outcome().is_some())
    }

    /// Where the rollout is by now, if more has happened than up to the position `seen`.
    #[must_use]
    pub fn newer(&self, seen: u64) -> Option<wire::Rollout> {
        let newer = self.rollout.as_ref().filter(|it| it.head().get() > seen)?;
        Some(documents::rollout(newer, false))
    }

    /// The next events; none if nothing has happened since.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn next(&mut self, parts: &Parts) -> Result<Vec<RolloutEvent>, Problem> {
        let mut events = Vec::new();
        while events.is_empty() && !self.is_over() {
            let before = Seq::new(self.at.first.get().saturating_sub(1));
            let head = self.rollout.as_ref().map_or(before, Rollout::head);
            let page = parts.journal.read(&self.at.stream, head, PAGE).await.or_problem()?;
            let ours = page.iter().take_while(|it| it.rollout == self.at.rollout).count();
            if ours == 0 {
                break;
            }
            for record in page.iter().take(ours) {
                self.take(record).or_problem()?;
                events.extend(self.tell(record));
            }
        }
        Ok(events)
    }

    fn take(&mut self, record: &Record) -> Result<(), PlatformError> {
        let taken = match &mut self.rollout {
            Some(rollout) => rollout.apply(record),
            None => Rollout::replay([record]).map(|it| self.rollout = Some(it)),
        };
        taken.map_err(|source| PlatformError::Record { rollout: record.rollout.clone(), source })
    }

    fn tell(&mut self, record: &Record) -> Option<RolloutEvent> {
        let rollout = self.rollout.as_ref()?;
        let sentence = self.narrator.tell(record, rollout);
        (record.seq > self.told).then(|| RolloutEvent {
            seq: record.seq.get(),
            at: record.at.to_string(),
            kind: record.event.name().to_owned(),
            host: record.event.host().map(ToString::to_string),
            tone: sentence.as_ref().map_or(Tone::Plain, |it| it.tone).as_str().to_owned(),
            lasting: sentence.as_ref().is_some_and(|it| it.lasting),
            text: sentence.map(|it| it.text),
            state: rollout.state().to_string(),
        })
    }
}
