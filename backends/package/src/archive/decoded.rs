//! The tar inside an archive, whatever it is wrapped in.
use super::{ArchiveError, Encoding, Limits, Refusal, Rule};
use deploy_core::digest::Digest;
use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead as _, BufReader, Chain, Cursor, Read};

/// The largest window of a zstd frame (128 MiB, `zstd -19 --long`): as much as whoever reads it has to remember.
const WINDOW_LOG: u32 = 27;
/// How much is decoded at a time, in bytes.
const PIECE: usize = 256 << 10;
/// How much of an archive shows what it is: a header of a tar.
const BEGINNING: u64 = 512;

/// Where the bytes of a tar come from.
pub(crate) trait Source: Sized {
    /// What comes next, at least one byte of it; nothing at the end, and then all of the archive was read and was in order.
    fn fill(&mut self) -> Result<&[u8], ArchiveError>;

    /// Goes past so many bytes of it.
    fn consume(&mut self, count: usize);

    /// What the archive is, once its end was seen.
    fn seal(self) -> Result<Seal, ArchiveError>;
}

/// What is known of an archive at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: u64,
    pub(crate) digest: Digest,
}

/// Decodes an archive as it is read, and accounts for every byte of it.
pub(crate) struct Decoded<R: Read> {
    decoder: Decoder<R>,
    encoding: Encoding,
    limits: Limits,
    buffer: Vec<u8>,
    at: usize,
    filled: usize,
    unpacked: u64,
    ended: bool,
}

type Packed<R> = BufReader<Chain<Cursor<Vec<u8>>, Counted<R>>>;

enum Decoder<R: Read> {
    Tar(Packed<R>),
    Gzip(GzDecoder<Packed<R>>),
    Zstd(zstd::Decoder<'static, Packed<R>>),
}

impl<R: Read> Decoded<R> {
    pub(crate) fn new(archive: R, limits: Limits) -> Result<Self, ArchiveError> {
        let mut counted =
            Counted { inner: archive, count: 0, hasher: Sha256::new(), failure: None };
        let mut beginning = Vec::new();
        if let Err(err) = (&mut counted).take(BEGINNING).read_to_end(&mut beginning) {
            return Err(counted.failure.take().unwrap_or(err).into());
        }
        let encoding = encoding(&beginning, limits)?;
        let packed = BufReader::with_capacity(64 << 10, Cursor::new(beginning).chain(counted));
        let decoder = match encoding {
            Encoding::Tar => Decoder::Tar(packed),
            Encoding::TarGz => Decoder::Gzip(GzDecoder::new(packed)),
            Encoding::TarZst => {
                let mut decoder = zstd::Decoder::with_buffer(packed)?.single_frame();
                decoder.window_log_max(WINDOW_LOG)?;
                Decoder::Zstd(decoder)
            }
        };
        let buffer = vec![0; PIECE];
        Ok(Self { decoder, encoding, limits, buffer, at: 0, filled: 0, unpacked: 0, ended: false })
    }

    /// Decodes the next piece into `buffer`, from its beginning; gives how much, and 0 at the end.
    pub(crate) fn decode(&mut self, buffer: &mut [u8]) -> Result<usize, ArchiveError> {
        let mut filled = 0;
        while !self.ended
            && let Some(rest) = buffer.get_mut(filled..).filter(|it| !it.is_empty())
        {
            match self.decoder.read(rest) {
                Ok(0) => self.end()?,
                Ok(read) => {
                    filled += read;
                    self.grown(read as u64)?;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(self.failure(&err)),
            }
        }
        Ok(filled)
    }

    fn grown(&mut self, by: u64) -> Result<(), Refusal> {
        self.unpacked = self.unpacked.saturating_add(by);
        let packed = self.decoder.counted().count;
        let allowed = packed.saturating_mul(self.limits.ratio).max(self.limits.ratio_floor);
        if self.unpacked > allowed {
            let detail =
                format!("more than {} times larger when it is unpacked", self.limits.ratio);
            return Err(Refusal::new(Rule::Ratio, detail));
        }
        Ok(())
    }

    /// Nothing may follow what was decoded.
    fn end(&mut self) -> Result<(), ArchiveError> {
        self.ended = true;
        match self.decoder.packed().fill_buf().map(<[u8]>::is_empty) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let detail = "something follows the compressed stream";
                Err(Refusal::new(Rule::TrailingData, detail).into())
            }
            Err(err) => Err(self.failure(&err)),
        }
    }

