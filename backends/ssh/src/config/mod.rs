//! `ssh_config`, as far as it says how to reach a host.
//!
//! The first value found for a host wins, as in OpenSSH. Keywords that do not matter here are ignored; those that would make
//! a connection less safe, or lead elsewhere than their author meant, are refused by name.
mod include;
mod line;
mod settings;

pub(crate) use settings::{Hop, Proxy, Settings};

use crate::pattern::PatternList;
use include::Included;
use std::{
    collections::HashMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How deep files may include files, as in OpenSSH.
const DEEPEST: usize = 16;

/// What is wrong, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigError {
    pub(crate) at: Origin,
    pub(crate) reason: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.reason)
    }
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    file: Arc<Path>,
    line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One keyword and what it is set to.
#[derive(Debug)]
struct Directive {
    keyword: String,
    values: Vec<String>,
    at: Origin,
}

/// For which hosts a block is meant.
#[derive(Clone, Debug)]
enum Condition {
    All,
    /// A `Match` that cannot be judged here.
    Nobody,
    Hosts(PatternList),
}

impl Condition {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::Hosts(patterns) => patterns.matches(name),
        }
    }
}

/// Directives that hold for the same hosts: those that meet every condition.
#[derive(Debug)]
struct Block {
    conditions: Vec<Condition>,
    directives: Vec<Directive>,
}

/// What some configuration files say.
#[derive(Debug, Default)]
pub(crate) struct SshConfig {
    blocks: Vec<Block>,
    /// The blocks that name their hosts, so that a file with a block for every host of a fleet is not searched through.
    by_name: HashMap<String, Vec<usize>>,
    /// The blocks that have to be tried for every host.
    tried: Vec<usize>,
    errors: Vec<ConfigError>,
    sources: Vec<PathBuf>,
}

impl SshConfig {
    /// Reads `files`, those that exist, one after the other.
    pub(crate) fn read(files: &[PathBuf], home: Option<&Path>) -> Self {
        let mut config = Self::default();
        for file in files {
            match fs::read_to_string(file) {
                Ok(text) => config.add(&text, file, home),
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => config.fail(file, 0, format!("cannot be read: {err}")),
            }
            config.sources.push(file.clone());
        }
        config.index();
        config
    }

    /// The files and folders that this depends on.
    pub(crate) fn sources(&self) -> &[PathBuf] {
        &self.sources
    }

    /// What is said about the host that the user calls `name`.
    pub(crate) fn settings(&self, name: &str) -> Result<Settings, ConfigError> {
        if let Some(err) = self.errors.first() {
            return Err(err.clone());
        }
        let named = self.by_name.get(name).into_iter().flatten();
        let mut order: Vec<usize> = named.chain(&self.tried).copied().collect();
        order.sort_unstable();
        order.dedup();
        let mut settings = Settings::default();
        for block in order.iter().filter_map(|at| self.blocks.get(*at)) {
            if block.conditions.iter().all(|it| it.matches(name)) {
                for directive in &block.directives {
                    settings.apply(directive)?;
                }
            }
        }
        Ok(settings)
    }

    fn add(&mut self, text: &str, file: &Path, home: Option<&Path>) {
        let base = file.parent().unwrap_or(file);
        let mut reader = Reader { config: self, base, home };
        reader.read(text, file, &[], 0);
    }

    fn index(&mut self) {
        for (at, block) in self.blocks.iter().enumerate() {
            let names = block.conditions.iter().find_map(|it| match it {
                Condition::Hosts(patterns) => patterns.names(),
                Condition::All | Condition::Nobody => None,
            });
            match names {
                Some(names) => {
                    for name in names {
                        self.by_name.entry(name.clone()).or_default().push(at);
                    }
                }
                None => self.tried.push(at),
            }
        }
    }

    fn fail(&mut self, file: &Path, line: usize, reason: impl Into<String>) {
        let at = Origin { file: file.into(), line };
        self.errors.push(ConfigError { at, reason: reason.into() });
    }
}

/// Reads one configuration file and what it includes.
struct Reader<'a> {
    config: &'a mut SshConfig,
    /// What relative names of included files start from: the folder of the outermost file.
    base: &'a Path,
    home: Option<&'a Path>,
}

impl Reader<'_> {
    /// Adds `text`; `outer` has to hold for all of it.
    fn read(&mut self, text: &str, file: &Path, outer: &[Condition], depth: usize) {
        let shared: Arc<Path> = file.into();
        let mut inner = Condition::All;
        self.begin(outer, &inner);
        for (at, text) in text.lines().enumerate() {
            let at = Origin { file: Arc::clone(&shared), line: at + 1 };
            let (keyword, values) = match line::split(text) {
                Ok(Some(line)) => line,
                Ok(None) => continue,
                Err(reason) => {
                    self.config.errors.push(ConfigError { at, reason: reason.into() });
                    continue;
                }
            };
            match keyword.as_str() {
                "host" => inner = Condition::Hosts(PatternList::new(values)),
                "match" => inner = condition(&values, &at),
                "include" => self.include(&values, &at, outer, &inner, depth),
                _ => {
                    self.push(Directive { keyword, values, at });
                    continue;
                }
            }
            self.begin(outer, &inner);
        }
    }

    fn begin(&mut self, outer: &[Condition], inner: &Condition) {
        let mut conditions = outer.to_vec();
        if !matches!(inner, Condition::All) {
            conditions.push(inner.clone());
        }
        // A block that nothing was said in is not kept.
        if self.config.blocks.last().is_some_and(|it| it.directives.is_empty()) {
            self.config.blocks.pop();
        }
        self.config.blocks.push(Block { conditions, directives: Vec::new() });
    }

    fn push(&mut self, directive: Directive) {
        if let Some(block) = self.config.blocks.last_mut() {
            block.directives.push(directive);
        }
    }

    fn include(
        &mut self,
        values: &[String],
        at: &Origin,
        outer: &[Condition],
        inner: &Condition,
        depth: usize,
    ) {
        if depth >= DEEPEST {
            let reason = format!("files include each other more than {DEEPEST} levels deep");
            self.config.errors.push(ConfigError { at: at.clone(), reason });
            return;
        }
        let mut conditions = outer.to_vec();
        conditions.push(inner.clone());
        for value in values {
            let Included { files, folders } = include::find(value, self.base, self.home);
            self.config.sources.extend(folders);
            for file in files {
                match fs::read_to_string(&file) {
                    Ok(text) => self.read(&text, &file, &conditions, depth + 1),
                    Err(err) => self.config.fail(&file, 0, format!("cannot be read: {err}")),
                }
                self.config.sources.push(file);
            }
        }
    }
}

/// The condition of a `Match` line. Only `Match all` can be judged: the others ask for the local user, for commands to
/// run, or for values that are not final yet.
fn condition(values: &[String], at: &Origin) -> Condition {
    match values {
        [only] if only.eq_ignore_ascii_case("all") => Condition::All,
        _ => {
            tracing::warn!(
                at = %at,
                "only `Match all` is understood; what follows this line is skipped"
            );
            Condition::Nobody
        }
    }
}

#[cfg(test)]
mod tests;
