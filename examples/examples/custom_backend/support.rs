//! What all of them need.
use std::{
    io,
    path::Path,
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
};

/// What a mutex guards, also after a panic elsewhere: all changes under these locks are made at once.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a file whole or not at all, durably, unless there is one of that name; says whether it did.
pub(crate) async fn publish(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let draft = path.with_file_name(format!("{DRAFT}{}-{number}", process::id()));
    let mut file = File::create_new(&draft).await?;
    file.write_all(bytes).await?;
    file.sync_all().await?;
    let linked = fs::hard_link(&draft, path).await;
    fs::remove_file(&draft).await?;
    match linked {
        Ok(()) => sync_folder(path).await.map(|()| true),
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(err) => Err(err),
    }
}

/// What the names of unfinished files begin with. A crash may leave some, which do no harm.
const DRAFT: &str = ".draft-";

/// Makes what happened to the names in the folder of `path` durable.
pub(crate) async fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder).await?.sync_all().await,
        None => Ok(()),
    }
}

/// The names of all finished files in `folder`.
pub(crate) async fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut entries = fs::read_dir(folder).await?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(DRAFT) {
            names.push(name);
        }
    }
    Ok(names)
}
