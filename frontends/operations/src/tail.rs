use crate::problem::{IntoProblem as _, OrProblem as _, chain};
use deploy_core::{
    backend::{JournalExt as _, RolloutRef},
    engine::{Parts, PlatformError},
    id::RolloutId,
    rollout::{Record, Rollout},
};
use deploy_wire::{Problem, ProblemCode};

/// How many records are read at a time.
const PAGE: usize = 4_096;

/// A rollout that is kept up with its journal.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tail {
    at: RolloutRef,
    /// The rollout, as far as it was read.
    pub rollout: Rollout,
}

impl Tail {
    /// Reads a rollout as far as it goes, and gives its records.
    ///
    /// # Errors
    /// If there is no such rollout, or its journal cannot be read.
    pub async fn open(parts: &Parts, id: &RolloutId) -> Result<(Self, Vec<Record>), Problem> {
        let at = parts.journal.rollout(id).await.or_problem()?;
        let records = parts.journal.records(&at).await.or_problem()?;
        let rollout = Rollout::replay(&records).map_err(|source| {
            PlatformError::Record { rollout: id.clone(), source }.into_problem()
        })?;
        Ok((Self { at, rollout }, records))
    }

    /// Takes in what was written since, and gives it.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn advance(&mut self, parts: &Parts) -> Result<Vec<Record>, Problem> {
        let mut new = Vec::new();
        while self.rollout.outcome().is_none() {
            let head = self.rollout.head();
            let mut page = parts.journal.read(&self.at.stream, head, PAGE).await.or_problem()?;
            let full = page.len() == PAGE;
            page.retain(|it| it.rollout == self.at.rollout);
            for record in &page {
                self.rollout
                    .apply(record)
                    .map_err(|err| Problem::new(ProblemCode::Corrupt, chain(&err)))?;
            }
            new.append(&mut page);
            if !full {
                break;
            }
        }
        Ok(new)
    }
}
