//! CPU clocks and tables.
use rustix::time::{ClockId, clock_gettime};
use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

/// What something took.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Cost {
    /// Of this thread's CPU: what other processes do meanwhile hardly shows.
    pub cpu: Duration,
    /// From start to end.
    pub wall: Duration,
}

/// Runs `work` once, and measures it.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
pub fn cost<T>(work: impl FnOnce() -> T) -> (T, Cost) {
    let (start, before) = (Instant::now(), thread_cpu());
    let done = work();
    let cost = Cost { cpu: thread_cpu().saturating_sub(before), wall: start.elapsed() };
    (done, cost)
}

/// A stretch of real time in which something is counted.
#[derive(Debug)]
pub struct Span {
    start: Instant,
    length: Duration,
}

impl Span {
    /// Begins one of that length.
    #[expect(clippy::disallowed_methods, reason = "measures real time")]
    #[must_use]
    pub fn begin(length: Duration) -> Self {
        Self { start: Instant::now(), length }
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.start.elapsed() >= self.length
    }

    /// How often something happened a second that happened so often until now.
    #[must_use]
    pub fn rate(&self, count: u32) -> f64 {
        f64::from(count) / self.start.elapsed().as_secs_f64()
    }
}

fn thread_cpu() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The least of several figures: what the work takes when nothing is in its way.
#[must_use]
pub fn best(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The middle of several figures.
#[must_use]
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A Markdown table, printed row by row.
#[derive(Debug)]
pub struct Table;

impl Table {
    /// Begins a table under a heading.
    ///
    /// # Errors
    /// If the output is closed.
    pub fn begin(heading: &str, columns: &[&str]) -> io::Result<Self> {
        let mut out = io::stdout().lock();
        writeln!(out, "\n### {heading}\n")?;
        writeln!(out, "| {} |", columns.join(" | "))?;
        let rule: Vec<&str> =
            (0..columns.len()).map(|at| if at == 0 { "---" } else { "--:" }).collect();
        writeln!(out, "| {} |", rule.join(" | "))?;
        Ok(Self)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// If the output is closed.
    pub fn row(&self, cells: &[String]) -> io::Result<()> {
        writeln!(io::stdout().lock(), "| {} |", cells.join(" | "))
    }
}
