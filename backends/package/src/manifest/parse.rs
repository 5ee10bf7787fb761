//! Reads manifests as strictly as archives are read.
use super::{Archived, Entry, FORMAT, Manifest, Mode, Totals};
use crate::{
    Fault, PackageError,
    archive::{
        Limits,
        tree::{Kind, Tree},
    },
};
use serde::Deserialize;

/// A manifest as somebody has written it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    archive: Archived,
    totals: Totals,
    entries: Vec<Entry>,
}

impl Manifest {
    /// Reads a manifest. Its entries keep every rule that entries of an archive do.
    ///
    /// # Errors
    /// If it is too long, of a newer format, not written in the one way there is, or describes a tree that no accepted
    /// archive holds: one message that says which.
    pub fn parse(bytes: &[u8], limits: Limits) -> Result<Self, PackageError> {
        if bytes.len() > Self::LONGEST {
            return Err(malformed(format!("it has more than {} bytes", Self::LONGEST)));
        }
        let written: Written =
            serde_json::from_slice(bytes).map_err(|err| malformed(err.to_string()))?;
        if written.format != FORMAT {
            let detail = format!("its format is {}, and only {FORMAT} is known", written.format);
            return Err(malformed(detail));
        }
        let Written { format: _, archive, totals, entries } = written;
        let manifest = Self::new(archive, entries, limits)?;
        if manifest.totals != totals {
            return Err(malformed("its totals are not those of its entries"));
        }
        if manifest.to_bytes()? != bytes {
            return Err(malformed("it is not written in the one way that manifests are"));
        }
        Ok(manifest)
    }

    /// Puts a manifest together, if its entries keep the rules.
    pub(super) fn new(
        archive: Archived,
        entries: Vec<Entry>,
        limits: Limits,
    ) -> Result<Self, PackageError> {
        if entries.len() as u64 > limits.entries {
            return Err(malformed(format!("it has more than {} entries", limits.entries)));
        }
        let mut tree = Tree::new(limits);
        let mut totals = Totals::default();
        for entry in &entries {
            place(&mut tree, entry)?;
            totals.count(entry).ok_or_else(|| malformed("its sizes are impossible"))?;
        }
        totals.inodes += tree.implied().filter(|it| !it.is_empty()).count() as u64;
        if totals.unpacked > limits.unpacked_bytes {
            return Err(malformed(format!(
                "its files have more than {} bytes",
                limits.unpacked_bytes
            )));
        }
        Ok(Self { format: FORMAT, archive, totals, entries })
    }
}

fn place(tree: &mut Tree, entry: &Entry) -> Result<(), PackageError> {
    let (kind, target) = match entry {
        Entry::File { mode, .. } => (usable(*mode, 0o400, entry).map(|()| Kind::File)?, ""),
        Entry::Folder { mode, .. } => (usable(*mode, 0o700, entry).map(|()| Kind::Folder)?, ""),
        Entry::HardLink { target, .. } => (Kind::HardLink, target.as_str()),
        Entry::SymbolicLink { target, .. } => (Kind::SymbolicLink, target.as_str()),
    };
    let placed = tree.add(kind, entry.path().as_bytes(), target.as_bytes());
    let (path, resolved) = placed.map_err(|it| malformed(it.to_string()))?;
    let top = kind == Kind::Folder && entry.path() == "." && path.is_empty();
    let plain = top || (!path.is_empty() && path == entry.path());
    if plain && resolved == target {
        return Ok(());
    }
    Err(malformed(format!("the path or target of `{}` is not in its plain form", shown(entry))))
}

fn usable(mode: Mode, needed: u32, entry: &Entry) -> Result<(), PackageError> {
    if mode.bits() & needed == needed {
        return Ok(());
    }
    Err(malformed(format!("the permissions of `{}` keep its own account out", shown(entry))))
}

fn shown(entry: &Entry) -> String {
    entry.path().chars().take(200).flat_map(char::escape_debug).collect()
}

fn malformed(detail: impl AsRef<str>) -> PackageError {
    PackageError::malformed(Fault::Manifest, detail)
}

impl Totals {
    fn count(&mut self, entry: &Entry) -> Option<()> {
        match entry {
            Entry::File { size, .. } => {
                self.unpacked = self.unpacked.checked_add(*size)?;
                self.inodes += 1;
            }
            Entry::Folder { path, .. } => self.inodes += u64::from(path != "."),
            Entry::HardLink { .. } => {}
            Entry::SymbolicLink { .. } => self.inodes += 1,
        }
        Some(())
    }
}
