//! One agent a state folder, and how others find it.
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
    process::{Pid, Signal, kill_process},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

const NAME: &str = "lock";

/// Takes the state folder for this process, as long as the file is open; `None` if another has it.
pub(crate) fn lock(state: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    // What is in it is for others, and theirs while they have it.
    let mut file = options.create(true).write(true).truncate(false).open(state.join(NAME))?;
    if !is_free(&file)? {
        return Ok(None);
    }
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Some(file))
}

/// Gives the state folder back before the file is closed.
pub(crate) fn unlock(file: &File) -> io::Result<()> {
    Ok(flock(file, FlockOperation::Unlock)?)
}

/// Has the agent that works in `state` begin anew, as the program that is now where it was started from; says whether there is one.
/// What it has started goes on meanwhile.
///
/// # Errors
/// If it cannot be found out who works there, or that process may not be told.
pub fn reload(state: &Path) -> io::Result<bool> {
    let mut file = match File::open(state.join(NAME)) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    if is_free(&file)? {
        return Ok(false);
    }
    let mut pid = String::new();
    file.read_to_string(&mut pid)?;
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the agent has not said yet who it is"))?;
    match kill_process(pid, Signal::HUP) {
        // It has ended in between.
        Err(Errno::SRCH) => Ok(false),
        told => Ok(told.map(|()| true)?),
    }
}

/// Takes the lock, if nobody has it.
fn is_free(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(err) => Err(err.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_by_one_and_free_again_after_it() {
        let state = tempfile::tempdir().unwrap();
        assert!(!reload(state.path()).unwrap(), "nobody was ever there");
        let first = lock(state.path()).unwrap();
        assert!(first.is_some());
        assert!(lock(state.path()).unwrap().is_none());
        let said = std::fs::read_to_string(state.path().join(NAME)).unwrap();
        assert_eq!(
            said.trim(),
            std::process::id().to_string(),
            "the one that came second has changed it"
        );
        drop(first);
        assert!(!reload(state.path()).unwrap(), "nobody is there any more");
        assert!(lock(state.path()).unwrap().is_some());
    }
}
