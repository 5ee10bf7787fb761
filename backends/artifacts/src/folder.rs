//! What a folder of this machine can do that an object store cannot: append to a file, lock it, and sync a folder.
use crate::{fault, layout};
use deploy_core::{digest::Digest, error::BackendResult};
use object_store::path::Path as ObjectPath;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The root of a local store.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

/// A locked file under `partial/`: nobody else touches it before it is dropped, also no other process.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    /// Where it lies for the object store.
    pub(crate) object: ObjectPath,
    /// How many bytes it has.
    pub(crate) length: u64,
}

impl Folder {
    /// Makes `root` a store, unless it is one.
    pub(crate) fn open(root: &Path) -> BackendResult<Self> {
        let operation = "artifact.open_store";
        let prepared = prepare(root);
        let (root, format) =
            prepared.map_err(|err| fault::reading(operation, root.display(), err))?;
        layout::known(operation, root.display(), format.as_bytes())?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// A slot to put `digest` into from its beginning.
    pub(crate) fn claim(&self, digest: &Digest) -> io::Result<Slot> {
        let _turn = self.turn()?;
        let mut number = 0_u32;
        loop {
            if let Some(slot) = self.try_slot(digest, number, true)? {
                slot.file.set_len(0)?;
                return Ok(Slot { length: 0, ..slot });
            }
            number = number.saturating_add(1);
        }
    }

    /// The slot that an interrupted put of `digest` left `length` bytes in.
    pub(crate) fn claim_kept(&self, digest: &Digest, length: u64) -> io::Result<Option<Slot>> {
        let _turn = self.turn()?;
        let mut kept = self.kept_slots(digest)?.into_iter();
        Ok(kept.find(|slot| slot.length == length))
    }

    /// The most that an interrupted put of `digest` left.
    pub(crate) fn kept(&self, digest: &Digest) -> io::Result<u64> {
        let _turn = self.turn()?;
        Ok(self.kept_slots(digest)?.iter().map(|slot| slot.length).max().unwrap_or(0))
    }

    /// Removes what interrupted puts of `digest` left.
    pub(crate) fn discard_kept(&self, digest: &Digest) -> io::Result<()> {
        let _turn = self.turn()?;
        self.kept_slots(digest)?.iter().try_for_each(|slot| fs::remove_file(&slot.path))
    }

    /// Removes what interrupted puts left and have not written to since `before`, in milliseconds since the Unix epoch.
    pub(crate) fn sweep_kept(&self, before: u64) -> io::Result<u64> {
        let _turn = self.turn()?;
        let old = self.old_slots(before)?;
        old.iter().try_for_each(|slot| fs::remove_file(&slot.path))?;
        Ok(count(&old))
    }

    /// How many [`sweep_kept`](Self::sweep_kept) would remove.
    pub(crate) fn count_kept(&self, before: u64) -> io::Result<u64> {
        let _turn = self.turn()?;
        Ok(count(&self.old_slots(before)?))
    }

    /// The slots that no put is writing to, or has written to since `before`.
    fn old_slots(&self, before: u64) -> io::Result<Vec<Slot>> {
        let mut old = Vec::new();
        for entry in fs::read_dir(self.root.join("partial"))? {
            let name = entry?.file_name();
            let Some((digest, number)) = name.to_str().and_then(parse_slot) else {
                continue;
            };
            let Some(slot) = self.try_slot(&digest, number, false)? else {
                continue;
            };
            if modified(&slot.file.metadata()?) <= before {
                old.push(slot);
            }
        }
        Ok(old)
    }

    /// Removes the temporary files of small writes that a crash cut off. Only for who holds the gate, which all of
    /// them pass.
    pub(crate) fn sweep_staged(&self) -> io::Result<u64> {
        let mut removed = 0;
        let mut folders = vec![self.root.join("entries"), self.root.join("holds")];
        while let Some(folder) = folders.pop() {
            for entry in read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                } else if entry.file_name().to_str().is_some_and(is_staged) {
                    fs::remove_file(entry.path())?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// Makes it durable that these are gone.
    pub(crate) fn sync_removal<'a>(
        &self,
        gone: impl IntoIterator<Item = &'a ObjectPath>,
    ) -> io::Result<()> {
        let mut folders: Vec<_> = gone.into_iter().map(|path| self.standing_parent(path)).collect();
        folders.sort();
        folders.dedup();
        folders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    /// The nearest folder above `path` that is there: empty ones are removed with what was in them.
    fn standing_parent(&self, path: &ObjectPath) -> PathBuf {
        let path = self.root.join(path.as_ref());
        let mut parents = path.ancestors().skip(1);
        parents.find(|it| it.is_dir()).unwrap_or(&self.root).to_owned()
    }

    /// Looking into a slot locks it for a moment. Taking turns keeps one look from hiding a slot from another.
    fn turn(&self) -> io::Result<File> {
        let path = self.root.join("partial/lock");
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        file.lock()?;
        Ok(file)
    }

    /// All slots of `digest` that no put is writing to.
    fn kept_slots(&self, digest: &Digest) -> io::Result<Vec<Slot>> {
        let mut slots = Vec::new();
        let hex = digest.hex();
        for entry in fs::read_dir(self.root.join("partial"))? {
            let name = entry?.file_name();
            let Some((_, number)) =
                name.to_str().filter(|it| it.starts_with(&hex)).and_then(parse_slot)
            else {
                continue;
            };
            slots.extend(self.try_slot(digest, number, false)?);
        }
        Ok(slots)
    }

    /// Locks a slot; `None` if a put is writing to it, or it is not there and is not to be made.
    fn try_slot(&self, digest: &Digest, number: u32, make: bool) -> io::Result<Option<Slot>> {
        let object = layout::partial(&format!("{}.{number}", digest.hex()));
        let path = self.root.join(object.as_ref());
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(make);
        let file = match options.open(&path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(err),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(err)) => return Err(err),
        }
        // A put may have made an artifact of this file between the two calls.
        let meta = file.metadata()?;
        let still_there = fs::metadata(&path).is_ok_and(|it| it.ino() == meta.ino());
        Ok(still_there.then(|| Slot { length: meta.len(), file, path, object }))
    }
}

fn prepare(root: &Path) -> io::Result<(PathBuf, String)> {
    fs::create_dir_all(root.join("partial"))?;
    let root = root.canonicalize()?;
    let path = root.join("format");
    if !path.try_exists()? {
        let draft = root.join(format!("format.{}", std::process::id()));
        let mut file = File::create(&draft)?;
        file.write_all(layout::FORMAT.as_bytes())?;
        file.sync_all()?;
        fs::rename(draft, &path)?;
        root.ancestors().take(2).try_for_each(|folder| File::open(folder)?.sync_all())?;
    }
    // Opens for writing, so that a folder that can only be read is found now and not by the first put.
    OpenOptions::new().create(true).append(true).open(root.join("lock"))?;
    let format = fs::read_to_string(path)?;
    Ok((root, format))
}

fn read_dir(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(err) => Err(err),
    }
}

fn count(slots: &[Slot]) -> u64 {
    u64::try_from(slots.len()).unwrap_or(u64::MAX)
}

fn parse_slot(name: &str) -> Option<(Digest, u32)> {
    let (hex, number) = name.split_once('.')?;
    Some((format!("sha256:{hex}").parse().ok()?, number.parse().ok()?))
}

/// Whether this is how `object_store` calls a file that it has not finished.
fn is_staged(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(_, id)| id.bytes().all(|b| b.is_ascii_digit()))
}

fn modified(meta: &fs::Metadata) -> u64 {
    let millis = meta.mtime().saturating_mul(1_000).saturating_add(meta.mtime_nsec() / 1_000_000);
    u64::try_from(millis).unwrap_or(0)
}
