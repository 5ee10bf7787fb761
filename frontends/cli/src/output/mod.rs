//! All that the program says goes through one [`Output`]: results on standard output, everything else on standard error.
mod screen;
mod style;
mod table;
mod text;

pub(crate) use screen::Screen;
pub(crate) use style::{Style, styles};
pub(crate) use table::Table;
pub(crate) use text::{clean, fit, list, plural, size, when, width, wrap};

use clap::ValueEnum;
use deploy_wire::{Problem, ProblemDocument};
use serde::Serialize;
use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write as _},
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Json,
    #[default]
    Text,
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Always,
    // On terminals, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    Never,
}

impl Color {
    fn applies(self, terminal: bool) -> bool {
        let unwanted = |name: &str, value: &str| {
            std::env::var_os(name)
                .is_some_and(|it| if value.is_empty() { !it.is_empty() } else { it == value })
        };
        match self {
            Self::Always => true,
            Self::Auto => terminal && !unwanted("NO_COLOR", "") && !unwanted("TERM", "dumb"),
            Self::Never => false,
        }
    }
}

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Volume {
    Quiet,
    #[default]
    Normal,
}

/// One of the two streams.
#[derive(Clone, Copy, Debug)]
struct Stream {
    color: bool,
    terminal: bool,
    width: Option<usize>,
}

/// Where results and messages go.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    volume: Volume,
    out: Stream,
    err: Stream,
    /// Whether whoever read the results has gone away.
    closed: AtomicBool,
}

impl Output {
    pub(crate) fn new(format: Format, color: Color, volume: Volume) -> Self {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let stream =
            |terminal: bool, width| Stream { color: color.applies(terminal), terminal, width };
        Self {
            format,
            volume,
            out: stream(stdout.is_terminal(), columns(stdout.as_fd())),
            err: stream(stderr.is_terminal(), columns(stderr.as_fd())),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Whether somebody watches the results as they come.
    pub(crate) const fn is_live(&self) -> bool {
        self.out.terminal && !self.is_json()
    }

    /// Whether whoever read the results has gone away: there is nothing left to say.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// How many columns results have; `None` if they do not go to a terminal.
    pub(crate) const fn width(&self) -> Option<usize> {
        self.out.width
    }

    /// Writes a result: `value` for programs, what `text` gives for people.
    pub(crate) fn result<T: Serialize>(&self, value: &T, text: impl FnOnce(&Self)) {
        if self.is_json() { self.json(value) } else { text(self) }
    }

    /// Writes one JSON document on a line of its own.
    pub(crate) fn json<T: Serialize>(&self, value: &T) {
        match serde_json::to_string(value) {
            Ok(text) => self.raw(format_args!("{text}\n")),
            Err(err) => self.warn(format_args!("the result cannot be written as JSON: {err}")),
        }
    }

    /// Writes a line of a result.
    pub(crate) fn line(&self, text: impl fmt::Display) {
        self.raw(format_args!("{text}\n"));
    }

    /// Writes a table.
    pub(crate) fn table(&self, table: &Table) {
        for line in table.lines(self.out.width, |style, text| self.paint(style, text)) {
            self.line(line);
        }
    }

    /// Writes text that ends where it ends.
    pub(crate) fn raw(&self, text: fmt::Arguments<'_>) {
        self.bytes(text.to_string().as_bytes());
    }

    /// Writes bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        if self.is_closed() {
            return;
        }
        let mut stdout = io::stdout().lock();
        if stdout.write_all(bytes).and_then(|()| stdout.flush()).is_err() {
            self.closed.store(true, Ordering::Relaxed);
        }
    }

    /// `text` in a style, where results are coloured.
    pub(crate) fn paint(&self, style: Style, text: impl fmt::Display) -> String {
        if self.out.color { format!("{style}{text}{style:#}") } else { text.to_string() }
    }

    /// Says something beside the result, unless told to be quiet.
    pub(crate) fn note(&self, text: impl fmt::Display) {
        if self.volume > Volume::Quiet {
            self.say(format_args!("{text}\n"));
        }
    }

    /// Says something that somebody should know before going on.
    pub(crate) fn warn(&self, text: impl fmt::Display) {
        let label = self.paint_message(styles::WARNING, "warning:");
        self.say(format_args!("{label} {text}\n"));
    }

    /// Says what went wrong.
    pub(crate) fn problem(&self, problem: &Problem) {
        if self.is_json() {
            let document = ProblemDocument::from(problem.clone());
            if let Ok(text) = serde_json::to_string(&document) {
                self.say(format_args!("{text}\n"));
            }
            return;
        }
        let mut text = String::new();
        let label = self.paint_message(styles::FAILURE, "error:");
        // Writing to a string does not fail.
        let _ = writeln!(text, "{label} {}", clean(&problem.message));
        if let (Some(source), Some(line), Some(Ok(column))) = (
            problem.context.get("source"),
            problem.context.get("line"),
            problem.context.get("column").map(|it| it.parse::<usize>()),
        ) {
            let gutter = " ".repeat(line.len());
            let caret = " ".repeat(column.saturating_sub(1).min(200));
            let _ = writeln!(text, "  {line} | {}\n  {gutter} | {caret}^", clean(source));
        }
        if let Some(hint) = &problem.hint {
            let label = self.paint_message(styles::HINT, "hint:");
            let _ = writeln!(text, "{label} {}", clean(hint));
        }
        self.say(format_args!("{text}"));
    }

    fn paint_message(&self, style: Style, text: &str) -> String {
        if self.err.color { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn say(&self, text: fmt::Arguments<'_>) {
        // Nobody is left to be told that messages cannot be written.
        drop(io::stderr().lock().write_all(text.to_string().as_bytes()));
    }

    /// What asks questions; it can be sent to where waiting for an answer blocks nobody.
    pub(crate) fn asker(&self) -> Asker {
        Asker { somebody: self.err.terminal && io::stdin().is_terminal() }
    }
}

/// Asks somebody at a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    somebody: bool,
}

impl Asker {
    /// Asks a question with a few answers, each a letter; `None` if nobody can answer. This blocks.
    pub(crate) fn ask(self, question: &str, answers: &str) -> Option<char> {
        if !self.somebody {
            return None;
        }
        loop {
            // A question that cannot be written is not answered either.
            drop(io::stderr().lock().write_all(format!("{question} ").as_bytes()));
            let mut line = String::new();
            if io::stdin().read_line(&mut line).ok()? == 0 {
                return None;
            }
            let answer = line.trim().to_ascii_lowercase().chars().next();
            if let Some(answer) = answer.filter(|it| answers.contains(*it)) {
                return Some(answer);
            }
        }
    }
}

fn columns(stream: std::os::fd::BorrowedFd<'_>) -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(stream)?;
    Some(usize::from(columns).max(20))
}
