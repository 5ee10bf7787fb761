//! By which parameters an archive was compressed: found by trying, and good where it gives the same bytes.
use crate::{
    PackageError,
    archive::Encoding,
    error::Doing as _,
    wire::{Put, Take},
};
use flate2::{Compression, CrcWriter, write::DeflateEncoder};
use std::io::{self, Read, Write};

/// How much is compressed at a time, in bytes: always as much, should what comes out depend on it.
const PIECE: usize = 128 << 10;
/// The most thorough level of zstd that is tried. Those above take minutes to make what can be fetched in seconds.
const MOST_THOROUGH: u8 = 12;
/// How long the header of a gzip stream may be, with the name and comment in it.
const LONGEST_HEADER: usize = 4_096;

/// How a tar becomes the archive that it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recipe {
    /// By a gzip stream with this header, deflated by `flate2` at this level.
    #[non_exhaustive]
    Gzip {
        /// All bytes before the deflated ones.
        header: Vec<u8>,
        /// From 0 to 9.
        level: u8,
    },
    /// It is the archive.
    Tar,
    /// By a zstd frame.
    #[non_exhaustive]
    Zstd {
        /// Whether a checksum ends it.
        checksum: bool,
        /// From 1 to 12.
        level: u8,
        /// The size that was known ahead.
        pledged: Option<u64>,
    },
}

impl Recipe {
    /// Looks for what makes `archive` of `tar`; both are opened once for every try. `None` if nothing that is known does.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn find<A: Read, T: Read>(
        encoding: Encoding,
        size: u64,
        mut archive: impl FnMut() -> io::Result<A>,
        mut tar: impl FnMut() -> io::Result<T>,
    ) -> Result<Option<Self>, PackageError> {
        let reading = || "reading the archive".to_owned();
        let mut beginning = Vec::new();
        archive()
            .and_then(|it| it.take(LONGEST_HEADER as u64).read_to_end(&mut beginning))
            .doing(reading)?;
        for recipe in candidates(encoding, &beginning, size) {
            let archive = archive().doing(reading)?;
            if recipe.makes(archive, tar().doing(reading)?).doing(reading)? {
                return Ok(Some(recipe));
            }
        }
        Ok(None)
    }

    fn makes(&self, archive: impl Read, mut tar: impl Read) -> io::Result<bool> {
        let compared = Compared { archive, differs: false };
        let made = self.encoder(compared).and_then(|mut made| {
            copy(&mut tar, &mut made)?;
            made.finish()
        });
        match made {
            Ok(mut compared) => compared.is_over(),
            Err(err) if err.kind() == io::ErrorKind::InvalidData => Ok(false),
            Err(err) => Err(err),
        }
    }

    /// What writes an archive by it.
    pub(super) fn encoder<W: Write>(&self, out: W) -> io::Result<Encoder<W>> {
        Ok(match self {
            Self::Tar => Encoder::Tar(out),
            Self::Gzip { header, level } => {
                let mut out = out;
                out.write_all(header)?;
                let deflate = DeflateEncoder::new(out, Compression::new(u32::from(*level)));
                Encoder::Gzip(CrcWriter::new(deflate))
            }
            Self::Zstd { checksum, level, pledged } => {
                let mut zstd = zstd::Encoder::new(out, i32::from(*level))?;
                zstd.include_checksum(*checksum)?;
                zstd.set_pledged_src_size(*pledged)?;
                Encoder::Zstd(zstd)
            }
        })
    }

    pub(super) fn put(&self, put: &mut Put) {
        match self {
            Self::Tar => put.number(0),
            Self::Gzip { header, level } => {
                put.number(1);
                put.number(u64::from(*level));
                put.block(header);
            }
            Self::Zstd { checksum, level, pledged } => {
                put.number(2);
                put.number(u64::from(*level));
                put.number(u64::from(*checksum));
                put.number(pledged.map_or(0, |it| it.saturating_add(1)));
            }
        }
    }

    pub(super) fn take(take: &mut Take<'_>) -> Result<Self, PackageError> {
        let level = |most: u8, take: &mut Take<'_>| {
            take.at_most(usize::from(most)).map(|it| u8::try_from(it).unwrap_or(most))
        };
        match take.number()? {
            0 => Ok(Self::Tar),
            1 => Ok(Self::Gzip { level: level(9, take)?, header: take.block()?.to_vec() }),
            2 => Ok(Self::Zstd {
                level: level(MOST_THOROUGH, take)?,
                checksum: take.at_most(1)? == 1,
                pledged: take.number()?.checked_sub(1),
            }),
            _ => Err(take.wrong("it names a compression that is not known")),
        }
    }
}

