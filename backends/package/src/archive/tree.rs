//! The paths of an archive, and what may stand where.
use super::{Limits, Refusal, Rule};
use std::collections::HashMap;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    HardLink,
    SymbolicLink,
}

/// Where an entry stands, as found so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Folder,
    /// A folder that was only named in the paths of others.
    Implied,
    Link,
}

/// How many bytes all paths may have together, those of implied folders included: they are held in memory.
const NAMES: usize = 64 << 20;

/// All paths seen so far.
pub(crate) struct Tree {
    limits: Limits,
    places: HashMap<String, Place>,
    names: usize,
}

impl Tree {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, places: HashMap::new(), names: 0 }
    }

    /// The folders that were only named in the paths of others.
    pub(crate) fn implied(&self) -> impl Iterator<Item = &str> {
        let implied = self.places.iter().filter(|(_, place)| **place == Place::Implied);
        implied.map(|(path, _)| path.as_str())
    }

    /// Takes in an entry; gives its path, and the path that a hard link names, without `.` and surplus `/`. The archive's own
    /// folder is the empty path.
    pub(crate) fn add(
        &mut self,
        kind: Kind,
        path: &[u8],
        target: &[u8],
    ) -> Result<(String, String), Refusal> {
        let path = self.normal(path).map_err(|it| it.at(path))?;
        let target = self.place(kind, &path, target).map_err(|it| it.at(path.as_bytes()))?;
        Ok((path, target))
    }

    fn place(&mut self, kind: Kind, path: &str, target: &[u8]) -> Result<String, Refusal> {
        let (place, target) = match kind {
            Kind::File => (Place::File, String::new()),
            Kind::Folder => (Place::Folder, String::new()),
            Kind::HardLink => (Place::File, self.hard_link(target)?),
            Kind::SymbolicLink => (Place::Link, self.symbolic_link(path, target)?),
        };
        self.imply_parents(path)?;
        self.insert(path, place)?;
        Ok(target)
    }

    fn insert(&mut self, path: &str, place: Place) -> Result<(), Refusal> {
        self.grow(path)?;
        match (place, self.places.insert(path.to_owned(), place)) {
            (_, None) | (Place::Folder, Some(Place::Implied)) => Ok(()),
            _ if path.is_empty() => {
                Err(Refusal::new(Rule::Duplicate, "the top folder is there twice"))
            }
            _ => Err(Refusal::new(Rule::Duplicate, "this path is there twice")),
        }
    }

    fn grow(&mut self, path: &str) -> Result<(), Refusal> {
        self.names += path.len();
        if self.names > NAMES {
            let detail = format!("paths of more than {NAMES} bytes in all");
            return Err(Refusal::new(Rule::TooLarge, detail));
        }
        if self.places.len() as u64 >= self.limits.entries.saturating_mul(2) {
            let detail = format!("more than {} entries and folders", self.limits.entries * 2);
            return Err(Refusal::new(Rule::TooManyEntries, detail));
        }
        Ok(())
    }

    fn imply_parents(&mut self, path: &str) -> Result<(), Refusal> {
        for (at, _) in path.rmatch_indices('/') {
            let parent = path.get(..at).unwrap_or_default();
            match self.places.get(parent) {
                Some(Place::Folder | Place::Implied) => return Ok(()),
                Some(Place::File | Place::Link) => {
                    return Err(Refusal::new(
                        Rule::Duplicate,
                        "it lies under something that is not a folder",
                    ));
                }
                None => {
                    self.grow(parent)?;
                    self.places.insert(parent.to_owned(), Place::Implied);
                }
            }
        }
        Ok(())
    }

    fn hard_link(&self, target: &[u8]) -> Result<String, Refusal> {
        let path = self.normal(target)?;
        match self.places.get(&path) {
            Some(Place::File) => Ok(path),
            Some(Place::Folder | Place::Implied | Place::Link) | None => Err(Refusal::new(
                Rule::HardLink,
                "a hard link to something else than an earlier file",
            )),
        }
    }

    /// A target may begin with `..` and then only go down: everything above a link is a real folder, so this, and no more,
    /// is certain to stay inside, whatever links the rest of the way leads through.
    fn symbolic_link(&self, path: &str, target: &[u8]) -> Result<String, Refusal> {
        let target = self.text(target)?;
        if target.starts_with('/') {
            return Err(Refusal::new(Rule::SymbolicLink, "a link with an absolute target"));
        }
        let mut room = path.matches('/').count();
        let mut descended = false;
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." if descended => {
                    return Err(Refusal::new(Rule::SymbolicLink, "a link with `..` after a name"));
                }
                ".." if room == 0 => {
                    return Err(Refusal::new(Rule::Escape, "a link out of the archive"));
                }
                ".." => room -= 1,
                _ => descended = true,
            }
        }
        Ok(target.to_owned())
    }

    fn normal(&self, path: &[u8]) -> Result<String, Refusal> {
        let text = self.text(path)?;
        if text.starts_with('/') {
            return Err(Refusal::new(Rule::AbsolutePath, "an absolute path"));
        }
        let mut parts = Vec::new();
        for part in text.split('/').filter(|it| !matches!(*it, "" | ".")) {
            if part == ".." {
                return Err(Refusal::new(Rule::Escape, "a path with `..`"));
            }
            if part.len() > 255 {
                return Err(Refusal::new(Rule::PathTooLong, "a name longer than 255 bytes"));
            }
            parts.push(part);
        }
        if parts.len() > self.limits.depth {
            return Err(Refusal::new(
                Rule::PathTooLong,
                format!("deeper than {} folders", self.limits.depth),
            ));
        }
        Ok(parts.join("/"))
    }

    fn text<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, Refusal> {
        if bytes.len() > self.limits.path_bytes {
            let detail = format!("a path longer than {} bytes", self.limits.path_bytes);
            return Err(Refusal::new(Rule::PathTooLong, detail));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Refusal::new(Rule::Name, "a name that is not UTF-8"))?;
        if text.is_empty() {
            return Err(Refusal::new(Rule::Name, "an empty name"));
        }
        if text.chars().any(char::is_control) {
            return Err(Refusal::new(Rule::Name, "a name with a control character"));
        }
        Ok(text)
    }
}
