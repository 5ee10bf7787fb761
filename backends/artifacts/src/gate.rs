//! One change at a time.
use crate::fault;
use deploy_core::error::BackendResult;
use std::{
    fs::{self, File},
    path::PathBuf,
};
use tokio::{
    sync::{Mutex, MutexGuard},
    task,
};

/// Lets one change at a time publish or remove something.
///
/// A folder's gate holds against every process on this machine, by an `flock` that a crash lets go. Without a folder it
/// holds against users of the same handle only.
#[derive(Debug)]
pub(crate) struct Gate {
    inside: Mutex<()>,
    lock: Option<PathBuf>,
}

/// Whoever has this may publish and remove. Dropping it opens the gate.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    _file: Option<File>,
    _inside: MutexGuard<'a, ()>,
}

impl Gate {
    pub(crate) fn new(lock: Option<PathBuf>) -> Self {
        Self { inside: Mutex::new(()), lock }
    }

    /// Waits until nobody else is inside.
    ///
    /// The mutex comes first: a handle then has at most one thread waiting on the file, however many callers it has.
    pub(crate) async fn enter(&self, operation: &'static str) -> BackendResult<Entered<'_>> {
        let inside = self.inside.lock().await;
        let file = match self.lock.clone() {
            Some(lock) => Some(lock_file(operation, lock).await?),
            None => None,
        };
        Ok(Entered { _file: file, _inside: inside })
    }
}

async fn lock_file(operation: &'static str, path: PathBuf) -> BackendResult<File> {
    let name = path.display().to_string();
    let locked = task::spawn_blocking(move || {
        let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    });
    let locked = locked.await.map_err(|err| fault::lost(operation, err))?;
    locked.map_err(|err| fault::reading(operation, name, err))
}
