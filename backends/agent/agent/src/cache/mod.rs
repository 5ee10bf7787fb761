//! Artifacts on the host: each is fetched once, from where an earlier try ended, and compared with its digest whenever it is used.
use crate::{
    FetchArtifact,
    peers::{NotTaken, Peers},
    pins::Pins,
    spec::Artifact,
};
use deploy_core::{
    digest::{Digest, Hasher},
    id::ServiceName,
    telemetry::TARGET_BACKEND,
};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};
use thiserror::Error;
use tokio::task::spawn_blocking;

/// How much of a file is read at once: little enough that the allocator gives the memory back that is free at its end.
const PIECE: usize = 64 << 10;
/// What is no larger than the smallest block has nothing to gain from others.
const ONE_BLOCK: u64 = 256 << 10;
/// How the folder is called, after the artifact, in which its blocks come together.
const BLOCKS: &str = "blocks";

/// Why an artifact cannot be had.
#[derive(Debug, Error)]
pub(crate) enum FetchError {
    #[error("the artifact {digest} cannot be fetched: {source}")]
    Fetch { digest: Digest, source: io::Error },
    #[error("the artifact cannot be kept: {0}")]
    Keep(#[from] io::Error),
    #[error("what came is not the artifact {digest}")]
    Other { digest: Digest },
}

/// The artifacts of a host.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    limit: u64,
    pins: Pins,
    peers: Option<Arc<Peers>>,
    /// Whoever gives files their names, takes them away, or says which are to stay, does so alone.
    order: Mutex<()>,
    /// One of those that want the same artifact fetches it.
    locks: Mutex<BTreeMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl Cache {
    /// In `folder`, where at most about `limit` bytes are kept, and of these what is pinned the longest. What is large comes from `peers`,
    /// if there are any.
    pub(crate) fn new(folder: PathBuf, limit: u64, pins: Pins, peers: Option<Arc<Peers>>) -> Self {
        let (order, locks) = (Mutex::new(()), Mutex::new(BTreeMap::new()));
        Self { folder, limit, pins, peers, order, locks }
    }

    /// How much of an artifact has to be fetched yet. Room that is taken for its blocks counts as had.
    pub(crate) fn missing(&self, artifact: Artifact) -> io::Result<u64> {
        let path = self.path(artifact.digest);
        if length(&path)? == artifact.size {
            return Ok(0);
        }
        let begun = length(&path.with_extension("part"))?;
        let reserved = taken_below(&path.with_extension(BLOCKS))?;
        Ok(artifact.size.saturating_sub(begun.max(reserved)))
    }

    /// Keeps artifacts for a service that are to be used later, and no longer those that were to before.
    pub(crate) fn pin(&self, service: &ServiceName, artifacts: &[Artifact]) -> io::Result<()> {
        let _alone = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.pins.set(service, artifacts)
    }

    /// The file of an artifact, as its digest says.
    pub(crate) async fn get(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
    ) -> Result<PathBuf, FetchError> {
        let lock = self.lock(artifact.digest);
        let _alone = lock.lock().await;
        let path = self.path(artifact.digest);
        if is_right(path.clone(), artifact).await? {
            touch(&path)?;
            return Ok(path);
        }
        self.make_room_for(artifact)?;
        let part = path.with_extension("part");
        if self.take_blocks(artifact, from, &path).await? {
            remove(&part)?;
            return Ok(path);
        }
        let resumed = length(&part)? > 0;
        self.fetch(artifact, from, &part).await?;
        if !is_right(part.clone(), artifact).await? {
            if !resumed {
                return Err(FetchError::Other { digest: artifact.digest });
            }
            // What was there before may have been the wrong part of it.
            self.fetch(artifact, from, &part).await?;
            if !is_right(part.clone(), artifact).await? {
                return Err(FetchError::Other { digest: artifact.digest });
            }
        }
        self.keep(&part, &path)?;
        remove(&path.with_extension(BLOCKS))?;
        Ok(path)
    }

    /// Keeps these from being taken away for as long as what it gives is held.
    pub(crate) fn hold(&self, artifacts: &[Artifact]) -> Vec<Arc<tokio::sync::Mutex<()>>> {
        artifacts.iter().map(|it| self.lock(it.digest)).collect()
    }

    /// Whether it came in blocks, from whoever has them, or what was missing of them from the server. Blocks that came stay where the rest
    /// does not come now, unless they are those of something else or cannot be used: then it is said why, and nothing is left of them.
    async fn take_blocks(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
        path: &Path,
    ) -> Result<bool, FetchError> {
        let Some(peers) = self.peers.as_ref().filter(|_| artifact.size > ONE_BLOCK) else {
            return Ok(false);
        };
        let (digest, folder) = (artifact.digest, path.with_extension(BLOCKS));
        let mut taken = None;
        let came = match peers.take(artifact, from, &folder, &path.with_extension("part")).await {
            Ok(Some(all)) => {
                let path = all.path().to_owned();
                taken = Some(all);
                Ok(Some(path))
            }
            Ok(None) => peers.complete(artifact, from, &folder).await,
            Err(NotTaken::Away(why)) => {
                let reason = why.to_string();
                tracing::warn!(
                    target: TARGET_BACKEND,
                    { digest = %digest, reason }, "the rest of an artifact comes from the server alone, and not in blocks"
                );
                peers.complete(artifact, from, &folder).await
            }
            Err(broken) => Err(broken),
        };
        let reason = match came {
            Ok(Some(file)) if is_right(file.clone(), artifact).await? => {
                self.keep(&file, path)?;
                taken.into_iter().for_each(|it| peers.stay(digest, it));
                remove(&folder)?;
                return Ok(true);
            }
            Ok(None) => {
                // What is there without a list of its hashes is of no use.
                remove(&folder)?;
                return Ok(false);
            }
            Ok(Some(_wrong)) => "what came is not the artifact".to_owned(),
            Err(NotTaken::Away(source)) => return Err(FetchError::Fetch { digest, source }),
            Err(why) => match why.no_room() {
                Some(full) => return Err(FetchError::Keep(full)),
                None => why.to_string(),
            },
        };
        tracing::warn!(
            target: TARGET_BACKEND,
            { digest = %digest, reason }, "the blocks of an artifact are of no use: it comes from the server alone"
        );
        remove(&folder)?;
        Ok(false)
    }

    fn keep(&self, part: &Path, path: &Path) -> io::Result<()> {
        let _alone = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        fs::rename(part, path)?;
        self.evict(Some(path), 0)
    }

    /// Removes what is too much, such as what was begun and never wanted again after the limit was lowered.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let _alone = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.evict(None, 0)
    }

