//! What was read from files, and read again only when one of them has changed.
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What tells two states of a file apart; `None` if it is not there.
type Stamp = Option<(u64, u64, i64, i64)>;

/// A value made from files, kept until one of them changes.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    kept: Mutex<Option<Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    files: Vec<(PathBuf, Stamp)>,
    value: Arc<T>,
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self { kept: Mutex::new(None) }
    }
}

impl<T> Watched<T> {
    /// The value; `read` makes it from `files` and names the other files and folders that it depends on.
    pub(crate) fn load(
        &self,
        files: &[PathBuf],
        read: impl FnOnce() -> (T, Vec<PathBuf>),
    ) -> Arc<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref()
            && kept.files.iter().all(|(path, seen)| stamp(path) == *seen)
        {
            return Arc::clone(&kept.value);
        }
        // These stamps are from before the reading: what is written meanwhile is seen the next time.
        let mut files: Vec<_> = files.iter().map(|it| stamped(it)).collect();
        let (value, others) = read();
        files.extend(others.iter().map(|it| stamped(it)));
        let value = Arc::new(value);
        *kept = Some(Kept { files, value: Arc::clone(&value) });
        value
    }
}

fn stamped(path: &Path) -> (PathBuf, Stamp) {
    (path.to_path_buf(), stamp(path))
}

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_again_only_after_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let watched = Watched::default();
        let read = || {
            watched.load(std::slice::from_ref(&file), || (fs::read_to_string(&file).ok(), vec![]))
        };
        assert_eq!(*read(), None);
        fs::write(&file, "one").unwrap();
        let one = read();
        assert_eq!(one.as_deref(), Some("one"));
        assert!(Arc::ptr_eq(&one, &read()));
        fs::write(&file, "three").unwrap();
        assert_eq!(read().as_deref(), Some("three"));
    }
}
