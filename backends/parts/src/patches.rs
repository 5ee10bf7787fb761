//! Patches from one package to another, for hosts that have a shell and `zstd`.
use crate::{
    PartsError,
    blobs::{Blobs, touch},
    making::{RESERVE, free_at},
    memory,
};
use deploy_core::{
    backend::{ArtifactReader, ArtifactStore},
    digest::Digest,
    spec::ArtifactRef,
};
use deploy_package::{
    archive::Limits,
    patch::{LARGEST_PAIR, Tar},
};
use std::{
    fs,
    io::{self, Read, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncSeekExt as _},
    runtime::Handle,
    sync::Mutex,
    task::spawn_blocking,
};

/// How many bytes of patches are kept, beside those that somebody has used within the last hour.
const BUDGET: u64 = 4 << 30;
/// What nobody has asked for in so long is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 24 * 3_600);
/// A draft that is so old belongs to nobody: a patch is in memory until all of it is written.
const ABANDONED_AFTER: Duration = Duration::from_secs(3_600);
/// How much memory making a patch takes beside the two tars and the patch.
const TABLES: u64 = 64 << 20;
/// How what is known of two packages is written.
const FORMAT: &str = "1";

/// What makes the tar in one package of the tar in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TarPatch {
    /// The patch.
    pub patch: ArtifactRef,
    /// How many bytes the tar has that it builds upon.
    pub from_bytes: u64,
    /// How many bytes the tar has that it makes.
    pub tar_bytes: u64,
}

/// Patches between the packages of an artifact store: each is made when somebody first needs it, and kept while there is room. Clones
/// are the same store. Any number of processes may have the same folder.
#[derive(Clone, Debug)]
pub struct Patches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    packages: Arc<dyn ArtifactStore>,
    folder: PathBuf,
    limits: Limits,
    /// One at a time: each has two packages in memory.
    making: Arc<Mutex<()>>,
    /// How many bytes of memory may still be taken.
    memory: fn() -> u64,
}

impl Patches {
    /// In `folder`, which is made once there is something to keep, of what is in `packages`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, packages: Arc<dyn ArtifactStore>) -> Self {
        let (folder, limits, making) = (folder.into(), Limits::PACKAGE, Arc::default());
        let memory = memory::available;
        Self(Arc::new(Inner { packages, folder, limits, making, memory }))
    }

    /// The patch that makes `package` of `base`. It is made if it is not there: that reads both, and takes some seconds for each
    /// hundred megabytes. `None` if the package by itself is no longer than the patch, or the two are too large.
    ///
    /// # Errors
    /// If a package cannot be read, is none, or there is no room on the disk or in memory.
    pub async fn patch(
        &self,
        package: ArtifactRef,
        base: ArtifactRef,
    ) -> Result<Option<TarPatch>, PartsError> {
        if let Some(known) = self.look(package, base).await? {
            return Ok(known);
        }
        // A task of its own: whoever waits for it no longer has it made all the same, once.
        let patches = self.clone();
        let made = tokio::spawn(async move { patches.make(package, base).await });
        made.await.unwrap_or_else(|err| Err(self.0.failed(io::Error::other(err))))
    }

    /// What is known of the patch that makes `package` of `base`, which is nothing until somebody has wanted to have it made.
    ///
    /// # Errors
    /// If that cannot be read.
    pub async fn look(
        &self,
        package: ArtifactRef,
        base: ArtifactRef,
    ) -> Result<Option<Option<TarPatch>>, PartsError> {
        self.blocking(move |inner| inner.find(package, base)).await
    }

    /// The bytes of a patch, from byte `offset` on; `None` if it is no longer there.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn open(&self, digest: Digest, offset: u64) -> io::Result<Option<ArtifactReader>> {
        let path = self.0.folder.join("blobs").join(digest.hex());
        let mut file = match tokio::fs::File::open(path).await {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        file.seek(SeekFrom::Start(offset)).await?;
        Ok(Some(Box::pin(file)))
    }

    async fn make(
        &self,
        package: ArtifactRef,
        base: ArtifactRef,
    ) -> Result<Option<TarPatch>, PartsError> {
        let _alone = Arc::clone(&self.0.making).lock_owned().await;
        if let Some(known) = self.look(package, base).await? {
            return Ok(known);
        }
        let memory = self.blocking(move |inner| inner.afford(package, base)).await?;
        let [old, new] = [base, package].map(|it| it.digest);
        let (old, new) = (self.0.packages.open(&old, 0).await, self.0.packages.open(&new, 0).await);
        let bridge = |reader| Bridge { reader, handle: Handle::current() };
        let old = bridge(old.map_err(PartsError::Package)?);
        let new = bridge(new.map_err(PartsError::Package)?);
        let made = self.blocking(move |inner| inner.make(package, new, base, old, memory)).await?;
        tracing::info!(
            package = %package.digest, bytes = made.map(|it| it.patch.size), "a patch of a package was made"
        );
        Ok(made)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, PartsError> + Send + 'static,
    ) -> Result<T, PartsError> {
        let inner = Arc::clone(&self.0);
        let done = spawn_blocking(move || work(&inner)).await;
        done.unwrap_or_else(|err| Err(self.0.failed(io::Error::other(err))))
    }
}