fn candidates(encoding: Encoding, beginning: &[u8], size: u64) -> Vec<Recipe> {
    match encoding {
        Encoding::Tar => vec![Recipe::Tar],
        Encoding::TarGz => {
            let Some(header) = gzip_header(beginning) else { return Vec::new() };
            // The usual ones first: each wrong one costs the first of its blocks.
            let levels = [6, 9, 1, 5, 7, 8, 2, 3, 4, 0];
            levels.map(|level| Recipe::Gzip { header: header.to_vec(), level }).into()
        }
        Encoding::TarZst => {
            let flags = beginning.get(4).copied().unwrap_or_default();
            let (checksum, sized) = (flags & 0b100 != 0, flags & 0b1110_0000 != 0);
            let pledged = sized.then_some(size);
            let levels = 1..=MOST_THOROUGH;
            levels.map(|level| Recipe::Zstd { checksum, level, pledged }).collect()
        }
    }
}

/// The header of a gzip stream (RFC 1952), with what its flags say is in it.
fn gzip_header(bytes: &[u8]) -> Option<&[u8]> {
    let [checksum, extra, name, comment] = [2, 4, 8, 16];
    let flags = *bytes.get(3)?;
    let mut length = 10;
    if flags & extra != 0 {
        let field = bytes.get(length..length + 2)?.try_into().ok()?;
        length += 2 + usize::from(u16::from_le_bytes(field));
    }
    for text in [name, comment] {
        if flags & text != 0 {
            length += 1 + bytes.get(length..)?.iter().position(|it| *it == 0)?;
        }
    }
    if flags & checksum != 0 {
        length += 2;
    }
    bytes.get(..length)
}

/// Copies all of `from`, in pieces of one size.
pub(super) fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        piece.clear();
        if from.take(PIECE as u64).read_to_end(&mut piece)? == 0 {
            return Ok(());
        }
        to.write_all(&piece)?;
    }
}

/// Compresses as a recipe says.
pub(super) enum Encoder<W: Write> {
    Gzip(CrcWriter<DeflateEncoder<W>>),
    Tar(W),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::Tar(out) => Ok(out),
            Self::Zstd(zstd) => zstd.finish(),
            Self::Gzip(deflate) => {
                let (sum, size) = (deflate.crc().sum(), deflate.crc().amount());
                let mut out = deflate.into_inner().finish()?;
                out.write_all(&sum.to_le_bytes())?;
                out.write_all(&size.to_le_bytes())?;
                Ok(out)
            }
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(it) => it.write(bytes),
            Self::Tar(it) => it.write(bytes),
            Self::Zstd(it) => it.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes what is in `archive`, and nothing else.
struct Compared<R> {
    archive: R,
    differs: bool,
}

impl<R: Read> Compared<R> {
    fn is_over(&mut self) -> io::Result<bool> {
        Ok(!self.differs && self.archive.read(&mut [0])? == 0)
    }
}

impl<R: Read> Write for Compared<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut there = [0; 16 << 10];
        for piece in bytes.chunks(there.len()) {
            let there = there.get_mut(..piece.len()).unwrap_or_default();
            let read = self.archive.read_exact(there);
            self.differs |= read.is_err() || there != piece;
            if self.differs {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "other bytes"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
