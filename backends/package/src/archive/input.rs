//! The blocks of a tar.
use super::{ArchiveError, Refusal, Rule, decoded::Source};

/// What a tar archive is made of, in bytes.
pub(super) const BLOCK: usize = 512;

/// Reads a tar, block by block and file by file.
pub(super) struct Input<S> {
    source: S,
}

impl<S: Source> Input<S> {
    pub(super) const fn new(source: S) -> Self {
        Self { source }
    }

    pub(super) fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while let Some(rest) = block.get_mut(filled..).filter(|it| !it.is_empty()) {
            let next = self.source.fill()?;
            if next.is_empty() {
                return Err(Refusal::new(Rule::Truncated, "it ends early").into());
            }
            let count = next.len().min(rest.len());
            for (to, from) in rest.iter_mut().zip(next) {
                *to = *from;
            }
            self.source.consume(count);
            filled += count;
        }
        Ok(block)
    }

    /// Reads `size` bytes, as they come.
    pub(super) fn data<E: From<ArchiveError>>(
        &mut self,
        size: u64,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut left = size;
        while left > 0 {
            let next = self.source.fill()?;
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(next.len());
            if room == 0 {
                let early = Refusal::new(Rule::Truncated, "it ends early");
                return Err(ArchiveError::from(early).into());
            }
            sink(next.get(..room).unwrap_or_default())?;
            self.source.consume(room);
            left -= room as u64;
        }
        Ok(())
    }

    /// After the first empty block there is another, then only zeros, and then nothing.
    pub(super) fn finish<E: From<ArchiveError>>(
        mut self,
        mut sink: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<S, E> {
        let mut zeros = 0;
        loop {
            let next = self.source.fill()?;
            let count = next.len();
            if count == 0 {
                break;
            }
            if next.iter().any(|b| *b != 0) {
                let detail = "something follows the end of the archive";
                return Err(ArchiveError::from(Refusal::new(Rule::TrailingData, detail)).into());
            }
            sink(next)?;
            zeros += count;
            self.source.consume(count);
        }
        if zeros < BLOCK || zeros % BLOCK != 0 {
            let detail = "its end is not marked by two empty blocks";
            return Err(ArchiveError::from(Refusal::new(Rule::Truncated, detail)).into());
        }
        Ok(self.source)
    }
}

/// How many bytes fill up the last block of a file of `size` bytes.
pub(super) const fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}