impl Inner {
    /// Where it is written what is known of two packages.
    fn named(&self, package: ArtifactRef, base: ArtifactRef) -> PathBuf {
        self.folder.join("pairs").join(format!("{}.{}", package.digest.hex(), base.digest.hex()))
    }

    fn find(
        &self,
        package: ArtifactRef,
        base: ArtifactRef,
    ) -> Result<Option<Option<TarPatch>>, PartsError> {
        let path = self.named(package, base);
        let text = match fs::read_to_string(&path) {
            Err(err) if err.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|err| self.failed(err))?,
        };
        let known = match parse(&text) {
            Some(Some(known)) => {
                let blobs = self.blobs()?;
                blobs.has(known.patch.digest, known.patch.size).then_some(Some(known))
            }
            other => other,
        };
        if known.is_some() {
            // That it was asked for is what keeps it; who cannot note that loses it earlier.
            _ = touch(&path);
        }
        Ok(known)
    }

    /// How much memory there is for two tars and a patch. There has to be room on the disk for a patch as long as the package, and
    /// memory for what the packages have packed, which is the least that they can have.
    fn afford(&self, package: ArtifactRef, base: ArtifactRef) -> Result<u64, PartsError> {
        let free = fs::create_dir_all(&self.folder).and_then(|()| free_at(&self.folder));
        let free = free.map_err(|err| self.failed(err))?;
        let needed = RESERVE.saturating_add(package.size);
        if free < needed {
            return Err(PartsError::NoRoom { needed, free });
        }
        let free = (self.memory)().saturating_sub(TABLES);
        if free < base.size.saturating_add(package.size) {
            return Err(PartsError::NoMemory { free });
        }
        Ok(free)
    }

    fn make(
        &self,
        package: ArtifactRef,
        new: impl Read,
        base: ArtifactRef,
        old: impl Read,
        memory: u64,
    ) -> Result<Option<TarPatch>, PartsError> {
        let Some(old) = self.tar(base, old, LARGEST_PAIR, memory)? else {
            return self.keep(package, base, None);
        };
        let from_bytes = old.bytes().len() as u64;
        let most = LARGEST_PAIR.saturating_sub(from_bytes);
        // A patch is about as long as the tar that it makes where the two have nothing in common.
        let memory = memory.saturating_sub(from_bytes) / 2;
        let Some(new) = self.tar(package, new, most, memory)? else {
            return self.keep(package, base, None);
        };
        let unpublishable = |source| PartsError::Unpublishable { package: package.digest, source };
        let bytes = new.patch_from(&old).map_err(unpublishable)?;
        let patch = ArtifactRef::new(Digest::of(&bytes), bytes.len() as u64);
        if patch.size >= package.size {
            return self.keep(package, base, None);
        }
        let made = TarPatch { patch, from_bytes, tar_bytes: new.bytes().len() as u64 };
        self.keep(package, base, Some((made, &bytes)))
    }

    /// The tar in a package, if there is as much `memory`; `None` if it has more than `most` bytes.
    fn tar(
        &self,
        package: ArtifactRef,
        archive: impl Read,
        most: u64,
        memory: u64,
    ) -> Result<Option<Tar>, PartsError> {
        let asked = package.digest;
        let tar = Tar::read(archive, self.limits, most.min(memory))
            .map_err(|source| PartsError::Unpublishable { package: asked, source })?;
        match tar.as_ref().map(|it| it.archive().digest) {
            Some(found) if found != asked => Err(PartsError::OtherPackage { asked, found }),
            None if memory < most => Err(PartsError::NoMemory { free: memory }),
            _ => Ok(tar),
        }
    }

    /// Writes down what was found out, and the patch where there is one: that first, since it is looked for.
    fn keep(
        &self,
        package: ArtifactRef,
        base: ArtifactRef,
        made: Option<(TarPatch, &[u8])>,
    ) -> Result<Option<TarPatch>, PartsError> {
        let blobs = self.blobs()?;
        for folder in ["pairs", "work"] {
            fs::create_dir_all(self.folder.join(folder)).map_err(|err| self.failed(err))?;
        }
        if let Some((made, bytes)) = made {
            let written = self.write(bytes, &blobs.path(made.patch.digest));
            written.and_then(|()| blobs.sync()).map_err(|err| self.failed(err))?;
        }
        let made = made.map(|it| it.0);
        let named = self.named(package, base);
        let written = self.write(text_of(made).as_bytes(), &named);
        written
            .and_then(|()| blobs.evict(BUDGET))
            .and_then(|()| self.forget(&named))
            .map_err(|err| self.failed(err))?;
        Ok(made)
    }

    /// Removes what nobody has asked for in a long time, and what processes that were killed have left.
    /// `newest` is what was written just now.
    fn forget(&self, newest: &Path) -> io::Result<()> {
        let now = fs::metadata(newest)?.modified()?;
        for (folder, after) in [("pairs", FORGOTTEN_AFTER), ("work", ABANDONED_AFTER)] {
            for entry in fs::read_dir(self.folder.join(folder))? {
                let path = entry?.path();
                let used = fs::metadata(&path).and_then(|it| it.modified());
                if used.is_ok_and(|it| now.duration_since(it).is_ok_and(|age| age > after)) {
                    // Another process may do the same.
                    _ = fs::remove_file(&path);
                }
            }
        }
        Ok(())
    }

    fn write(&self, bytes: &[u8], to: &Path) -> io::Result<()> {
        let mut draft = tempfile::NamedTempFile::new_in(self.folder.join("work"))?;
        draft.write_all(bytes)?;
        draft.as_file().sync_all()?;
        draft.persist(to).map(drop).map_err(|err| err.error)
    }

    fn blobs(&self) -> Result<Blobs, PartsError> {
        Blobs::open(self.folder.join("blobs")).map_err(|err| self.failed(err))
    }

    fn failed(&self, source: io::Error) -> PartsError {
        PartsError::Keep { path: self.folder.clone(), source }
    }
}

