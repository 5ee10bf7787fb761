//! The block of lines that shows where a rollout is: a function of its state and the time.
use super::awaits_confirm;
use crate::{
    documents,
    output::{Style, fit, plural, styles, width, wrap},
};
use deploy_core::time::Timestamp;
use deploy_operations::narrate::{clock, rounded};
use deploy_wire::{Rollout, Task, Wave};
use std::time::Duration;

/// How many hosts that need attention are shown.
const ATTENTION: usize = 5;

/// The widest bar, in columns.
const WIDEST_BAR: usize = 60;

/// Below this share of targets done nothing is said about how long the rest takes, in percent.
const EARLY: u64 = 5;

/// What the block shows.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    pub(super) rollout: &'a Rollout,
    pub(super) now: Timestamp,
    /// Whether some process drives the rollout.
    pub(super) driven: bool,
}

/// A piece of a line.
type Piece = (Style, String);

impl Progress<'_> {
    /// The lines, each in at most `columns`.
    pub(super) fn lines(
        &self,
        columns: usize,
        paint: &dyn Fn(Style, &str) -> String,
    ) -> Vec<String> {
        let mut lines = vec![self.title(), self.bar(columns), self.counts()];
        lines.extend(self.attention(columns));
        for (style, text) in self.waits() {
            lines.extend(wrap(&text, columns).into_iter().map(|line| vec![(style, line)]));
        }
        let line = |pieces: Vec<Piece>| {
            let mut room = columns;
            let mut line = String::new();
            for (style, text) in pieces {
                let text = fit(&text, room);
                room -= width(&text).min(room);
                line.push_str(&paint(style, &text));
            }
            line
        };
        lines.into_iter().map(line).collect()
    }

    fn title(&self) -> Vec<Piece> {
        let rollout = self.rollout;
        let style = match rollout.state.as_str() {
            "running" | "scheduled" => styles::ACTIVE,
            "succeeded" => styles::GOOD,
            "paused" | "pausing" | "succeeded_with_debt" => styles::WARNING,
            _ => styles::FAILURE,
        };
        let mut title = vec![
            (styles::HEADER, what(rollout)),
            (styles::PLAIN, "  ".to_owned()),
            (style, rollout.state.clone()),
            (styles::DIM, format!("  {}", rounded(self.took()))),
        ];
        if let Some(left) = self.time_left() {
            title.push((styles::DIM, format!("  about {} left", rounded(left))));
        }
        title
    }

    /// How long it took, or has taken until now.
    fn took(&self) -> Duration {
        let time = |text: &String| text.parse::<Timestamp>().ok();
        let until = self.rollout.ended_at.as_ref().and_then(time).unwrap_or(self.now);
        time(&self.rollout.started_at).map_or(Duration::ZERO, |from| until.since(from))
    }

    /// Until when the newest wave is watched.
    fn bakes_until(&self) -> Option<Timestamp> {
        self.rollout.bakes_until.as_ref()?.parse().ok()
    }

    /// How many targets are done, well or not.
    fn settled(&self) -> u32 {
        self.rollout.waves.iter().map(|it| Part::of(it).settled).sum()
    }

    /// How long the rest takes if it goes on as it went. `None` where that says nothing.
    fn time_left(&self) -> Option<Duration> {
        let rollout = self.rollout;
        if rollout.state != "running" || awaits_confirm(rollout) || rollout.bakes_until.is_some() {
            return None;
        }
        let (done, total) = (self.settled(), rollout.counts.total);
        let enough = u64::from(done) * 100 >= u64::from(total) * EARLY && done > 1;
        let rest = total.checked_sub(done).filter(|it| *it > 0 && enough)?;
        self.took().checked_mul(rest)?.checked_div(done)
    }

    /// One bar over all waves, with a line between two of them as long as there is room.
    fn bar(&self, columns: usize) -> Vec<Piece> {
        let rollout = self.rollout;
        let label = format!("wave {}/{} ", rollout.wave, rollout.waves.len());
        let room = columns.saturating_sub(width(&label) + 8).min(WIDEST_BAR);
        let mut bar = vec![(styles::PLAIN, label)];
        let divided = rollout.waves.len() * 3 <= room;
        let total = rollout.counts.total.max(1);
        let cells = |of: u32| {
            let cells = u64::from(of) * u64::try_from(room).unwrap_or(0) / u64::from(total);
            usize::try_from(cells).unwrap_or(0)
        };
        let parts: Vec<Part> = rollout.waves.iter().map(Part::of).collect();
        if divided {
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    bar.push((styles::DIM, "│".to_owned()));
                }
                bar.extend(part.fill(cells(part.total).max(1)));
            }
        } else {
            bar.extend(parts.iter().fold(Part::default(), Part::and).fill(room));
        }
        let share = u64::from(self.settled()) * 100 / u64::from(total);
        bar.push((styles::PLAIN, format!(" {share}%")));
        bar
    }

    fn counts(&self) -> Vec<Piece> {
        let counts = &self.rollout.counts;
        let mut pieces = Vec::new();
        for (count, style, name) in [
            (counts.succeeded, styles::GOOD, "done"),
            (counts.rolled_back, styles::GOOD, "back"),
            (counts.running, styles::ACTIVE, "running"),
            (counts.pending, styles::DIM, "pending"),
            (counts.failed, styles::FAILURE, "failed"),
            (counts.timed_out, styles::FAILURE, "timed out"),
            (counts.unreachable, styles::FAILURE, "unreachable"),
            (counts.unknown, styles::FAILURE, "unknown"),
            (counts.killed, styles::FAILURE, "killed"),
            (counts.skipped, styles::WARNING, "skipped"),
        ] {
            if count > 0 {
                let gap = if pieces.is_empty() { "" } else { "  " };
                pieces.push((style, format!("{gap}{count} {name}")));
            }
        }
        if self.rollout.no_ops > 0 {
            pieces.push((styles::DIM, format!("  {} were there already", self.rollout.no_ops)));
        }
        pieces
    }

    fn attention(&self, columns: usize) -> Vec<Vec<Piece>> {
        let troubled = &self.rollout.attention;
        let widest = troubled.iter().take(ATTENTION).map(|it| width(it.host.as_str())).max();
        let name = widest.unwrap_or(0).min(columns / 3);
        let mut lines: Vec<_> =
            troubled.iter().take(ATTENTION).map(|it| trouble(it, name)).collect();
        if let Some(more) = troubled.len().checked_sub(ATTENTION).filter(|it| *it > 0) {
            let more = format!("  and {more} more: `deploy rollout show {}`", self.rollout.id);
            lines.push(vec![(styles::DIM, more)]);
        }
        lines
    }

    /// What the rollout waits for, and what somebody can do about that.
    fn waits(&self) -> Vec<Piece> {
        let rollout = self.rollout;
        let id = &rollout.id;
        if rollout.ended_at.is_some() {
            return Vec::new();
        }
        if awaits_confirm(rollout) {
            let text =
                format!("wave {} waits for somebody: `deploy rollout confirm {id}`", rollout.wave);
            return vec![(styles::WARNING, text)];
        }
        if rollout.state == "paused" {
            let why = documents::because(rollout.reason.as_deref());
            let how =
                format!("`deploy rollout resume {id}` goes on; or `retry`, `rollback`, `abort`");
            return vec![(styles::WARNING, format!("paused{why}")), (styles::DIM, how)];
        }
        if !self.driven {
            let text = format!("nobody drives this rollout: `deploy rollout resume {id}` goes on");
            return vec![(styles::WARNING, text)];
        }
        let Some(until) = self.bakes_until().filter(|it| *it > self.now) else { return Vec::new() };
        let left = rounded(until.since(self.now));
        let text = format!("wave {} is watched for {left}, until {}", rollout.wave, clock(until));
        vec![(styles::ACTIVE, text)]
    }
}

