//! The output of attempts, in whole lines.
use crate::{
    output::{Output, styles},
    plane::Printed,
};
use deploy_operations::LineCutter;
use deploy_wire::{LogLine, Problem};

/// What the steps of a rollout print, put together in whole lines.
pub(crate) struct Lines {
    printed: Box<dyn Printed>,
    cutter: LineCutter,
    empty: bool,
}

impl Lines {
    pub(crate) fn new(printed: Box<dyn Printed>) -> Self {
        Self { printed, cutter: LineCutter::new(), empty: true }
    }

    /// Whether nothing was printed so far.
    pub(crate) const fn is_empty(&self) -> bool {
        self.empty
    }

    /// The pieces that have come since.
    pub(crate) async fn pieces(&mut self) -> Result<Vec<LogLine>, Problem> {
        let pieces = self.printed.read().await?;
        self.empty &= pieces.is_empty();
        Ok(pieces)
    }

    /// All pieces that there are by now, and were not given before.
    pub(crate) async fn last_pieces(&mut self) -> Result<Vec<LogLine>, Problem> {
        let pieces = self.printed.rest().await?;
        self.empty &= pieces.is_empty();
        Ok(pieces)
    }

    /// The lines that are whole with `pieces`, each behind the name of its host.
    pub(crate) fn take(&mut self, output: &Output, pieces: &[LogLine]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in pieces {
            self.cutter.take(&piece.host, piece.generation, &piece.bytes(), |line| {
                lines.push(prefixed(output, &piece.host, line));
            });
        }
        lines
    }

    /// What is left of lines that were never ended.
    pub(crate) fn rest(&mut self, output: &Output) -> Vec<String> {
        let mut lines = Vec::new();
        self.cutter.rest(|host, line| lines.push(prefixed(output, host, line)));
        lines
    }
}

/// A line behind the name of its host.
pub(crate) fn prefixed(output: &Output, host: &str, line: &str) -> String {
    format!("{} {line}", output.paint(styles::ACTIVE, format_args!("{host} |")))
}