    /// Before it is there, and not only then: the limit counts while it comes, too.
    fn make_room_for(&self, artifact: Artifact) -> io::Result<()> {
        let _alone = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        self.evict(None, self.missing(artifact)?)
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    fn lock(&self, digest: Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.retain(|_, it| it.strong_count() > 0);
        if let Some(lock) = locks.get(&digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::default();
        locks.insert(digest, Arc::downgrade(&lock));
        lock
    }

    async fn fetch(
        &self,
        artifact: Artifact,
        from: &dyn FetchArtifact,
        part: &Path,
    ) -> Result<(), FetchError> {
        let digest = artifact.digest;
        let failed = |source| FetchError::Fetch { digest, source };
        let mut have = length(part)?;
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).mode(0o600).open(part)?;
        let mut bytes = from.fetch(digest, have).await.map_err(failed)?;
        while let Some(piece) = bytes.next().await.map_err(failed)? {
            have += piece.len() as u64;
            if have > artifact.size {
                fs::remove_file(part)?;
                return Err(FetchError::Other { digest });
            }
            file.write_all(&piece)?;
        }
        if have < artifact.size {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    /// Removes what was not used for the longest time until the rest fits beside what is `coming`, and what is pinned after all else. What
    /// came of artifacts that nobody fetches now is like all else. What an attempt uses it has under a name of its own.
    fn evict(&self, newest: Option<&Path>, coming: u64) -> io::Result<()> {
        for (path, _) in self.too_much(newest, coming)? {
            remove(&path)?;
            self.forget(&path);
        }
        Ok(())
    }

    /// How many bytes will be removed to make room for what is `coming`.
    pub(crate) fn spare(&self, coming: u64) -> io::Result<u64> {
        let _alone = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(self.too_much(None, coming)?.iter().map(|it| it.1).sum())
    }

    /// What has to go for that, and how many bytes each is.
    fn too_much(&self, newest: Option<&Path>, coming: u64) -> io::Result<Vec<(PathBuf, u64)>> {
        // By the clock that the files go by.
        touch(&self.folder)?;
        let pinned = self.pins.at(fs::metadata(&self.folder)?.modified()?)?;
        let since = |path: &Path| path.file_stem().and_then(|it| pinned.get(it.to_str()?)).copied();
        let mut files: Vec<(Option<SystemTime>, SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            // Another one may just be given its name, or be removed.
            if let Some((used, size)) = if_there(weigh(&path))? {
                files.push((since(&path), used, path, size));
            }
        }
        files.sort();
        let fetched: Vec<_> = self.fetched().iter().map(|it| self.path(*it)).collect();
        let mut total = files.iter().fold(coming, |sum, it| sum.saturating_add(it.3));
        let mut gone = Vec::new();
        for (_, _, path, size) in files {
            let stays = Some(&*path) == newest || fetched.contains(&path.with_extension(""));
            if total > self.limit && !stays {
                total -= size;
                gone.push((path, size));
            }
        }
        Ok(gone)
    }

    /// What is here no longer is given to nobody.
    fn forget(&self, path: &Path) {
        let name = path.file_name().and_then(|it| it.to_str());
        let digest = name.and_then(|it| format!("sha256:{it}").parse().ok());
        if let (Some(peers), Some(digest)) = (&self.peers, digest) {
            peers.forget(digest);
        }
    }

    /// The artifacts that somebody is fetching just now.
    fn fetched(&self) -> Vec<Digest> {
        let locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.iter().filter(|it| it.1.strong_count() > 0).map(|it| *it.0).collect()
    }
}

/// `None` for what is not there.
fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(err) => Err(err),
    }
}

fn length(path: &Path) -> io::Result<u64> {
    Ok(if_there(fs::metadata(path))?.map_or(0, |it| it.len()))
}

/// When a file was used last, and how many bytes it has; of a folder, the files in it.
fn weigh(path: &Path) -> io::Result<(SystemTime, u64)> {
    let own = fs::metadata(path)?;
    let mut weight = (own.modified()?, if own.is_dir() { 0 } else { own.len() });
    if own.is_dir() {
        for entry in fs::read_dir(path)? {
            let Some(below) = if_there(entry?.metadata())? else { continue };
            weight = (weight.0.max(below.modified()?), weight.1.saturating_add(below.len()));
        }
    }
    Ok(weight)
}

/// How much room is taken in a folder for blocks: what is noted of them does not count.
fn taken_below(folder: &Path) -> io::Result<u64> {
    let Some(entries) = if_there(fs::read_dir(folder))? else { return Ok(0) };
    let mut taken = 0;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let extension = path.extension().and_then(OsStr::to_str);
        if !matches!(extension, Some("have" | "outboard")) {
            // Where room cannot be taken beforehand, a file is as long as it will be and has less.
            let size = if_there(entry.metadata())?.map_or(0, |it| it.len().min(it.blocks() * 512));
            taken = taken.max(size);
        }
    }
    Ok(taken)
}

/// Removes a file, or a folder with all that is in it, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if_there(removed).map(drop)
}

/// Whether a file is the artifact. One that is not is removed.
async fn is_right(path: PathBuf, artifact: Artifact) -> io::Result<bool> {
    let judged = spawn_blocking(move || {
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(err) => return Err(err),
        };
        let (mut hasher, mut buffer, mut size) = (Hasher::new(), vec![0; PIECE], 0);
        loop {
            let length = file.read(&mut buffer)?;
            if length == 0 {
                break;
            }
            size += length as u64;
            hasher.update(buffer.get(..length).unwrap_or_default());
        }
        if size == artifact.size && hasher.finish() == artifact.digest {
            return Ok(true);
        }
        fs::remove_file(&path)?;
        Ok(false)
    });
    judged.await.map_err(io::Error::other)?
}

/// It was used just now.
fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(utimensat(CWD, path, &times, AtFlags::empty())?)
}

#[cfg(test)]
mod tests;
