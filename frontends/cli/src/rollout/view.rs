//! How somebody who follows a rollout sees it: as a live block, as lines, or as documents.
use super::{
    narrate::{clock, narrate, what},
    progress::Progress,
};
use crate::{
    documents,
    output::{Output, Screen, styles},
};
use deploy_core::{
    rollout::{Record, Rollout, TaskView},
    time::Timestamp,
};

/// Shows a rollout as it goes.
#[derive(Debug)]
pub(super) enum View<'a> {
    Json(&'a Output),
    Lines(&'a Output),
    Live(Live<'a>),
}

/// A live block, with what happened above it.
#[derive(Debug)]
pub(super) struct Live<'a> {
    output: &'a Output,
    screen: Screen<'a>,
}

impl<'a> View<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        if output.is_json() {
            Self::Json(output)
        } else if output.is_live() {
            Self::Live(Live { output, screen: Screen::new(output) })
        } else {
            Self::Lines(output)
        }
    }

    /// Shows what happened; `rollout` has it already.
    pub(super) fn happened(&mut self, records: &[Record], rollout: &Rollout) {
        match self {
            Self::Json(_) if records.is_empty() => {}
            Self::Json(output) => output.json(&documents::rollout(rollout, false)),
            Self::Lines(output) => {
                for record in records {
                    if let Some(sentence) = narrate(record, rollout) {
                        let at = output.paint(styles::DIM, clock(record.at));
                        output.line(format_args!(
                            "{at} {}",
                            output.paint(sentence.style, sentence.text)
                        ));
                    }
                }
            }
            Self::Live(live) => live.happened(records, rollout),
        }
    }

    /// Shows where the rollout is.
    pub(super) fn now(&mut self, rollout: &Rollout, now: Timestamp, driven: bool) {
        if let Self::Live(live) = self {
            let view = rollout.view();
            let tasks: Vec<TaskView> = rollout.tasks().collect();
            let what = what(rollout);
            let progress = Progress { view: &view, tasks: &tasks, now, what: &what, driven };
            let columns = live.output.width().unwrap_or(80);
            let lines = progress.lines(columns, &|style, text| live.output.paint(style, text));
            live.screen.draw(lines);
        }
    }

    /// Writes a line that stays.
    pub(super) fn line(&mut self, line: &str) {
        match self {
            Self::Json(_) => {}
            Self::Lines(output) => output.line(line),
            Self::Live(live) => live.screen.leave(line),
        }
    }

    /// Makes room for something else.
    pub(super) fn clear(&mut self) {
        if let Self::Live(live) = self {
            live.screen.clear();
        }
    }
}

impl Live<'_> {
    fn happened(&mut self, records: &[Record], rollout: &Rollout) {
        for record in records {
            if let Some(sentence) = narrate(record, rollout).filter(|it| it.lasting) {
                let at = self.output.paint(styles::DIM, clock(record.at));
                let room = self.output.width().unwrap_or(80).saturating_sub(10);
                let text = crate::output::fit(&sentence.text, room);
                self.screen.leave(&format!("{at} {}", self.output.paint(sentence.style, text)));
            }
        }
    }
}