    fn failure(&mut self, err: &io::Error) -> ArchiveError {
        if let Some(failure) = self.decoder.packed().get_mut().get_mut().1.failure.take() {
            return failure.into();
        }
        let rule = match (err.kind(), self.encoding) {
            (io::ErrorKind::UnexpectedEof, _) => {
                return Refusal::new(Rule::Truncated, "it ends early").into();
            }
            (_, Encoding::TarGz) => Rule::NotGzip,
            (_, Encoding::TarZst) => Rule::NotZstd,
            (_, Encoding::Tar) => Rule::NotTar,
        };
        Refusal::new(rule, format!("it is damaged ({err})")).into()
    }

    pub(crate) fn into_seal(self) -> Result<Seal, ArchiveError> {
        if !self.ended {
            return Err(Refusal::new(Rule::TrailingData, "its end was not reached").into());
        }
        let counted = self.decoder.into_counted();
        let digest = Digest::from_bytes(counted.hasher.finalize().into());
        Ok(Seal { encoding: self.encoding, bytes: counted.count, digest })
    }
}

fn encoding(beginning: &[u8], limits: Limits) -> Result<Encoding, Refusal> {
    if beginning.is_empty() {
        return Err(Refusal::new(Rule::Truncated, "it is empty"));
    }
    let encoding = Encoding::of(beginning).filter(|it| limits.encodings.contains(it));
    encoding.ok_or_else(|| {
        let rule = match limits.encodings {
            [Encoding::TarGz] => Rule::NotGzip,
            _ => Rule::Encoding,
        };
        Refusal::new(rule, format!("it is no {}, going by its beginning", any_of(limits.encodings)))
    })
}

fn any_of(encodings: &[Encoding]) -> String {
    let names: Vec<_> = encodings.iter().map(|it| it.as_str()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

impl<R: Read> Source for Decoded<R> {
    fn fill(&mut self) -> Result<&[u8], ArchiveError> {
        if self.at == self.filled {
            let mut buffer = std::mem::take(&mut self.buffer);
            let decoded = self.decode(&mut buffer);
            self.buffer = buffer;
            (self.at, self.filled) = (0, decoded?);
        }
        Ok(self.buffer.get(self.at..self.filled).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.filled);
    }

    fn seal(self) -> Result<Seal, ArchiveError> {
        self.into_seal()
    }
}

impl<R: Read> Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tar(it) => it.read(buffer),
            Self::Gzip(it) => it.read(buffer),
            Self::Zstd(it) => it.read(buffer),
        }
    }

    fn packed(&mut self) -> &mut Packed<R> {
        match self {
            Self::Tar(it) => it,
            Self::Gzip(it) => it.get_mut(),
            Self::Zstd(it) => it.get_mut(),
        }
    }

    fn counted(&self) -> &Counted<R> {
        let packed = match self {
            Self::Tar(it) => it,
            Self::Gzip(it) => it.get_ref(),
            Self::Zstd(it) => it.get_ref(),
        };
        packed.get_ref().get_ref().1
    }

    fn into_counted(self) -> Counted<R> {
        let packed = match self {
            Self::Tar(it) => it,
            Self::Gzip(it) => it.into_inner(),
            Self::Zstd(it) => it.into_inner(),
        };
        packed.into_inner().into_inner().1
    }
}

/// Counts and hashes what is read, and keeps its own failures apart from the decoder's.
struct Counted<R> {
    inner: R,
    count: u64,
    hasher: Sha256,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.count += read as u64;
                self.hasher.update(buffer.get(..read).unwrap_or_default());
                Ok(read)
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => Err(err),
            Err(err) => {
                let kind = err.kind();
                self.failure = Some(err);
                Err(kind.into())
            }
        }
    }
}
