//! Artifacts out of a store: nothing of them is used before their bytes have the digest that they are known by.
use crate::{
    output::{Output, Screen, size},
    packages::{Packed, temporary},
    plane::Plane,
    problem::io_problem,
};
use deploy_core::digest::{Digest, Hasher};
use deploy_operations::parse::field;
use deploy_wire::{Artifact, Problem, ProblemCode};
use std::{
    fs::File,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

/// How much is read at a time, in bytes.
const PIECE: usize = 128 << 10;
/// How often it is said how far something is.
const EVERY: Duration = Duration::from_millis(250);

/// The bytes of an artifact, in a file without a name.
pub(crate) async fn fetch_packed(
    plane: &dyn Plane,
    output: &Output,
    artifact: &Artifact,
) -> Result<Packed, Problem> {
    let file = temporary(&artifact.digest)?;
    let copy = file.try_clone().map_err(|err| io_problem("the temporary folder", &err))?;
    let digest = fetch(plane, output, artifact, copy, "the temporary folder").await?;
    Ok(Packed { file, begin: 0, digest, size: artifact.size })
}

/// Writes the bytes of an artifact to `file`, which people know as `name`, and compares them with its digest.
pub(crate) async fn fetch(
    plane: &dyn Plane,
    output: &Output,
    artifact: &Artifact,
    file: File,
    name: &str,
) -> Result<Digest, Problem> {
    let digest: Digest = field("digest", &artifact.digest)?;
    let body = plane.open_artifact(&digest).await?;
    let (file, done) = (tokio::fs::File::from_std(file), AtomicU64::new(0));
    let taking = Taking { artifact, file, name, done: &done }.from(body);
    let line = || {
        let Artifact { kind, repository, version, .. } = artifact;
        let (done, all) = (size(done.load(Ordering::Relaxed)), size(artifact.size));
        format!("fetching {kind} {repository} {version}: {done} of {all}")
    };
    match showing(output, line, taking).await? == digest {
        true => Ok(digest),
        false => Err(untrue(&digest)),
    }
}

/// An artifact on its way into a file.
struct Taking<'a> {
    artifact: &'a Artifact,
    file: tokio::fs::File,
    name: &'a str,
    /// How many bytes have come.
    done: &'a AtomicU64,
}

impl Taking<'_> {
    /// Writes what comes, and gives the digest of that.
    async fn from(mut self, body: impl AsyncRead + Unpin) -> Result<Digest, Problem> {
        // Whoever sends more than is listed does not fill the disk with it.
        let mut body = body.take(self.artifact.size.saturating_add(1));
        let (mut hasher, mut piece) = (Hasher::new(), vec![0; PIECE]);
        let failed = |err: io::Error| io_problem(self.name, &err);
        loop {
            let read = body.read(&mut piece).await;
            let read = read.map_err(|err| cut_off(self.artifact, &err))?;
            let Some(bytes) = piece.get(..read).filter(|it| !it.is_empty()) else { break };
            hasher.update(bytes);
            self.file.write_all(bytes).await.map_err(failed)?;
            self.done.fetch_add(u64::try_from(read).unwrap_or(0), Ordering::Relaxed);
        }
        self.file.flush().await.map_err(failed)?;
        Ok(hasher.finish())
    }
}

/// Refuses bytes that are not those of `digest`.
pub(crate) fn confirm(digest: &Digest, bytes: &[u8]) -> Result<(), Problem> {
    if Digest::of(bytes) == *digest { Ok(()) } else { Err(untrue(digest)) }
}

/// Waits for `work`, and says on a terminal every now and then how far it is.
pub(crate) async fn showing<T>(
    output: &Output,
    line: impl Fn() -> String,
    work: impl Future<Output = T>,
) -> T {
    if !output.is_live() {
        return work.await;
    }
    let mut screen = Screen::new(output);
    let mut every = tokio::time::interval(EVERY);
    // What takes no time needs no word.
    every.tick().await;
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                screen.clear();
                return done;
            }
            _ = every.tick() => screen.draw(vec![line()]),
        }
    }
}

fn cut_off(artifact: &Artifact, err: &io::Error) -> Problem {
    let message = format!("{} did not come whole: {err}", artifact.digest);
    Problem::new(ProblemCode::Unavailable, message)
        .with_hint("try again; `deploy artifact verify` says whether its bytes are damaged")
        .with_context("digest", &artifact.digest)
}

fn untrue(digest: &Digest) -> Problem {
    let message = format!("what came for {digest} are other bytes than those of this digest");
    Problem::new(ProblemCode::Corrupt, message)
        .with_hint("`deploy artifact verify` says whether they are damaged where they are kept")
        .with_context("digest", digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Seek as _};

    /// Takes `sent` for what `listed` is.
    fn taken(listed: &[u8], sent: &[u8]) -> (bool, Vec<u8>) {
        let artifact = Artifact {
            repository: "web".to_owned(),
            kind: "package".to_owned(),
            version: "1".to_owned(),
            digest: Digest::of(listed).to_string(),
            size: u64::try_from(listed.len()).unwrap(),
            put_at: String::new(),
        };
        let (mut file, done) = (tempfile::tempfile().unwrap(), AtomicU64::new(0));
        let into = tokio::fs::File::from_std(file.try_clone().unwrap());
        let taking = Taking { artifact: &artifact, file: into, name: "it", done: &done };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let digest = runtime.block_on(taking.from(sent)).unwrap();
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(done.into_inner(), u64::try_from(bytes.len()).unwrap());
        (digest == Digest::of(listed), bytes)
    }

    #[test]
    fn bytes_are_those_of_their_digest_or_are_not_believed() {
        assert_eq!(taken(b"package", b"package"), (true, b"package".to_vec()));
        assert_eq!(taken(b"package", b"another"), (false, b"another".to_vec()));
        assert_eq!(taken(b"package", b"pack"), (false, b"pack".to_vec()));
        assert!(confirm(&Digest::of(b"package"), b"package").is_ok());
        assert!(confirm(&Digest::of(b"package"), b"another").is_err());
    }

    #[test]
    fn no_more_is_taken_than_is_listed() {
        let (is_it, bytes) = taken(b"package", &[b'x'; 1 << 20]);
        assert_eq!((is_it, bytes.len()), (false, 8));
    }
}
