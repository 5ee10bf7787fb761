//! Makes an archive again.
use super::{Framing, Recipe, recipe};
use crate::{Fault, Manifest, PackageError, error::Doing as _, manifest::File};
use deploy_core::digest::Digest;
use sha2::{Digest as _, Sha256};
use std::io::{self, Read, Write};

/// How many bytes of framing there may be: far more than the headers of the largest package.
const LONGEST: u64 = 4 << 30;

/// Writes the archive that `manifest` describes to `out`, of its framing and of what `open` gives for each file. This blocks.
///
/// # Errors
/// If the framing does not belong to the manifest, a file is too short, or what was made is not that archive: then the whole
/// archive has to be fetched.
pub fn rebuild<R: Read>(
    manifest: &Manifest,
    framing: &Framing,
    recipe: &Recipe,
    open: impl FnMut(File<'_>) -> io::Result<R>,
    out: impl Write,
) -> Result<(), PackageError> {
    let hashed = Hashed { out, hasher: Sha256::new(), left: manifest.archive().size };
    let writing = || "writing the archive".to_owned();
    let literal = zstd::Decoder::new(&*framing.bytes).doing(writing)?.take(LONGEST);
    let tar = Tar { literal, open };
    let mut encoder = recipe.encoder(hashed).doing(writing)?;
    let written = tar.write(manifest, &framing.gaps, &mut encoder);
    let hashed = written.and_then(|()| encoder.finish().doing(writing)).map_err(too_long)?;
    let found = Digest::from_bytes(hashed.hasher.finalize().into());
    let expected = manifest.archive().digest;
    if found != expected {
        return Err(PackageError::ArchiveMismatch { expected, found });
    }
    Ok(())
}

/// What gets longer than the archive is not going to be it.
fn too_long(err: PackageError) -> PackageError {
    match err {
        PackageError::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
            PackageError::NotReproducible
        }
        other => other,
    }
}

struct Tar<L, O> {
    literal: L,
    open: O,
}

impl<L: Read, R: Read, O: FnMut(File<'_>) -> io::Result<R>> Tar<L, O> {
    fn write(
        mut self,
        manifest: &Manifest,
        gaps: &[u64],
        out: &mut impl Write,
    ) -> Result<(), PackageError> {
        let mut files = manifest.files().filter(|it| it.size > 0);
        for gap in gaps {
            let file = files.next().ok_or_else(foreign)?;
            let doing = || format!("packing `{}`", file.path);
            let mut literal = (&mut self.literal).take(*gap);
            recipe::copy(&mut literal, out).doing(doing)?;
            let mut content = (self.open)(file).doing(doing)?.take(file.size);
            recipe::copy(&mut content, out).doing(doing)?;
            if literal.limit() > 0 || content.limit() > 0 {
                return Err(foreign());
            }
        }
        if files.next().is_some() {
            return Err(foreign());
        }
        recipe::copy(&mut self.literal, out).doing(|| "ending the archive".to_owned())
    }
}

fn foreign() -> PackageError {
    PackageError::malformed(Fault::Framing, "it is not that of this manifest and its files")
}

/// Hashes what is written, of which there may be so much and no more.
struct Hashed<W> {
    out: W,
    hasher: Sha256,
    left: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        let left = self.left.checked_sub(written as u64);
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        self.hasher.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