/// What is rolled out or run.
fn what(rollout: &Rollout) -> String {
    let Rollout { id, service, work, release, .. } = rollout;
    if work == "run" {
        return format!("run {id}");
    }
    format!("rollout {id}: {service} {}", documents::bound(work, release))
}

fn trouble(task: &Task, name: usize) -> Vec<Piece> {
    let host = fit(&task.host, name);
    let tries = if task.attempts > 1 {
        format!(" ({})", plural(task.attempts, "attempt"))
    } else {
        String::new()
    };
    let reason = task.reason.clone().unwrap_or_else(|| task.state.clone());
    vec![
        (styles::FAILURE, "  ! ".to_owned()),
        (styles::PLAIN, format!("{host:<name$}  ")),
        (styles::DIM, format!("{reason}{tries}")),
    ]
}

/// Targets in numbers, as far as a bar shows them.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    succeeded: u32,
    settled: u32,
    running: u32,
    total: u32,
}

impl Part {
    fn of(wave: &Wave) -> Self {
        let counts = &wave.counts;
        Self {
            succeeded: counts.succeeded,
            settled: counts.total.saturating_sub(counts.pending + counts.running),
            running: counts.running,
            total: counts.total,
        }
    }

    const fn and(self, other: &Self) -> Self {
        Self {
            succeeded: self.succeeded + other.succeeded,
            settled: self.settled + other.settled,
            running: self.running + other.running,
            total: self.total + other.total,
        }
    }

    /// A bar of `cells`: what went well, what did not, what is under way, and what is left.
    ///
    /// What did not go well and what is under way show as at least one cell.
    fn fill(self, cells: usize) -> Vec<Piece> {
        let share = |of: u32| {
            let share =
                u64::from(of) * u64::try_from(cells).unwrap_or(0) / u64::from(self.total.max(1));
            usize::try_from(share).unwrap_or(0).max(usize::from(of > 0))
        };
        let bad = share(self.settled.saturating_sub(self.succeeded)).min(cells);
        let running = share(self.running).min(cells - bad);
        // The rest of the share of all that has begun, so that a wave that is done is full.
        let begun = share(self.settled.saturating_add(self.running)).min(cells);
        let good = begun.saturating_sub(bad + running);
        let left = cells - bad - running - good;
        let pieces = [
            (styles::GOOD, "█".repeat(good)),
            (styles::FAILURE, "█".repeat(bad)),
            (styles::ACTIVE, "▒".repeat(running)),
            (styles::DIM, "░".repeat(left)),
        ];
        pieces.into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests;
