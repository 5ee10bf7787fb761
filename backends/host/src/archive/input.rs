//! The unpacked bytes of an archive.
use super::{ArchiveError, Limits, Refusal, Rule};
use deploy_core::digest::{Digest, Hasher};
use flate2::bufread::GzDecoder;
use std::io::{self, BufRead as _, BufReader, Read};

/// What a tar archive is made of.
const BLOCK: usize = 512;

/// The unpacked bytes of a gzip stream, of which everything is accounted for.
pub(super) struct Input<R: Read> {
    gzip: GzDecoder<BufReader<Counted<R>>>,
    limits: Limits,
    unpacked: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(archive: R, limits: Limits) -> Self {
        let counted = Counted { inner: archive, count: 0, hasher: Hasher::new(), failure: None };
        let gzip = GzDecoder::new(BufReader::with_capacity(64 << 10, counted));
        Self { gzip, limits, unpacked: 0 }
    }

    pub(super) fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|it| !it.is_empty()) {
            match self.gzip.read(rest) {
                Ok(0) => return Err(Refusal::new(Rule::Truncated, "it ends early").into()),
                Ok(read) => filled += read,
                Err(err) => return Err(self.failure(&err)),
            }
        }
        self.grown(BLOCK as u64)?;
        Ok(block)
    }

    /// Reads `size` bytes, and what fills up the last block.
    pub(super) fn data(
        &mut self,
        size: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Refusal>,
    ) -> Result<(), ArchiveError> {
        let mut left = size;
        let mut buffer = [0; 16 << 10];
        let padded = size.checked_next_multiple_of(BLOCK as u64);
        let mut all = padded.ok_or_else(|| Refusal::new(Rule::TooLarge, "an impossible size"))?;
        while all > 0 {
            let room = usize::try_from(all).unwrap_or(usize::MAX).min(buffer.len());
            let part = buffer.get_mut(..room).unwrap_or_default();
            let read = self.gzip.read(part).map_err(|err| self.failure(&err))?;
            if read == 0 {
                return Err(Refusal::new(Rule::Truncated, "it ends early").into());
            }
            let real = usize::try_from(left).unwrap_or(usize::MAX).min(read);
            sink(buffer.get(..real).unwrap_or_default())?;
            left -= real as u64;
            all -= read as u64;
            self.grown(read as u64)?;
        }
        Ok(())
    }

    fn grown(&mut self, by: u64) -> Result<(), Refusal> {
        self.unpacked = self.unpacked.saturating_add(by);
        let packed = self.gzip.get_ref().get_ref().count;
        let allowed = packed.saturating_mul(self.limits.ratio).max(self.limits.ratio_floor);
        if self.unpacked > allowed {
            let detail =
                format!("more than {} times larger when it is unpacked", self.limits.ratio);
            return Err(Refusal::new(Rule::Ratio, detail));
        }
        Ok(())
    }

    /// After the first empty block there is another, then only zeros, and then nothing.
    pub(super) fn finish(mut self) -> Result<(u64, Digest), ArchiveError> {
        let mut buffer = [0; 16 << 10];
        let mut zeros = 0;
        loop {
            match self.gzip.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    self.grown(read as u64)?;
                    zeros += read;
                    if buffer.iter().take(read).any(|b| *b != 0) {
                        return Err(Refusal::new(
                            Rule::TrailingData,
                            "something follows the end of the archive",
                        )
                        .into());
                    }
                }
                Err(err) => return Err(self.failure(&err)),
            }
        }
        if zeros < BLOCK || zeros % BLOCK != 0 {
            return Err(
                Refusal::new(Rule::Truncated, "its end is not marked by two empty blocks").into()
            );
        }
        let mut rest = self.gzip.into_inner();
        if !rest.fill_buf()?.is_empty() {
            return Err(
                Refusal::new(Rule::TrailingData, "something follows the gzip stream").into()
            );
        }
        let counted = rest.into_inner();
        Ok((counted.count, counted.hasher.finish()))
    }

    fn failure(&mut self, err: &io::Error) -> ArchiveError {
        if let Some(failure) = self.gzip.get_mut().get_mut().failure.take() {
            return failure.into();
        }
        match err.kind() {
            io::ErrorKind::UnexpectedEof => Refusal::new(Rule::Truncated, "it ends early").into(),
            _ => Refusal::new(Rule::NotGzip, format!("it is not gzip or damaged ({err})")).into(),
        }
    }
}

/// Counts and hashes what is read, and keeps its own failures apart from the decoder's.
struct Counted<R> {
    inner: R,
    count: u64,
    hasher: Hasher,
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
