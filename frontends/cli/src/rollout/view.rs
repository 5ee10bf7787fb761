//! How somebody who follows a rollout sees it: as a live block, as lines, or as documents.
use super::progress::Progress;
use crate::{
    documents,
    output::{Output, Screen, Style, fit, styles},
};
use deploy_core::{
    id::Seq,
    rollout::{Record, Rollout, TaskView},
    time::Timestamp,
};
use deploy_operations::narrate::{Narrator, Sentence, Tone, clock, what};
use std::time::Duration;

/// Shows a rollout as it goes.
#[derive(Debug)]
pub(super) struct View<'a> {
    output: &'a Output,
    narrator: Narrator,
    how: How<'a>,
    /// Which state was drawn last, and when.
    drawn: (Seq, Timestamp),
}

/// How often a block is drawn anew that shows nothing but the time.
const CLOCK: Duration = Duration::from_secs(1);

/// With more targets than this a block is drawn no more often than its clock: counting them takes its time.
const MANY: u32 = 5_000;

#[derive(Debug)]
enum How<'a> {
    Json,
    Lines,
    /// A block that is drawn over, with what happened above it.
    Live(Screen<'a>),
}

impl<'a> View<'a> {
    pub(super) fn new(output: &'a Output) -> Self {
        let how = if output.is_json() {
            How::Json
        } else if output.is_live() {
            How::Live(Screen::new(output))
        } else {
            How::Lines
        };
        Self {
            output,
            narrator: Narrator::default(),
            how,
            drawn: (Seq::ZERO, Timestamp::default()),
        }
    }

    /// Takes in what happened before, without a word.
    pub(super) fn skip(&mut self, records: &[Record], rollout: &Rollout) {
        for record in records {
            drop(self.narrator.tell(record, rollout));
        }
    }

    /// Shows what happened; `rollout` has it already.
    pub(super) fn happened(&mut self, records: &[Record], rollout: &Rollout) {
        if matches!(self.how, How::Json) {
            if !records.is_empty() {
                self.output.json(&documents::rollout(rollout, false));
            }
            return;
        }
        for record in records {
            if let Some(sentence) = self.narrator.tell(record, rollout) {
                self.say(record, &sentence);
            }
        }
    }

    fn say(&mut self, record: &Record, sentence: &Sentence) {
        let at = self.output.paint(styles::DIM, clock(record.at));
        match &mut self.how {
            How::Json => {}
            How::Lines => {
                let text = self.output.paint(style_of(sentence.tone), &sentence.text);
                self.output.line(format_args!("{at} {text}"));
            }
            How::Live(screen) if sentence.lasting => {
                let text =
                    self.output.paint(style_of(sentence.tone), fit(&sentence.text, usize::MAX));
                screen.leave(&format!("{at} {text}"));
            }
            How::Live(_) => {}
        }
    }

    /// Shows where the rollout is, if that was not just shown.
    pub(super) fn now(&mut self, rollout: &Rollout, now: Timestamp, driven: bool) {
        let (head, at) = self.drawn;
        let changed = rollout.head() != head && rollout.plan().target_count() <= MANY;
        if changed || now.since(at) >= CLOCK {
            self.draw(rollout, now, driven);
        }
    }

    /// Shows where the rollout is.
    pub(super) fn draw(&mut self, rollout: &Rollout, now: Timestamp, driven: bool) {
        let How::Live(screen) = &mut self.how else { return };
        self.drawn = (rollout.head(), now);
        let view = rollout.view();
        let tasks: Vec<TaskView> = rollout.tasks().collect();
        let what = what(rollout);
        let progress = Progress { view: &view, tasks: &tasks, now, what: &what, driven };
        let columns = self.output.width().unwrap_or(80);
        screen.draw(progress.lines(columns, &|style, text| self.output.paint(style, text)));
    }

    /// Writes a line that stays.
    pub(super) fn line(&mut self, line: &str) {
        match &mut self.how {
            How::Json => {}
            How::Lines => self.output.line(line),
            How::Live(screen) => screen.leave(line),
        }
    }

    /// Makes room for something else.
    pub(super) fn clear(&mut self) {
        if let How::Live(screen) = &mut self.how {
            screen.clear();
            self.drawn = (Seq::ZERO, Timestamp::default());
        }
    }
}

const fn style_of(tone: Tone) -> Style {
    match tone {
        Tone::Active => styles::ACTIVE,
        Tone::Failure => styles::FAILURE,
        Tone::Good => styles::GOOD,
        Tone::Plain => styles::PLAIN,
        Tone::Warning => styles::WARNING,
    }
}
