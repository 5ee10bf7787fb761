//! How somebody who follows a rollout sees it: as a live block, as lines, or as documents.
use super::progress::Progress;
use crate::output::{Output, Screen, Style, fit, styles};
use deploy_core::time::Timestamp;
use deploy_operations::narrate::clock;
use deploy_wire::{Rollout, RolloutEvent};
use std::time::Duration;

/// Shows a rollout as it goes.
#[derive(Debug)]
pub(super) struct View<'a> {
    output: &'a Output,
    how: How<'a>,
    /// Which state was drawn last, and when.
    drawn: (u64, Timestamp),
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
        Self { output, how, drawn: (0, Timestamp::default()) }
    }

    /// Shows what happened; `rollout` has it already.
    pub(super) fn happened(&mut self, events: &[RolloutEvent], rollout: &Rollout) {
        if matches!(self.how, How::Json) {
            if !events.is_empty() {
                self.output.json(rollout);
            }
            return;
        }
        for event in events {
            if let Some(text) = &event.text {
                self.say(event, text);
            }
        }
    }

    fn say(&mut self, event: &RolloutEvent, text: &str) {
        let at = event.at.parse().map_or_else(|_| event.at.clone(), clock);
        let at = self.output.paint(styles::DIM, at);
        let text = fit(text, usize::MAX);
        let text = self.output.paint(style_of(&event.tone), text);
        match &mut self.how {
            How::Json => {}
            How::Lines => self.output.line(format_args!("{at} {text}")),
            How::Live(screen) if event.lasting => screen.leave(&format!("{at} {text}")),
            How::Live(_) => {}
        }
    }

    /// Shows where the rollout is, if that was not just shown.
    pub(super) fn now(&mut self, rollout: &Rollout, now: Timestamp, driven: bool) {
        let (head, at) = self.drawn;
        let changed = rollout.seq != head && rollout.counts.total <= MANY;
        if changed || now.since(at) >= CLOCK {
            self.draw(rollout, now, driven);
        }
    }

    /// Shows where the rollout is.
    pub(super) fn draw(&mut self, rollout: &Rollout, now: Timestamp, driven: bool) {
        let How::Live(screen) = &mut self.how else { return };
        self.drawn = (rollout.seq, now);
        let progress = Progress { rollout, now, driven };
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
            self.drawn = (0, Timestamp::default());
        }
    }
}

fn style_of(tone: &str) -> Style {
    match tone {
        "active" => styles::ACTIVE,
        "failure" => styles::FAILURE,
        "good" => styles::GOOD,
        "warning" => styles::WARNING,
        _ => styles::PLAIN,
    }
}