fn text_of(made: Option<TarPatch>) -> String {
    made.map_or_else(
        || format!("{FORMAT} -\n"),
        |it| {
            let TarPatch { patch, from_bytes, tar_bytes } = it;
            format!("{FORMAT} {} {} {from_bytes} {tar_bytes}\n", patch.digest.hex(), patch.size)
        },
    )
}

/// What is known; `None` if that was written by a newer program, or not to its end.
fn parse(text: &str) -> Option<Option<TarPatch>> {
    let words: Vec<_> = text.strip_suffix('\n')?.split(' ').collect();
    match *words {
        [FORMAT, "-"] => Some(None),
        [FORMAT, digest, size, from_bytes, tar_bytes] => {
            let digest = format!("sha256:{digest}").parse().ok()?;
            let patch = ArtifactRef::new(digest, size.parse().ok()?);
            let (from_bytes, tar_bytes) = (from_bytes.parse().ok()?, tar_bytes.parse().ok()?);
            Some(Some(TarPatch { patch, from_bytes, tar_bytes }))
        }
        _ => None,
    }
}

/// Reads, on a thread that may block, what only tasks can read.
struct Bridge {
    reader: ArtifactReader,
    handle: Handle,
}

impl Read for Bridge {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.handle.block_on(self.reader.read(buffer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deploy_core::{
        access::{Action, Resource},
        backend::{ArtifactKind, PutArtifact, authorize},
        memory::{MemoryArtifactStore, MemoryAuthorizer, Rule},
        time::Timestamp,
    };
    use deploy_package::archive::{PackedFile, pack_files};
    use std::error::Error;

    /// A package of 400,000 zeros, and one more byte.
    async fn put(store: &MemoryArtifactStore, last: u8) -> Result<ArtifactRef, Box<dyn Error>> {
        let mut bytes = vec![0; 400_000];
        bytes.push(last);
        let file = PackedFile { path: "zeros", executable: false, bytes: &bytes };
        let bytes = pack_files([file], Limits::PACKAGE, Vec::new())?;
        let rules =
            MemoryAuthorizer::new(vec![Rule::allow("ci".parse()?, [Action::ArtifactWrite])]);
        let permit =
            authorize(&rules, "ci".parse()?, Action::ArtifactWrite, Resource::System).await?;
        let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
        let (web, kind, at) = ("web".parse()?, ArtifactKind::Package, Timestamp::from_millis(0));
        let request = PutArtifact::new(digest, size, web, kind, last.to_string().parse()?, at);
        store.put(&permit, request, &mut &*bytes).await?;
        Ok(ArtifactRef::new(digest, size))
    }

    #[tokio::test]
    async fn where_memory_is_short_there_is_no_patch_and_that_is_not_remembered()
    -> Result<(), Box<dyn Error>> {
        let (store, folder) = (Arc::new(MemoryArtifactStore::new()), tempfile::tempdir()?);
        let (old, new) = (put(&store, 1).await?, put(&store, 2).await?);
        let patches = |memory| {
            Patches(Arc::new(Inner {
                packages: Arc::<MemoryArtifactStore>::clone(&store),
                folder: folder.path().to_owned(),
                limits: Limits::PACKAGE,
                making: Arc::default(),
                memory,
            }))
        };
        // Not for the packages; for these, and not for the tar of one; for that, and not for both and what may come of them.
        let too_little: [fn() -> u64; 3] = [|| TABLES, || TABLES + 300_000, || TABLES + 1_100_000];
        for memory in too_little {
            let short = patches(memory);
            let refused = short.patch(new, old).await;
            assert_eq!(refused.as_ref().map_err(PartsError::code), Err("no_memory_for_parts"));
            assert_eq!(short.look(new, old).await?, None);
        }
        assert!(patches(|| TABLES + 1_300_000).patch(new, old).await?.is_some());
        Ok(())
    }
}
