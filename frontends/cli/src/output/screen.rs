use super::Output;
use std::fmt::Write as _;

/// A block of lines at the end of a terminal that is drawn over again and again.
///
/// This is all the drawing there is to a live view: the lines themselves are a function of the state, and are tested as that. A library for
/// progress bars would bring its own threads and its own idea of a layout for the same twenty lines.
#[derive(Debug)]
pub(crate) struct Screen<'a> {
    output: &'a Output,
    drawn: Vec<String>,
}

impl<'a> Screen<'a> {
    pub(crate) const fn new(output: &'a Output) -> Self {
        Self { output, drawn: Vec::new() }
    }

    /// Shows `lines` in the place of the ones before. They must fit the terminal's width.
    pub(crate) fn draw(&mut self, lines: Vec<String>) {
        if lines == self.drawn {
            return;
        }
        let text =
            self.erase() + &lines.iter().fold(String::new(), |text, line| text + line + "\n");
        self.output.raw(format_args!("{text}"));
        self.drawn = lines;
    }

    /// Leaves `line` above the block for good.
    pub(crate) fn leave(&mut self, line: &str) {
        let mut text = self.erase();
        let block = self.drawn.join("\n");
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
        if !block.is_empty() {
            let _ = writeln!(text, "{block}");
        }
        self.output.raw(format_args!("{text}"));
    }

    /// Takes the block away.
    pub(crate) fn clear(&mut self) {
        let text = self.erase();
        self.output.raw(format_args!("{text}"));
        self.drawn.clear();
    }

    /// What takes the cursor to the block's beginning and wipes all below.
    fn erase(&self) -> String {
        match self.drawn.len() {
            0 => String::new(),
            lines => format!("\x1b[{lines}F\x1b[0J"),
        }
    }
}
