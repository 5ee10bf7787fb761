//! Folders of builds, removed whatever a build has done to them.
use std::{
    fs::{self, DirEntry, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Removes a folder with all that is in it, also where a build has taken the right to do so away, or has nested folders deeper than a path can name.
/// What is not there is removed already.
///
/// Folders are moved up before they are emptied, so that no path becomes long, and neither the stack nor open files grow with the depth.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    if !is_there(folder)? {
        return Ok(());
    }
    open_up(folder)?;
    let mut names = Names { folder, next: 0 };
    while empty(folder, &mut names)? {}
    fs::remove_dir(folder)
}

/// Removes what is in `folder`, and moves up what is in folders in there. Says whether there was anything.
fn empty(folder: &Path, names: &mut Names<'_>) -> io::Result<bool> {
    let mut was_any = false;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        was_any = true;
        if !is_folder(&entry)? {
            fs::remove_file(entry.path())?;
            continue;
        }
        open_up(&entry.path())?;
        for inner in fs::read_dir(entry.path())? {
            let inner = inner?;
            if is_folder(&inner)? {
                open_up(&inner.path())?;
                fs::rename(inner.path(), names.free()?)?;
            } else {
                fs::remove_file(inner.path())?;
            }
        }
        fs::remove_dir(entry.path())?;
    }
    Ok(was_any)
}

fn is_folder(entry: &DirEntry) -> io::Result<bool> {
    Ok(entry.file_type()?.is_dir())
}

/// Whether there is anything, be it a link that leads nowhere.
fn is_there(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(false),
        meta => meta.map(|_| true),
    }
}

fn open_up(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

/// Names in a folder that nothing has.
struct Names<'a> {
    folder: &'a Path,
    next: u64,
}

impl Names<'_> {
    fn free(&mut self) -> io::Result<PathBuf> {
        loop {
            let path = self.folder.join(self.next.to_string());
            self.next += 1;
            if !is_there(&path)? {
                return Ok(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{Mode, OFlags, mkdirat, openat};
    use std::fs::File;

    #[test]
    fn the_deepest_folders_are_removed_and_nothing_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        let (hostile, beside) = (dir.path().join("hostile"), dir.path().join("beside"));
        fs::create_dir_all(hostile.join("0/1")).unwrap();
        fs::write(hostile.join("2"), "").unwrap();
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("file"), "kept").unwrap();
        std::os::unix::fs::symlink(&beside, hostile.join("link")).unwrap();
        fs::create_dir(hostile.join("shut")).unwrap();
        fs::set_permissions(hostile.join("shut"), Permissions::from_mode(0o000)).unwrap();
        let mut at = File::open(&hostile).unwrap();
        for _ in 0..5_000 {
            mkdirat(&at, "d", Mode::RWXU).unwrap();
            mkdirat(&at, "e", Mode::RWXU).unwrap();
            at = openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).unwrap().into();
        }
        clear(&hostile).unwrap();
        assert!(!hostile.exists());
        assert_eq!(fs::read_to_string(beside.join("file")).unwrap(), "kept");
        clear(&hostile).unwrap();
    }
}
